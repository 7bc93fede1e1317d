//go:build unix

package gate_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// decideModules is a tenant that uses every module; kill switches need no
// field. A request claims from six counters: its nonce, a slot, three budgets
// and a rate.
const decideModules = `capabilities: [chat, stream, tools]
models: {allow: ["gpt-*", "toy"], deny: ["*-audio*"]}
endpoints: {allow: ["chat/completions", "embeddings"]}
tools: {allow: ["search*", "calendar_*"], deny: ["*_delete"]}
max_depth: 3
replay: {window: 1m, max_nonces: 1000000}
per_request_usd: "1"
concurrency: [{name: parallel, limit: 100000}]
rates: [{name: rate, window: minute, limit: 1000000000}]
budgets:
  - {name: daily, window: day, limit_usd: "1000000"}
  - {name: of-key, scope: [key], window: month, limit_usd: "1000000"}
  - {name: of-run, scope: [run], window: forever, limit_usd: "1000000"}`

// decideBatch is how many requests are in flight at most.
const decideBatch = 200

// BenchmarkDecide is one decision of Begin on the embedded ledger as serve
// uses it: the price and the cost, every module's verdict, the claims, the
// kill switches, the ledger's Reserve and its record in the journal's buffer.
// It is all of Begin but the decision's receipt and the timer of the renewal.
// The journal's writes, syncs and compactions are outside, and so is the
// settlement. cpu-ns/op is what the decisions themselves took of a core.
func BenchmarkDecide(b *testing.B) {
	w := newWorldAt(b, decideModules, &clock{})
	ledger := decideLedger(b)
	g := gate.New(gate.Config{Ledger: ledger, Log: w.audit, Outbox: w.outbox})
	call := w.call(1000, 100)
	call.Facts.Run, call.Facts.Depth = "run-1", 1
	call.Facts.Capabilities, call.Facts.Tools = []string{policy.CapChat, policy.CapTools}, []string{"search_web", "calendar_read"}
	nonces := make([]string, decideBatch)
	granted := make([]budget.Grant, 0, decideBatch)
	var used time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(granted) {
		b.StopTimer()
		settleAll(b, ledger, granted)
		granted = granted[:0]
		for i := range nonces {
			nonces[i] = strconv.Itoa(n + i)
		}
		b.StartTimer()
		before := cpuTime(b)
		for _, call.Facts.Nonce = range nonces[:min(decideBatch, b.N-n)] {
			grant, denial := g.Decide(context.Background(), call)
			if denial != nil || len(grant.Observed) != 6 {
				b.Fatal(denial, grant)
			}
			granted = append(granted, grant)
		}
		used += cpuTime(b) - before
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// decideLedger is a ledger that does not compact.
func decideLedger(b *testing.B) embedded.Leading {
	l, err := embedded.Open(embedded.Config{Dir: b.TempDir(), CompactBytes: 1 << 40})
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
		end, err := ledger.Settle(context.Background(), budget.LeaseRef{Tenant: "acme", Lease: grant.Lease}, 700)
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
