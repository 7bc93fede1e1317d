package gate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestActionIsHeldAndSettled(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		leave := w.authorize(w.action("a", 30))
		if leave.Hold != 30 || leave.Receipt == "" || leave.Expires <= w.ledger.Now().UnixMilli() {
			w.Errorf("%+v", leave)
		}
		want := policy.Remaining{Budget: "total", Limit: 100, Held: 30, Left: 70}
		if len(leave.Remaining) != 1 || leave.Remaining[0] != want {
			w.Errorf("remaining %+v, want %+v", leave.Remaining, want)
		}
		w.mustBalance(0, 30)
		ended, err := w.gate.Settle(w.Context(), w.lease(leave.Lease), 21)
		w.must(err)
		if ended.Charge != 21 || ended.Hold != 30 || ended.Overrun != 0 || ended.Outcome != "settle" || ended.Receipt == "" {
			w.Errorf("%+v", ended)
		}
		w.mustBalance(21, 0)
		decision, settlement := readAll[audit.Decision](w)[0], readAll[audit.Settlement](w)[0]
		if f := decision.Facts; f.Endpoint != "actions/payment" || f.Model != "" || decision.Facts.Cost != 30 ||
			f.Target != call.HashName("invoice 7") || f.Tool != call.HashName("bank") {
			w.Errorf("decision %+v", decision)
		}
		if settlement.Hold != 30 || settlement.Charge != 21 || settlement.Lease != leave.Lease || settlement.Basis != audit.BasisReported {
			w.Errorf("settlement %+v", settlement)
		}
		w.proved()
	})
}

func TestActionIDIsUsedOnce(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		first := w.authorize(w.action("a", 30))
		again := w.authorize(w.action("a", 30))
		if again.Lease != first.Lease || again.Expires != first.Expires || fmt.Sprint(again.Remaining) != fmt.Sprint(first.Remaining) {
			w.Errorf("the repeat got %+v after %+v", again, first)
		}
		_, err := w.gate.Authorize(w.Context(), w.action("a", 31))
		w.denied(err, policy.ActionIDUsed)
		other := w.action("a", 30)
		other.Run = "r" // one more budget
		_, err = w.gate.Authorize(w.Context(), other)
		w.denied(err, policy.ActionIDUsed)
		_, err = w.gate.Extend(w.Context(), w.lease(first.Lease), 40)
		w.must(err)
		w.authorize(w.action("a", 30)) // what it asked for at first
		w.mustBalance(0, 40)
		_, err = w.gate.Settle(w.Context(), w.lease(first.Lease), 30)
		w.must(err)
		_, err = w.gate.Authorize(w.Context(), w.action("a", 30))
		w.denied(err, policy.ActionIDUsed)
		w.mustBalance(30, 0)
		w.proved()
	})
}

func TestExactlyAsManyActionsAsFit(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		var granted, denied atomic.Int64
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				_, err := w.gate.Authorize(context.Background(), w.action(fmt.Sprint("a", i), 5))
				refusal, refused := errors.AsType[*call.Denial](err)
				switch {
				case err == nil:
					granted.Add(1)
				case refused && refusal.Reason == policy.BudgetHeld:
					denied.Add(1)
				default:
					w.Errorf("action %d: %v", i, err)
				}
			})
		}
		all.Wait()
		if granted.Load() != 20 || denied.Load() != 180 {
			w.Errorf("%d granted, %d denied; 20 fit", granted.Load(), denied.Load())
		}
		w.mustBalance(0, 100)
		w.proved()
	})
}

func TestRepeatsInParallelGetOneLease(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		replicas := []*gate.Gate{w.gate, w.newGate(w.ledger)}
		leases := make([]string, 60)
		ends := make([]*gate.Ended, len(leases))
		each := func(run func(i int, g *gate.Gate) error) {
			var all sync.WaitGroup
			for i := range leases {
				all.Go(func() {
					if err := run(i, replicas[i%2]); err != nil {
						w.Errorf("%d: %v", i, err)
					}
				})
			}
			all.Wait()
		}
		each(func(i int, g *gate.Gate) error {
			leave, err := g.Authorize(context.Background(), w.action("same", 7))
			if err == nil {
				leases[i] = leave.Lease
			}
			return err
		})
		w.mustBalance(0, 7)
		each(func(_ int, g *gate.Gate) error {
			_, err := g.Extend(context.Background(), w.lease(leases[0]), 9)
			return err
		})
		w.mustBalance(0, 9)
		each(func(i int, g *gate.Gate) (err error) {
			ends[i], err = g.Settle(context.Background(), w.lease(leases[i]), 6)
			return err
		})
		w.mustBalance(6, 0)
		receipts := 0
		for i := range leases {
			if leases[i] != leases[0] || ends[i] == nil || ends[i].Charge != 6 {
				w.Fatalf("%d: %s %+v", i, leases[i], ends[i])
			}
			if ends[i].Receipt != "" {
				receipts++
			}
		}
		if receipts != 1 {
			w.Errorf("%d settlement receipts", receipts)
		}
		w.proved()
	})
}

func TestActionIsSettledElsewhere(t *testing.T) {
	t.Parallel()
	for _, elsewhere := range []string{"another replica", "after a restart"} {
		t.Run(elsewhere, func(t *testing.T) {
			t.Parallel()
			onBothLedgers(t, func(w *actionWorld) {
				first, second := w.authorize(w.action("a", 30)), w.authorize(w.action("b", 30))
				if elsewhere == "another replica" {
					w.gate = w.newGate(w.ledger)
				} else {
					w.stop()
					w.start()
				}
				if again := w.authorize(w.action("a", 30)); again.Lease != first.Lease {
					w.Errorf("the repeat got %s after %s", again.Lease, first.Lease)
				}
				ended, err := w.gate.Settle(w.Context(), w.lease(first.Lease), 35)
				w.must(err)
				if ended.Hold != 30 || ended.Overrun != 5 || ended.Receipt == "" {
					w.Errorf("%+v", ended)
				}
				_, err = w.gate.Release(w.Context(), w.lease(second.Lease))
				w.must(err)
				w.mustBalance(35, 0)
				w.proved()
			})
		})
	}
}

func TestActionEndsOnce(t *testing.T) {
	t.Parallel()
	settle := func(amount int64) func(*gate.Gate, gate.LeaseCall) (*gate.Ended, error) {
		return func(g *gate.Gate, c gate.LeaseCall) (*gate.Ended, error) {
			return g.Settle(context.Background(), c, amount)
		}
	}
	release := func(g *gate.Gate, c gate.LeaseCall) (*gate.Ended, error) { return g.Release(context.Background(), c) }
	extend := func(g *gate.Gate, c gate.LeaseCall) (*gate.Ended, error) {
		_, err := g.Extend(context.Background(), c, 40)
		return nil, err
	}
	type end = func(*gate.Gate, gate.LeaseCall) (*gate.Ended, error)
	rows := []struct {
		name        string
		first, then end
		want        error
		spent       int64
	}{
		{"settle twice", settle(2), settle(2), nil, 2},
		{"release twice", release, release, nil, 0},
		{"settle above the hold, twice", settle(70), settle(70), nil, 70},
		{"settle at another amount", settle(2), settle(3), gate.ErrLeaseEnded, 2},
		{"release after settle", settle(2), release, gate.ErrLeaseEnded, 2},
		{"settle after release", release, settle(2), gate.ErrLeaseEnded, 0},
		{"extend after settle", settle(2), extend, gate.ErrLeaseEnded, 2},
	}
	onBothLedgers(t, func(w *actionWorld) {
		spent := int64(0)
		for _, row := range rows {
			call := w.lease(w.authorize(w.action(strings.ReplaceAll(row.name, " ", ""), 5)).Lease)
			first, err := row.first(w.gate, call)
			w.must(err)
			then, err := row.then(w.gate, call)
			if !errors.Is(err, row.want) {
				w.Fatalf("%s: %v, want %v", row.name, err, row.want)
			}
			if err == nil && (then.Charge != first.Charge || then.Overrun != first.Overrun || then.Receipt != "") {
				w.Errorf("%s: %+v after %+v", row.name, then, first)
			}
			spent += row.spent
			w.mustBalance(spent, 0)
		}
		w.proved()
	})
}

func TestActionIsExtended(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		a := w.action("a", 10)
		a.Run = "r"
		call := w.lease(w.authorize(a).Lease)
		for _, row := range []struct{ total, hold int64 }{{30, 30}, {30, 30}, {20, 30}, {50, 50}} {
			leave, err := w.gate.Extend(w.Context(), call, row.total)
			w.must(err)
			if leave.Hold != row.hold || leave.Receipt == "" || leave.Lease != call.Lease {
				w.Errorf("to %d: %+v", row.total, leave)
			}
			w.mustBalance(0, row.hold)
		}
		_, err := w.gate.Extend(w.Context(), call, 51) // more than the run can ever have
		if refusal := w.denied(err, policy.BudgetExhausted); refusal.Budget != "run" || refusal.Needed != 1 || refusal.Receipt == "" {
			w.Errorf("%+v", refusal)
		}
		_, err = w.gate.Extend(w.Context(), call, 91)
		w.denied(err, policy.RequestCapExceeded)
		other := w.lease(w.authorize(w.action("b", 40)).Lease)
		_, err = w.gate.Extend(w.Context(), other, 60) // fits once the first has ended
		if refusal := w.denied(err, policy.BudgetHeld); refusal.Budget != "total" {
			w.Errorf("%+v", refusal)
		}
		w.mustBalance(0, 90)
		w.proved()
	})
}

func TestActionExpires(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		a := w.action("a", 30)
		a.TTL = 50 * time.Millisecond
		b := w.action("b", 40)
		b.TTL = a.TTL
		settled, released := w.lease(w.authorize(a).Lease), w.lease(w.authorize(b).Lease)
		for end := w.ledger.Now().Add(2 * a.TTL); w.ledger.Now().Before(end); {
			time.Sleep(a.TTL / 2)
		}
		w.mustBalance(70, 0)
		_, err := w.gate.Extend(w.Context(), settled, 40)
		if !errors.Is(err, gate.ErrLeaseEnded) {
			w.Errorf("extended: %v", err)
		}
		ended, err := w.gate.Settle(w.Context(), settled, 21)
		w.must(err)
		if ended.Outcome != "correct" || ended.Charge != 21 || ended.Hold != 30 {
			w.Errorf("%+v", ended)
		}
		_, err = w.gate.Release(w.Context(), released)
		w.must(err)
		w.mustBalance(21, 0)
		w.proved()
	})
}

func TestLeaseIsKnownToItsTenantAlone(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		own := w.authorize(w.action("a", 30)).Lease
		strange := w.action("a", 30)
		strange.Key = w.key("umbrella")
		if theirs := w.authorize(strange).Lease; theirs == own {
			w.Error("two tenants have the same lease")
		}
		call := w.lease(own)
		call.Key = w.key("umbrella")
		for name, call := range map[string]gate.LeaseCall{
			"another tenant's": call,
			"of nobody":        w.lease("act-00000000000000000000000000000000"),
			"of no action":     w.lease("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
			"no lease":         w.lease("act-"),
			"not hex":          w.lease("act-" + strings.Repeat("g", 32)),
		} {
			_, settleErr := w.gate.Settle(w.Context(), call, 1)
			_, releaseErr := w.gate.Release(w.Context(), call)
			_, extendErr := w.gate.Extend(w.Context(), call, 40)
			for _, err := range []error{settleErr, releaseErr, extendErr} {
				if !errors.Is(err, gate.ErrUnknownLease) {
					w.Errorf("%s: %v", name, err)
				}
			}
		}
		w.mustBalance(0, 30)
	})
}

// TestActionAfterTrouble: what was answered with 503 can be asked for again, and
// is held once.
func TestActionAfterTrouble(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		w.flaky.fail("reserve", fault{err: budget.ErrUnavailable, lost: true})
		_, err := w.gate.Authorize(w.Context(), w.action("a", 30))
		w.denied(err, policy.LedgerUnavailable)
		w.flaky.heal()
		w.log.fail(refuseDecisions)
		_, err = w.gate.Authorize(w.Context(), w.action("b", 20))
		w.denied(err, policy.ReceiptsUnavailable)
		w.log.fail(nil)
		first, second := w.authorize(w.action("a", 30)), w.authorize(w.action("b", 20))
		w.mustBalance(0, 50)

		w.flaky.fail("settle", fault{err: budget.ErrUnavailable, lost: true})
		_, err = w.gate.Settle(w.Context(), w.lease(first.Lease), 21)
		w.denied(err, policy.LedgerUnavailable)
		w.flaky.heal()
		_, err = w.gate.Settle(w.Context(), w.lease(first.Lease), 21)
		w.must(err)
		w.log.fail(refuseSettlements)
		_, err = w.gate.Settle(w.Context(), w.lease(second.Lease), 20)
		w.denied(err, policy.ReceiptsUnavailable)
		w.log.fail(nil)
		ended, err := w.gate.Settle(w.Context(), w.lease(second.Lease), 20)
		w.must(err)
		w.gate.Deliver(w.Context()) // the outbox has the receipt
		if ended.Charge != 20 || len(readAll[audit.Settlement](w)) != 1 {
			w.Errorf("%+v, %d settlements", ended, len(readAll[audit.Settlement](w)))
		}
		w.mustBalance(41, 0)
	})
}
