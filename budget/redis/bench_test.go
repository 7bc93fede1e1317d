package redis_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// BenchmarkReserveSettle is what one governed request asks of the ledger, with
// the acknowledgements of both events, from many callers at once. Beside the
// time it reports the CPU time of the server, and the part of it that is spent
// in scripts.
func BenchmarkReserveSettle(b *testing.B) {
	hour := time.Now().Truncate(time.Hour).UnixMilli()
	fixed := usd(10, budget.NoLimit)
	fixed.Key = "usd/tenant/hour"
	fixed.Window = budget.Window{Kind: budget.Fixed, Current: budget.Span{Start: hour, End: hour + 3_600_000},
		Next: budget.Span{Start: hour + 3_600_000, End: hour + 7_200_000}}
	rolling := budget.Claim{Key: "rate", Amount: 1, Limit: budget.NoLimit, AtEnd: budget.Keep,
		Window: budget.Window{Kind: budget.Rolling, Length: time.Minute}}
	slot := budget.Claim{Key: "slots", Amount: 1, Limit: budget.NoLimit, AtEnd: budget.Return,
		Window: budget.Window{Kind: budget.Forever}}
	for _, row := range []struct {
		name   string
		claims []budget.Claim
	}{
		{"one claim", []budget.Claim{usd(10, budget.NoLimit)}},
		{"four claims", []budget.Claim{usd(10, budget.NoLimit), fixed, rolling, slot}},
	} {
		b.Run(row.name, func(b *testing.B) { benchPairs(b, row.claims) })
	}
}

func benchPairs(b *testing.B, claims []budget.Claim) {
	server := redistest.Start(b, redistest.Setting("appendfsync", "everysec"))
	l := open(b, server.URL())
	provision(b, l, "t")
	mustReserve(b, l, reservation("t", "warm", claims...))
	mustSettle(b, l, "t", "warm", 5)
	var next atomic.Int64
	cpu, scripts := serverCPU(b, l), scriptTime(b, l)
	b.SetParallelism(callersPerCPU)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			pair(b, l, fmt.Sprintf("lease-%d", next.Add(1)), claims)
		}
	})
	b.ReportMetric((serverCPU(b, l)-cpu)*1e6/float64(b.N), "server-us/op")
	b.ReportMetric((scriptTime(b, l)-scripts)/float64(b.N), "script-us/op")
}

// callersPerCPU keeps the server busy.
const callersPerCPU = 32

func pair(b *testing.B, l *redis.Ledger, id string, claims []budget.Claim) {
	g, err := l.Reserve(context.Background(), reservation("t", id, claims...))
	if err != nil {
		b.Error(err)
		return
	}
	l.Acknowledge("t", g.Number)
	e, err := l.Settle(context.Background(), budget.LeaseRef{Tenant: "t", Lease: id}, budget.Actual{Cost: 5})
	if err != nil {
		b.Error(err)
		return
	}
	l.Acknowledge("t", e.Number)
}

// scriptTime is the time that the server has spent in scripts, in microseconds.
func scriptTime(b *testing.B, l *redis.Ledger) float64 {
	b.Helper()
	info, err := l.Client().InfoMap(b.Context(), "commandstats").Result()
	if err != nil {
		b.Fatal(err)
	}
	var calls, usec float64
	fmt.Sscanf(info["Commandstats"]["cmdstat_evalsha"], "calls=%f,usec=%f", &calls, &usec)
	return usec
}

// serverCPU is the CPU time that the server has used, in seconds.
func serverCPU(b *testing.B, l *redis.Ledger) float64 {
	b.Helper()
	info, err := l.Client().InfoMap(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	var user, system float64
	fmt.Sscan(info["CPU"]["used_cpu_user"], &user)
	fmt.Sscan(info["CPU"]["used_cpu_sys"], &system)
	return user + system
}
