package oxdeai

import (
	"fmt"
	"math/big"
	"strings"
)

// MaxAmountDigits is the longest amount or nonce, in decimal digits. It bounds the work of one addition and one
// conversion.
const MaxAmountDigits = 1024

// maxAmountBits is the longest number that surely has no more than MaxAmountDigits digits: log2(10^1024), rounded down.
const maxAmountBits = 3401

// readBig reads an integer of any size from JSON: a safe integer number, or a text of an optional minus, digits, and
// an optional n.
func readBig(v Value) (*big.Int, error) {
	if n, ok := SafeInt(v); ok {
		return big.NewInt(n), nil
	}
	switch v := v.(type) {
	case *big.Int:
		if v == nil || v.BitLen() > maxAmountBits {
			return nil, fmt.Errorf("nil or longer than %d digits", MaxAmountDigits)
		}
		return v, nil
	case string:
		return parseBig(strings.TrimSuffix(v, "n"))
	}
	return nil, fmt.Errorf("a JSON %s is no integer", kindOf(v))
}

func parseBig(s string) (*big.Int, error) {
	digits := strings.TrimPrefix(s, "-")
	if !isDigits(digits) || len(digits) > MaxAmountDigits {
		return nil, fmt.Errorf("%.40q is no integer of at most %d digits", s, MaxAmountDigits)
	}
	n, _ := new(big.Int).SetString(s, 10)
	return n, nil
}

// readPlainAmount reads the form that snapshots use: no sign, no leading zero, no n.
func readPlainAmount(v Value) (*big.Int, bool) {
	s, _ := v.(string)
	if !isDigits(s) || len(s) > MaxAmountDigits || len(s) > 1 && s[0] == '0' {
		return nil, false
	}
	return new(big.Int).SetString(s, 10)
}

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
