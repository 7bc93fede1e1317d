package gate_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// longCall is a call of a text that takes long to count: at most 1,000 tokens, and
// 100 by a count, which is noted.
func (w *world) longCall(counted *int) gate.Bid {
	bid := w.call(1000, 10)
	bid.Long = true
	bid.Tighten = func() (int64, string) { *counted++; return 100, gate.InputExact }
	return bid
}

// TestNothingIsCountedForWhatNoCountCanChange: what denies a call whatever its cost
// comes before its tokens are counted, and says the same as after.
func TestNothingIsCountedForWhatNoCountCanChange(t *testing.T) {
	for _, row := range []struct {
		name   string
		rules  string
		before func(*world) // the call
		change func(*gate.Bid)
		want   call.Reason
	}{
		{"a model that is not allowed", `models: {deny: ["toy"]}`, nil, nil, policy.ModelNotAllowed},
		{"a capability that is not allowed", `capabilities: [chat]`, nil, func(b *gate.Bid) {
			b.Facts.Needs = []string{call.NeedTools}
		}, policy.CapabilityNotAllowed},
		{"too deep", `max_depth: 1`, nil, func(b *gate.Bid) { b.Facts.Depth = 2 }, policy.DepthExceeded},
		{"no nonce", `replay: {required: true}`, nil, nil, policy.NonceRequired},
		{"a rate", `rates: [{name: burst, window: minute, limit: 1}]`, func(w *world) { w.begin(w.call(1, 1)).End(used(1, 1)) }, nil, policy.RequestRate},
		{"slots", `concurrency: [{name: parallel, limit: 1}]`, func(w *world) {
			grant := w.begin(w.call(1, 1))
			w.t.Cleanup(func() { grant.End(gate.Outcome{}) })
		}, nil, policy.ConcurrencyFull},
		{"a nonce seen before", `replay: {retries: 0}`, func(w *world) {
			first := w.call(1, 1)
			first.Facts.Nonce = call.HashName("n")
			w.begin(first).End(used(1, 1))
		}, func(b *gate.Bid) { b.Facts.Nonce = call.HashName("n") }, policy.ReplayedRequest},
		{"a kill switch", "", func(w *world) { w.throw("acme", budget.GlobalSwitch) }, nil, policy.Killed},
		{"no ledger", "", func(w *world) {
			w.ledger.fail("reserve", fault{err: budget.ErrUnreachable})
			w.ledger.faults["balances"] = fault{err: budget.ErrUnreachable}
		}, nil, policy.LedgerUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, daily(2000)+"\n"+row.rules)
			if row.before != nil {
				row.before(w)
			}
			counted := 0
			bid := w.longCall(&counted)
			if row.change != nil {
				row.change(&bid)
			}
			w.refused(bid, row.want)
			if counted != 0 {
				t.Errorf("counted %d times", counted)
			}
		})
	}
}

// TestLongTextIsCountedOnceForMoney, also where the loose bound would have fitted: a
// loose hold keeps others out.
func TestLongTextIsCountedOnceForMoney(t *testing.T) {
	for _, row := range []struct {
		name   string
		budget int64
		hold   int64 // 0: denied
	}{
		{"both bounds fit", 5000, 120},
		{"only the count fits", 500, 120},
		{"neither fits", 100, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, daily(row.budget))
			counted := 0
			bid := w.longCall(&counted)
			if row.hold == 0 {
				w.refused(bid, policy.BudgetExhausted)
			} else if grant := w.begin(bid); grant.Hold() != row.hold {
				t.Errorf("holds %d, want %d", grant.Hold(), row.hold)
			} else {
				grant.End(gate.Outcome{})
			}
			if counted != 1 || w.ledger.count("reserve") != 1 {
				t.Errorf("counted %d times, asked the ledger %d times for leave", counted, w.ledger.count("reserve"))
			}
		})
	}
}

// TestInjectedCapFitsTheContext: a cap that the client did not ask for leaves room
// for the input, or is not sent, and the hold covers what may come without.
func TestInjectedCapFitsTheContext(t *testing.T) {
	const context = 1000
	for _, row := range []struct {
		name     string
		how      string // of the input
		input    int64
		exact    int64 // by a count; 0: it cannot be counted
		fit      gate.Fit
		cap      int64
		uncapped bool
	}{
		{"fits", "bytes", 100, 0, gate.Fit{Cap: 900}, 900, false},
		{"the whole context, counted", "bytes", 200, 100, gate.Fit{Cap: 1000}, 900, false},
		{"the model's maximum, counted", "bytes", 900, 400, gate.Fit{Cap: 700}, 600, false},
		{"the policy's, counted", "bytes", 900, 950, gate.Fit{Cap: 300, Preset: true}, 300, false},
		{"the policy's, counted lower", "bytes", 980, 950, gate.Fit{Cap: 300, Preset: true}, 50, false},
		{"no token left, counted", "bytes", 1000, 999, gate.Fit{Cap: 700}, 1, false},
		{"full, counted", "bytes", 1000, 1000, gate.Fit{Cap: 700}, 1000, true},
		{"the policy's, not counted", "bytes", 900, 0, gate.Fit{Cap: 300, Preset: true}, 300, false},
		{"the policy's is all of the context, not counted", "bytes", 900, 0, gate.Fit{Cap: 1000, Preset: true}, 100, false},
		{"the policy's is all of the context, and the bound too", "context", 1000, 0, gate.Fit{Cap: 1000, Preset: true}, 1000, false},
		{"the model's maximum, not counted", "bytes", 900, 0, gate.Fit{Cap: 700}, 1000, true},
		{"beyond the context by bytes, not counted", "context", 1000, 0, gate.Fit{Cap: 700}, 1000, true},
	} {
		for _, ample := range []bool{false, true} {
			t.Run(map[bool]string{false: "", true: "ample: "}[ample]+row.name, func(t *testing.T) {
				w := newWorld(t, daily(900_000_000))
				if ample {
					w.begin(w.call(1, 1)).End(gate.Outcome{})
				}
				row.fit.Context = context
				bid := w.call(row.input, row.fit.Cap)
				bid.InputBound, bid.Fit = row.how, &row.fit
				if row.exact > 0 {
					bid.Tighten = func() (int64, string) { return row.exact, gate.InputExact }
				}
				grant := w.begin(bid)
				if grant.OutputCap != row.cap || grant.Uncapped != row.uncapped || grant.Clamped {
					t.Errorf("cap %d, uncapped %t, clamped %t; want %d, %t", grant.OutputCap, grant.Uncapped, grant.Clamped, row.cap, row.uncapped)
				}
				if want := grant.InputTokens() + 2*grant.OutputCap; grant.Hold() != want {
					t.Errorf("holds %d, want %d", grant.Hold(), want)
				}
				grant.End(gate.Outcome{})
			})
		}
	}
}

// TestInjectedCapProperty: whatever the bounds, a cap of the model's is only sent
// where it fits, and none that the policy sets is beside an exact input.
func TestInjectedCapProperty(t *testing.T) {
	w := newWorld(t, daily(900_000_000)+"\nwhen_exhausted: clamp")
	rapid.Check(t, func(t *rapid.T) {
		context := rapid.Int64Range(1, 1000).Draw(t, "context")
		longest := rapid.Int64Range(1, context).Draw(t, "longest")
		fit := gate.Fit{Cap: longest, Context: context}
		if fit.Preset = rapid.Bool().Draw(t, "preset"); fit.Preset {
			fit.Cap = rapid.Int64Range(1, longest).Draw(t, "cap")
		}
		bid := w.call(rapid.Int64Range(0, context).Draw(t, "input"), fit.Cap)
		bid.Fit = &fit
		exact := rapid.Int64Range(0, bid.InputTokens).Draw(t, "exact")
		known := rapid.Bool().Draw(t, "known")
		if known {
			bid.Tighten = func() (int64, string) { return exact, gate.InputExact }
		}
		grant := w.begin(bid)
		defer grant.End(gate.Outcome{})
		fits := grant.OutputCap+grant.InputTokens() <= context
		switch {
		case grant.Uncapped && grant.OutputCap != context:
			t.Fatalf("holds output of %d without a cap, want %d", grant.OutputCap, context)
		case grant.Uncapped || fits:
		case known && exact == context: // the upstream refuses the input alone
		case known, !fit.Preset:
			t.Fatalf("cap %d beside %d of %d", grant.OutputCap, grant.InputTokens(), context)
		}
		if grant.OutputCap > fit.Cap && !grant.Uncapped {
			t.Fatalf("cap %d, above %d", grant.OutputCap, fit.Cap)
		}
	})
}

// TestClampOfAnUncappedCall sends a cap after all: without one the hold is no bound.
func TestClampOfAnUncappedCall(t *testing.T) {
	w := newWorld(t, daily(2000)+clamped)
	bid := w.call(900, 700)
	bid.Fit = &gate.Fit{Cap: 700, Context: 1000}
	grant := w.begin(bid)
	if grant.Uncapped || !grant.Clamped || grant.OutputCap != 550 {
		t.Errorf("cap %d, uncapped %t, clamped %t", grant.OutputCap, grant.Uncapped, grant.Clamped)
	}
	if d := bodies[audit.Decision](w.receipts())[0]; d.Facts.OutputCap != 550 {
		t.Errorf("the receipt says %+v", d.Facts)
	}
	grant.End(gate.Outcome{})
}

// TestUncappedCallReplays: a receipt says that no cap was sent, and in which dialect.
func TestUncappedCallReplays(t *testing.T) {
	w := newWorld(t, daily(999_999_999))
	r := gate.Request{Tenant: "acme", Key: "acme-1", Facts: call.Facts{Dialect: "openai", Model: "gpt-4", InputTokens: 9000, OutputCap: 4096}}
	bid, denial, err := r.Bid(w.rules)
	bid.Fit = &gate.Fit{Cap: 4096, Context: 8192}
	if denial != nil || err != nil {
		t.Fatal(denial, err)
	}
	w.begin(bid).End(used(10, 10))
	r.Facts.Dialect = "anthropic"
	if bid, denial, _ = r.Bid(w.rules); denial == nil || denial.Reason != policy.NoRoute {
		t.Fatalf("no upstream speaks it: %v", denial)
	}
	w.gate.Refuse(t.Context(), bid, denial)
	w.settleAll(nil)
	list := bodies[audit.Decision](w.receipts())
	if f := list[0].Facts; !f.Uncapped || f.OutputCap != 8192 || f.Dialect != "openai" || list[1].Facts.Dialect != "anthropic" {
		t.Errorf("the receipts say %+v and %+v", f, list[1].Facts)
	}
	w.mustReplay(t, w.rules)
}
