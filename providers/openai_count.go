package providers

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// count is one count of tokens, 0 where it is absent or null.
type count struct {
	n    int64 // 0 to MaxInteger
	told bool
	odd  bool // it is there, and is no count
}

// add keeps the larger of two.
func (c *count) add(other count) {
	c.n = max(c.n, other.n)
	c.told, c.odd = c.told || other.told, c.odd || other.odd
}

// of is the part of a whole: all of it, if nobody can tell how much.
func (c *count) of(whole int64) int64 {
	if c.odd {
		return whole
	}
	return min(c.n, whole)
}

// exactCount reads a count that must be a whole number, however it is written:
// 20, 20.0 and 2e1 are one.
func exactCount(v gjson.Result) count {
	if v.Type == gjson.Null {
		return count{}
	}
	n, exact, ok := parseNumber(v.Raw)
	if v.Type != gjson.Number || !ok || !exact {
		return count{told: true, odd: true}
	}
	return count{n: n, told: true}
}

// detail reads a count that says how the whole divides. A fraction is rounded up,
// and a number in quotes is one.
func detail(v gjson.Result) count {
	text := v.Raw
	switch v.Type {
	case gjson.Null:
		return count{}
	case gjson.String:
		text = v.Str
	}
	n, exact, ok := parseNumber(text)
	if !ok {
		return count{told: true, odd: true}
	}
	if !exact {
		n++
	}
	return count{n: n, told: true}
}

// discount reads a detail that makes nothing dearer: an odd one is left out.
func discount(v gjson.Result) count {
	if c := detail(v); !c.odd {
		return c
	}
	return count{}
}

// parseNumber reads a JSON number that is not negative, exactly: n is its whole
// part, and exact that there is no other. ok is false if it is no such number, or
// above MaxInteger.
func parseNumber(text string) (n int64, exact, ok bool) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	negative := strings.HasPrefix(whole, "-")
	whole = strings.TrimPrefix(whole, "-")
	digits := whole + fraction
	if whole == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false, false
	}
	power := 0
	if exponent != "" {
		var err error
		if power, err = strconv.Atoi(exponent); err != nil {
			return 0, false, false
		}
	}
	if strings.Trim(digits, "0") == "" {
		return 0, true, true
	}
	return shifted(digits, len(whole), power, negative)
}

// shifted is the number of these digits with the point behind so many of them,
// moved by a power of ten.
func shifted(digits string, point, power int, negative bool) (n int64, exact, ok bool) {
	const most = 16 // digits, which are more than MaxInteger has
	leading := len(digits) - len(strings.TrimLeft(digits, "0"))
	if negative || power > most+len(digits) || point+power-leading > most {
		return 0, false, false
	}
	point += max(power, -2*len(digits)) // so far left that nothing is whole
	if point > len(digits) {
		digits += strings.Repeat("0", point-len(digits))
	}
	point = max(0, point)
	n, err := strconv.ParseInt("0"+digits[:point], 10, 64)
	return n, strings.Trim(digits[point:], "0") == "", err == nil && n < MaxInteger
}
