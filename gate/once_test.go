package gate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// everyKind makes events of each kind that a sweep may meet: the tenant's
// beginning, its policy, a grant, and the ends by settlement, release and
// expiry, and a correction. None of them has a receipt afterwards.
func everyKind(t *testing.T, w *world) []budget.Event {
	t.Helper()
	ctx := context.Background()
	reserve := func(lease string) budget.LeaseRef {
		_, err := w.real.Reserve(ctx, budget.Reservation{
			Tenant: "acme", Lease: lease, TTL: gate.LeaseTTL, Policy: w.rules.Policy.Version,
			Claims: []budget.Claim{{Key: "usd", Amount: 5, Limit: budget.NoLimit, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Forever}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return budget.LeaseRef{Tenant: "acme", Lease: lease}
	}
	_, settleErr := w.real.Settle(ctx, reserve("settled"), budget.Actual{Cost: 3})
	_, releaseErr := w.real.Release(ctx, reserve("released"))
	late := reserve("corrected")
	reserve("expired")
	w.clock.advance(gate.LeaseTTL + time.Second)
	_, correctErr := w.real.Settle(ctx, late, budget.Actual{Cost: 4})
	events, err := w.real.Unacknowledged("acme")
	if err := errors.Join(settleErr, releaseErr, correctErr, err); err != nil {
		t.Fatal(err)
	}
	seen := map[budget.EventKind]bool{}
	for _, e := range events {
		seen[e.Kind] = true
	}
	for _, kind := range []budget.EventKind{budget.Provisioned, budget.PolicySeen, budget.Granted, budget.Settled, budget.Released, budget.Expired, budget.Corrected} {
		if !seen[kind] {
			t.Fatalf("no event of kind %s among %+v", kind, events)
		}
	}
	return events
}

// handsAgain is a keeper that hands the same events to everyone who asks, as a
// ledger does once a replica has taken longer than budget.OverdueAfter.
type handsAgain struct {
	budget.Keeper
	events []budget.Event
}

func (k handsAgain) Sweep(context.Context, string) ([]budget.Event, error) { return k.events, nil }

// TestSweptTwiceIsNoConflict: two replicas with a log each receipt the same
// events, and one of them does so again. Verify finds nothing in either log nor
// in both, and they rebuild to the ledger's balances.
func TestSweptTwiceIsNoConflict(t *testing.T) {
	w := newWorld(t, daily(1000))
	keeper := handsAgain{w.real, everyKind(t, w)}
	second := filepath.Join(w.dir, "receipts-2")
	other := openLog(t, second)
	for _, log := range []gate.Log{w.audit, other, w.audit} {
		u := &gate.Upkeep{Keeper: keeper, Ledger: w.real, Log: log, Logger: slog.New(slog.DiscardHandler)}
		if err := u.Sweep(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
	}
	first := filepath.Join(w.dir, "receipts")
	for name, dirs := range map[string][]string{"one log": {first}, "the other": {second}, "both": {first, second}, "both, turned round": {second, first}} {
		t.Run(name, func(t *testing.T) {
			sources := sourcesOf(t, dirs...)
			mustVerify(t, sources)
			states, err := rebuild(audit.Read(sources...))
			if err != nil || len(states) != 1 || states[0].Number != keeper.events[len(keeper.events)-1].Number {
				t.Errorf("rebuilt %+v, %v", states, err)
			}
		})
	}
}

// TestOwnReceiptAndSweptOneAreNoConflict: the replica that made the events has
// receipted them, but its acknowledgement was lost.
func TestOwnReceiptAndSweptOneAreNoConflict(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.gate = gate.New(gate.Config{Ledger: deafLedger{w.real}, Log: w.audit, Outbox: w.outbox})
	w.begin(w.call(100, 50)).End(used(90, 10))
	w.begin(w.call(100, 50)).End(gate.Outcome{})
	events, err := w.real.Unacknowledged("acme")
	if err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(w.dir, "receipts-2")
	u := &gate.Upkeep{Keeper: handsAgain{w.real, events}, Ledger: w.real, Log: openLog(t, second), Logger: slog.New(slog.DiscardHandler)}
	if err := u.Sweep(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, sourcesOf(t, filepath.Join(w.dir, "receipts"), second))
}

// deafLedger does not hear acknowledgements.
type deafLedger struct{ gate.Ledger }

func (deafLedger) Acknowledge(string, int64) {}

func openLog(t *testing.T, dir string) *audit.Log {
	t.Helper()
	signer, err := audit.ParseSigner([]byte(signingKey))
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(audit.Config{Dir: dir, Signer: signer, Sync: audit.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func sourcesOf(t *testing.T, dirs ...string) []audit.Source {
	t.Helper()
	sources, err := audit.Files(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

func mustVerify(t *testing.T, sources []audit.Source) {
	t.Helper()
	signer, err := audit.ParseSigner([]byte(signingKey))
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(context.Background(), sources, audit.VerifyOptions{Keys: audit.NewKeys(signer.Key())})
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range report.Findings {
		t.Errorf("found %v", finding)
	}
}

// TestEndedOnceWhileTheLogIsAway: the ledger has acknowledged an ending, and
// forgets the lease long before the log takes the receipt. It is not ended
// again, and gets one receipt.
func TestEndedOnceWhileTheLogIsAway(t *testing.T) {
	for _, row := range []struct {
		name, verb string
		outcome    gate.Outcome
		kind       budget.EventKind
		charge     int64
	}{
		{"settled", "settle", used(90, 10), budget.Settled, 110},
		{"released", "release", gate.Outcome{}, budget.Released, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, daily(1000))
			w.log.fail(refuseSettlements)
			w.ledger.fail(row.verb, fault{err: budget.ErrUnavailable}) // so that the outbox ends it
			w.begin(w.call(100, 50)).End(row.outcome)
			w.ledger.heal()
			for range 5 {
				w.gate.Deliver(t.Context())
				w.clock.advance(2 * budget.RememberEnded)
				if _, err := w.real.Sweep(t.Context(), "acme"); err != nil { // the lease is forgotten
					t.Fatal(err)
				}
			}
			if n := w.ended(); n != 1 || w.outbox.Len() != 1 {
				t.Errorf("%d endings in the ledger and %d in the outbox, want 1 of each", n, w.outbox.Len())
			}
			w.log.fail(nil)
			for range 3 {
				w.gate.Deliver(t.Context())
			}
			if s := w.settlement(); s.Outcome != string(row.kind) || s.Charge != row.charge {
				t.Errorf("settlement %+v", s)
			}
			if w.outbox.Len() != 0 {
				t.Error("it still waits")
			}
			w.mustBalance(row.charge, 0)
			w.settleAll(nil)
			w.compareRebuilt(t)
		})
	}
}

// ended counts the ends among the events that have no receipt.
func (w *world) ended() int {
	w.t.Helper()
	events, err := w.real.Unacknowledged("acme")
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, e := range events {
		switch e.Kind {
		case budget.Settled, budget.Released, budget.Expired, budget.Corrected:
			n++
		}
	}
	return n
}

// TestCrashWithinRecover stops the start after a crash at each of its steps. A
// grant whose decision has no receipt was never sent, so it is never charged.
func TestCrashWithinRecover(t *testing.T) {
	steps := map[string]func(*world){
		"before the release":                        func(w *world) { w.ledger.fail("release", fault{err: budget.ErrUnavailable}) },
		"after the release, which is not heard of":  func(w *world) { w.ledger.fail("release", fault{err: budget.ErrUnavailable, lost: true}) },
		"after the release, before the receipts":    func(w *world) { w.log.failAfter(2, errDiskFull) }, // provision and policy
		"after the grant's receipt, not the ending": func(w *world) { w.log.failAfter(3, errDiskFull) },
		"after both receipts":                       func(w *world) { w.log.failAfter(4, errDiskFull) },
	}
	for name, breakIt := range steps {
		for _, twice := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, twice=%v", name, twice), func(t *testing.T) {
				w := newWorld(t, daily(1000))
				w.log.fail(refuseDecisions)
				w.ledger.fail("release", fault{err: budget.ErrUnavailable})
				w.gate.Begin(context.Background(), w.call(100, 50))
				w.loseOutbox()
				w.restart()
				for range map[bool]int{false: 1, true: 2}[twice] {
					breakIt(w)
					u := &gate.Upkeep{Keeper: w.real, Ledger: w.ledger, Log: w.log, Logger: slog.New(slog.DiscardHandler)}
					_ = u.Recover(context.Background(), w.real, w.audit)
					w.restart()
				}
				if err := w.upkeep().Recover(context.Background(), w.real, w.audit); err != nil {
					t.Fatal(err)
				}
				w.mustBalance(0, 0)
				w.clock.advance(gate.LeaseTTL + time.Second)
				w.settleAll(nil)
				w.mustBalance(0, 0)
				w.compareRebuilt(t)
			})
		}
	}
}

// failAfter refuses every receipt after so many.
func (l *flakyLog) failAfter(n int, err error) {
	l.fail(func(audit.Body) error {
		if n--; n < 0 {
			return err
		}
		return nil
	})
}

// TestRebuildTakesTheNewestEpoch: a tenant was provisioned anew after its
// ledger was lost, within the same millisecond, and receipts of both lives are
// there, in any order.
func TestRebuildTakesTheNewestEpoch(t *testing.T) {
	live := func(at *clock, calls int) (*world, []audit.Receipt) {
		w := newWorldAt(t, daily(10_000), at)
		for range calls {
			w.begin(w.call(100, 50)).End(used(90, 10))
		}
		w.settleAll(nil)
		return w, w.receipts()
	}
	at := &clock{now: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)}
	_, older := live(at, 5)
	newer, receipts := live(at, 2)
	balances, err := newer.real.Balances(t.Context(), "acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	mix := append(older, receipts...)
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		states, err := rebuild(func(yield func(audit.Receipt, error) bool) {
			for _, r := range mix {
				if !yield(r, nil) {
					return
				}
			}
		})
		if err != nil || len(states) != 1 {
			t.Fatalf("%d states, %v", len(states), err)
		}
		if s := states[0]; s.Epoch != balances.Epoch || s.Number != balances.Number {
			t.Fatalf("rebuilt event %d of epoch %s, want event %d of %s", s.Number, s.Epoch, balances.Number, balances.Epoch)
		}
		random.Shuffle(len(mix), func(i, j int) { mix[i], mix[j] = mix[j], mix[i] })
	}
}
