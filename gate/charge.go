package gate

import (
	"errors"
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// maxLines bounds the runs of models that one response reports.
const maxLines = 64

// maxStatus bounds an outcome's HTTP status.
const maxStatus = 999

// usage is what the lines of an outcome used together.
func (o *Outcome) usage() (sum call.Usage) {
	for i := range o.Lines {
		for u, n := range o.Lines[i].Usage {
			sum[u] += n
		}
	}
	return sum
}

// writable is an outcome without what no receipt can hold. A model of so long a name
// has no price of its own; of a service, region or variant nobody knows what it costs.
func (o Outcome) writable() Outcome {
	if o.Status < 0 || o.Status > maxStatus {
		o.Status = 0
	}
	if !o.Sent {
		o.Status, o.Lines = 0, nil // there was no answer
	}
	o.Lines = slices.Clone(o.Lines)
	for i := range o.Lines {
		l := &o.Lines[i]
		if len(l.Model) > maxNameBytes {
			l.Model = ""
		}
		if max(len(l.Service), len(l.Region), len(l.Variant)) > maxNameBytes || len(o.Lines) > maxLines {
			return o.unknown()
		}
	}
	if !slices.ContainsFunc(o.Lines, func(l call.Line) bool { return l != call.Line{} }) {
		o.Lines = nil
	}
	return o
}

// unknown is an outcome of which only the status is known, and what it says that it cost.
func (o Outcome) unknown() Outcome {
	told := Outcome{Status: o.Status, Basis: audit.BasisUnknown, Sent: o.Sent}
	if nano := billed(o.Lines); nano > 0 {
		told.Lines = []call.Line{{Billed: nano}}
	}
	return told
}

// chargedBy is what lines tell of a charge on a basis: all that it was made of.
func chargedBy(lines []call.Line, basis string) []call.Line {
	switch {
	case basis == audit.BasisReported || basis == audit.BasisFloor:
		return lines
	case basis != audit.BasisUnknown || billed(lines) == 0:
		lines = withoutAmounts(lines)
	}
	return withoutUsage(lines)
}

// withoutUsage are the lines of a response that is not charged by its usage: what it names.
func withoutUsage(lines []call.Line) []call.Line {
	var named []call.Line
	for _, l := range lines {
		l.Usage = call.Usage{}
		if l != (call.Line{}) {
			named = append(named, l)
		}
	}
	return named
}

// withoutAmounts are lines without what they say that they cost.
func withoutAmounts(lines []call.Line) []call.Line {
	for i := range lines {
		lines[i].Billed = 0
	}
	return lines
}

// billed is what lines say that they cost together, in nano-USD; 0 where that is no amount.
func billed(lines []call.Line) (nano int64) {
	for i := range lines {
		if n := lines[i].Billed; n < 0 || n > pricing.MaxCost-nano {
			return 0
		}
		nano += lines[i].Billed
	}
	return nano
}

// reports says whether lines say more than what ran.
func reports(lines []call.Line) bool {
	return uses(lines) || slices.ContainsFunc(lines, func(l call.Line) bool { return l.Billed != 0 })
}

// uses says whether lines tell of usage.
func uses(lines []call.Line) bool {
	return slices.ContainsFunc(lines, func(l call.Line) bool { return l.Usage != call.Usage{} })
}

// charge is what the lines of a response cost, in nano-USD: each by its price, or what the
// response says that it cost, if that is more.
func (q *quote) charge(lines []call.Line) (nano int64, err error) {
	if len(lines) == 0 {
		lines = []call.Line{{}} // a request has a fee, maybe
	}
	for i := range lines {
		cost, err := q.lineCost(&lines[i], lines[0].Model)
		if err != nil {
			return 0, err
		}
		if lines[i].Billed < 0 {
			return 0, fmt.Errorf("the answer names %d nano-USD, which is no amount", lines[i].Billed)
		}
		nano += max(cost, lines[i].Billed)
		if nano > pricing.MaxCost {
			return 0, fmt.Errorf("%w: several runs together", pricing.ErrOverflow)
		}
	}
	return nano, nil
}

// lineCost is what one run costs. Those that have the name of the first are of the model
// that was asked for, at the price which the hold was made with. The operator's own price
// is final, whatever name the answer has: a dated one, or that of a deployment. The
// table's yields to that of the model which the answer names, if that one costs more for
// this usage.
func (q *quote) lineCost(l *call.Line, first string) (nano int64, err error) {
	named := l.Model != "" && l.Model != q.Facts.Model
	if named && l.Model != first {
		other, err := q.lookup(l.Model)
		if err != nil {
			return 0, err
		}
		return q.costAt(other, l, l.Usage.InputTokens())
	}
	round := q.roundOf(l)
	nano, err = q.costAt(q.price, l, round)
	if err != nil || !named || q.price.Own() {
		return nano, err
	}
	other, err := q.lookup(l.Model)
	if err != nil {
		return nano, nil // it has no price of its own
	}
	dearer, err := q.costAt(other, l, round)
	if errors.Is(err, pricing.ErrNoPrice) {
		return nano, nil // nor for such usage
	}
	return max(nano, dearer), err
}

// costAt is what a line costs at a model's price: that of the service which the response
// reports, or the dearest of those that it may have been served at. Of its input no more
// than round is one round's.
func (q *quote) costAt(price pricing.Price, l *call.Line, round int64) (dearest int64, err error) {
	services := []string{l.Service}
	if l.Service == "" {
		services = append(services, q.Services...)
	}
	for _, service := range services {
		key := l.Key
		key.Service = service
		at, err := price.For(key)
		if err != nil {
			return 0, err
		}
		cost, err := q.costOf(at, l.Usage, round)
		if err != nil {
			return 0, err
		}
		dearest = max(dearest, cost)
	}
	return dearest, nil
}

// costOf is what usage costs. Where the request brought images, and the response does
// not tell their tokens apart, all of the input may be theirs.
func (q *quote) costOf(price pricing.Price, u call.Usage, round int64) (nano int64, err error) {
	nano, err = price.CostInRounds(u, round)
	if err != nil || !q.hasImages() || u[call.ImageInput]+u[call.CachedImageInput] > 0 {
		return nano, err
	}
	u[call.ImageInput], u[call.Input] = u[call.Input], 0
	u[call.CachedImageInput], u[call.CachedInput] = u[call.CachedInput], 0
	asImages, err := price.CostInRounds(u, round)
	return max(nano, asImages), err
}

// roundOf is how long the longest round of a line can have been, which picks its context
// tier, in tokens: all of its input, unless it is the sum of several rounds and no more
// than they were held for.
func (q *quote) roundOf(l *call.Line) int64 {
	used := l.Usage.InputTokens()
	all, round := q.MostInput()
	if q.InputRereads == 0 || used > all {
		return used
	}
	return min(used, round)
}

func (q *quote) hasImages() bool { return slices.Contains(q.Needs, call.NeedImages) }
