package pricing

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// Worst is the most that a run can cost, in nano-USD, rounded up once, that uses at most these parts, of which only
// Fixed and Kinds count: for every usage u within them, Cost(u) <= Worst. It assumes the dearest that they can cause: of
// the context tiers that their input reaches, and of the kinds of each part. Where they are the sum of several rounds,
// round is how long the input of one can be, in tokens, which picks the tier; 0: there is one round.
func (p Price) Worst(round int64, parts ...call.Part) (int64, error) {
	w, err := p.weigh(round, parts)
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

// weighed is the parts of a bound with the context tiers that they reach.
type weighed struct {
	price *Price
	parts []call.Part
	tiers []rates // within reach, with a price
	once  bool    // there is one round
}

func (p *Price) weigh(round int64, parts []call.Part) (w weighed, err error) {
	if p.schedule == nil {
		return w, p.unpriced()
	}
	if round < 0 {
		return w, fmt.Errorf("%w: a round of %d tokens", ErrUsage, round)
	}
	input, err := inputOf(parts)
	if err != nil {
		return w, err
	}
	w = weighed{price: p, parts: parts, tiers: p.schedule.tiers, once: round == 0}
	longest := input
	if !w.once {
		longest = min(input, round)
	}
	n := 1
	for n < len(w.tiers) && longest > w.tiers[n].over {
		n++
	}
	w.tiers = w.tiers[:n]
	return w, nil
}

// inputOf is the most input tokens that parts allow.
func inputOf(parts []call.Part) (tokens int64, err error) {
	for i := range parts {
		part := &parts[i]
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
	limited := i+1 < len(w.tiers) && w.once
	var inputs []priced
	requests := int64(1)
	for j := range w.parts {
		part := &w.parts[j]
		if part.Fixed == 0 {
			continue
		}
		price, err := w.price.dearest(&w.tiers[i], part.Kinds)
		if err != nil {
			return sum, err
		}
		if part.Kinds == call.Of(call.Requests) { // of another kind it may be, and the request has its fee
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
