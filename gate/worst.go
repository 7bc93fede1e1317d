package gate

import (
	"fmt"
	"sort"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// bounded reports whether the bid's numbers are ones that can be priced.
func (b *Bid) bounded() bool {
	return counts(pricing.MaxTokens, b.InputTokens, b.OutputCap, b.Choices, b.ExtraOutput) && counts(call.MaxRereads, b.InputRereads, b.OutputRereads) &&
		b.Choices >= 1 && b.OutputCap <= pricing.MaxTokens/b.Choices && countsBeside(b.Beside)
}

// counts reports whether numbers are from 0 to most.
func counts(most int64, list ...int64) bool {
	for _, n := range list {
		if n < 0 || n > most {
			return false
		}
	}
	return true
}

// countsBeside reports whether there are no more lines than a receipt holds, each with names
// and numbers that it can tell.
func countsBeside(lines []call.Line) bool {
	for i := range lines {
		l := &lines[i]
		if !counts(pricing.MaxTokens, l.Usage[:]...) || !isNamed(l.Model, l.Variant, l.Service, l.Region) {
			return false
		}
	}
	return len(lines) <= maxLines
}

// run is a run of a model inside the call.
type run struct {
	line   *call.Line      // what it uses, at most
	prices []pricing.Price // at all that it may be served at
}

// lookup is the price of a model at the call's instant. Fees that it lacks are those of the
// tenant's hosted tools.
func (q *quote) lookup(model string) (pricing.Price, error) {
	price, err := q.Rules.Prices.Lookup(q.Upstream.Provider, model, q.pricedAt)
	if tool := q.Key.Tenant.HostedTools[call.WebSearch]; tool.Fee > 0 {
		fee, _ := call.HostedFee(call.WebSearch)
		price = price.Lend(fee, tool.Fee)
	}
	return price, err
}

// serve finds the prices of what else the call may be served at, other services and the
// dearest region, and those of other runs inside it.
func (q *quote) serve() (err error) {
	q.served, q.others = nil, nil
	if len(q.Services) > 0 || q.Region != "" {
		if q.served, err = q.pricesOf(q.price, call.Key{}); err != nil {
			return err
		}
	}
	for i := range q.Beside {
		line := &q.Beside[i]
		if line.Key == (call.Key{}) {
			continue
		}
		price := q.price
		if line.Model != "" {
			if price, err = q.lookup(line.Model); err != nil {
				return err
			}
		}
		prices, err := q.pricesOf(price, line.Key)
		if err != nil {
			return err
		}
		q.others = append(q.others, run{line, prices})
	}
	return nil
}

// pricesOf are a model's prices at all that a run of this key may be served at.
func (q *quote) pricesOf(price pricing.Price, k call.Key) (list []pricing.Price, err error) {
	services := []string{k.Service}
	if k.Service == "" {
		services = append(services, q.Services...)
	}
	if k.Region == "" {
		k.Region = q.Region
	}
	for _, service := range services {
		k.Service = service
		at, err := price.For(k)
		if err != nil {
			return nil, err
		}
		list = append(list, at)
	}
	return list, nil
}

// lacking says what of a call has no bound in money: a unit that it may use and that the
// price list does not know; and images, video and citations of the output, which the
// answer does not tell apart from text unless its dialect says so.
func (q *quote) lacking(price pricing.Price) string {
	if q.Kinds.Has(call.AudioOutput) && !price.Has(call.AudioOutput) {
		return "the price table does not tell what this model's audio output costs"
	}
	for i := range q.Beside {
		if l := &q.Beside[i]; l.Key == (call.Key{}) {
			for u := range call.Fees.All() {
				if l.Usage[u] > 0 && !price.Has(u) {
					return fmt.Sprintf("the price table does not tell what %s cost with model %.100q: %s", u, q.Facts.Model, lineFor(u))
				}
			}
		}
	}
	for _, u := range [...]call.Unit{call.ImageOutput, call.VideoOutput, call.Citation} {
		if price.Has(u) && !q.Kinds.Has(u) {
			return "this model bills " + u.String() + ", which its answers do not tell apart from text here"
		}
	}
	return ""
}

// lineFor is the line of the policy that prices a fee.
func lineFor(u call.Unit) string {
	if fee, _ := call.HostedFee(call.WebSearch); u == fee {
		return `give the tenant's hosted_tools a fee, as in fee: "10"`
	}
	return fmt.Sprintf("give it one by the line price: {%s: N} at the model in the policy", u)
}

// worstServed is the most that the call can cost: of each run at the dearest that it may
// be served at.
func (q *quote) worstServed() (int64, error) {
	round, parts := q.bound()
	worst, err := q.price.Worst(round, parts...)
	if err != nil {
		return 0, err
	}
	served, err := dearest(q.served, round, parts)
	worst = max(worst, served)
	for i := range q.others {
		if err != nil {
			return 0, err
		}
		var other int64
		other, err = dearest(q.others[i].prices, 0, q.appendParts(nil, q.others[i].line))
		if worst += other; worst > pricing.MaxCost {
			return 0, fmt.Errorf("%w: several runs together", pricing.ErrOverflow)
		}
	}
	return worst, err
}

// dearest is the most that a run can cost at any of some prices.
func dearest(prices []pricing.Price, round int64, parts []call.Part) (worst int64, err error) {
	for i := range prices {
		cost, err := prices[i].Worst(round, parts...)
		if err != nil {
			return 0, err
		}
		worst = max(worst, cost)
	}
	return worst, nil
}

// bound is what the run of the call's own model can use, and of how long a round, as a price
// weighs them.
func (q *quote) bound() (round int64, parts []call.Part) {
	kinds := q.kinds()
	input, round := q.MostInput()
	if q.InputRereads == 0 {
		round = 0
	}
	parts = append(q.parts[:0],
		call.Part{Fixed: input, Kinds: kinds & call.Inputs},
		call.Part{Fixed: q.MostOutput(), Kinds: kinds & call.Outputs})
	for i := range q.Beside {
		if l := q.Beside[i]; l.Key == (call.Key{}) {
			for u := range call.Inputs.All() { // MostInput has them
				l.Usage[u] = 0
			}
			parts = q.appendParts(parts, &l)
		}
	}
	return round, parts
}

// kinds are the tokens that the call may use.
func (q *quote) kinds() call.Kinds {
	kinds := call.Plain | q.Kinds
	if q.hasImages() {
		kinds |= call.Of(call.ImageInput, call.CachedImageInput)
	}
	return kinds
}

// appendParts adds what a line uses at most: tokens of any kind that the call may use, and
// fees.
func (q *quote) appendParts(parts []call.Part, l *call.Line) []call.Part {
	kinds := q.kinds()
	parts = append(parts,
		call.Part{Fixed: l.Usage.InputTokens(), Kinds: kinds & call.Inputs},
		call.Part{Fixed: l.Usage.OutputTokens(), Kinds: kinds & call.Outputs})
	for u := range call.Fees.All() {
		if n := l.Usage[u]; n != 0 {
			parts = append(parts, call.Part{Fixed: n, Kinds: call.Of(u)})
		}
	}
	return parts
}

// largestCap is the largest output cap, below the one asked for, whose worst case fits the
// room, in nano-USD; 0 if there is none.
func (q *quote) largestCap(room int64) int64 {
	tried := *q
	fits := func(tokens int64) bool {
		tried.OutputCap = tokens
		cost, err := tried.worst()
		return err == nil && cost <= room
	}
	if q.OutputCap == 0 || room < 0 || !fits(0) || fits(q.OutputCap) {
		return 0
	}
	tooMuch := sort.Search(int(q.OutputCap), func(i int) bool { return !fits(int64(i)) })
	return int64(tooMuch) - 1
}
