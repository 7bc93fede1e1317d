package policy

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// toolCalls is the unit of tool amplification. The rule: the results of tools
// that a request brings, those after the last message of the assistant, count as
// tool calls, each id once, in every limit that concerns the request and the
// tool. Agents send their whole history again, and SDKs a failed request: what
// was counted does not count again while the limit's window, or its run, lasts.
// Calls of a request that is denied, or of which no byte was sent, do not count.
// A result whose call is not in the history has no tool's name, unless it says
// one itself: it counts where no tool is named.
//
// The callers write the history themselves: this stops agents that call tools
// without end, not agents that lie.
//
// Under Observe nothing is remembered, so that nothing grows without bound:
// results that are sent again count again, in counters of their own.
var toolCalls = &unit{
	name:     "tool_calls",
	noun:     "tool call limit",
	atEnd:    budget.Keep,
	once:     true,
	amount:   func(*call.Facts) int64 { return 0 }, // by the ledger, from the marks
	write:    plain,
	reason:   func(budget.Reason) call.Reason { return ToolCallsExceeded },
	final:    func(budget.Reason) bool { return true }, // those in flight will count too
	describe: describeToolCalls,
	retry:    retryRequests,
}

// Bounds of the rule.
const (
	// MaxToolResults is how many results one request may bring where a limit
	// counts them.
	MaxToolResults = budget.MaxMarks

	maxToolLimits = budget.MaxMarksPerReserve / budget.MaxMarks
	maxToolCalls  = budget.MaxMarkedLimit
)

func describeToolCalls(d *refused, w budget.Window) string {
	return fmt.Sprintf("%s has too few calls left for the tool results of this request%s; %s", d.subject(), d.amounts(), d.reset(w, "calls"))
}

// CountsTools reports whether the tenant's requests need their tool results.
func (t *Tenant) CountsTools() bool { return len(t.ToolCalls) > 0 }

// Tell leaves of the tools in a call's facts what the tenant's rules look at, in the
// form that receipts have. The rules say the same of both, and twice is as once.
func (t *Tenant) Tell(f *call.Facts) {
	f.Tools, f.ToolResults = t.toldTools(f.Tools), t.toldResults(f.ToolResults)
}

// toldResults are the results of tools that count, each once. The list that was given
// is not changed.
func (t *Tenant) toldResults(results []call.ToolResult) []call.ToolResult {
	if !t.CountsTools() || len(results) == 0 {
		return nil
	}
	told := make([]call.ToolResult, 0, min(len(results), MaxToolResults+1))
	for _, r := range results {
		told = AddToolResult(told, r.ID, r.Tool)
	}
	return told
}

// AddToolResult adds the result of a call to a list, unless it is there already.
// Of more than MaxToolResults it keeps one, for the rule to see.
func AddToolResult(list []call.ToolResult, id call.Name, tool string) []call.ToolResult {
	if len(list) > MaxToolResults {
		return list
	}
	result := call.ToolResult{ID: id, Tool: toolName(tool)}
	if slices.Contains(list, result) {
		return list
	}
	return append(list, result)
}

// toolName writes a tool's name with nothing but what patterns can hold, so that
// receipts are bounded: "?" stands for any other byte, and what a pattern would
// not reach is cut off.
func toolName(name string) string {
	if len(name) <= maxPatternBytes && only(name, patternMarks) {
		return name
	}
	b := []byte(name[:min(len(name), maxPatternBytes)])
	for i := range b {
		if !only(string(b[i:i+1]), patternMarks) {
			b[i] = '?'
		}
	}
	return string(b)
}

// capToolResults denies a request with more tool results than can be counted at
// once.
func capToolResults(t *Tenant, f *call.Facts) *call.Denial {
	if !t.CountsTools() || len(f.ToolResults) <= MaxToolResults {
		return nil
	}
	return &call.Denial{
		Reason:  ToolCallsExceeded,
		Retry:   call.RetryNever,
		Message: fmt.Sprintf("the request brings more than %d tool results after the last message of the assistant, which cannot be counted at once", MaxToolResults),
	}
}

// countCalls makes a claim count the calls that concern the counter. It reports
// whether there are any.
func (c *counter) countCalls(claim *budget.Claim, t *Tenant, f *call.Facts) bool {
	marks := c.calls(f.ToolResults)
	if t.Mode == Observe {
		claim.Amount = int64(len(marks))
	} else {
		claim.Marks = marks
	}
	return len(marks) > 0
}

// calls are the ids of the calls that concern the counter, each once.
func (c *counter) calls(results []call.ToolResult) []string {
	var ids []string
	for i, r := range results {
		concerned := c.tool == "" || r.Tool != "" && names.Match(c.tool, r.Tool)
		if concerned && len(ids) < MaxToolResults && !slices.Contains(ids, string(r.ID)) {
			ids = append(slices.Grow(ids, len(results)-i), string(r.ID))
		}
	}
	return ids
}

func (l *loader) toolLimit(n *yaml.Node, d *toolCallsDoc) *Budget {
	b := &Budget{Kind: Hard, unit: toolCalls, Window: Period{Name: periodForever}}
	switch name, _ := l.text(&d.Window); {
	case name == periodRolling:
		l.refuse(&d.Window.entry, "tool calls are not counted in a rolling window; write minute, hour, day, week, month or forever")
	case d.Window.given() || d.Timezone.given():
		b.Window = l.window(n, &windowDoc{Window: d.Window, Timezone: d.Timezone})
	}
	l.limit(n, &d.limitDoc, b)
	if d.Tool.given() {
		b.Tool, _ = l.pattern(&d.Tool)
	}
	if l.require(n, &d.Limit.entry, "limit", "write how many tool calls may be made in the window") {
		b.Limit = l.count(&d.Limit, 0, 1, maxToolCalls)
	}
	return b
}
