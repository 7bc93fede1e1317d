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
