package gate_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const manyBudgets = `budgets:
  - {name: all, window: forever, limit_usd: "0.000020000"}
  - {name: hourly, window: hour, limit_usd: "0.000009000"}
  - {name: rolling, window: rolling, length: 2h, limit_usd: "0.000012000"}
  - {name: run, scope: [run], window: forever, limit_usd: "0.000005000"}
rates:
  - {name: burst, window: rolling, length: 1h, limit: 9}
  - {name: run, scope: [run], window: forever, limit: 5}
concurrency:
  - {name: parallel, limit: 4}
  - {name: run, scope: [run], limit: 2}
replay: {window: 1h, max_nonces: 3}`

// TestBalancesAreInTheReceipts makes random calls, ends them in random ways, or
// not at all, and crashes now and then. What is rebuilt from the receipts is
// what the ledger says, and no receipt is missing.
func TestBalancesAreInTheReceipts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, manyBudgets)
		defer w.real.Close()
		var open []*gate.Grant
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			open = w.step(rt, open)
		}
		w.settleAll(open)
		w.compareRebuilt(rt)
	})
}

func (w *world) step(rt *rapid.T, open []*gate.Grant) []*gate.Grant {
	switch rapid.SampledFrom([]string{"begin", "begin", "end", "end", "wait", "fault", "throw", "lift"}).Draw(rt, "step") {
	case "begin":
		bid := w.call(rapid.Int64Range(0, 2000).Draw(rt, "input"), rapid.Int64Range(0, 1000).Draw(rt, "output"))
		bid.Facts.Run = call.HashName(rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "run"))
		bid.Facts.Nonce = call.HashName(rapid.SampledFrom([]string{"", "", "m", "n", "o", "p"}).Draw(rt, "nonce"))
		if grant, err := w.gate.Begin(context.Background(), bid); err == nil {
			open = append(open, grant)
		}
	case "end":
		if len(open) > 0 {
			i := rapid.IntRange(0, len(open)-1).Draw(rt, "which")
			open[i].End(w.anyOutcome(rt))
			open = append(open[:i], open[i+1:]...)
		}
	case "throw":
		w.throw("acme", rapid.SampledFrom(throwable).Draw(rt, "switch"))
	case "lift":
		w.lift("acme", rapid.SampledFrom(throwable).Draw(rt, "switch"))
	case "wait":
		w.clock.advance(time.Duration(rapid.IntRange(0, 3600).Draw(rt, "seconds")) * time.Second)
	case "fault":
		w.ledger.heal()
		w.log.fail(nil)
		switch rapid.IntRange(0, 4).Draw(rt, "fault") {
		case 0:
			w.ledger.fail("settle", fault{err: budget.ErrUnavailable, lost: true})
		case 1:
			w.ledger.fail("reserve", fault{err: budget.ErrUnavailable, lost: true})
		case 2:
			w.log.fail(refuseDecisions)
		case 3:
			w.log.fail(refuseSettlements)
		}
	}
	return open
}

// throwable are switches of which not all stop everything.
var throwable = []string{policy.RunSwitch("a"), policy.RunSwitch("b"), policy.KeySwitch("another"), policy.TenantSwitch}

func (w *world) anyOutcome(rt *rapid.T) gate.Outcome {
	o := used(rapid.Int64Range(0, 2000).Draw(rt, "used"), rapid.Int64Range(0, 1500).Draw(rt, "written"))
	o.Basis = rapid.SampledFrom([]string{audit.BasisReported, audit.BasisUnknown, audit.BasisUnbilled}).Draw(rt, "basis")
	if o.Basis == audit.BasisUnbilled {
		o.Status = rapid.SampledFrom([]int{200, 404, 429, 500, 502, 503}).Draw(rt, "status")
	}
	o.Lines[0].Billed = rapid.SampledFrom([]int64{0, 0, 1, 900, 5000}).Draw(rt, "billed")
	o.Sent = rapid.Bool().Draw(rt, "sent")
	return o
}

// settleAll ends what is open, delivers what waits and receipts what is overdue.
func (w *world) settleAll(open []*gate.Grant) {
	w.t.Helper()
	for _, grant := range open {
		grant.End(gate.Outcome{Sent: true, Basis: audit.BasisUnknown})
	}
	w.ledger.heal()
	w.log.fail(nil)
	w.drainNow()
	w.clock.advance(2 * budget.OverdueAfter)
	if err := w.upkeep().Sweep(context.Background(), "acme"); err != nil {
		w.t.Fatal(err)
	}
	if left, err := w.real.Unacknowledged("acme"); err != nil || len(left) != 0 {
		w.t.Errorf("events without receipt: %+v %v", left, err)
	}
}

// drainNow runs one round of the outbox.
func (w *world) drainNow() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.gate.Drain(ctx) }()
	for w.outbox.Len() > 0 {
		time.Sleep(50 * time.Microsecond)
	}
	cancel()
	<-done
}

func (w *world) rebuilt() (*budget.State, error) {
	sources, err := audit.Files(filepath.Join(w.dir, "receipts"))
	if err != nil {
		return nil, err
	}
	states, err := rebuild(audit.Read(sources...))
	if err != nil || len(states) != 1 {
		return nil, fmt.Errorf("%d tenants: %w", len(states), err)
	}
	return states[0], nil
}

type fataler interface{ Fatalf(string, ...any) }

func (w *world) compareRebuilt(t fataler) {
	w.receipts()
	w.mustReplay(t, w.rules)
	state, err := w.rebuilt()
	if err != nil {
		t.Fatalf("rebuild: %v", err)
	}
	var claims []budget.Claim
	for _, run := range []string{"", "a", "b"} {
		tenant, scope := w.key().Tenant, policy.Scope{Run: run}
		claims = policy.ClaimsOf(append(tenant.Standings(scope, w.clock.Now()), tenant.Counts(scope, w.clock.Now())...))
		want, err := w.real.Balances(context.Background(), "acme", claims)
		if err != nil {
			t.Fatalf("balances: %v", err)
		}
		got, err := state.Balances(claims, want.At)
		if err != nil {
			t.Fatalf("balances: %v", err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("rebuilt %+v\nledger %+v", got, want)
		}
	}
}

// TestRecoverAfterACrash stops a process after each step between ledger and
// log. The next one brings both to one state: a call that was never sent holds
// nothing, one that may have been is charged by the rule of expiry, and every
// number has its receipt.
func TestRecoverAfterACrash(t *testing.T) {
	for _, row := range []struct {
		name        string
		crash       func(*world)
		spent, held int64 // right after the start
	}{
		{"granted, no decision receipt", func(w *world) {
			w.log.fail(func(b audit.Body) error { return refuseDecisions(b) })
			w.ledger.fail("release", fault{err: budget.ErrUnavailable})
			w.gate.Begin(context.Background(), w.call(100, 50))
		}, 0, 0},
		{"decision receipt, nothing sent or heard of since", func(w *world) {
			w.begin(w.call(100, 50))
		}, 0, 200},
		{"settled, no settlement receipt", func(w *world) {
			w.log.fail(refuseSettlements)
			w.begin(w.call(100, 50)).End(used(90, 10))
		}, 110, 0},
		{"settlement never reached the ledger", func(w *world) {
			w.ledger.fail("settle", fault{err: budget.ErrUnavailable})
			w.begin(w.call(100, 50)).End(used(90, 10))
		}, 0, 200},
		{"settled and receipted", func(w *world) {
			w.begin(w.call(100, 50)).End(used(90, 10))
		}, 110, 0},
	} {
		for _, keepOutbox := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/outbox=%v", row.name, keepOutbox), func(t *testing.T) {
				w := newWorld(t, daily(1000))
				row.crash(w)
				if !keepOutbox {
					w.loseOutbox()
				}
				w.restart()
				if err := w.upkeep().Recover(context.Background(), w.real, w.audit); err != nil {
					t.Fatal(err)
				}
				w.mustBalance(row.spent, row.held)
				w.drainNow()
				w.clock.advance(gate.LeaseTTL + time.Second)
				w.settleAll(nil)
				if _, held := w.balance(); held != 0 {
					t.Errorf("%d held at rest", held)
				}
				w.compareRebuilt(t)
			})
		}
	}
}

// loseOutbox is a crash before the outbox was written.
func (w *world) loseOutbox() {
	files, _ := filepath.Glob(filepath.Join(w.dir, "outbox", "*"))
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestRebuildRefusesAGap(t *testing.T) {
	w := newWorld(t, daily(1000))
	if err := w.upkeep().Sweep(context.Background(), "acme"); err != nil {
		t.Fatal(err)
	}
	w.begin(w.call(100, 50)).End(used(90, 10))
	var kept []audit.Receipt
	for _, r := range w.receipts() {
		if _, ok := r.Body.(audit.Decision); !ok {
			kept = append(kept, r)
		}
	}
	_, err := rebuild(func(yield func(audit.Receipt, error) bool) {
		for _, r := range kept {
			if !yield(r, nil) {
				return
			}
		}
	})
	if err == nil {
		t.Error("a missing grant goes unnoticed")
	}
}
