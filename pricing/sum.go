package pricing

import (
	"fmt"
	"math/bits"
)

// picoPerNano: prices are pico-USD, costs nano-USD.
const picoPerNano = 1000

// picoSum is a sum in pico-USD, of 128 bits: a product of a count and a price for each unit cannot overflow it.
type picoSum struct{ hi, lo uint64 }

// add adds tokens x price. Both must not be negative.
func (s *picoSum) add(tokens, price int64) {
	hi, lo := bits.Mul64(uint64(tokens), uint64(price))
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, lo, 0)
	s.hi, _ = bits.Add64(s.hi, hi, carry)
}

// nanoUSD is the sum rounded up to nano-USD.
func (s picoSum) nanoUSD() (int64, error) {
	if s.hi >= picoPerNano {
		return 0, fmt.Errorf("%w: more than %d nano-USD", ErrOverflow, int64(MaxCost))
	}
	cost, rest := bits.Div64(s.hi, s.lo, picoPerNano)
	if rest > 0 {
		cost++
	}
	if cost > MaxCost {
		return 0, fmt.Errorf("%w: more than %d nano-USD", ErrOverflow, int64(MaxCost))
	}
	return int64(cost), nil
}

// tokensWithin is how many tokens at price still fit when the sum may grow to room nano-USD. The sum must be within room.
func (s picoSum) tokensWithin(room, price int64) int64 {
	if price == 0 {
		return MaxTokens
	}
	hi, lo := bits.Mul64(uint64(room), picoPerNano)
	lo, borrow := bits.Sub64(lo, s.lo, 0)
	hi, _ = bits.Sub64(hi, s.hi, borrow)
	if hi >= uint64(price) {
		return MaxTokens
	}
	tokens, _ := bits.Div64(hi, lo, uint64(price))
	return int64(min(tokens, MaxTokens))
}
