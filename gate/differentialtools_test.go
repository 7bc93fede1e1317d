package gate_test

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// toolMembers are limits of tool calls, all of one window: so what is new to one
// of them is new to all.
func toolMembers(t *rapid.T, windows []string) string {
	notRolling := func(window string) bool { return !strings.Contains(window, "rolling") }
	window := rapid.SampledFrom(windows).Filter(notRolling).Draw(t, "tool window")
	var list []string
	for i := range rapid.IntRange(1, 3).Draw(t, "tool limits") {
		scope := rapid.SampledFrom([]string{"tenant", "key"}).Draw(t, "scope")
		tool := rapid.SampledFrom([]string{"", "", "tool: search, ", "tool: fetch, "}).Draw(t, "limited tool")
		list = append(list, fmt.Sprintf("{name: l%d, scope: %s, %s%s, limit: %d}", i, scope, tool, window, rapid.IntRange(1, 8).Draw(t, "calls")))
	}
	return "tool_calls: [" + strings.Join(list, ", ") + "]"
}

// resultsOf are the tool results that a move brings: of one tool, and of calls
// that no other key has made.
func resultsOf(move move) (list []call.ToolResult) {
	for n := range move.results {
		id := fmt.Sprintf("%s %d %d", move.tool, move.key, move.first+n)
		list = policy.AddToolResult(list, call.HashName(id), move.tool)
	}
	return list
}

// newCalls are the tool calls that a decision counts, or would have.
func newCalls(d audit.Decision) int {
	n := int64(0)
	for _, c := range d.Claims {
		if c.Marks != "" {
			n = max(n, c.Amount)
		}
	}
	return int(n)
}

// callOthers has an agent make all calls of a decision but one before it: an
// intent of the protocol is one call.
func callOthers(s *oxdeai.State, agent string, d audit.Decision, tool string) {
	call := oxdeai.ToolCall{TS: d.At / 1000, Tool: tool, Named: tool != ""}
	others := slices.Repeat([]oxdeai.ToolCall{call}, max(0, newCalls(d)-1))
	s.ToolLimits.Calls[agent] = append(s.ToolLimits.Calls[agent], others...)
}

// compareCalls holds what the engine leaves of an agent's tool calls against what
// the ledger leaves.
func (m *mirror) compareCalls(i int, agent string, next, now *oxdeai.State) {
	for _, tool := range []string{"", "search", "fetch"} {
		engine, engineLimits := callsLeft(next, agent, tool)
		ledger, ledgerLimits := callsLeft(now, agent, tool)
		if engineLimits != ledgerLimits || engineLimits && engine != ledger {
			m.t.Fatalf("move %d: %d calls of tool %q left by the engine, %d by the ledger", i, engine, tool, ledger)
		}
	}
}

// callsLeft is how many calls of a tool, or of all, an agent has left, where that
// is limited.
func callsLeft(s *oxdeai.State, agent, tool string) (n int64, limited bool) {
	most, limited := s.ToolLimits.MaxCalls[agent], s.ToolLimits.MaxCalls[agent] != budget.NoLimit
	if tool != "" {
		most, limited = s.ToolLimits.MaxCallsByTool[agent][tool]
	}
	for _, c := range s.ToolLimits.Calls[agent] {
		if tool == "" || c.Tool == tool {
			most--
		}
	}
	return most, limited
}
