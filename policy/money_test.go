package policy_test

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestParseUSD(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
		err  string
	}{
		{"0", 0, ""},
		{"25", 25_000_000_000, ""},
		{"0.50", 500_000_000, ""},
		{"0.000000001", 1, ""},
		{"00012.5", 12_500_000_000, ""},
		{"9007199.254740991", budget.MaxAmount, ""},
		{"9007199.254740992", 0, "is more than"},
		{"99999999999999999999999", 0, "is more than"},
		{"0.0000000001", 0, "more than 9 decimals"},
		{"1.0000000000", 0, "more than 9 decimals"},
		{"", 0, "is no amount"},
		{".5", 0, "is no amount"},
		{"5.", 0, "is no amount"},
		{"1.2.3", 0, "is no amount"},
		{"-1", 0, "is no amount"},
		{"+1", 0, "is no amount"},
		{"1e3", 0, "is no amount"},
		{"0x10", 0, "is no amount"},
		{"1_000", 0, "is no amount"},
		{"1,000", 0, "is no amount"},
		{"$1", 0, "is no amount"},
		{" 1", 0, "is no amount"},
		{"1 USD", 0, "is no amount"},
		{"NaN", 0, "is no amount"},
		{"١", 0, "is no amount"},
	} {
		got, err := policy.ParseUSD(c.text)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: got %d, %v; want %d, %q", c.text, got, err, c.want, c.err)
		}
	}
}

func TestUSD(t *testing.T) {
	for nano, want := range map[int64]string{
		0:                "0.00 USD",
		1:                "0.000000001 USD",
		10_000_000:       "0.01 USD",
		500_000_000:      "0.50 USD",
		1_230_000_000:    "1.23 USD",
		1_234_000_000:    "1.234 USD",
		100_000_000_000:  "100.00 USD",
		budget.MaxAmount: "9007199.254740991 USD",
		-1_500_000_000:   "-1.50 USD",
		-1 << 63:         "-9223372036.854775808 USD",
	} {
		if got := policy.USD(nano); got != want {
			t.Errorf("%d: got %s, want %s", nano, got, want)
		}
	}
}

// An amount that is written reads back as itself.
func TestUSDReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nano := rapid.Int64Range(0, budget.MaxAmount).Draw(t, "nano-USD")
		got, err := policy.ParseUSD(strings.TrimSuffix(policy.USD(nano), " USD"))
		if err != nil || got != nano {
			t.Fatalf("%d is written %s and read %d, %v", nano, policy.USD(nano), got, err)
		}
	})
}

// What is accepted is exact, by arithmetic of any precision.
func FuzzParseUSD(f *testing.F) {
	for _, seed := range []string{"25", "0.50", "9007199.254740991", "1e9", "-0", "0.0000000001", "٣"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		nano, err := policy.ParseUSD(text)
		if err != nil {
			return
		}
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q was accepted", text)
		}
		exact.Mul(exact, big.NewRat(1_000_000_000, 1))
		if exact.Cmp(new(big.Rat).SetInt64(nano)) != 0 || nano < 0 || nano > budget.MaxAmount {
			t.Fatalf("%q was read as %d", text, nano)
		}
	})
}
