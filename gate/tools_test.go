package gate_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// bringing is a call of run a with the results of these tool calls, each "ID" or
// "ID TOOL".
func (w *world) bringing(calls ...string) gate.Bid {
	c := w.call(10, 5)
	c.Facts.Run = call.HashName("a")
	for _, result := range calls {
		id, tool, _ := strings.Cut(result, " ")
		c.Facts.ToolResults = policy.AddToolResult(c.Facts.ToolResults, call.HashName(id), tool)
	}
	return c
}

const toolLimits = "tool_calls: [{name: run, scope: run, limit: 3}, {name: searches, tool: search, limit: 1}]"

// newToolStory has every way in which tool calls are counted and denied.
func newToolStory(t *testing.T) *world {
	w := newWorld(t, toolLimits+"\n"+daily(1000))
	w.begin(w.bringing("1 search")).End(used(1, 1))
	w.begin(w.bringing("1 search", "2 fetch")).End(gate.Outcome{}) // not sent
	first, second := w.begin(w.bringing("2 fetch")), w.begin(w.bringing("2 fetch", "3"))
	first.End(gate.Outcome{})
	refusal := w.refused(w.bringing("3", "4"), policy.ToolCallsExceeded)
	if refusal.Budget != "run" || refusal.Needed != 1 || refusal.Spent != 1 || refusal.Held != 2 {
		t.Errorf("refused %+v", refusal)
	}
	second.End(used(1, 1))
	w.refused(w.bringing("5 search"), policy.ToolCallsExceeded)
	w.begin(w.bringing("1 search", "2 fetch", "3")).End(used(1, 1)) // all counted already
	var many []string
	for i := range policy.MaxToolResults + 1 {
		many = append(many, fmt.Sprint("many-", i))
	}
	w.refused(w.bringing(many...), policy.ToolCallsExceeded)
	return w
}

// TestReplayKnowsToolCalls: amounts and denials follow from the receipts, and so
// do the ledger's balances.
func TestReplayKnowsToolCalls(t *testing.T) {
	w := newToolStory(t)
	if err := w.upkeep().Sweep(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	report := w.mustReplay(t, w.rules)
	if n := report.Denied[string(policy.ToolCallsExceeded)]; n != 3 {
		t.Errorf("%d denied", n)
	}
	for _, d := range bodies[audit.Decision](w.receipts()) {
		if strings.Contains(fmt.Sprint(d.Claims, d.Facts.ToolResults), "many") {
			t.Errorf("an id stands in a receipt: %+v", d)
		}
	}
	w.restart()
	w.mustReplay(t, w.rules)
}

// TestRebuildKnowsToolCalls: what was counted is known after a rebuild.
func TestRebuildKnowsToolCalls(t *testing.T) {
	w := newToolStory(t)
	if err := w.upkeep().Sweep(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	states, err := rebuild(func(yield func(audit.Receipt, error) bool) {
		for _, r := range w.receipts() {
			if !yield(r, nil) {
				return
			}
		}
	})
	if err != nil || len(states) != 1 {
		t.Fatal(states, err)
	}
	compareBalances(t, states[0], w.real, w.key().Tenant, w.clock.Now())
	if err := w.real.Restore(t.Context(), states[0]); err != nil {
		t.Fatal(err)
	}
	w.begin(w.bringing("1 search", "2 fetch", "3")).End(used(1, 1))
	w.refused(w.bringing("4"), policy.ToolCallsExceeded)
}

// TestReplayFindsRetoldToolCalls changes one thing about tool calls in an honest
// history and signs it again.
func TestReplayFindsRetoldToolCalls(t *testing.T) {
	w := newToolStory(t)
	if err := w.upkeep().Sweep(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	honest := spoken(w.receipts())
	counts := func(d audit.Decision) bool { return d.Verdict == audit.Allow && len(d.Claims) > 1 }
	again := func(d audit.Decision) bool { return counts(d) && d.Claims[0].Amount == 0 }
	refused := func(d audit.Decision) bool { return d.Verdict == audit.Deny && len(d.Claims) > 0 }
	first := func(change func(*audit.Claim)) func(*audit.Decision) {
		return func(d *audit.Decision) {
			d.Claims = slices.Clone(d.Claims)
			change(&d.Claims[0])
		}
	}
	for _, row := range []struct {
		name   string
		fault  gate.Fault
		retell func(testing.TB, []audit.Receipt) []audit.Receipt
	}{
		{"fewer calls than were new", gate.WrongSeen, alter(counts, first(func(c *audit.Claim) { c.Amount-- }))},
		{"more calls than were new", gate.WrongSeen, alter(again, first(func(c *audit.Claim) { c.Amount++ }))},
		{"another mark", gate.WrongClaims, alter(counts, first(func(c *audit.Claim) { c.Marks = hashed("x") }))},
		{"a mark left out", gate.WrongClaims, alter(counts, first(func(c *audit.Claim) { c.Marks = "" }))},
		{"another result and another mark", gate.WrongAllow, alter(again, func(d *audit.Decision) {
			x := call.HashName("x")
			d.Facts.ToolResults = []call.ToolResult{{ID: x}}
			d.Claims = slices.Delete(slices.Clone(d.Claims), 1, 2)
			d.Claims[0].Marks = string(x)
		})},
		{"a result left out", gate.WrongClaims, alter(counts, func(d *audit.Decision) { d.Facts.ToolResults = nil })},
		{"another tool", gate.WrongClaims, alter(counts, func(d *audit.Decision) {
			d.Facts.ToolResults = []call.ToolResult{{ID: call.HashName("1"), Tool: "fetch"}}
		})},
		{"a denial that needed more", gate.WrongSeen, alter(refused, first(func(c *audit.Claim) { c.Amount++ }))},
		{"a denial without reason", gate.WrongDenial, alter(refused, first(func(c *audit.Claim) { c.Reason = "" }))},
		{"a denial for results that are few", gate.WrongDenial, alter(func(d audit.Decision) bool {
			return len(d.Facts.ToolResults) > policy.MaxToolResults
		}, func(d *audit.Decision) { d.Facts.ToolResults = d.Facts.ToolResults[:2] })},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := retell(t, row.retell(t, slices.Clone(honest)))
			mustBeSound(t, dir)
			report := replayDirs(t, []*gate.Rules{w.rules}, dir)
			if report.OK() || len(report.Findings) == 0 || report.Findings[0].Fault != row.fault {
				t.Errorf("found %v, unchecked %v; want %s", report.Findings, report.Unchecked, row.fault)
			}
		})
	}
}

// TestToolCallsSurviveAKill: what was counted, and what is in flight, is known to
// the next process.
func TestToolCallsSurviveAKill(t *testing.T) {
	w := newWorld(t, toolLimits)
	w.begin(w.bringing("1 search")).End(used(1, 1))
	w.begin(w.bringing("1 search", "2")) // never ended
	w.restart()
	w.begin(w.bringing("2", "3")).End(used(1, 1))
	w.refused(w.bringing("4"), policy.ToolCallsExceeded)
	w.clock.advance(2 * gate.LeaseTTL)
	w.refused(w.bringing("4"), policy.ToolCallsExceeded)
	if err := w.upkeep().Sweep(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if report := replayDirs(t, []*gate.Rules{w.rules}, filepath.Join(w.dir, "receipts")); len(report.Findings) > 0 {
		t.Errorf("%v", report.Findings)
	}
}

// TestTheLargestReceiptFits: as many claims, marks, results and tools as there
// can be.
func TestTheLargestReceiptFits(t *testing.T) {
	limits := "tool_calls:"
	for i := range 8 {
		limits += fmt.Sprintf("\n  - {name: %s%d, tool: \"%s%d*\", limit: 9999}", strings.Repeat("n", 63), i, strings.Repeat("*", 90-i), i)
	}
	limits += "\nbudgets:"
	for i := range 24 {
		limits += fmt.Sprintf("\n  - {name: %s%02d, scope: [key, run, user, model], models: \"%s*\", window: day, limit_usd: \"9\"}", strings.Repeat("b", 62), i, strings.Repeat("*", 60+i))
	}
	w := newWorld(t, "user_field: user\ntools: {deny: [shell]}\n"+limits)
	var many []string
	for i := range policy.MaxToolResults {
		many = append(many, fmt.Sprintf("id-%d %s", i, strings.Repeat("01234567", 12)))
	}
	c := w.bringing(many...)
	c.Facts.User, c.Facts.Tools = call.HashName("u"), slices.Repeat([]string{strings.Repeat("t", 96)}, policy.MaxTools)
	w.begin(c).End(used(1, 1))
	d := bodies[audit.Decision](w.receipts())[0]
	marks := 0
	for _, claim := range d.Claims {
		marks += len(strings.Fields(claim.Marks))
	}
	if len(d.Claims) != 32 || marks != 512 {
		t.Errorf("%d claims with %d marks", len(d.Claims), marks)
	}
}

// TestToolCallsOfTheLibrary: a program says which results a call brings. Those
// without an id count each time.
func TestToolCallsOfTheLibrary(t *testing.T) {
	w := newLibrary(t, "tool_calls: [{name: all, limit: 3}, {name: searches, tool: search, limit: 1}]")
	ask := func(want string, results ...call.ToolResult) {
		t.Helper()
		r := asking()
		r.Facts.ToolResults = results
		_, _, err := w.callWith(t.Context(), r, func() answer { return answer{outcome: used(1, 1)} })
		if got := told(err); got != want {
			t.Errorf("%v: %q, want %q", results, got, want)
		}
	}
	first, unnamed := call.ToolResult{ID: call.HashName("c1"), Tool: "search"}, call.ToolResult{}
	ask("", first)
	ask("", first, unnamed)
	ask("tool_calls_exceeded searches never", call.ToolResult{ID: call.HashName("c2"), Tool: "search"})
	ask("", unnamed)
	ask("tool_calls_exceeded all never", unnamed)
	ask("", first)
}
