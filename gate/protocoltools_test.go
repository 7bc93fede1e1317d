package gate_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

// TestToolCallsOfTheState: what limits of tool calls are, and what they have
// counted, as the protocol's state has it for the key one.
func TestToolCallsOfTheState(t *testing.T) {
	const none, hour, endless = budget.NoLimit, 3600, 1 << 40
	for _, row := range []struct {
		name   string
		limits string
		used   map[string]int64 // by the counter's key
		want   string
	}{
		{"no limit", "", nil, inWords(none, "", 1, "")},
		{"nothing used", "{name: a, limit: 9}", nil, inWords(9, "", endless, "")},
		{"of all tools", "{name: a, window: hour, limit: 9}", map[string]int64{"tool_calls/hour": 4}, inWords(9, "", hour, "4")},
		{"the tightest", "{name: a, window: hour, limit: 9}, {name: b, scope: key, limit: 9}",
			map[string]int64{"tool_calls/hour": 4, "tool_calls/key:one/forever": 5, "tool_calls/key:two/forever": 8}, inWords(9, "", endless, "5")},
		{"more used than there is by now", "{name: a, limit: 3}", map[string]int64{"tool_calls/forever": 5}, inWords(3, "", endless, "5")},
		{"of one tool", "{name: a, tool: search, limit: 9}", map[string]int64{"tool_calls/forever/tool:search": 2},
			inWords(none, "search:9", endless, "2 search")},
		{"of one tool and of all", "{name: a, limit: 9}, {name: b, tool: fetch, limit: 5}, {name: c, tool: search, window: hour, limit: 6}",
			map[string]int64{"tool_calls/forever": 7, "tool_calls/hour/tool:search": 2, "tool_calls/forever/tool:fetch": 1},
			inWords(9, "fetch:5 search:6", endless, "4, 1 fetch, 2 search")},
		{"of one tool more than of all", "{name: a, scope: key, limit: 9}, {name: b, tool: search, limit: 6}",
			map[string]int64{"tool_calls/key:one/forever": 1, "tool_calls/forever/tool:search": 3}, inWords(11, "search:6", endless, "3 search")},
		{"patterns, runs and models", `{name: a, tool: "s*", limit: 9}, {name: b, scope: run, limit: 9}, {name: c, scope: model, models: toy, limit: 9}`,
			nil, inWords(none, "", endless, "")},
		{"more than are listed", "{name: a, limit: 5000}, {name: b, tool: search, limit: 9000}",
			map[string]int64{"tool_calls/forever": 3000, "tool_calls/forever/tool:search": 800}, inWords(3000, "search:9000", endless, "200, 800 search")},
		{"more of one tool than are listed", "{name: a, limit: 5000}, {name: b, tool: search, limit: 9000}",
			map[string]int64{"tool_calls/forever": 3000, "tool_calls/forever/tool:search": 2500}, inWords(3000, "search:7500", endless, "1000 search")},
	} {
		if row.limits != "" {
			row.limits = "tool_calls: [" + row.limits + "]"
		}
		rules, at := mirrorRules(t, row.limits, "acme"), time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC).UnixMilli()
		balances := func(claims []budget.Claim) (b budget.Balances, err error) {
			for _, c := range claims {
				used := row.used[c.Key]
				b.Observed = append(b.Observed, budget.Observed{Span: c.Window.Current, Spent: used / 2, Held: used - used/2})
			}
			return b, nil
		}
		s, err := gate.ProtocolState(rules.Policy, rules.Policy.Tenant("acme"), at, balances, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := toldState(s, "acme/one", at/1000); got != row.want {
			t.Errorf("%s:\ngot  %s\nwant %s", row.name, got, row.want)
		}
	}
}

// inWords are limits of tool calls: of all, of single tools, the window in
// seconds, and how many calls are listed, without a tool and of each.
func inWords(most int64, byTool string, window int64, calls string) string {
	return fmt.Sprintf("%d, %q, %d s; %s", most, byTool, window, calls)
}

func toldState(s *oxdeai.State, agent string, at int64) string {
	var byTool, calls []string
	for _, tool := range slices.Sorted(maps.Keys(s.ToolLimits.MaxCallsByTool[agent])) {
		byTool = append(byTool, fmt.Sprintf("%s:%d", tool, s.ToolLimits.MaxCallsByTool[agent][tool]))
	}
	counts := map[string]int{}
	for _, c := range s.ToolLimits.Calls[agent] {
		if c.TS != at || c.Named != (c.Tool != "") {
			return fmt.Sprintf("a call %+v", c)
		}
		counts[c.Tool]++
	}
	for _, tool := range slices.Sorted(maps.Keys(counts)) {
		calls = append(calls, strings.TrimSpace(fmt.Sprint(counts[tool], " ", tool)))
	}
	return inWords(s.ToolLimits.MaxCalls[agent], strings.Join(byTool, " "), s.ToolLimits.WindowSeconds, strings.Join(calls, ", "))
}
