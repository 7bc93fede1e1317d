package pricing

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// Worst is the most that a run within b can cost, in nano-USD, rounded up once: for every usage u within b,
// Cost(u) <= Worst(b). It assumes the dearest that b can cause: of the context tiers that its input reaches, and of the
// kinds of each part.
func (p Price) Worst(b call.Bound) (int64, error) {
	w, err := p.weigh(&b)
	if err != nil {
		return 0, err
	}
	var worst int64
	for i := range w.tiers {
		sum, err := w.sum(i)
		if err != nil {
			return 0, err
		}
		cost, err := sum.nanoUSD()
		if err != nil {
			return 0, err
		}
		worst = max(worst, cost)
	}
	return worst, nil
}

// weighed is a bound with the context tiers that it reaches.
type weighed struct {
	price *Price
	bound *call.Bound
	input int64   // the most tokens of input, of all rounds together
	tiers []rates // within reach, with a price
}

func (p *Price) weigh(b *call.Bound) (w weighed, err error) {
	if p.schedule == nil {
		return w, p.unpriced()
	}
	w = weighed{price: p, bound: b, tiers: p.schedule.tiers}
	if w.input, err = inputOf(b); err != nil {
		return w, err
	}
	round := w.input
	if b.Round > 0 {
		round = min(round, b.Round)
	}
	n := 1
	for n < len(w.tiers) && round > w.tiers[n].over {
		n++
	}
	w.tiers = w.tiers[:n]
	return w, nil
}

// inputOf is the most input tokens that a bound allows.
func inputOf(b *call.Bound) (tokens int64, err error) {
	if b.Round < 0 {
		return 0, fmt.Errorf("%w: a round of %d tokens", ErrUsage, b.Round)
	}
	for i := range b.Parts {
		part := &b.Parts[i]
		if err := check(part.Fixed); err != nil {
			return 0, err
		}
		if part.Kinds&call.Inputs != 0 {
			tokens += part.Fixed
		}
	}
	return tokens, nil
}

// sum is the request's fee and the most that the parts can cost within tier i. Where the bound reaches the tier above
// too, an input that stays in this one is no longer than that tier's threshold: the dearest of it count.
func (w *weighed) sum(i int) (sum picoSum, err error) {
	limited := i+1 < len(w.tiers) && w.bound.Round == 0
	var inputs []priced
	requests := int64(1)
	for j := range w.bound.Parts {
		part := &w.bound.Parts[j]
		if part.Fixed == 0 {
			continue
		}
		price, err := w.price.dearest(&w.tiers[i], part.Kinds)
		if err != nil {
			return sum, err
		}
		if part.Kinds.Has(call.Requests) {
			requests = 0
		}
		if limited && part.Kinds&^call.Inputs == 0 {
			inputs = append(inputs, priced{part.Fixed, price})
			continue
		}
		sum.add(part.Fixed, price)
	}
	if limited {
		addDearest(&sum, inputs, w.tiers[i+1].over)
	}
	sum.add(requests, w.tiers[i].per[call.Requests])
	return sum, nil
}

// priced is so many of what costs so much each, in pico-USD.
type priced struct{ n, price int64 }

// addDearest adds the dearest of some parts, in all at most room.
func addDearest(sum *picoSum, parts []priced, room int64) {
	slices.SortFunc(parts, func(a, b priced) int { return cmp.Compare(b.price, a.price) })
	for _, part := range parts {
		n := min(part.n, room)
		sum.add(n, part.price)
		room -= n
	}
}

// dearest is the highest price of some units in a tier, in pico-USD.
func (p *Price) dearest(tier *rates, kinds call.Kinds) (dearest int64, err error) {
	for kinds != 0 {
		var u call.Unit
		u, kinds = kinds.Next()
		price := p.rate(tier, u)
		if price == NoRate {
			return 0, p.lacks(u)
		}
		dearest = max(dearest, price)
	}
	return dearest, nil
}
