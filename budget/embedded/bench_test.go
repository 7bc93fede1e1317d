package embedded_test

import (
	"context"
	"fmt"
	"strings"
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
	e, err := l.Settle(context.Background(), budget.LeaseRef{Tenant: r.Tenant, Lease: r.Lease}, budget.Actual{Cost: 700})
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

// BenchmarkDecodeLine reads what one request leaves in the journal, record by
// record.
func BenchmarkDecodeLine(b *testing.B) {
	for name, payload := range benchmarkRecords() {
		b.Run(name, func(b *testing.B) {
			line := embedded.AppendLine(nil, payload)
			d := embedded.NewDecoder()
			b.ReportAllocs()
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				if _, err := embedded.DecodeLine(d, line[:len(line)-1]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchmarkRecords() map[string][]byte {
	now := time.Now().UnixMilli()
	tenant, lease := "tenant-42", "0192f0a1-7b3c-7d4e-8f90-a1b2c3d4e5f6"
	grant := budget.Event{Tenant: tenant, Epoch: strings.Repeat("0f", 16), Number: 1234567, Kind: budget.Granted, At: now, Lease: lease,
		Expires: now + 600_000, Policy: budget.PolicyVersion{Generation: 3, Hash: strings.Repeat("0f", 32)}}
	for _, c := range benchmarkClaims() {
		grant.Claims = append(grant.Claims, budget.Placed{Claim: c,
			Observed: budget.Observed{Span: c.Window.Current, Spent: 123_456_789, Held: 4000}})
	}
	settle := budget.Event{Tenant: tenant, Epoch: grant.Epoch, Number: 1234568, Kind: budget.Settled, At: now, Lease: lease, Amount: 700}
	return map[string][]byte{
		"grant":  embedded.AppendEvent(nil, &grant),
		"settle": embedded.AppendEvent(nil, &settle),
		"ack":    embedded.AppendAck(nil, tenant, 1234567),
		"renew":  embedded.AppendRenewal(nil, tenant, lease, now),
	}
}
