package wire

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Powers of ten of the currencies in which answers name what they cost, over nano-USD.
const (
	USD  = 9  // a dollar is 1e9 nano-USD
	Tick = -1 // xAI's, of which a dollar has 1e10
)

// maxExponent bounds the power of ten of an amount.
const maxExponent = 1 << 10

// Amount reads what an answer says that it costs, in nano-USD, rounded up, whatever
// number it is written as. It is odd where it is no amount, or 2^53 or more.
func Amount(v gjson.Result, power int) Count {
	text := v.Raw
	switch v.Type {
	case gjson.Null:
		return Count{}
	case gjson.String:
		text = v.Str
	}
	mantissa, exponent, written := strings.Cut(strings.ToLower(text), "e")
	if written {
		own, err := strconv.Atoi(exponent)
		if err != nil || max(own, -own) > maxExponent {
			return Count{Told: true, Odd: true}
		}
		power += own
	}
	n, exact, ok := parseNumber(mantissa + "e" + strconv.Itoa(power))
	if !exact {
		n++
	}
	if !ok || n > MaxInteger {
		return Count{Told: true, Odd: true}
	}
	return Count{N: n, Told: true}
}
