package wire

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Count is one count of tokens, 0 where it is absent or null.
type Count struct {
	N    int64 // 0 to MaxInteger
	Told bool
	Odd  bool // it is there, and is no count
}

// Add keeps the larger of two.
func (c *Count) Add(other Count) {
	c.N = max(c.N, other.N)
	c.Told, c.Odd = c.Told || other.Told, c.Odd || other.Odd
}

// Of is the part of a whole: all of it, if nobody can tell how much.
func (c *Count) Of(whole int64) int64 {
	if c.Odd {
		return whole
	}
	return min(c.N, whole)
}

// ExactCount reads a count that must be a whole number, however it is written:
// 20, 20.0 and 2e1 are one.
func ExactCount(v gjson.Result) Count {
	if v.Type == gjson.Null {
		return Count{}
	}
	n, exact, ok := parseNumber(v.Raw)
	if v.Type != gjson.Number || !ok || !exact {
		return Count{Told: true, Odd: true}
	}
	return Count{N: n, Told: true}
}

// LooseCount reads a count that says how the whole divides. A fraction is rounded up,
// and a number in quotes is one.
func LooseCount(v gjson.Result) Count {
	if v.Type == gjson.Null {
		return Count{}
	}
	n, exact, ok := parseNumber(numberIn(v))
	if !ok {
		return Count{Told: true, Odd: true}
	}
	if !exact {
		n++
	}
	return Count{N: n, Told: true}
}

// numberIn is how a number is written, in quotes or not.
func numberIn(v gjson.Result) string {
	if v.Type == gjson.String {
		return v.Str
	}
	return v.Raw
}

// Discount reads a detail that makes nothing dearer: an odd one is left out.
func Discount(v gjson.Result) Count {
	if c := LooseCount(v); !c.Odd {
		return c
	}
	return Count{}
}

// parseNumber reads a JSON number that is not negative, exactly: n is its whole
// part, and exact that there is no other. ok is false if it is no such number, or
// above MaxInteger.
func parseNumber(text string) (n int64, exact, ok bool) {
	if n, ok = shortDigits(text); ok {
		return n, true, true
	}
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

// shortDigits reads a number of so few digits that it is below MaxInteger, as most are.
func shortDigits(text string) (n int64, ok bool) {
	if len(text) == 0 || len(text) > 15 {
		return 0, false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(text[i]-'0')
	}
	return n, true
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
