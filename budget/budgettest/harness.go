// Package budgettest is what every ledger must pass: a table of the promises
// that package budget makes, one named test for each, and random operations
// compared after every step with a model that shares no code with the ledgers.
package budgettest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Ledger is both sides of a ledger.
type Ledger interface {
	budget.Ledger
	budget.Keeper
}

// Harness is one ledger to test.
type Harness struct {
	Ledger Ledger

	// Advance moves the ledger's clock, which stands still otherwise. Nil if
	// the clock is real: then short waits are slept and tests that need long
	// ones are skipped.
	Advance func(d time.Duration)

	// Reopen ends the ledger without a farewell and opens what it left, with
	// the same clock. Nil if that makes no sense.
	Reopen func(t *testing.T) Ledger

	// Lose has the ledger lose a part of what it keeps of a tenant, one of n by pick,
	// and says which. Nil if a ledger has all or nothing.
	Lose func(ctx context.Context, tenant string, pick func(n int) int) (what string, err error)
}

// Run runs the whole suite. Open gives a ledger of the test's own, which open
// closes by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) { p.check(newWorld(t, open(t))) })
	}
	t.Run("simulation", func(t *testing.T) { simulate(t, open(t)) })
	t.Run("concurrent simulation", func(t *testing.T) { simulateConcurrently(t, open(t)) })
	t.Run("simulation of losses", func(t *testing.T) { simulateLosses(t, open(t)) })
}

// promise is one row of the conformance table.
type promise struct {
	name  string
	check func(w *world)
}

var promises = concat(claimPromises, markPromises, leasePromises, tokenPromises, extensionPromises, windowPromises, groupPromises,
	tenantPromises, eventPromises, switchPromises, followPromises)

func concat(tables ...[]promise) (all []promise) {
	for _, table := range tables {
		all = append(all, table...)
	}
	return all
}

// longestSleep is how long a test waits on a real clock.
const longestSleep = 1500 * time.Millisecond

// tenants numbers the tenants of all tests of a process, so that tests may
// share a server.
var tenants atomic.Int64

func newTenant() string {
	return fmt.Sprintf("tenant-%d-%d", time.Now().UnixNano(), tenants.Add(1))
}

// world is one test's ledger with a tenant of its own.
type world struct {
	*testing.T
	Harness
	ledger Ledger
	tenant string
	leases int
	asked  map[string][]budget.Claim // by lease
}

func newWorld(t *testing.T, h Harness) *world {
	t.Helper()
	w := &world{T: t, Harness: h, ledger: h.Ledger, tenant: newTenant(), asked: make(map[string][]budget.Claim)}
	w.must(w.ledger.Provision(t.Context(), w.tenant))
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// want fails the test unless err is the sentinel.
func (w *world) want(err, sentinel error) {
	w.Helper()
	if !errors.Is(err, sentinel) {
		w.Fatalf("error is %v, want %v", err, sentinel)
	}
}

func (w *world) same(what string, got, want any) {
	w.Helper()
	if !reflect.DeepEqual(got, want) {
		w.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.Helper()
	if w.Advance != nil {
		w.Advance(d)
		return
	}
	if d > longestSleep {
		w.Skipf("needs %v on a clock that cannot be moved", d)
	}
	time.Sleep(d)
}

// now is the ledger's time in milliseconds.
func (w *world) now() int64 {
	w.Helper()
	return w.balances().At
}

func (w *world) nextLease() string {
	w.leases++
	return fmt.Sprintf("lease-%d", w.leases)
}

func (w *world) reservation(claims ...budget.Claim) budget.Reservation {
	lease := w.nextLease()
	w.asked[lease] = claims
	return budget.Reservation{Tenant: w.tenant, Lease: lease, Claims: claims, Policy: policy(1), TTL: time.Minute}
}

// extension asks for a total under the limits and the policy of the grant.
func (w *world) extension(l budget.LeaseRef, total int64) budget.Extension {
	return budget.Extension{Lease: l, Total: total, Policy: policy(1), Limits: limitsOf(w.asked[l.Lease])}
}

func limitsOf(claims []budget.Claim) (limits []budget.Limit) {
	for _, c := range claims {
		if c.AtEnd == budget.Adjust {
			limits = append(limits, budget.Limit{Key: c.Key, Limit: c.Limit})
		}
	}
	return limits
}

func keysOf(claims []budget.Claim) (keys []string) {
	for _, c := range claims {
		keys = append(keys, c.Key)
	}
	return keys
}

func (w *world) extend(l budget.LeaseRef, total int64) (budget.Grant, error) {
	return w.ledger.Extend(w.Context(), w.extension(l, total))
}

func policy(generation int64) budget.PolicyVersion {
	return budget.PolicyVersion{Generation: generation, Hash: fmt.Sprintf("%064x", generation)}
}

func (w *world) reserve(claims ...budget.Claim) (budget.Grant, error) {
	return w.ledger.Reserve(w.Context(), w.reservation(claims...))
}

// granted reserves and fails the test if denied.
func (w *world) granted(claims ...budget.Claim) budget.LeaseRef {
	w.Helper()
	g, err := w.reserve(claims...)
	w.must(err)
	return budget.LeaseRef{Tenant: w.tenant, Lease: g.Lease}
}

// denied reserves and returns the reasons, failing the test if granted.
func (w *world) denied(claims ...budget.Claim) []budget.Reason {
	w.Helper()
	_, err := w.reserve(claims...)
	return w.reasons(err)
}

func (w *world) reasons(err error) []budget.Reason {
	w.Helper()
	var denied *budget.Denied
	if !errors.As(err, &denied) {
		w.Fatalf("error is %v, want a denial", err)
	}
	return denied.Reasons
}

// settle ends a lease that used no tokens.
func (w *world) settle(l budget.LeaseRef, cost int64) budget.Ending {
	w.Helper()
	return w.use(l, budget.Actual{Cost: cost})
}

func (w *world) use(l budget.LeaseRef, actual budget.Actual) budget.Ending {
	w.Helper()
	e, err := w.ledger.Settle(w.Context(), l, actual)
	w.must(err)
	return e
}

func (w *world) release(l budget.LeaseRef) budget.Ending {
	w.Helper()
	e, err := w.ledger.Release(w.Context(), l)
	w.must(err)
	return e
}

func (w *world) balances(claims ...budget.Claim) budget.Balances {
	w.Helper()
	b, err := w.ledger.Balances(w.Context(), w.tenant, claims)
	w.must(err)
	return b
}

// holds fails the test unless the claim's counter has spent and held so much.
func (w *world) holds(c budget.Claim, spent, held int64) {
	w.Helper()
	o := w.balances(c).Observed[0]
	if o.Spent != spent || o.Held != held {
		w.Fatalf("%s: spent %d and held %d, want %d and %d", c.Key, o.Spent, o.Held, spent, held)
	}
}

// collect sweeps and acknowledges until the tenant's events are all there.
func (w *world) collect() []budget.Event {
	w.Helper()
	w.pass(budget.OverdueAfter)
	return collect(w.Context(), w, w.ledger, w.tenant)
}

func collect(ctx context.Context, t fataler, l Ledger, tenant string) (all []budget.Event) {
	t.Helper()
	for {
		events, err := l.Sweep(ctx, tenant)
		if err != nil {
			t.Fatalf("sweep: %v", err)
		}
		for _, e := range events {
			l.Acknowledge(tenant, e.Number)
		}
		all = append(all, events...)
		if len(events) == 0 {
			return all
		}
	}
}

// fataler is what testing.T and rapid.T share.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// money is an adjusted claim that never resets.
func money(key string, amount, limit int64) budget.Claim {
	return budget.Claim{Key: key, Amount: amount, Limit: limit, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Forever}}
}

func keep(key string, amount, limit int64) budget.Claim {
	c := money(key, amount, limit)
	c.AtEnd = budget.Keep
	return c
}

// tokens is a claim that is charged the tokens of one kind, for ever.
func tokens(key string, end budget.AtEnd, amount, limit int64) budget.Claim {
	c := money(key, amount, limit)
	c.AtEnd = end
	return c
}

// once is a claim that is spent however its lease ends.
func once(key string, limit int64) budget.Claim {
	c := money(key, 1, limit)
	c.AtEnd = budget.Spend
	return c
}

func slot(key string, limit int64) budget.Claim {
	c := money(key, 1, limit)
	c.AtEnd = budget.Return
	return c
}

// calls is a claim that counts marks, named in one word, for ever.
func calls(key string, limit int64, names string) budget.Claim {
	c := keep(key, 0, limit)
	c.Marks = strings.Fields(names)
	return c
}

func over(c budget.Claim, kind budget.WindowKind, length time.Duration) budget.Claim {
	c.Window = budget.Window{Kind: kind, Length: length}
	return c
}

// within gives the claim a fixed window of the given length that began at the
// instant start.
func within(c budget.Claim, start int64, length time.Duration) budget.Claim {
	mid, end := start+length.Milliseconds(), start+2*length.Milliseconds()
	c.Window = budget.Window{Kind: budget.Fixed, Current: budget.Span{Start: start, End: mid}, Next: budget.Span{Start: mid, End: end}}
	return c
}

func grouped(c budget.Claim, group string, most int64) budget.Claim {
	c.Group, c.GroupMax = group, most
	return c
}
