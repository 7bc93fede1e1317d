package gate_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const waiting = "\nwhen_held: wait\nwait_limit: "

// arrival is one call that waits in line.
type arrival struct {
	grant *gate.Grant
	err   error
}

// arrive begins a call in the background.
func (w *world) arrive(ctx context.Context, c gate.Bid) <-chan arrival {
	got := make(chan arrival, 1)
	go func() {
		grant, err := w.gate.Begin(ctx, c)
		got <- arrival{grant, err}
	}()
	return got
}

// waits blocks until so many calls of the tenant stand in line.
func (w *world) waits(n int) {
	for w.gate.Waiting("acme") < n {
		time.Sleep(time.Millisecond)
	}
}

func TestHeldCallsAreServedInOrderOfArrival(t *testing.T) {
	w := newWorld(t, daily(200)+waiting+"1m")
	first := w.begin(w.call(100, 50))
	second := w.arrive(t.Context(), w.call(100, 50))
	w.waits(1)
	var later []<-chan arrival
	for i := range 3 { // these see the line and queue without asking the ledger
		later = append(later, w.arrive(t.Context(), w.call(100, 50)))
		w.waits(i + 2)
	}
	first.End(gate.Outcome{})
	holder := <-second
	for i, next := range later {
		if holder.err != nil {
			t.Fatal(holder.err)
		}
		for j, other := range later[i:] {
			select {
			case <-other:
				t.Fatalf("call %d was served before its turn", i+j+3)
			default:
			}
		}
		holder.grant.End(gate.Outcome{})
		holder = <-next
	}
	holder.grant.End(gate.Outcome{})
	w.mustBalance(0, 0)
}

func TestWaitLimitDeniesWithTheBudget(t *testing.T) {
	w := newWorld(t, daily(200)+waiting+"20ms")
	first := w.begin(w.call(100, 50))
	refusal := w.refused(w.call(100, 50), policy.BudgetHeld)
	if refusal.Budget != "daily" || refusal.Held != 200 {
		t.Errorf("denial %+v", refusal)
	}
	first.End(gate.Outcome{})
	w.begin(w.call(100, 50)).End(gate.Outcome{}) // nobody stands in line any more
}

func TestClientThatLeavesLeavesTheLine(t *testing.T) {
	w := newWorld(t, daily(200)+waiting+"1m")
	first := w.begin(w.call(100, 50))
	ctx, cancel := context.WithCancel(t.Context())
	second := w.arrive(ctx, w.call(100, 50))
	w.waits(1)
	third := w.arrive(t.Context(), w.call(100, 50))
	cancel()
	var refusal *call.Denial
	got := <-second // it left while it stood in line, or while it asked once more
	if !errors.As(got.err, &refusal) || refusal.Reason != policy.BudgetHeld && refusal.Reason != policy.ClientClosedRequest {
		t.Fatalf("%+v", got)
	}
	first.End(gate.Outcome{})
	got = <-third
	if got.err != nil {
		t.Fatal(got.err)
	}
	got.grant.End(gate.Outcome{})
	w.mustBalance(0, 0)
}

// TestLeavingTheLineUndecided: a call whose input is counted, and that leaves the line before
// it was ever decided, has a receipt that follows.
func TestLeavingTheLineUndecided(t *testing.T) {
	w := newWorld(t, daily(200)+waiting+"1m")
	first := w.begin(w.call(100, 50))
	second := w.arrive(t.Context(), w.call(100, 50))
	w.waits(1)
	counted := 0
	for _, bid := range []gate.Bid{w.call(100, 50), w.longCall(&counted)} {
		bid.Tighten = func() (int64, string) { return 100, gate.InputExact }
		ctx, cancel := context.WithCancel(t.Context())
		third := w.arrive(ctx, bid)
		w.waits(2)
		cancel()
		var refusal *call.Denial
		if got := <-third; !errors.As(got.err, &refusal) || refusal.Reason != policy.BudgetHeld {
			t.Fatalf("%+v", got)
		}
	}
	first.End(gate.Outcome{})
	if got := <-second; got.err != nil {
		t.Fatal(got.err)
	} else {
		got.grant.End(gate.Outcome{})
	}
	w.mustBalance(0, 0)
	w.settleAll(nil)
	w.mustReplay(t, w.rules)
}

func TestExhaustedCallsDoNotWait(t *testing.T) {
	w := newWorld(t, daily(200)+waiting+"1m")
	w.refused(w.call(100, 51), policy.BudgetExhausted)
}

// TestRoomIsTakenAtOnce: one end makes room for two, who do not wait for the
// next tick.
func TestRoomIsTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, daily(200)+waiting+"1m", &clock{})
		first := w.begin(w.call(100, 50))
		second := w.arrive(t.Context(), w.call(50, 25))
		synctest.Wait()
		third := w.arrive(t.Context(), w.call(50, 25))
		synctest.Wait()
		began := time.Now()
		first.End(gate.Outcome{})
		for _, next := range []<-chan arrival{second, third} {
			got := <-next
			if got.err != nil {
				t.Fatal(got.err)
			}
			defer got.grant.End(gate.Outcome{})
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v", waited)
		}
	})
}
