package gate_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// offering is a call that offers tools to the model.
func (w *world) offering(tools ...string) gate.Bid {
	c := w.call(10, 10)
	c.Facts.Needs, c.Facts.Tools = []string{call.NeedChat, call.NeedTools}, tools
	return c
}

// toolAction is an action that uses a tool.
func (w *world) toolAction(tool string) gate.Action {
	return gate.Action{Rules: w.rules, Key: w.key(), ID: "of-" + tool, Kind: "tool", Tool: tool, Amount: 10, TTL: time.Minute}
}

// TestReplayKnowsOfferedTools: which tools were offered, or used by an action, is
// in the receipts, so leave and denial follow from them.
func TestReplayKnowsOfferedTools(t *testing.T) {
	w := newWorld(t, "tools: {allow: [\"db_*\"]}\n"+daily(1000))
	w.begin(w.offering("db_read")).End(used(1, 1))
	w.refused(w.offering("db_read", "shell"), policy.ToolNotAllowed)
	w.refused(w.offering("db_read", ""), policy.ToolNotAllowed)
	w.refused(w.offering(slices.Repeat([]string{"db_read"}, 1000)...), policy.ToolNotAllowed)
	_, err := w.gate.Authorize(t.Context(), w.toolAction("db_pay"))
	w.must(err)
	if _, err := w.gate.Authorize(t.Context(), w.toolAction("shell")); err == nil {
		t.Fatal("an action with a tool that is not allowed has leave")
	}
	w.must(w.upkeep().Sweep(t.Context(), "acme"))
	report := w.mustReplay(t, w.rules)
	if n := report.Denied[string(policy.ToolNotAllowed)]; n != 4 || report.Told != 0 {
		t.Errorf("%d denied, %d told", n, report.Told)
	}

	honest := spoken(w.receipts())
	for _, row := range []struct {
		name   string
		fault  gate.Fault
		retell func(testing.TB, []audit.Receipt) []audit.Receipt
	}{
		{"served though a tool is not allowed", gate.WrongAllow, alter(leave("chat/completions"), func(d *audit.Decision) {
			d.Facts.Tools = []string{"shell"}
		})},
		{"an action, though its tool is not", gate.WrongAllow, alter(leave("actions/tool"), func(d *audit.Decision) {
			d.Facts.Tools, d.Facts.Tool = []string{"shell"}, call.HashName("shell")
		})},
		{"an action, that tells another tool than it uses", gate.WrongSum, alter(leave("actions/tool"), func(d *audit.Decision) {
			d.Facts.Tool = call.HashName("shell")
		})},
		{"an action, that hides its tool", gate.WrongSum, alter(leave("actions/tool"), func(d *audit.Decision) { d.Facts.Tools = nil })},
		{"an action, that uses no id", gate.WrongClaims, alter(leave("actions/tool"), func(d *audit.Decision) {
			d.Claims = slices.DeleteFunc(slices.Clone(d.Claims), func(c audit.Claim) bool { return strings.HasPrefix(c.Key, "action/") })
		})},
		{"tools left out", gate.WrongSum, alter(leave("chat/completions"), func(d *audit.Decision) { d.Facts.Tools = nil })},
		{"denied though all are allowed", gate.WrongDenial, alter(deniedFor(policy.ToolNotAllowed), func(d *audit.Decision) {
			d.Facts.Tools = []string{"db_read"}
		})},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := retell(t, row.retell(t, slices.Clone(honest)))
			mustBeSound(t, dir)
			got := replayDirs(t, []*gate.Rules{w.rules}, dir).Findings
			if len(got) != 1 || got[0].Fault != row.fault {
				t.Errorf("found %v, want %s", got, row.fault)
			}
		})
	}
}

// leave is a decision that allowed what is asked of an endpoint.
func leave(endpoint string) func(audit.Decision) bool {
	return func(d audit.Decision) bool { return d.Verdict == audit.Allow && d.Facts.Endpoint == endpoint }
}

// TestReplayOfObservedTools: under observe a tool that is not allowed is a reason
// that denies nothing.
func TestReplayOfObservedTools(t *testing.T) {
	w := newWorld(t, "mode: observe\ntools: {deny: [shell]}\n"+daily(1000))
	w.begin(w.offering("shell")).End(used(1, 1))
	w.must(w.upkeep().Sweep(t.Context(), "acme"))
	if d := bodies[audit.Decision](w.receipts())[0]; !slices.Equal(d.Reasons, []string{string(policy.ToolNotAllowed)}) {
		t.Errorf("reasons %q", d.Reasons)
	}
	if report := replayDirs(t, []*gate.Rules{w.rules}, filepath.Join(w.dir, "receipts")); !report.OK() {
		t.Errorf("findings %v, unchecked %v", report.Findings, report.Unchecked)
	}
}
