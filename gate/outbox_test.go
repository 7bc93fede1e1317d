package gate_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// TestUnacknowledgedSettlementIsDelivered breaks the end of a call at each of
// its steps, with and without a restart before the outbox is drained. In the end
// the charge is in the ledger and one receipt of it is in the log.
func TestUnacknowledgedSettlementIsDelivered(t *testing.T) {
	for name, breakIt := range map[string]func(*world){
		"the ledger does not answer": func(w *world) { w.ledger.fail("settle", fault{err: budget.ErrUnavailable}) },
		"the answer is lost":         func(w *world) { w.ledger.fail("settle", fault{err: budget.ErrUnavailable, lost: true}) },
		"the log is full":            func(w *world) { w.log.fail(refuseSettlements) },
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", then a restart"}[restart], func(t *testing.T) {
				w := newWorld(t, daily(1000))
				breakIt(w)
				w.begin(w.call(100, 50)).End(used(90, 10))
				if w.outbox.Len() != 1 {
					t.Fatalf("%d endings wait, want 1", w.outbox.Len())
				}
				if restart {
					w.restart()
				}
				w.ledger.heal()
				w.log.fail(nil)
				w.drain()
				w.mustBalance(110, 0)
				s := w.settlement()
				if s.Charge != 110 || s.Basis != audit.BasisReported || s.Lines[0].Usage[call.Input] != 90 {
					t.Errorf("settlement %+v", s)
				}
				if left, _ := filepath.Glob(filepath.Join(w.dir, "outbox", "*")); len(left) != 0 {
					t.Errorf("left in the outbox: %v", left)
				}
			})
		}
	}
}

// TestReceiptIsNotWrittenTwice is a process that died after the receipt was
// durable and before the outbox had forgotten the ending.
func TestReceiptIsNotWrittenTwice(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.log.fail(refuseSettlements)
	w.begin(w.call(100, 50)).End(used(90, 10))
	file := w.outboxFile()
	saved, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.log.fail(nil)
	w.drain()
	if err := os.WriteFile(file, saved, 0o600); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if w.outbox.Len() != 1 {
		t.Fatal("the ending is not back")
	}
	w.drain()
	w.settlement()
	w.mustBalance(110, 0)
}

func (w *world) outboxFile() string {
	w.t.Helper()
	files, _ := filepath.Glob(filepath.Join(w.dir, "outbox", "*.json"))
	if len(files) != 1 {
		w.t.Fatalf("outbox files: %v", files)
	}
	return files[0]
}

// TestOneTenantsTroubleStopsNoOther: endings that the ledger refuses stay, and
// those behind them are delivered in the same round.
func TestOneTenantsTroubleStopsNoOther(t *testing.T) {
	w := newWorld(t, daily(1000))
	for i := range 8 {
		w.outbox.Put(gate.Pending{Verb: "settle", Settlement: audit.Settlement{Tenant: "unknown", Lease: fmt.Sprint(i)}})
	}
	w.ledger.fail("settle", fault{err: budget.ErrUnavailable})
	w.begin(w.call(100, 50)).End(used(90, 10))
	w.ledger.heal()

	ctx, cancel := context.WithCancel(context.Background())
	w.ledger.after("settle", 9, cancel) // the round is over, and with it Drain
	w.gate.Drain(ctx)
	w.mustBalance(110, 0)
	if w.outbox.Len() != 8 {
		t.Errorf("%d endings wait, want the other tenant's 8", w.outbox.Len())
	}
}

// TestReleaseOfUnknownLease: whether the reserve arrived is not known, so the
// release leaves a tombstone that refuses it later.
func TestReleaseOfUnknownLease(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.outbox.Put(gate.Pending{Verb: "release", Settlement: audit.Settlement{Tenant: "acme", Lease: "late", Basis: audit.BasisUnbilled}})
	w.drain()
	if s := w.settlement(); s.Outcome != string(budget.Released) || s.Charge != 0 {
		t.Errorf("settlement %+v", s)
	}
	w.mustBalance(0, 0)
}

func TestForgottenLeaseIsDropped(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.outbox.Put(gate.Pending{Verb: "settle", Settlement: audit.Settlement{Tenant: "acme", Lease: "never-was"}})
	w.drain()
	w.mustBalance(0, 0)
}

func TestFullOutboxStopsCalls(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.outbox.SetMax(1)
	w.ledger.fail("settle", fault{err: budget.ErrUnavailable})
	first, second := w.begin(w.call(100, 50)), w.begin(w.call(100, 50))
	first.End(used(90, 10))
	if refusal := w.refused(w.call(100, 50), policy.LedgerUnavailable); refusal.Receipt == "" {
		t.Error("the denial has no receipt")
	}
	second.End(used(90, 10)) // what is in flight still finds room
	w.ledger.heal()
	w.drain()
	w.mustBalance(220, 0)
	w.begin(w.call(100, 50)).End(used(90, 10))
	w.sweepOnce()
	w.mustReplay(t, w.rules)
}

func TestOutboxRefusesWhatItCannotRead(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":     `{"Verb":"settle","Settl`,
		"no lease":     `{"Verb":"settle","Settlement":{"Tenant":"acme"}}`,
		"unknown verb": `{"Verb":"forget","Settlement":{"Tenant":"acme","Lease":"x"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "x.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := gate.OpenOutbox(dir, slog.New(slog.DiscardHandler)); err == nil {
				t.Error("opened: it may be money")
			}
		})
	}
}

// TestReceiptThatCannotBeWrittenStopsNoOther: the sweep writes another one of its
// event.
func TestReceiptThatCannotBeWrittenStopsNoOther(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.ledger.fail("settle", fault{err: budget.ErrUnavailable})
	first := w.begin(w.call(100, 50))
	first.End(used(90, 10))
	for range 20 {
		w.begin(w.call(10, 5)).End(used(10, 5))
	}
	w.ledger.heal()
	w.log.fail(func(body audit.Body) error {
		if s, ok := body.(audit.Settlement); ok && s.Decision == first.Receipt {
			return audit.ErrInvalid
		}
		return nil
	})
	w.gate.Deliver(t.Context())
	if n := w.outbox.Len(); n != 0 {
		t.Errorf("%d endings wait", n)
	}
	w.clock.advance(budget.OverdueAfter)
	w.must(w.upkeep().Sweep(t.Context(), "acme"))
	w.mustBalance(510, 0)
	w.mustReplay(t, w.rules)
}
