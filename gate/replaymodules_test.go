package gate_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// everyModule is a tenant that uses every rule there is.
const everyModule = `max_depth: 3
replay: {retries: 1}
concurrency: [{name: parallel, limit: 2}]
tool_calls: [{name: few, limit: 2}]
rates: [{name: burst, window: minute, limit: 5}]
budgets: [{name: daily, window: day, limit_usd: "0.000001"}]`

// allModules is a tenant that uses every module; kill switches need no
// field. A request claims from seven counters: its nonce, a slot, tool calls,
// three budgets and a rate.
const allModules = `capabilities: [chat, stream, tools]
models: {allow: ["gpt-*", "toy"], deny: ["*-audio*"]}
endpoints: {allow: ["chat/completions", "embeddings"]}
tools: {allow: ["search*", "calendar_*"], deny: ["*_delete"]}
max_depth: 3
replay: {window: 1m, max_nonces: 1000000}
per_request_usd: "1"
concurrency: [{name: parallel, limit: 100000}]
tool_calls: [{name: tools, scope: run, window: minute, limit: 10000}]
rates: [{name: rate, window: minute, limit: 1000000000}]
budgets:
  - {name: daily, window: day, limit_usd: "1000000"}
  - {name: of-key, scope: [key], window: month, limit_usd: "1000000"}
  - {name: of-run, scope: [run], window: forever, limit_usd: "1000000"}`

// everyClaim is a call that claims from all of them.
func everyClaim(w *world) gate.Bid {
	bid := w.call(1000, 100)
	bid.Facts.Run, bid.Facts.Nonce, bid.Facts.Depth = call.HashName("run-1"), call.HashName("nonce-1"), 1
	bid.Facts.Needs = []string{"chat", "tools"}
	bid.Facts.Tools = []string{"search_web", "calendar_read"}
	bid.Facts.ToolResults = twoResults("call-1")
	return bid
}

// twoResults are those of two tools that were called.
func twoResults(id string) []call.ToolResult {
	return policy.AddToolResult(policy.AddToolResult(nil, call.HashName(id+"a"), "search_web"), call.HashName(id+"b"), "calendar_read")
}

// TestReplayKnowsEveryModule: what each rule allows and denies, for calls and
// for actions, follows from the receipts again.
func TestReplayKnowsEveryModule(t *testing.T) {
	w := newWorld(t, everyModule)
	ctx := context.Background()
	nonced := w.call(10, 5)
	nonced.Facts.Nonce, nonced.Facts.Depth = call.HashName("n-1"), 3
	w.begin(nonced).End(used(10, 1))
	w.refused(nonced, policy.ReplayedRequest)
	deep := w.call(10, 5)
	deep.Facts.Depth = 4
	w.refused(deep, policy.DepthExceeded)

	w.refused(w.bringing("1", "2", "3"), policy.ToolCallsExceeded)

	first, second := w.begin(w.call(10, 5)), w.begin(w.call(10, 5))
	w.refused(w.call(10, 5), policy.ConcurrencyFull)
	first.End(used(10, 5))
	second.End(gate.Outcome{})

	w.throw("acme", policy.KeySwitch("acme-1"))
	w.refused(w.call(10, 5), policy.Killed)
	if _, err := w.real.Lift(ctx, "acme", policy.KeySwitch("acme-1"), 0); err != nil {
		t.Fatal(err)
	}

	pay := gate.Action{Rules: w.rules, Key: w.key(), ID: "pay-1", Kind: "payment", Amount: 100, Target: "x", TTL: time.Minute}
	leave, err := w.gate.Authorize(ctx, pay)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.gate.Authorize(ctx, pay); err != nil {
		t.Errorf("a repeat: %v", err)
	}
	lease := gate.LeaseCall{Rules: w.rules, Key: w.key(), Lease: leave.Lease}
	if _, err := w.gate.Extend(ctx, lease, 150); err != nil {
		t.Errorf("extend: %v", err)
	}
	if _, err := w.gate.Settle(ctx, lease, 120); err != nil {
		t.Errorf("settle: %v", err)
	}
	large := pay
	large.ID, large.Amount = "pay-2", 5000
	if _, err := w.gate.Authorize(ctx, large); err == nil {
		t.Error("an action above the budget is allowed")
	}
	for range 2 {
		w.begin(w.call(10, 5)).End(used(1, 1))
	}
	w.refused(w.call(10, 5), policy.RequestRate)
	if err := w.upkeep().Sweep(ctx, "acme"); err != nil {
		t.Fatal(err)
	}

	report := replayDirs(t, []*gate.Rules{w.rules}, filepath.Join(w.dir, "receipts"))
	if !report.OK() || len(report.Unchecked) > 0 {
		t.Errorf("findings %v, unchecked %v", report.Findings, report.Unchecked)
	}
	for _, reason := range []call.Reason{
		policy.ReplayedRequest, policy.DepthExceeded, policy.ToolCallsExceeded, policy.ConcurrencyFull, policy.Killed, policy.BudgetExhausted, policy.RequestRate,
	} {
		if report.Denied[string(reason)] != 1 {
			t.Errorf("%d denied for %s, want 1", report.Denied[string(reason)], reason)
		}
	}
}

// TestReplayOfAFullTenantThatClamps: no lower cap helps who finds no slot, even
// where the money that is held would not have been enough either.
func TestReplayOfAFullTenantThatClamps(t *testing.T) {
	w := newWorld(t, "concurrency: [{name: one, limit: 1}]\nwhen_exhausted: clamp\nmin_output_tokens: 1\n"+daily(1000))
	first := w.begin(w.call(100, 250))
	w.refused(w.call(100, 250), policy.ConcurrencyFull)
	first.End(used(10, 1))
	w.must(w.upkeep().Sweep(t.Context(), "acme"))
	w.mustReplay(t, w.rules)
}

// TestReplayOfAnActionWithoutItsOwnReceipt: an action whose receipt the log did
// not take has leave when it is asked for again, and may be extended. Only a
// copy tells of its grant then, which nobody is blamed for.
func TestReplayOfAnActionWithoutItsOwnReceipt(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.log.fail(refuseDecisions)
	if _, err := w.gate.Authorize(t.Context(), w.payment("a", 60)); err == nil {
		t.Fatal("allowed without a receipt")
	}
	w.log.fail(nil)
	leave, err := w.gate.Authorize(t.Context(), w.payment("a", 60))
	w.must(err)
	_, err = w.gate.Extend(t.Context(), gate.LeaseCall{Rules: w.rules, Key: w.key(), Lease: leave.Lease}, 70)
	w.must(err)
	w.must(w.upkeep().Recover(t.Context(), w.real, w.audit))
	w.mustReplay(t, w.rules)
}
