package budgettest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"pgregory.net/rapid"
)

// simulate drives fresh tenants of one ledger with random operations, and
// compares every answer and, after every step, every balance with the model.
// Rapid prints the seed of a failure and shortens it.
func simulate(t *testing.T, h Harness) {
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		s := newSimulation(ctx, t, h)
		steps := s.steps()
		steps[""] = s.compare
		t.Repeat(steps)
		s.rest(t)
	})
}

// steps are the operations, by name.
func (s *simulation) steps() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"reserve": s.reserve,
		"retry":   s.retry,
		"extend":  s.extend,
		"renew":   s.renew,
		"settle":  s.settle,
		"release": s.release,
		"advance": s.advance,
		"sweep":   s.sweep,
		"policy":  s.raise,
		"throw":   s.throw,
		"lift":    s.lift,
	}
}

// simulation is one run: two tenants, each with its model.
type simulation struct {
	Harness
	ctx     context.Context
	start   int64
	tenants []*simulated
	leases  int
}

type simulated struct {
	model
	name       string
	epoch      string
	generation int64
	timeless   bool // the clock moves by itself: instants are not compared
	events     map[int64]budget.Event
	asked      []budget.Reservation // that a caller may repeat
	loss                            // none but in the simulation of losses
}

func newSimulation(ctx context.Context, t *rapid.T, h Harness) *simulation {
	s := &simulation{Harness: h, ctx: ctx}
	for range 2 {
		one := &simulated{name: newTenant(), generation: 1, timeless: h.Advance == nil, events: make(map[int64]budget.Event)}
		if err := h.Ledger.Provision(ctx, one.name); err != nil {
			t.Fatal(err)
		}
		b, err := h.Ledger.Balances(ctx, one.name, nil)
		if err != nil {
			t.Fatal(err)
		}
		one.epoch, one.now, one.number = b.Epoch, b.At, b.Number
		s.start = b.At
		s.tenants = append(s.tenants, one)
	}
	return s
}

func (s *simulation) tenant(t *rapid.T) *simulated {
	return s.tenants[rapid.IntRange(0, len(s.tenants)-1).Draw(t, "tenant")]
}

// rules are the claims that the simulation draws from, one per key. A clock
// that moves by itself leaves only those that no time changes.
func (s *simulation) rules() []budget.Claim {
	rules := []budget.Claim{
		money("usd/ever", 0, 60),
		keep("rate/ever", 0, 40),
		slot("slots", 3),
		once("ids/ever", 60),
		grouped(over(once("ids/run/e", 20), budget.Idle, 10*time.Hour), "runs", 2),
		money("usd/free", 0, budget.NoLimit),
		grouped(over(money("usd/run/a", 0, 50), budget.Idle, 10*time.Hour), "runs", 2),
		grouped(over(money("usd/run/b", 0, 50), budget.Idle, 10*time.Hour), "runs", 2),
		grouped(over(keep("rate/run/c", 0, 50), budget.Idle, 10*time.Hour), "runs", 2),
		marked(keep("tools/ever", 0, 12)),
		tokens("tokens/in/ever", budget.Input, 0, 90),
		tokens("tokens/out/ever", budget.Output, 0, 90),
		marked(grouped(over(keep("tools/run/d", 0, 6), budget.Idle, 10*time.Hour), "runs", 2)),
	}
	if s.Advance == nil {
		return rules
	}
	now := s.tenants[0].now
	hour := time.Hour.Milliseconds()
	begun := s.start + (now-s.start)/hour*hour
	return append(rules,
		within(money("usd/hour", 0, 40), begun, time.Hour),
		within(keep("rate/hour", 0, 20), begun, time.Hour),
		over(tokens("tokens/rolling", budget.Tokens, 0, 60), budget.Rolling, time.Minute),
		within(tokens("tokens/in/hour", budget.Input, 0, 60), begun, time.Hour),
		grouped(over(tokens("tokens/run/f", budget.Output, 0, 60), budget.Idle, 10*time.Hour), "runs", 2),
		over(money("usd/rolling", 0, 40), budget.Rolling, 7*time.Minute+13*time.Millisecond),
		over(keep("rate/rolling", 0, 20), budget.Rolling, time.Hour),
		over(once("ids/rolling", 20), budget.Rolling, time.Hour),
		grouped(over(money("usd/user/a", 0, 30), budget.Rolling, time.Hour), "users", 1),
		grouped(over(money("usd/user/b", 0, 30), budget.Idle, 2*time.Hour), "users", 1),
		grouped(within(keep("rate/user/c", 0, 30), begun, time.Hour), "users", 1),
		marked(within(keep("tools/hour", 0, 8), begun, time.Hour)),
	)
}

func (s *simulation) claims(t *rapid.T) []budget.Claim {
	chosen := rapid.SliceOfNDistinct(rapid.SampledFrom(s.rules()), 0, 5, func(c budget.Claim) string { return c.Key }).Draw(t, "claims")
	hold := rapid.Int64Range(0, 25).Draw(t, "hold")
	for i := range chosen {
		if chosen[i].Marks != nil {
			chosen[i].Marks = rapid.SliceOfNDistinct(rapid.SampledFrom(marks), 1, 4, rapid.ID).Draw(t, "marks")
			continue
		}
		chosen[i].Amount = hold
		if measured[chosen[i].AtEnd] && chosen[i].AtEnd != budget.Adjust {
			chosen[i].Amount = rapid.Int64Range(0, 25).Draw(t, "tokens")
		} else if chosen[i].AtEnd != budget.Adjust {
			chosen[i].Amount = rapid.Int64Range(0, 3).Draw(t, "amount")
		}
		if rapid.IntRange(0, 9).Draw(t, "other limit") == 0 {
			chosen[i].Limit = rapid.Int64Range(0, 80).Draw(t, "limit")
		}
	}
	return chosen
}

func (s *simulation) reserve(t *rapid.T) {
	one := s.tenant(t)
	s.leases++
	r := budget.Reservation{
		Tenant: one.name,
		Lease:  fmt.Sprintf("lease-%03d", s.leases),
		Claims: s.claims(t),
		Policy: one.draw(t),
		TTL:    rapid.SampledFrom([]time.Duration{time.Minute, 20 * time.Minute, 5 * time.Hour}).Draw(t, "ttl"),
	}
	r.Switches = drawSwitches(t)
	if s.Advance == nil {
		r.TTL = budget.MaxLeaseLife
	}
	one.asked = append(one.asked, r)
	s.ask(t, one, r)
}

// draw is the policy that a caller has: the newest, or the one before.
func (s *simulated) draw(t *rapid.T) budget.PolicyVersion {
	behind := rapid.SampledFrom([]int64{0, 0, 0, 0, 0, 1}).Draw(t, "behind")
	return policy(max(1, s.generation-behind))
}

func drawSwitches(t *rapid.T) []string {
	return rapid.SampledFrom([][]string{nil, {"tenant", "key:a"}, {"key:b", "tenant"}, {"key:c"}}).Draw(t, "switches")
}

// retry repeats a reservation whose reply may have been lost.
func (s *simulation) retry(t *rapid.T) {
	one := s.tenant(t)
	if len(one.asked) == 0 {
		t.Skip("nothing asked yet")
	}
	r := one.asked[rapid.IntRange(0, len(one.asked)-1).Draw(t, "reservation")]
	if one.forgotten(r.Lease) {
		t.Skip("asked too long ago")
	}
	s.ask(t, one, r)
}

func (s *simulation) ask(t *rapid.T, one *simulated, r budget.Reservation) {
	got, err := s.Ledger.Reserve(s.ctx, r)
	want, wantErr := one.reserve(r)
	if l := one.find(r.Lease); l != nil && l.expires != l.grant.Expires {
		got.Expires = want.Expires // it was renewed
	}
	one.agree(t, "reserve", got, err, want, wantErr)
}

// forgotten reports whether the ledger need not know the lease any more.
func (s *simulated) forgotten(id string) bool {
	l := s.find(id)
	return l != nil && l.end != "" && s.now >= l.ending.At+budget.RememberEnded.Milliseconds()
}

// lease picks one that is known, or a name that is not.
func (s *simulation) lease(t *rapid.T, one *simulated) budget.LeaseRef {
	ids := []string{fmt.Sprintf("never-%03d", s.leases)}
	if one.forgotten(ids[0]) {
		s.leases++
		ids[0] = fmt.Sprintf("never-%03d", s.leases)
	}
	for _, l := range one.leases {
		if !one.forgotten(l.id) {
			ids = append(ids, l.id)
		}
	}
	slices.Reverse(ids)
	return budget.LeaseRef{Tenant: one.name, Lease: rapid.SampledFrom(ids).Draw(t, "lease")}
}

func (s *simulation) extend(t *rapid.T) {
	one := s.tenant(t)
	x := budget.Extension{
		Lease: s.lease(t, one), Total: rapid.Int64Range(0, 60).Draw(t, "total"),
		Policy: one.draw(t), Limits: s.limits(t), Switches: drawSwitches(t),
	}
	got, err := s.Ledger.Extend(s.ctx, x)
	want, wantErr := one.extend(x)
	got.Expires = want.Expires
	one.agree(t, "extend", got, err, want, wantErr)
}

// limits are those of the rules: some lowered, some raised, some not named.
func (s *simulation) limits(t *rapid.T) (limits []budget.Limit) {
	odd := rapid.SliceOfNDistinct(rapid.SampledFrom(s.rules()), 0, 2, func(c budget.Claim) string { return c.Key }).Draw(t, "odd limits")
	for _, limit := range limitsOf(s.rules()) {
		i := slices.IndexFunc(odd, func(c budget.Claim) bool { return c.Key == limit.Key })
		if i >= 0 {
			limit.Limit = rapid.Int64Range(0, 120).Draw(t, "limit")
		}
		if i < 0 || limit.Limit > 0 {
			limits = append(limits, limit)
		}
	}
	return limits
}

func (s *simulation) renew(t *rapid.T) {
	one := s.tenant(t)
	l, ttl := s.lease(t, one), rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 5 * time.Hour}).Draw(t, "ttl")
	got, err := s.Ledger.Renew(s.ctx, l, ttl)
	want, wantErr := one.renew(l.Lease, ttl)
	if s.Advance == nil {
		got = want
	}
	one.agree(t, "renew", got, err, want, wantErr)
}

func (s *simulation) settle(t *rapid.T) {
	one := s.tenant(t)
	l, actual := s.lease(t, one), budget.Actual{
		Cost:  rapid.Int64Range(0, 40).Draw(t, "cost"),
		Input: rapid.Int64Range(0, 30).Draw(t, "input"), Output: rapid.Int64Range(0, 30).Draw(t, "output"),
	}
	got, err := s.Ledger.Settle(s.ctx, l, actual)
	want, wantErr := one.settle(l.Lease, actual)
	one.agree(t, "settle", got, err, want, wantErr)
}

func (s *simulation) release(t *rapid.T) {
	one := s.tenant(t)
	l := s.lease(t, one)
	got, err := s.Ledger.Release(s.ctx, l)
	want, wantErr := one.release(l.Lease)
	one.agree(t, "release", got, err, want, wantErr)
}

func (s *simulation) advance(t *rapid.T) {
	if s.Advance == nil {
		t.Skip("the clock is real")
	}
	s.pass(rapid.OneOf(
		rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(1, 90_000).Draw(t, "ms")) * time.Millisecond
		}),
		rapid.SampledFrom([]time.Duration{time.Millisecond, time.Minute, 10 * time.Minute, time.Hour, 3 * time.Hour, 31 * time.Hour}),
	).Draw(t, "time"))
}

func (s *simulation) pass(d time.Duration) {
	s.Advance(d)
	for _, one := range s.tenants {
		one.now += d.Milliseconds()
	}
}

// throwable are the switches of the simulation. Those that many reservations
// name are the rarer.
var throwable = []string{"key:a", "key:b", "key:c", "key:d", "tenant", "global"}

func (s *simulation) throw(t *rapid.T) {
	one, name := s.tenant(t), rapid.SampledFrom(throwable).Draw(t, "switch")
	got, err := s.Ledger.Throw(s.ctx, one.name, name)
	one.agree(t, "throw", got, err, one.model.throw(name), nil)
}

// lift takes one back that is thrown, if any is: else nothing would be granted
// after a while.
func (s *simulation) lift(t *rapid.T) {
	one := s.tenant(t)
	names := throwable
	if len(one.thrown) > 0 {
		names = nil
		for _, w := range one.thrown {
			names = append(names, w.Name)
		}
	}
	name, events := rapid.SampledFrom(names).Draw(t, "switch"), []int64{0}
	for _, w := range one.thrown {
		events = append(events, w.Number) // of another switch too
	}
	event := rapid.SampledFrom(events).Draw(t, "event")
	got, err := s.Ledger.Lift(s.ctx, one.name, name, event)
	one.agree(t, "lift", got, err, one.model.lift(name, event), nil)
}

// raise makes the next reservations come under a newer policy.
func (s *simulation) raise(t *rapid.T) { s.tenant(t).generation++ }

func (s *simulation) sweep(t *rapid.T) {
	one := s.tenant(t)
	one.collect(s.ctx, t, s.Ledger)
	one.expire()
}

// collect takes every event that is overdue.
func (s *simulated) collect(ctx context.Context, t *rapid.T, l Ledger) {
	for {
		events, err := l.Sweep(ctx, s.name)
		s.agree(t, "sweep", nil, err, nil, nil)
		for _, e := range events {
			l.Acknowledge(s.name, e.Number)
		}
		s.gather(t, events)
		if len(events) == 0 {
			return
		}
	}
}

func (s *simulated) gather(t *rapid.T, events []budget.Event) {
	for _, e := range events {
		if _, again := s.events[e.Number]; again {
			t.Fatalf("event %d was acknowledged and handed out again", e.Number)
		}
		s.events[e.Number] = e
	}
}

// compare checks every balance of every tenant.
func (s *simulation) compare(t *rapid.T) {
	for _, one := range s.tenants {
		got, err := s.Ledger.Balances(s.ctx, one.name, s.rules())
		want, wantErr := one.balances(s.rules())
		one.agree(t, "balances", got, err, want, wantErr)
	}
}

// rest lets every lease end, and then compares the fold of all events with
// the balances: nothing may be held, and no number missing.
func (s *simulation) rest(t *rapid.T) {
	if s.Advance == nil {
		return
	}
	s.pass(budget.MaxLeaseLife + budget.OverdueAfter)
	s.compare(t)
	s.pass(budget.OverdueAfter)
	for _, one := range s.tenants {
		one.collect(s.ctx, t, s.Ledger)
		if one.refused {
			continue
		}
		b, err := s.Ledger.Balances(s.ctx, one.name, s.rules())
		one.agree(t, "balances at rest", nil, err, nil, nil)
		if !one.refused {
			one.folds(t, b, s.rules())
		}
	}
}

func (s *simulated) folds(t *rapid.T, b budget.Balances, rules []budget.Claim) {
	state := budget.NewState(s.name)
	for n := int64(1); n <= b.Number; n++ {
		if err := state.Apply(s.events[n]); err != nil {
			t.Fatal(err)
		}
	}
	folded, err := state.Balances(rules, state.Advance(b.At))
	if err != nil || !reflect.DeepEqual(folded, b) {
		t.Fatalf("the events give %+v (%v)\nthe ledger has %+v", folded, err, b)
	}
	for i, o := range b.Observed {
		if o.Held != 0 {
			t.Fatalf("%s holds %d at rest", rules[i].Key, o.Held)
		}
	}
}

// agree compares an answer with the model's.
func (s *simulated) agree(t *rapid.T, verb string, got any, err error, want any, wantErr error) {
	t.Helper()
	if s.tells(t, verb, err) {
		return
	}
	var denied, wantDenied *budget.Denied
	var killed, wantKilled *budget.Killed
	if errors.As(err, &denied) && errors.As(wantErr, &wantDenied) {
		got, want = *denied, *wantDenied
	} else if errors.As(err, &killed) && errors.As(wantErr, &wantKilled) {
		got, want = *killed, *wantKilled
	} else if sentinel(err) != sentinel(wantErr) {
		t.Fatalf("%s: error is %v, want %v", verb, err, wantErr)
	} else if err != nil {
		return
	}
	if got, want := s.plain(got), s.plain(s.dated(want)); !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", verb, got, want)
	}
}

// dated gives the model's answer the epoch that only the ledger knew.
func (s *simulated) dated(answer any) any {
	switch a := answer.(type) {
	case budget.Grant:
		a.Epoch = s.epoch
		return a
	case budget.Ending:
		a.Epoch = s.epoch
		return a
	case budget.Balances:
		a.Epoch = s.epoch
		return a
	case budget.Denied:
		a.Epoch = s.epoch
		return a
	case budget.Killed:
		a.Epoch = s.epoch
		return a
	}
	return answer
}

// plain makes no list and an empty one the same, and takes out instants that
// cannot be foretold.
func (s *simulated) plain(answer any) any {
	switch a := answer.(type) {
	case budget.Grant:
		a.Observed, a.At, a.Expires = listed(a.Observed), s.instant(a.At), s.instant(a.Expires)
		return a
	case budget.Ending:
		a.At = s.instant(a.At)
		return a
	case budget.Balances:
		a.Observed, a.At = listed(a.Observed), s.instant(a.At)
		a.Switches = slices.Clone(a.Switches)
		for i := range a.Switches {
			a.Switches[i].At = s.instant(a.Switches[i].At)
		}
		if len(a.Switches) == 0 {
			a.Switches = nil
		}
		return a
	case budget.Switch:
		a.At = s.instant(a.At)
		return a
	case budget.Killed:
		a.At, a.Switch.At = s.instant(a.At), s.instant(a.Switch.At)
		return a
	case budget.Denied:
		a.Observed, a.At = listed(a.Observed), s.instant(a.At)
		return a
	}
	return answer
}

func (s *simulated) instant(at int64) int64 {
	if s.timeless {
		return 0
	}
	return at
}

func listed(o []budget.Observed) []budget.Observed { return append([]budget.Observed{}, o...) }
