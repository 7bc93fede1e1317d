package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// brought are the results of these calls, each "ID" or "ID TOOL".
func brought(calls ...string) (list []call.ToolResult) {
	for _, c := range calls {
		id, tool, _ := strings.Cut(c, " ")
		list = policy.AddToolResult(list, call.HashName(id), tool)
	}
	return list
}

func drawResults(t *rapid.T) (list []call.ToolResult) {
	for range rapid.IntRange(0, policy.MaxToolResults+3).Draw(t, "results") {
		list = policy.AddToolResult(list, call.HashName(rapid.StringN(0, 3, 9).Draw(t, "id")), rapid.String().Draw(t, "tool"))
	}
	return list
}

// hashed are the marks of calls, joined.
func hashed(ids ...string) string {
	for i := range ids {
		ids[i] = string(call.HashName(ids[i]))
	}
	return strings.Join(ids, " ")
}

func TestToolCallClaims(t *testing.T) {
	t.Parallel()
	run := "tool_calls/run:" + string(call.HashName("r")) + "/forever"
	day := budget.Window{
		Kind:    budget.Fixed,
		Current: budget.Span{Start: noon.Add(-12 * time.Hour).UnixMilli(), End: noon.Add(12 * time.Hour).UnixMilli()},
		Next:    budget.Span{Start: noon.Add(12 * time.Hour).UnixMilli(), End: noon.Add(36 * time.Hour).UnixMilli()},
	}
	forever := budget.Window{Kind: budget.Forever}
	with := func(change func(*call.Facts)) call.Facts {
		f := ask
		f.ToolResults = brought("a search", "b fetch", "a search", "c")
		if change != nil {
			change(&f)
		}
		return f
	}
	for _, c := range []struct {
		name, limit string
		facts       call.Facts
		key, marks  string // "": no claim
		window      budget.Window
	}{
		{"tenant", "scope: tenant", with(nil), "tool_calls/forever", hashed("a", "b", "c"), forever},
		{"run", "scope: run", with(nil), run, hashed("a", "b", "c"), idle(720 * time.Hour)},
		{"no run", "scope: run", with(func(f *call.Facts) { f.Run = "" }), "", "", forever},
		{"day", "window: day", with(nil), "tool_calls/day", hashed("a", "b", "c"), day},
		{"one tool", "tool: search", with(nil), "tool_calls/forever/tool:search", hashed("a"), forever},
		{"tools of a pattern", `tool: "*"`, with(nil), "tool_calls/forever/tool:*", hashed("a", "b"), forever},
		{"a tool of a model", `tool: "f*", scope: model, models: "gpt-*"`, with(nil), "tool_calls/forever/tools:" + string(call.HashName("f*")) + "/model:gpt-*", hashed("b"), forever},
		{"another model", `scope: model, models: "o*"`, with(nil), "", "", forever},
		{"no such tool", "tool: shell", with(nil), "", "", forever},
		{"no results", "scope: tenant", with(func(f *call.Facts) { f.ToolResults = nil }), "", "", forever},
		{"a fallback of what was sent", "scope: tenant", with(func(f *call.Facts) { f.Counted = true }), "", "", forever},
		{"two names of one call", "scope: tenant", with(func(f *call.Facts) { f.ToolResults = brought("a x", "a y") }), "tool_calls/forever", hashed("a"), forever},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := mustDecide(t, tenant(t, "tool_calls: [{name: calls, limit: 7, "+c.limit+"}]"), c.facts, "", "")
			if c.key == "" {
				if len(plan.Claims) != 0 {
					t.Errorf("claims %+v", plan.Claims)
				}
				return
			}
			if len(plan.Claims) != 1 {
				t.Fatalf("claims %+v", plan.Claims)
			}
			got := plan.Claims[0]
			if got.Key != c.key || strings.Join(got.Marks, " ") != c.marks || got.Amount != 0 || got.Limit != 7 ||
				got.AtEnd != budget.Keep || got.Window != c.window || (got.Group != "") != (c.window.Kind == budget.Idle) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestOrderOfClaims: tool calls come after slots and before money.
func TestOrderOfClaims(t *testing.T) {
	t.Parallel()
	f := ask
	f.ToolResults, f.Nonce = brought("a"), "n"
	plan := mustDecide(t, tenant(t, "rates: [{name: r, window: day, limit: 1}]", `budgets: [{name: b, window: day, limit_usd: "1"}]`,
		"tool_calls: [{name: t, limit: 1}]", "concurrency: [{name: c, limit: 1}]", "replay: {}"), f, "", "")
	var order []string
	for i := range plan.Claims {
		order = append(order, plan.Rule(i))
	}
	if got := strings.Join(order, " "); got != "replay c t b r" {
		t.Errorf("got %s", got)
	}
}

func TestToolCallDenials(t *testing.T) {
	t.Parallel()
	f := ask
	f.ToolResults = brought("a", "b", "c")
	for _, c := range []struct {
		rule, says string
		after      int64
		never      bool
	}{
		{"scope: run", "limit 7, spent 5, held 1, needed 2; it never resets; only a higher limit, or 720h without a request, makes room", 0, true},
		{"window: minute", "limit 7, spent 5, held 1, needed 2; it resets at 2026-03-28T12:01:00Z", 60, false},
	} {
		plan := mustDecide(t, tenant(t, "tool_calls: [{name: calls, limit: 7, "+c.rule+"}]"), f, "", "")
		seen := budget.Observed{Span: plan.Claims[0].Window.Current, Spent: 5, Held: 1, New: 2}
		d := plan.Explain(&budget.Denied{At: noon.UnixMilli(), Reasons: []budget.Reason{budget.Held}, Observed: []budget.Observed{seen}})
		mustBeTellable(t, d)
		want := `tool call limit "calls" has too few calls left for the tool results of this request: ` + c.says
		if d.Reason != policy.ToolCallsExceeded || d.Message != want || d.After != c.after || (d.Retry == call.RetryNever) != c.never || policy.Passes(d) || policy.OfMoney(d) {
			t.Errorf("got %+v\nwant %s", d, want)
		}
		seen.Held, seen.New = 0, 3
		if d := plan.Preview(0, seen, noon.UnixMilli()); d == nil || d.Needed != 3 {
			t.Errorf("preview %+v", d)
		}
		seen.New = 2 // the third is known
		if d := plan.Preview(0, seen, noon.UnixMilli()); d != nil {
			t.Errorf("preview %+v", d)
		}
	}
}

func TestMoreToolResultsThanCanBeCounted(t *testing.T) {
	t.Parallel()
	f := ask
	for i := range policy.MaxToolResults {
		f.ToolResults = policy.AddToolResult(f.ToolResults, call.HashName(fmt.Sprint(i)), "")
	}
	limited := tenant(t, "tool_calls: [{name: calls, limit: 9}]")
	mustDecide(t, limited, f, "", "")
	for i := range 1000 {
		f.ToolResults = policy.AddToolResult(f.ToolResults, call.HashName(fmt.Sprint("more", i)), "")
	}
	if len(f.ToolResults) != policy.MaxToolResults+1 {
		t.Errorf("%d results are kept", len(f.ToolResults))
	}
	mustDecide(t, limited, f, policy.ToolCallsExceeded, "more than 64 tool results")
	mustDecide(t, tenant(t, "mode: enforce"), f, "", "")
}

// TestToolNamesAreBounded in length and in what they hold: receipts have them.
func TestToolNamesAreBounded(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                        "",
		"mcp_server/tool-1":       "mcp_server/tool-1",
		"a b\x00\"é":              "a?b????",
		strings.Repeat("x", 1000): strings.Repeat("x", 96),
	} {
		r := policy.AddToolResult(nil, call.HashName("id"), name)[0]
		if r.Tool != want || r.ID != call.HashName("id") {
			t.Errorf("%q: %+v", name, r)
		}
	}
}

// TestObservedToolCalls are counted without marks, in a counter of their own.
func TestObservedToolCalls(t *testing.T) {
	t.Parallel()
	f := ask
	f.ToolResults = brought("a", "b", "a")
	plan := mustDecide(t, tenant(t, "mode: observe", "tool_calls: [{name: calls, limit: 1}]"), f, "", "")
	if c := plan.Claims[0]; c.Key != "observed/tool_calls/forever" || c.Amount != 2 || c.Limit != budget.NoLimit || c.Marks != nil {
		t.Errorf("claim %+v", c)
	}
	if got := plan.Broken([]budget.Observed{{}}); len(got) != 1 || got[0] != policy.ToolCallsExceeded {
		t.Errorf("broken %v", got)
	}
}

func TestToolLimitsAreChecked(t *testing.T) {
	t.Parallel()
	nine := "tool_calls: ["
	for i := range 9 {
		nine += fmt.Sprintf("{name: t%d, limit: 1, tool: x%d}, ", i, i)
	}
	for rules, want := range map[string]string{
		"tool_calls: [{name: t}]":                            "limit is missing; write how many tool calls",
		"tool_calls: [{name: t, limit: 10001}]":              "from 1 to 10000",
		"tool_calls: [{name: t, limit: 1, window: rolling}]": "not counted in a rolling window",
		"tool_calls: [{name: t, limit: 1, tool: \"a b\"}]":   "is no pattern",
		"tool_calls: [{name: t, limit: 1, timezone: UTC}]":   "window is missing",
		"tool_calls: [{name: t, limit: 1, scope: user}]":     "no user_field",
		nine + "]": "9 tool_calls with those of the plan; a tenant can have 8",
	} {
		_, err := policy.Parse("policy.yaml", []byte(head+tenantText(rules)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", rules, err)
		}
	}
}
