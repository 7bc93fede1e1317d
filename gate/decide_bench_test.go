//go:build unix

package gate_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// decideBatch is how many requests are in flight at most, and decideEvery the
// time between two: of a tenant with a hundred requests a second. They are of
// two runs by turns, each of which may call 10,000 tools a minute.
const decideBatch, decideEvery = 200, 10 * time.Millisecond

// BenchmarkDecide is one decision of Begin on the embedded ledger as serve
// uses it: the price and the cost, every module's verdict, the claims, the
// kill switches, the ledger's Reserve and its record in the journal's buffer.
// Each request brings the results of two tool calls that no other has brought.
// It is all of Begin but the decision's receipt and the timer of the renewal.
// The journal's writes, syncs and compactions are outside, and so is the
// settlement. cpu-ns/op is what the decisions themselves took of a core.
func BenchmarkDecide(b *testing.B) {
	w := newWorld(b, allModules)
	ledger := decideLedger(b, w.clock)
	g := gate.New(gate.Config{Ledger: ledger, Log: w.audit, Outbox: w.outbox})
	asked := slices.Repeat([]gate.Bid{everyClaim(w)}, decideBatch)
	granted := make([]budget.Grant, 0, decideBatch)
	var used time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(granted) {
		b.StopTimer()
		settleAll(b, ledger, granted)
		granted = granted[:0]
		w.clock.advance(decideBatch * decideEvery)
		for i := range asked {
			id, facts := strconv.Itoa(n+i), &asked[i].Facts
			facts.SetNames("run-"+strconv.Itoa(i%2), "", id)
			facts.ToolResults = twoResults(id)
		}
		b.StartTimer()
		before := cpuTime(b)
		for _, bid := range asked[:min(decideBatch, b.N-n)] {
			grant, denial := g.Decide(context.Background(), bid)
			if denial != nil || len(grant.Observed) != 7 || grant.Observed[2].New != 2 {
				b.Fatal(denial, grant)
			}
			granted = append(granted, grant)
		}
		used += cpuTime(b) - before
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// decideLedger is a ledger that does not compact.
func decideLedger(b *testing.B, c *clock) embedded.Leading {
	l, err := embedded.Open(embedded.Config{Dir: b.TempDir(), CompactBytes: 1 << 40, Now: c.Now})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	if err := l.Provision(context.Background(), "acme"); err != nil {
		b.Fatal(err)
	}
	return embedded.Leading{Ledger: l}
}

func settleAll(b *testing.B, ledger embedded.Leading, granted []budget.Grant) {
	b.Helper()
	for _, grant := range granted {
		end, err := ledger.Settle(context.Background(), budget.LeaseRef{Tenant: "acme", Lease: grant.Lease}, budget.Actual{Cost: 700})
		if err != nil {
			b.Fatal(err)
		}
		ledger.Acknowledge("acme", grant.Number)
		ledger.Acknowledge("acme", end.Number)
	}
	if err := ledger.Flush(); err != nil {
		b.Fatal(err)
	}
}
