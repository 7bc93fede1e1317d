package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/budgettest"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock stands still until it is moved.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.nanos.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

var quiet = slog.New(slog.DiscardHandler)

func open(t testing.TB, config embedded.Config) *embedded.Ledger {
	t.Helper()
	config.Log = quiet
	l, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	for name, compactBytes := range map[string]int64{"one journal": 0, "always compacting": 2 << 10} {
		t.Run(name, func(t *testing.T) {
			budgettest.Run(t, func(t *testing.T) budgettest.Harness {
				return harness(t, compactBytes)
			})
		})
	}
}

// TestConformanceInMemory: nothing but a restart tells it from one that writes.
func TestConformanceInMemory(t *testing.T) {
	budgettest.Run(t, func(t *testing.T) budgettest.Harness {
		c := newClock()
		l := embedded.InMemory(c.now)
		t.Cleanup(func() { l.Close() })
		return budgettest.Harness{Ledger: l, Advance: c.advance}
	})
}

// TestInMemoryIsOverWithClose: nothing is granted by what nobody keeps any more.
func TestInMemoryIsOverWithClose(t *testing.T) {
	l := embedded.InMemory(nil)
	must(t, l.Provision(t.Context(), "t"))
	must(t, l.Ready(t.Context()))
	must(t, l.Close())
	must(t, l.Close())
	r := budget.Reservation{Tenant: "t", Lease: "l", TTL: time.Minute, Policy: budget.PolicyVersion{Generation: 1, Hash: "ab"}}
	if _, err := l.Reserve(t.Context(), r); !errors.Is(err, budget.ErrUnreachable) {
		t.Errorf("reserve after the close: %v", err)
	}
	if err := l.Ready(t.Context()); !errors.Is(err, budget.ErrUnreachable) {
		t.Errorf("ready after the close: %v", err)
	}
}

func harness(t *testing.T, compactBytes int64) budgettest.Harness {
	c := newClock()
	config := embedded.Config{Dir: t.TempDir(), Now: c.now, CompactBytes: compactBytes}
	l := open(t, config)
	reopen := func(t *testing.T) budgettest.Ledger {
		must(t, l.Close())
		l = open(t, config)
		return l
	}
	return budgettest.Harness{Ledger: l, Advance: c.advance, Reopen: reopen}
}

// TestManyExpire ends so many leases over several calls, each with the same
// balance in sight.
func TestManyExpire(t *testing.T) {
	const leases = 2500
	c := newClock()
	l := open(t, embedded.WithoutSync(embedded.Config{Dir: t.TempDir(), Now: c.now}))
	must(t, l.Provision(t.Context(), "tenant"))
	for i := range leases {
		_, err := l.Reserve(t.Context(), reservation("tenant", fmt.Sprintf("lease-%d", i), 2))
		must(t, err)
	}
	c.advance(2 * time.Hour)
	for _, open := range []int64{1500, 500, 0} {
		b := balances(t, l, "tenant")
		if o := b.Observed[0]; b.Open != open || o.Held != 2*open || o.Spent+o.Held != 2*leases {
			t.Fatalf("%d leases are open, want %d, with %+v", b.Open, open, o)
		}
	}
}

// money is a claim that never resets.
func money(amount int64) budget.Claim {
	return budget.Claim{Key: "usd", Amount: amount, Limit: budget.NoLimit, AtEnd: budget.Adjust,
		Window: budget.Window{Kind: budget.Forever}}
}

func reservation(tenant, lease string, amount int64) budget.Reservation {
	return budget.Reservation{Tenant: tenant, Lease: lease, Claims: []budget.Claim{money(amount)},
		Policy: budget.PolicyVersion{Generation: 1, Hash: "abc"}, TTL: time.Hour}
}

func extension(lease budget.LeaseRef, total int64) budget.Extension {
	c := money(total)
	return budget.Extension{Lease: lease, Total: total, Policy: budget.PolicyVersion{Generation: 1, Hash: "abc"},
		Limits: []budget.Limit{{Key: c.Key, Limit: c.Limit}}}
}

// spend reserves and settles n times, from the lease number first on.
func spend(t testing.TB, l *embedded.Ledger, tenant string, first, n int) {
	t.Helper()
	ctx := context.Background()
	for i := first; i < first+n; i++ {
		r := reservation(tenant, fmt.Sprintf("lease-%d", i), 3)
		_, err := l.Reserve(ctx, r)
		must(t, err)
		_, err = l.Settle(ctx, budget.LeaseRef{Tenant: tenant, Lease: r.Lease}, budget.Actual{Cost: 2})
		must(t, err)
	}
}

func balances(t testing.TB, l *embedded.Ledger, tenant string) budget.Balances {
	t.Helper()
	b, err := l.Balances(context.Background(), tenant, []budget.Claim{money(0)})
	must(t, err)
	b.At = 0
	return b
}

// foldOf is the balances that the tenant's events give, none of which may be
// acknowledged.
func foldOf(t testing.TB, l *embedded.Ledger, tenant string) budget.Balances {
	t.Helper()
	events, err := l.Unacknowledged(tenant)
	must(t, err)
	s := budget.NewState(tenant)
	for _, e := range events {
		must(t, s.Apply(e))
	}
	b, err := s.Balances([]budget.Claim{money(0)}, s.Advance(0))
	must(t, err)
	b.At = 0
	return b
}
