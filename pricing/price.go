package pricing

import (
	"errors"
	"fmt"
	"iter"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// MaxCost is the largest cost in nano-USD: 2^53-1, about 9 million USD. Above it a Redis script, whose numbers are
// doubles, could not compare exactly.
const MaxCost = 1<<53 - 1

// MaxTokens bounds the count of every unit. No model reads a trillion tokens, and below it no sum of counts overflows.
const MaxTokens = 1_000_000_000_000

// Errors of pricing. Test with errors.Is.
var (
	// ErrNoPrice: the table has no price for what was asked, so its cost is unknown. Never zero.
	ErrNoPrice = errors.New("no price")
	// ErrOverflow: the cost is above MaxCost, or a count above MaxTokens.
	ErrOverflow = errors.New("cost overflows")
	// ErrUsage: counts that cannot be: negative.
	ErrUsage = errors.New("impossible counts")
)

// Price is what one model costs at one instant, at one service tier and in one region. It is a small value that is safe
// to copy, and never changes. The zero Price prices nothing: its methods return ErrNoPrice.
type Price struct {
	entry    *entry
	schedule *schedule // nil: the entry has none for that service
	unix     int64     // the second of the look-up
	factor   int64     // of the region, in thousandths
	lent     lent
}

// lent is the price of a unit that the entry has none for; the zero value is none.
type lent struct {
	unit call.Unit
	rate int64 // pico-USD for each
}

// entry is what the table or an override knows of one model.
type entry struct {
	name      string // "provider/id", for people
	own       bool   // an override's
	schedules []*schedule
	regions   map[string]int64 // factors, in thousandths
	limits    Limits           // as the source of the prices has them
}

// schedule is one price list of a model, compiled: tiers by rising threshold.
type schedule struct {
	service, variant string
	from             int64 // unix second of its first day
	start, end       int64 // seconds of the UTC day
	tiers            []rates
}

// Rates are prices in pico-USD per unit, NoRate where there is none.
type Rates [call.Units]int64

// NoRate is the price of a unit that has none.
const NoRate = table.None

// rates hold for requests of more than over input tokens. Fallbacks are filled in.
type rates struct {
	over int64
	per  Rates
}

// plain is the factor of a region whose prices do not differ.
const plain = 1000

// Entry names the table's entry, as "provider/model id", for people to read.
func (p Price) Entry() string {
	if p.entry == nil {
		return ""
	}
	return p.entry.name
}

// Own reports whether the price is the operator's, from an override, and not the
// table's.
func (p Price) Own() bool { return p.entry != nil && p.entry.own }

// Has reports whether a unit has a price, be it that of another unit, in every context tier.
func (p Price) Has(u call.Unit) bool {
	if p.schedule == nil {
		return false
	}
	for i := range p.schedule.tiers {
		if p.rate(&p.schedule.tiers[i], u) == NoRate {
			return false
		}
	}
	return true
}

// Lend is p with a price of a fee, in pico-USD for each and above 0, that holds wherever p has none.
func (p Price) Lend(u call.Unit, rate int64) Price {
	p.lent = lent{u, rate}
	return p
}

// Tiers are the price's context tiers: above how many input tokens each begins, and its rates, with what each unit falls
// back to filled in. A region's factor is not in them.
func (p Price) Tiers() iter.Seq2[int64, Rates] {
	return func(yield func(int64, Rates) bool) {
		if p.schedule == nil {
			return
		}
		for i := range p.schedule.tiers {
			if !yield(p.schedule.tiers[i].over, p.schedule.tiers[i].per) {
				return
			}
		}
	}
}

// For is the price of the same model, at the same instant, by the variant, the service and the region of a key. A region
// of which the table knows nothing costs what the dearest costs of which it does. The error is ErrNoPrice.
func (p Price) For(k call.Key) (Price, error) {
	if p.entry == nil {
		return Price{}, ErrNoPrice
	}
	service := k.Service
	if service == call.Standard {
		service = ""
	}
	s := p.entry.at(p.unix, service, k.Variant)
	if s == nil {
		return Price{}, fmt.Errorf("%w: %s has none for service %q and variant %q: give it one by the line price: {input: N, output: N, %s} at the model in the policy, or in the table of --prices",
			ErrNoPrice, p.entry.name, k.Service, k.Variant, listFor(k))
	}
	p.schedule, p.factor = s, p.entry.factor(k.Region)
	return p, nil
}

func (e *entry) factor(region string) int64 {
	if region == "" || len(e.regions) == 0 {
		return plain
	}
	if factor, known := e.regions[region]; known {
		return factor
	}
	dearest := int64(plain)
	for _, factor := range e.regions {
		dearest = max(dearest, factor)
	}
	return dearest
}

// at is the last schedule of a service and variant that holds at a unix second, nil if none does.
func (e *entry) at(unix int64, service, variant string) *schedule {
	for i := len(e.schedules) - 1; i >= 0; i-- {
		if s := e.schedules[i]; s.service == service && s.variant == variant && s.holds(unix) {
			return s
		}
	}
	return nil
}

// Cost is what u costs in nano-USD, rounded up once. The whole run is charged at the tier of its input.
func (p Price) Cost(u call.Usage) (int64, error) { return p.cost(&u, u.InputTokens()) }

// CostInRounds is what u costs where it is the sum of several rounds, of which none had more than so many input tokens.
func (p Price) CostInRounds(u call.Usage, round int64) (int64, error) {
	return p.cost(&u, min(round, u.InputTokens()))
}

func (p *Price) cost(u *call.Usage, input int64) (int64, error) {
	if p.schedule == nil {
		return 0, p.unpriced()
	}
	tier := p.schedule.tier(input)
	var sum picoSum
	if u[call.Requests] == 0 {
		sum.add(1, tier.per[call.Requests])
	}
	for unit, n := range u {
		if n == 0 {
			continue
		}
		if err := check(n); err != nil {
			return 0, err
		}
		price := p.rate(tier, call.Unit(unit))
		if price == NoRate {
			return 0, p.lacks(call.Unit(unit))
		}
		sum.add(n, price)
	}
	return sum.nanoUSD()
}

// rate is the price of a unit, in pico-USD, NoRate if it has none.
func (p *Price) rate(tier *rates, u call.Unit) int64 {
	price := tier.per[u]
	if price == NoRate && p.lent.unit == u && p.lent.rate > 0 {
		return p.lent.rate
	}
	if p.factor == plain || price == NoRate || !call.Table[u].Scaled {
		return price
	}
	return (price*p.factor + plain - 1) / plain
}

// listFor is how a policy names the price list of a key.
func listFor(k call.Key) string {
	if k.Variant != "" {
		return fmt.Sprintf("variants: {%q: {input: N, output: N}}", k.Variant)
	}
	return fmt.Sprintf("services: {%q: {input: N, output: N}}", k.Service)
}

func (p *Price) lacks(u call.Unit) error {
	return fmt.Errorf("%w: %s has none for %s: %s", ErrNoPrice, p.entry.name, u, cure)
}

func (p *Price) unpriced() error {
	if p.entry == nil {
		return ErrNoPrice
	}
	return fmt.Errorf("%w: %s has none but for some services or variants", ErrNoPrice, p.entry.name)
}

func (s *schedule) tier(input int64) *rates {
	i := len(s.tiers) - 1
	for i > 0 && input <= s.tiers[i].over {
		i--
	}
	return &s.tiers[i]
}

func check(n int64) error {
	if n < 0 {
		return fmt.Errorf("%w: %d", ErrUsage, n)
	}
	if n > MaxTokens {
		return fmt.Errorf("%w: %d are more than %d", ErrOverflow, n, int64(MaxTokens))
	}
	return nil
}

// holds says whether the schedule applies at a unix second.
func (s *schedule) holds(unix int64) bool {
	second := unix % secondsPerDay
	if second < 0 {
		second += secondsPerDay
	}
	return unix >= s.from && s.start <= second && second < s.end
}

const secondsPerDay = 24 * 60 * 60
