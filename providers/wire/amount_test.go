package wire

import (
	"fmt"
	"math/big"
	"strconv"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"
)

// TestAmount: however a number is written, it is what exact arithmetic makes of it, rounded
// up, or no amount where that is 2^53 or more.
func TestAmount(t *testing.T) {
	most := big.NewInt(MaxInteger)
	rapid.Check(t, func(t *rapid.T) {
		text := strconv.FormatUint(rapid.Uint64().Draw(t, "whole"), 10)
		text = text[:rapid.IntRange(1, len(text)).Draw(t, "digits")]
		if len(text) > 1 && text[0] == '0' {
			text = "0"
		}
		if rapid.Bool().Draw(t, "has a fraction") {
			text += fmt.Sprintf(".%0*d", rapid.IntRange(1, 20).Draw(t, "places"), rapid.IntRange(0, 999).Draw(t, "fraction"))
		}
		if rapid.Bool().Draw(t, "has an exponent") {
			text += rapid.SampledFrom([]string{"e", "E", "e+", "e-"}).Draw(t, "e") + strconv.Itoa(rapid.IntRange(0, 40).Draw(t, "exponent"))
		}
		power := rapid.SampledFrom([]int{9, -1, 0}).Draw(t, "power")
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatal(text)
		}
		ten := new(big.Rat).SetInt64(10)
		for range max(power, -power) {
			if power > 0 {
				exact.Mul(exact, ten)
			} else {
				exact.Quo(exact, ten)
			}
		}
		up := new(big.Int).Add(exact.Num(), new(big.Int).Sub(exact.Denom(), big.NewInt(1)))
		up.Quo(up, exact.Denom())
		got := Amount(gjson.Parse(text), power)
		if odd := up.Cmp(most) > 0; got.Odd != odd && up.Cmp(most) != 0 || !odd && !got.Odd && got.N != up.Int64() || !got.Told {
			t.Fatalf("%s times 10^%d is %+v, want %s", text, power, got, up)
		}
		if quoted := Amount(gjson.Parse(strconv.Quote(text)), power); quoted != got {
			t.Fatalf("%s is %+v, in quotes %+v", text, got, quoted)
		}
	})
}

func FuzzAmount(f *testing.F) {
	for _, text := range []string{`1e9223372036854775807`, `"1e-99999999999999999999"`, `-1`, `{}`, `"0x10"`, `1e1e1`, `""`, `"١"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := Amount(gjson.Parse(text), 9); got.N < 0 || got.N > MaxInteger {
			t.Errorf("%q is %+v", text, got)
		}
	})
}
