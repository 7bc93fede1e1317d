package gate_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const clamped = "\nwhen_exhausted: clamp\nmin_output_tokens: 16"

func TestClampLowersTheCapToWhatFits(t *testing.T) {
	w := newWorld(t, daily(200)+clamped)
	bid := w.call(100, 1000)
	bid.Choices = 2
	grant := w.begin(bid)
	if grant.OutputCap != 25 || grant.Hold() != 200 { // 100 + 2 choices * 25 tokens * 2 nano-USD
		t.Errorf("cap %d, hold %d", grant.OutputCap, grant.Hold())
	}
	if d := bodies[audit.Decision](w.receipts())[0]; d.Facts.OutputCap != 25 || d.Facts.OutputTokens != 50 {
		t.Errorf("the receipt says %+v", d.Facts)
	}
	grant.End(used(100, 50))
	w.mustBalance(200, 0)
}

func TestClampCountsOutputBesideTheCap(t *testing.T) {
	w := newWorld(t, daily(200)+clamped)
	bid := w.call(100, 1000)
	bid.ExtraOutput = 20
	grant := w.begin(bid)
	if grant.OutputCap != 30 || grant.Hold() != 200 {
		t.Errorf("cap %d, hold %d", grant.OutputCap, grant.Hold())
	}
	grant.End(gate.Outcome{})
}

func TestClampBelowTheMinimumDenies(t *testing.T) {
	w := newWorld(t, daily(131)+clamped) // room for 15 tokens
	refusal := w.refused(w.call(100, 1000), policy.BudgetExhausted)
	if refusal.LargestCap != 15 {
		t.Errorf("largest cap %d", refusal.LargestCap)
	}
}

func TestClampFitsThePerRequestCap(t *testing.T) {
	w := newWorld(t, daily(1000)+"\nper_request_usd: \"0.000000300\""+clamped)
	grant := w.begin(w.call(100, 1000))
	if grant.OutputCap != 100 {
		t.Errorf("cap %d", grant.OutputCap)
	}
	grant.End(gate.Outcome{})
}

// TestClampIsForWhatIsExhausted: room that is only held comes back, so that the
// client's whole request fits later.
func TestClampIsForWhatIsExhausted(t *testing.T) {
	w := newWorld(t, daily(400)+clamped)
	first := w.begin(w.call(100, 100))
	w.refused(w.call(50, 100), policy.BudgetHeld) // 25 tokens would fit now
	first.End(used(0, 1))
	grant := w.begin(w.call(50, 100))
	if grant.OutputCap != 100 {
		t.Errorf("cap %d", grant.OutputCap)
	}
	grant.End(gate.Outcome{})
}

func TestTightBoundIsAskedForOnlyWhenNeeded(t *testing.T) {
	w := newWorld(t, daily(900_000_000))
	asked := 0
	bid := w.call(1000, 10)
	bid.Tighten = func() (int64, string) { asked++; return 100, "exact" }
	w.begin(bid).End(gate.Outcome{}) // how far the budget is used is not known yet
	if asked != 1 {
		t.Errorf("counted %d times for an unknown tenant", asked)
	}
	grant := w.begin(bid)
	if asked != 1 || grant.InputTokens() != 1000 {
		t.Errorf("counted %d times far from the limit, bound %d", asked, grant.InputTokens())
	}
	grant.End(gate.Outcome{})
}

func TestTightBoundAdmitsWhatTheLooseOneWouldNot(t *testing.T) {
	w := newWorld(t, daily(200))
	bid := w.call(1000, 50)
	bid.Tighten = func() (int64, string) { return 100, "exact" }
	grant := w.begin(bid)
	if grant.Hold() != 200 || grant.InputTokens() != 100 {
		t.Errorf("hold %d, input %d", grant.Hold(), grant.InputTokens())
	}
	if d := bodies[audit.Decision](w.receipts())[0]; d.Facts.InputBound != "exact" {
		t.Errorf("bound %q", d.Facts.InputBound)
	}
	grant.End(gate.Outcome{})
}

func TestTightBoundNeverRaises(t *testing.T) {
	w := newWorld(t, daily(1000))
	bid := w.call(100, 50)
	bid.Tighten = func() (int64, string) { return 5000, "exact" }
	grant := w.begin(bid)
	if grant.InputTokens() != 100 {
		t.Errorf("input %d", grant.InputTokens())
	}
	if d := bodies[audit.Decision](w.receipts())[0]; d.Facts.InputBound != "bytes" {
		t.Errorf("bound %q", d.Facts.InputBound)
	}
	grant.End(gate.Outcome{})
}

// TestLargestCapIsTheLargest: the cap that a denial names fits, and one token
// more does not.
func TestLargestCapIsTheLargest(t *testing.T) {
	w := newWorld(t, daily(100_000))
	rapid.Check(t, func(t *rapid.T) {
		held := w.begin(w.call(rapid.Int64Range(0, 40_000).Draw(t, "held"), 0))
		defer held.End(gate.Outcome{})
		bid := w.call(rapid.Int64Range(0, 99_999).Draw(t, "input"), 1<<30)
		bid.Choices = rapid.Int64Range(1, 5).Draw(t, "choices")
		bid.ExtraOutput = rapid.Int64Range(0, 1000).Draw(t, "extra")
		refusal := w.refused(bid, policy.BudgetExhausted)

		bid.OutputCap = refusal.LargestCap + 1
		if grant, err := w.gate.Begin(t.Context(), bid); err == nil {
			grant.End(gate.Outcome{})
			t.Fatalf("cap %d fits, but %d was said to be the largest", bid.OutputCap, refusal.LargestCap)
		}
		if refusal.LargestCap == 0 {
			return
		}
		bid.OutputCap = refusal.LargestCap
		grant, err := w.gate.Begin(t.Context(), bid)
		if err != nil {
			t.Fatalf("cap %d was said to fit: %v", bid.OutputCap, err)
		}
		grant.End(gate.Outcome{})
	})
}

func TestDenialsSayWhatIsHeldAndWhatIsExhausted(t *testing.T) {
	w := newWorld(t, daily(400))
	w.begin(w.call(100, 0)).End(used(100, 0))
	first := w.begin(w.call(100, 50))
	for cap, want := range map[int64]call.Reason{10: policy.BudgetHeld, 110: policy.BudgetExhausted} {
		refusal := w.refused(w.call(100, cap), want)
		if refusal.Spent != 100 || refusal.Held != 200 || refusal.Limit != 400 || refusal.Needed != 100+2*cap {
			t.Errorf("cap %d: %s", cap, fmt.Sprintf("%+v", refusal))
		}
	}
	first.End(gate.Outcome{})
}
