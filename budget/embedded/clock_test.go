package embedded_test

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
)

// hourly holds 1 in the hour that the ledger's clock is in, as a caller would
// compute it.
func hourly(l *embedded.Ledger, tenant, lease string) budget.Reservation {
	start := l.Now().Truncate(time.Hour)
	span := func(hours time.Duration) budget.Span {
		return budget.Span{
			Start: start.Add(hours * time.Hour).UnixMilli(),
			End:   start.Add((hours + 1) * time.Hour).UnixMilli(),
		}
	}
	return budget.Reservation{
		Tenant: tenant, Lease: lease, TTL: time.Minute,
		Policy: budget.PolicyVersion{Generation: 1, Hash: "abc"},
		Claims: []budget.Claim{{
			Key: "usd", Amount: 1, Limit: budget.NoLimit, AtEnd: budget.Adjust,
			Window: budget.Window{Kind: budget.Fixed, Current: span(0), Next: span(1)},
		}},
	}
}

// TestClockStepsBack by two hours in the middle of one. Every tenant goes on in
// the hour of the latest time that the ledger has seen, also one that had not
// seen it, and after a restart.
func TestClockStepsBack(t *testing.T) {
	c := newClock()
	config := embedded.Config{Dir: t.TempDir(), Now: c.now}
	l := open(t, config)
	must(t, l.Provision(t.Context(), "busy", "quiet"))
	c.advance(2*time.Hour + 30*time.Minute)
	latest := l.Now()
	before, err := l.Reserve(t.Context(), hourly(l, "busy", "before"))
	must(t, err)
	c.advance(-2 * time.Hour)

	goesOn := func(name, tenant string, held int64) {
		t.Helper()
		if now := l.Now(); now.Before(latest) {
			t.Errorf("%s: the ledger says %v, it was %v before", name, now, latest)
		}
		got, err := l.Reserve(t.Context(), hourly(l, tenant, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if got.Observed[0].Span != before.Observed[0].Span || got.Observed[0].Held != held {
			t.Errorf("%s: observed %+v, want span %v and %d held", name, got.Observed[0], before.Observed[0].Span, held)
		}
	}
	goesOn("stepped-back", "busy", 1)
	goesOn("another-tenant", "quiet", 0)
	must(t, l.Close())
	l = open(t, config)
	goesOn("restarted", "busy", 2)
	goesOn("another-tenant-restarted", "quiet", 1)
}

// TestNowNeverGoesBack whatever the clock does, and a window computed from it
// always holds the request.
func TestNowNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newClock()
		l := open(t, embedded.WithoutSync(embedded.Config{Dir: t.TempDir(), Now: c.now}))
		defer l.Close()
		must(t, l.Provision(context.Background(), "a", "b"))
		latest := l.Now()
		for i := range rapid.IntRange(1, 20).Draw(rt, "steps") {
			c.advance(time.Duration(rapid.IntRange(-300, 300).Draw(rt, "minutes")) * time.Minute)
			now := l.Now()
			if now.Before(latest) {
				rt.Fatalf("the ledger says %v after %v", now, latest)
			}
			latest = now
			r := hourly(l, rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "tenant"), string(rune('a'+i)))
			if _, err := l.Reserve(context.Background(), r); err != nil {
				rt.Fatalf("at %v: %v", now, err)
			}
		}
	})
}
