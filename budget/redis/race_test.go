package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

var policy = budget.PolicyVersion{Generation: 1, Hash: "c0ffee"}

// usd is a budget for ever, of which amount is claimed.
func usd(amount, limit int64) budget.Claim {
	return budget.Claim{Key: "usd/tenant", Amount: amount, Limit: limit, AtEnd: budget.Adjust,
		Window: budget.Window{Kind: budget.Forever}}
}

func reservation(tenant, lease string, claims ...budget.Claim) budget.Reservation {
	return budget.Reservation{Tenant: tenant, Lease: lease, Claims: claims, Policy: policy, TTL: time.Minute}
}

// extension asks for a total under the limits of claims.
func extension(lease budget.LeaseRef, total int64, claims ...budget.Claim) budget.Extension {
	x := budget.Extension{Lease: lease, Total: total, Policy: policy}
	for _, c := range claims {
		x.Limits = append(x.Limits, budget.Limit{Key: c.Key, Limit: c.Limit})
	}
	return x
}

func provision(t testing.TB, l *redis.Ledger, tenants ...string) {
	t.Helper()
	if err := l.Provision(t.Context(), tenants...); err != nil {
		t.Fatal(err)
	}
}

func mustReserve(t testing.TB, l *redis.Ledger, r budget.Reservation) budget.Grant {
	t.Helper()
	g, err := l.Reserve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func mustSettle(t testing.TB, l *redis.Ledger, tenant, lease string, actual int64) {
	t.Helper()
	if _, err := l.Settle(t.Context(), budget.LeaseRef{Tenant: tenant, Lease: lease}, budget.Actual{Cost: actual}); err != nil {
		t.Fatal(err)
	}
}

// wantBalance fails the test unless the tenant has spent and held so much.
func wantBalance(t testing.TB, l *redis.Ledger, tenant string, spent, held int64) {
	t.Helper()
	b, err := l.Balances(t.Context(), tenant, []budget.Claim{usd(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if o := b.Observed[0]; o.Spent != spent || o.Held != held {
		t.Errorf("spent %d and held %d, want %d and %d", o.Spent, o.Held, spent, held)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
	for line := range strings.Lines(err.Error()) { // of several masters each has one
		if strings.Count(line, budget.ErrUnavailable.Error()) > 1 {
			t.Errorf("it says so twice: %s", line)
		}
	}
}

func TestExactlyTheLimitIsGrantedAcrossReplicas(t *testing.T) {
	t.Parallel()
	const callers, fits, amount = 200, 20, 50
	server := redistest.Start(t, redistest.Setting("appendfsync", "everysec"))
	replicas := []*redis.Ledger{open(t, server.URL()), open(t, server.URL()), open(t, server.URL())}
	provision(t, replicas[0], "t")

	var granted atomic.Int64
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			lease := fmt.Sprintf("lease-%d", i)
			replica := replicas[i%len(replicas)]
			_, err := replica.Reserve(context.Background(), reservation("t", lease, usd(amount, fits*amount)))
			if denied := (*budget.Denied)(nil); errors.As(err, &denied) {
				return
			}
			if err != nil {
				t.Errorf("reserve: %v", err)
				return
			}
			granted.Add(1)
			// Another replica may settle what this one reserved.
			other := replicas[(i+1)%len(replicas)]
			if _, err := other.Settle(context.Background(), budget.LeaseRef{Tenant: "t", Lease: lease}, budget.Actual{Cost: amount}); err != nil {
				t.Errorf("settle: %v", err)
			}
		})
	}
	running.Wait()
	if granted.Load() != fits {
		t.Errorf("%d granted, want exactly %d", granted.Load(), fits)
	}
	wantBalance(t, replicas[2], "t", fits*amount, 0)
}
