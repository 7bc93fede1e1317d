package budgettest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

const (
	callers      = 16
	callsPerTest = 40
)

// simulateConcurrently lets many callers use one tenant at once. No grant may
// pass a limit; at rest nothing is held, what was spent is the sum of what the
// callers were told, and the events of all fold to the same.
func simulateConcurrently(t *testing.T, h Harness) {
	w := newWorld(t, h)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	told := newTally()
	var running sync.WaitGroup
	for i := range callers {
		c := &caller{T: t, ledger: h.Ledger, tenant: w.tenant, told: told, mayLeave: h.Advance != nil,
			name: fmt.Sprintf("caller-%d", i), random: rand.New(rand.NewPCG(seed, uint64(i)))}
		running.Go(c.run)
	}
	running.Wait()
	w.settleDown(told)
}

// contested are the claims that the callers share, with limits that bind.
func contested() []budget.Claim {
	return []budget.Claim{
		money("usd", 0, 900),
		money("usd/free", 0, budget.NoLimit),
		keep("rate", 1, 400),
		slot("slots", 5),
		over(tokens("tokens/in", budget.Input, 40, 1500), budget.Idle, 24*time.Hour),
		tokens("tokens/out", budget.Output, 30, 1500),
		over(tokens("tokens", budget.Tokens, 70, 3000), budget.Rolling, time.Hour),
		over(money("usd/rolling", 0, 2000), budget.Rolling, time.Hour),
		grouped(over(money("usd/run/a", 0, 500), budget.Idle, 24*time.Hour), "runs", 2),
		grouped(over(money("usd/run/b", 0, 500), budget.Idle, 24*time.Hour), "runs", 2),
		grouped(over(money("usd/run/c", 0, 500), budget.Idle, 24*time.Hour), "runs", 2),
	}
}

// settleDown checks what is left when all callers are done.
func (w *world) settleDown(told *tally) {
	w.Helper()
	rules := contested()
	b := w.balances(rules...)
	for i, c := range rules {
		if o := b.Observed[i]; c.Window.Kind != budget.Rolling && o.Spent > c.Limit {
			w.Errorf("%s: spent %d of %d", c.Key, o.Spent, c.Limit)
		}
	}
	if w.Advance == nil {
		told.check(w, b)
		return
	}
	w.pass(30 * time.Minute) // what was left open has expired
	b = w.balances(rules...)
	told.check(w, b)
	w.foldsTo(w.collect(), rules...)
}

// tally is what the callers were told of charges, by key.
type tally struct {
	mu      sync.Mutex
	spent   map[string]int64
	numbers map[int64]string
}

func newTally() *tally {
	return &tally{spent: make(map[string]int64), numbers: make(map[int64]string)}
}

// add notes what a lease was charged; used is nil where it has expired, of which only
// the charge is known.
func (y *tally) add(claims []budget.Claim, charge int64, used *budget.Actual) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, c := range claims {
		switch c.AtEnd {
		case budget.Adjust:
			y.spent[c.Key] += charge
		case budget.Keep:
			y.spent[c.Key] += c.Amount
		case budget.Input, budget.Output, budget.Tokens:
			y.spent[c.Key] += tokensOf(c, used)
		}
	}
}

func tokensOf(c budget.Claim, used *budget.Actual) int64 {
	switch {
	case used == nil:
		return c.Amount
	case c.AtEnd == budget.Input:
		return used.Input
	case c.AtEnd == budget.Output:
		return used.Output
	}
	return used.Input + used.Output
}

// number fails the test if an event's number is given to two of them.
func (y *tally) number(t *testing.T, n int64, what string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if first := y.numbers[n]; first != "" && first != what {
		t.Errorf("event %d is both %s and %s", n, first, what)
	}
	y.numbers[n] = what
}

func (y *tally) check(w *world, b budget.Balances) {
	w.Helper()
	w.same("open leases", b.Open, int64(0))
	for i, c := range contested() {
		if o := b.Observed[i]; o.Held != 0 || o.Spent != y.spent[c.Key] {
			w.Errorf("%s: spent %d and held %d, but the callers were told of %d", c.Key, o.Spent, o.Held, y.spent[c.Key])
		}
	}
}

// caller is one goroutine's worth of requests.
type caller struct {
	*testing.T
	ledger   Ledger
	tenant   string
	name     string
	random   *rand.Rand
	told     *tally
	mayLeave bool // open leases can be made to expire
}

func (c *caller) run() {
	for i := range callsPerTest {
		r := budget.Reservation{Tenant: c.tenant, Lease: fmt.Sprintf("%s-%d", c.name, i), Policy: policy(1),
			Claims: c.claims(), TTL: 20 * time.Minute}
		g, err := c.twice(r)
		if err == nil {
			c.check(r, g)
			c.finish(r)
		}
	}
}

func (c *caller) claims() (chosen []budget.Claim) {
	hold := c.random.Int64N(20)
	for _, rule := range contested() {
		if c.random.IntN(2) == 0 {
			continue
		}
		if rule.AtEnd == budget.Adjust {
			rule.Amount = hold
		}
		chosen = append(chosen, rule)
	}
	return chosen
}

// twice reserves, sometimes from two goroutines at once, as a caller does
// whose first reply is lost.
func (c *caller) twice(r budget.Reservation) (budget.Grant, error) {
	if c.random.IntN(4) > 0 {
		return c.reserve(r)
	}
	var other sync.WaitGroup
	var first budget.Grant
	var firstErr error
	other.Go(func() { first, firstErr = c.reserve(r) })
	second, err := c.reserve(r)
	other.Wait()
	if err == nil && firstErr == nil && first.Number != second.Number {
		c.Errorf("%s was granted as events %d and %d", r.Lease, first.Number, second.Number)
	}
	if err != nil { // only one of them may have come while it fitted
		return first, firstErr
	}
	return second, nil
}

func (c *caller) reserve(r budget.Reservation) (budget.Grant, error) {
	g, err := c.ledger.Reserve(context.Background(), r)
	if denied := (*budget.Denied)(nil); err != nil && !errors.As(err, &denied) {
		c.Errorf("reserve: %v", err)
	}
	return g, err
}

func (c *caller) check(r budget.Reservation, g budget.Grant) {
	c.told.number(c.T, g.Number, "grant of "+r.Lease)
	for i, claim := range r.Claims {
		if o := g.Observed[i]; o.Spent+o.Held+claim.Amount > claim.Limit {
			c.Errorf("%s was granted %d of %s with %d spent and %d held of %d",
				r.Lease, claim.Amount, claim.Key, o.Spent, o.Held, claim.Limit)
		}
	}
}

// finish ends the lease in one of the ways there are, each said twice.
func (c *caller) finish(r budget.Reservation) {
	l := budget.LeaseRef{Tenant: r.Tenant, Lease: r.Lease}
	hold := c.extend(r, l)
	switch way := c.random.IntN(10); {
	case way == 0 && c.mayLeave:
		c.told.add(r.Claims, hold, nil)
	case way <= 2:
		c.end(l, func() (budget.Ending, error) { return c.ledger.Release(context.Background(), l) })
	default:
		actual := budget.Actual{Cost: c.random.Int64N(hold + 1), Input: c.random.Int64N(41), Output: c.random.Int64N(31)}
		c.end(l, func() (budget.Ending, error) { return c.ledger.Settle(context.Background(), l, actual) })
		c.told.add(r.Claims, actual.Cost, &actual)
	}
}

func (c *caller) end(l budget.LeaseRef, verb func() (budget.Ending, error)) {
	first, err := verb()
	if err != nil {
		c.Errorf("%s: %v", l.Lease, err)
		return
	}
	c.told.number(c.T, first.Number, "end of "+l.Lease)
	if again, err := verb(); err != nil || again != repeated(first) {
		c.Errorf("%s: a repeat got %+v (%v) after %+v", l.Lease, again, err, first)
	}
}

// extend sometimes raises the hold, and returns it.
func (c *caller) extend(r budget.Reservation, l budget.LeaseRef) int64 {
	hold := int64(0)
	adjusts := false
	for _, claim := range r.Claims {
		if claim.AtEnd == budget.Adjust {
			hold, adjusts = claim.Amount, true
		}
	}
	if !adjusts || c.random.IntN(3) > 0 {
		return hold
	}
	total := hold + 1 + c.random.Int64N(10)
	g, err := c.ledger.Extend(context.Background(), budget.Extension{
		Lease: l, Total: total, Policy: r.Policy, Limits: limitsOf(r.Claims), Switches: r.Switches,
	})
	if err != nil {
		return hold
	}
	c.told.number(c.T, g.Number, "extension of "+r.Lease)
	return total
}
