package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// nanoDigits is how many decimals of a dollar an amount can have.
const nanoDigits = 9

var (
	errNoAmount    = errors.New("is no amount in USD; write digits with at most one decimal point, as in 25 or 0.50")
	errFine        = errors.New("has more than 9 decimals; the smallest amount is 0.000000001")
	errLargeAmount = errors.New("is more than 9007199.254740991, the most that a ledger can count")
)

// ParseUSD reads a decimal amount of dollars into nano-USD, exactly: digits,
// and at most nine more behind a point. It refuses signs, exponents and
// anything above budget.MaxAmount.
func ParseUSD(text string) (int64, error) {
	nano, err := parseDecimal(text, nanoDigits)
	if err != nil {
		return 0, fmt.Errorf("%s %w", quote(text), err)
	}
	return nano, nil
}

// parseDecimal reads a decimal number as a whole number of its last of the
// decimals allowed.
func parseDecimal(text string, decimals int) (int64, error) {
	whole, fraction, point := strings.Cut(text, ".")
	if !isDigits(whole) || point && !isDigits(fraction) {
		return 0, errNoAmount
	}
	if len(fraction) > decimals {
		return 0, errFine
	}
	digits := whole + fraction + strings.Repeat("0", decimals-len(fraction))
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > budget.MaxAmount {
		return 0, errLargeAmount
	}
	return n, nil
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// USD writes nano-USD as dollars, exactly, with at least two decimals.
func USD(nano int64) string { return Decimal(nano) + " USD" }

// Decimal is USD without the unit, as ParseUSD reads it.
func Decimal(nano int64) string {
	sign, size := "", uint64(nano)
	if nano < 0 {
		sign, size = "-", -size
	}
	fraction := fmt.Sprintf("%09d", size%1e9)
	trimmed := strings.TrimRight(fraction[2:], "0")
	return fmt.Sprintf("%s%d.%s%s", sign, size/1e9, fraction[:2], trimmed)
}
