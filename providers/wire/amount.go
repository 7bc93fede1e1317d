package wire

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// maxExponent bounds the power of ten of an amount.
const maxExponent = 1 << 10

// Amount reads a sum of money times a power of ten, rounded up, whatever number it is
// written as, in quotes or not. It is odd where it is no sum, or comes to 2^53 or more.
func Amount(v gjson.Result, power int) Count {
	if v.Type == gjson.Null {
		return Count{}
	}
	mantissa, exponent, written := strings.Cut(strings.ToLower(numberIn(v)), "e")
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
