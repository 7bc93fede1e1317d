package gate_test

import (
	"errors"
	"strings"
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

// TestClampedDenialTellsTheLeast: what is needed is told of the floor, which would have
// passed, and not of the cap that was asked for.
func TestClampedDenialTellsTheLeast(t *testing.T) {
	const floors = 100 + 16*2 // of the input, and 16 tokens
	for _, row := range []struct {
		name, rules string
		reason      call.Reason
		cap, needed int64
	}{
		{"a budget", daily(floors-1) + clamped, policy.BudgetExhausted, 1000, floors},
		{"the cap of one request", "per_request_usd: 0.000000131\n" + daily(1000) + clamped, policy.RequestCapExceeded, 1000, floors},
		{"a cap below the floor", daily(100) + clamped, policy.BudgetExhausted, 10, 120},
		{"no clamp", daily(floors - 1), policy.BudgetExhausted, 1000, 2100},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, row.rules)
			if refusal := w.refused(w.call(100, row.cap), row.reason); refusal.Needed != row.needed {
				t.Errorf("needed %d, want %d: %s", refusal.Needed, row.needed, refusal.Message)
			}
		})
	}
}

// TestClampKeepsTheLeastCap: below the least cap with which a call can be sent nothing is
// lowered, and the denial says why.
func TestClampKeepsTheLeastCap(t *testing.T) {
	w := newWorld(t, daily(300)+clamped)
	bid := w.call(100, 1000)
	bid.LeastCap, bid.LeastFor = 100, "thinking.budget_tokens"
	grant := w.begin(bid) // 100 + 100 * 2 fit
	if grant.OutputCap != 100 {
		t.Errorf("cap %d", grant.OutputCap)
	}
	grant.End(used(100, 1))
	refusal := w.refused(bid, policy.BudgetExhausted)
	if refusal.Needed != 300 || !strings.HasSuffix(refusal.Message, "; its output cap cannot be lowered below 100, because of thinking.budget_tokens") {
		t.Errorf("needed %d: %s", refusal.Needed, refusal.Message)
	}
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
