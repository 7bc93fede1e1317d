package gate

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

const (
	// maxListedCalls bounds the tool calls that a state lists of each key, and
	// maxCallEntries those of all keys together.
	maxListedCalls = 1000
	maxCallEntries = 1 << 14

	toolCallUnit = "tool_calls"
)

// toolState is the module of tool calls before any agent is in it.
func toolState() oxdeai.ToolLimits {
	return oxdeai.ToolLimits{
		WindowSeconds: 1, MaxCalls: map[string]int64{},
		MaxCallsByTool: map[string]map[string]int64{}, Calls: map[string][]oxdeai.ToolCall{},
	}
}

// tools writes the key's tool calls: of each tool that a limit names those that
// its tightest limit has counted, and without a name what the tightest limit of
// all tools has counted beside them. A limit is written as what it has left and
// what is listed of it: that is the limit itself, unless not all can be listed,
// or more are listed of single tools than are counted of all.
func (b *keyView) tools(s *oxdeai.State, id string) {
	all := b.tightest(toolCallUnit, "")
	room := min(maxListedCalls, maxCallEntries/max(1, int64(len(b.key.Tenant.Keys))))
	var calls []oxdeai.ToolCall
	list := func(n int64, tool string) int64 {
		n = min(n, room-int64(len(calls)))
		one := oxdeai.ToolCall{TS: b.at / 1000, Tool: tool, Named: tool != ""}
		calls = append(calls, slices.Repeat([]oxdeai.ToolCall{one}, int(n))...)
		return n
	}
	byTool := map[string]int64{}
	for _, tool := range b.namedTools() {
		u := b.tightest(toolCallUnit, tool)
		byTool[tool] = u.leaving(list(u.used, tool))
	}
	list(max(0, all.used-int64(len(calls))), "")
	s.ToolLimits.MaxCalls[id] = all.leaving(int64(len(calls)))
	if len(byTool) > 0 {
		s.ToolLimits.MaxCallsByTool[id] = byTool
	}
	if len(calls) > 0 {
		s.ToolLimits.Calls[id] = calls
	}
	s.ToolLimits.WindowSeconds = max(s.ToolLimits.WindowSeconds, b.toolWindow())
}

// leaving is the limit of which as much is left as of this one where so many
// are used.
func (u use) leaving(used int64) int64 {
	return min(budget.NoLimit, max(0, u.limit-u.used+used))
}

// namedTools are the tools whose calls have a limit of their own, sorted. The
// protocol knows no patterns.
func (b *keyView) namedTools() []string {
	var tools []string
	for _, s := range b.standings {
		if tool := s.Budgets[0].Tool; tool != "" && !strings.Contains(tool, "*") {
			tools = append(tools, tool)
		}
	}
	slices.Sort(tools)
	return slices.Compact(tools)
}

// toolWindow is the longest window of the key's tool calls in seconds: the
// protocol has one for all, and forgets none before the ledger does.
func (b *keyView) toolWindow() int64 {
	longest := int64(1)
	for i, s := range b.standings {
		if s.Budgets[0].Unit() == toolCallUnit {
			seconds, _ := windowOf(s.Claim.Window, b.balances.Observed[i].Span, b.at)
			longest = max(longest, seconds)
		}
	}
	return longest
}

// callsTool reports whether a decision is about tool calls that some limit had
// not counted before.
func callsTool(d audit.Decision) bool {
	return slices.ContainsFunc(d.Claims, func(c audit.Claim) bool { return c.Marks != "" && c.Amount > 0 })
}

// toolOf is the tool that a decision is about: the one of an action, hashed, or
// the one that all the results name which a request brings; "" without.
func toolOf(d audit.Decision) string {
	if !callsTool(d) {
		return string(d.Facts.Tool)
	}
	var tools []string
	for _, result := range d.Facts.ToolResults {
		tools = append(tools, result.Tool)
	}
	if tools = slices.Compact(tools); len(tools) != 1 {
		return ""
	}
	return tools[0]
}
