package embedded_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
)

// BenchmarkPair reserves and settles: three claims over a day, a rolling hour
// and for ever, with acknowledgements.
func BenchmarkPair(b *testing.B) {
	for name, config := range map[string]func(embedded.Config) embedded.Config{
		"sync":   func(c embedded.Config) embedded.Config { return c },
		"memory": embedded.WithoutSync,
	} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				benchmarkPair(b, config(embedded.Config{Dir: b.TempDir()}), callers)
			})
		}
	}
}

func benchmarkPair(b *testing.B, config embedded.Config, callers int) {
	l := open(b, config)
	var tenants []string
	for i := range 100 {
		tenants = append(tenants, fmt.Sprintf("tenant-%d", i))
	}
	must(b, l.Provision(context.Background(), tenants...))
	var leases atomic.Int64
	claims := benchmarkClaims()
	b.SetParallelism(callers)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := leases.Add(1)
			pair(b, l, reservationOf(tenants[n%100], fmt.Sprintf("lease-%d", n), claims))
		}
	})
}

func benchmarkClaims() []budget.Claim {
	now, day := time.Now().UnixMilli(), (24 * time.Hour).Milliseconds()
	daily, hourly := money(1000), money(1)
	daily.Window = budget.Window{Kind: budget.Fixed, Current: budget.Span{Start: now - 1000, End: now + day},
		Next: budget.Span{Start: now + day, End: now + 2*day}}
	hourly.Key, hourly.AtEnd = "requests", budget.Keep
	hourly.Window = budget.Window{Kind: budget.Rolling, Length: time.Hour}
	slot := money(1)
	slot.Key, slot.AtEnd = "slots", budget.Return
	return []budget.Claim{daily, hourly, slot}
}

func reservationOf(tenant, lease string, claims []budget.Claim) budget.Reservation {
	r := reservation(tenant, lease, 0)
	r.Claims = claims
	return r
}

func pair(b *testing.B, l *embedded.Ledger, r budget.Reservation) {
	g, err := l.Reserve(context.Background(), r)
	if err != nil {
		b.Error(err)
		return
	}
	e, err := l.Settle(context.Background(), budget.LeaseRef{Tenant: r.Tenant, Lease: r.Lease}, 700)
	if err != nil {
		b.Error(err)
		return
	}
	l.Acknowledge(r.Tenant, g.Number)
	l.Acknowledge(r.Tenant, e.Number)
}

// BenchmarkOpen reads a journal of 20,000 tenants with two requests each.
func BenchmarkOpen(b *testing.B) {
	config := embedded.WithoutSync(embedded.Config{Dir: b.TempDir()})
	l := open(b, config)
	claims := benchmarkClaims()
	for i := range 20_000 {
		tenant := fmt.Sprintf("tenant-%d", i)
		must(b, l.Provision(context.Background(), tenant))
		pair(b, l, reservationOf(tenant, "one", claims))
		pair(b, l, reservationOf(tenant, "two", claims))
	}
	must(b, l.Close())
	for b.Loop() {
		must(b, open(b, config).Close())
	}
}
