package gate_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestClampedCallIsHeldNotExhausted: where the cap fits no more, and the floor only for
// what others hold, the call is held: it may come back.
func TestClampedCallIsHeldNotExhausted(t *testing.T) {
	w := newWorld(t, daily(300)+clamped)
	w.begin(w.call(100, 1)).End(used(0, 50)) // 100 of 300 are spent
	first := w.begin(w.call(100, 1000))      // and the rest is held
	refusal := w.refused(w.call(100, 1000), policy.BudgetHeld)
	if refusal.Needed != 132 || refusal.Held != 200 { // the floor's: 100 + 16 tokens * 2 nano-USD
		t.Errorf("denial %+v", refusal)
	}
	first.End(used(0, 1))
	w.begin(w.call(100, 1000)).End(used(100, 40)) // 180 more: 282
	w.refused(w.call(100, 1000), policy.BudgetExhausted)
}

// TestClampedCallWaitsForItsFloor: and in line it waits, and then has all that fits.
func TestClampedCallWaitsForItsFloor(t *testing.T) {
	w := newWorld(t, daily(300)+clamped+waiting+"1m")
	w.begin(w.call(100, 1)).End(used(0, 50))
	first := w.begin(w.call(100, 1000))
	second := w.arrive(t.Context(), w.call(100, 1000))
	for w.gate.Waiting("acme") == 0 {
		select {
		case got := <-second:
			t.Fatalf("it did not wait: %+v", got)
		default:
		}
	}
	first.End(used(0, 10))
	got := <-second
	if got.err != nil {
		t.Fatal(got.err)
	}
	if got.grant.OutputCap != 40 || !got.grant.Clamped { // 180 left: 100 + 40 tokens * 2 nano-USD
		t.Errorf("cap %d", got.grant.OutputCap)
	}
	got.grant.End(used(0, 0))
}

// TestCrowdOfAgentsUsesABudgetUp: agents that ask for far more than they write share a
// budget. Nobody is denied while what is left fits the floor, and nobody gets past it.
func TestCrowdOfAgentsUsesABudgetUp(t *testing.T) {
	const limit, input, floor = 25_000, 10, 16
	w := newWorld(t, daily(limit)+clamped+waiting+"10m")
	var crowd sync.WaitGroup
	for range 40 {
		crowd.Go(func() {
			for {
				grant, err := w.gate.Begin(t.Context(), w.call(input, 1600)) // 3,210: seven fit at once
				if refusal, ok := errors.AsType[*call.Denial](err); ok {
					if left := refusal.Limit - refusal.Spent; refusal.Reason != policy.BudgetExhausted || left >= input+2*floor {
						t.Errorf("denied with %d left: %v", left, refusal)
					}
					return
				}
				if grant.OutputCap < floor {
					t.Errorf("a cap of %d", grant.OutputCap)
				}
				grant.End(used(input, min(grant.OutputCap, 20)))
			}
		})
	}
	crowd.Wait()
	spent, held := w.balance()
	if spent > limit || limit-spent >= input+2*floor || held != 0 {
		t.Errorf("spent %d of %d, held %d", spent, limit, held)
	}
	for _, d := range bodies[audit.Decision](w.receipts()) {
		if d.Verdict == audit.Deny && d.Reasons[0] != string(policy.BudgetExhausted) {
			t.Errorf("denied for %v", d.Reasons)
		}
	}
}
