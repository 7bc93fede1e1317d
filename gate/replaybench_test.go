//go:build unix

package gate_test

import (
	"context"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// benchCalls is how many calls the benchmark's history has, benchClients how
// many at once.
const benchCalls, benchClients = 19_200, 64

// BenchmarkReplay verifies and replays the log of a tenant with three
// budgets: half of the receipts are decisions, half settlements. Run it with
// -cpu 1 for receipts a second of one core.
func BenchmarkReplay(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the command does
	w := newWorldAt(b, `budgets:
  - {name: all, window: forever, limit_usd: "1000"}
  - {name: daily, window: day, limit_usd: "100"}
  - {name: run, scope: [run], window: forever, limit_usd: "10"}`, &clock{})
	w.sweepOnce()
	w.gate = gate.New(gate.Config{Ledger: w.real, Log: w.audit, Outbox: w.outbox})
	var all sync.WaitGroup
	for range benchClients { // so that they share seals, as under load
		all.Go(func() {
			for range benchCalls / benchClients {
				bid := w.call(1000, 100)
				bid.Facts.Run = call.HashName("a")
				w.begin(bid).End(used(900, 50))
			}
		})
	}
	all.Wait()
	w.audit.Close() // what was posted is written
	w.restart()
	w.sweepOnce()
	signer, err := audit.ParseSigner([]byte(signingKey))
	if err != nil {
		b.Fatal(err)
	}
	sources, err := audit.Files(filepath.Join(w.dir, "receipts"))
	if err != nil {
		b.Fatal(err)
	}
	keys := audit.VerifyOptions{Keys: audit.NewKeys(signer.Key())}
	verify := func() {
		report, err := audit.Verify(context.Background(), sources, keys)
		if err != nil || !report.OK() {
			b.Fatal(err, report.Findings)
		}
	}
	replay := func() {
		report, err := replayed(audit.Merge(sources...), w.rules)
		if err != nil || !report.OK() || report.Allowed != benchCalls {
			b.Fatal(err, report.Findings, report.Unchecked, report.Allowed)
		}
	}
	both := func() {
		r := gate.NewReplayer(w.rules)
		verified, err := audit.VerifyEach(context.Background(), sources, keys, r.Add)
		report := r.Close()
		if err != nil || !verified.OK() || !report.OK() || report.Allowed != benchCalls {
			b.Fatal(err, verified.Findings, report.Findings, report.Unchecked, report.Allowed)
		}
	}
	for _, part := range []struct {
		name string
		run  func()
	}{{"verify", verify}, {"replay", replay}, {"verify+replay", both}} {
		b.Run(part.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				part.run()
			}
			receipts := 2 * benchCalls * float64(b.N)
			b.ReportMetric(receipts/b.Elapsed().Seconds(), "receipts/s")
			b.ReportMetric(receipts/(cpuTime(b)-before).Seconds(), "receipts/cpu-s")
		})
	}
}

// cpuTime is what the process has used of all cores, which tells more than a
// clock where others share the machine.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestReplayForgetsWhatIsOver: what a replay keeps does not grow with the
// number of receipts.
func TestReplayForgetsWhatIsOver(t *testing.T) {
	w := newWorld(t, daily(1_000_000))
	w.sweepOnce()
	for range 50 {
		w.begin(w.call(100, 50)).End(used(90, 10))
		w.sweepOnce() // the policy was seen
		w.clock.advance(3 * time.Minute)
	}
	r := gate.NewReplayer(w.rules)
	most := 0
	for _, receipt := range spoken(w.receipts()) {
		r.Add(receipt)
		most = max(most, r.Kept())
	}
	if report := r.Close(); !report.OK() || most > 4 {
		t.Errorf("%d receipts and leases kept, findings %v", most, report.Findings)
	}
}
