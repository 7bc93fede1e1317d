package policy_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// searching may pay for so many web searches, of its own model and of another.
func searching(own, others int64) call.Facts {
	f := ask
	f.Beside = []call.Line{{Usage: call.Usage{call.Searches: own, call.Input: 1000}}, {Key: call.Key{Model: "other"}, Usage: call.Usage{call.Searches: others}}}
	return f
}

func TestHostedTools(t *testing.T) {
	t.Parallel()
	const priced = `hosted_tools: [{kind: web_search, when_offered: price, calls: 3, tokens: 500}]`
	for _, c := range []struct {
		name, rule string
		facts      call.Facts
		reason     call.Reason
		says       string
	}{
		{"no searches, no rule", `mode: enforce`, ask, "", ""},
		{"searches, no rule", `mode: enforce`, searching(1, 0), policy.ToolNotAllowed, "1 calls of web_search"},
		{"as many as are priced", priced, searching(3, 0), "", ""},
		{"of all models together", priced, searching(2, 2), policy.ToolNotAllowed, "4 calls of web_search"},
		{"stripped", `hosted_tools: [{kind: web_search, when_offered: strip}]`, searching(1, 0), policy.ToolNotAllowed, "web_search"},
		{"denied", `hosted_tools: [{kind: web_search, when_offered: deny}]`, searching(1, 0), policy.ToolNotAllowed, "web_search"},
	} {
		t.Run(c.name, func(t *testing.T) { mustDecide(t, tenant(t, c.rule), c.facts, c.reason, c.says) })
	}
}

// TestHostedToolsOverAPlan: a tenant says of each kind for itself.
func TestHostedToolsOverAPlan(t *testing.T) {
	p := parse(t, head+`
plans:
  agents:
    hosted_tools:
      - {kind: web_search, when_offered: price, calls: 3, tokens: 500, fee: "10"}
      - {kind: web_fetch, when_offered: strip}
tenants:
  - {name: same, plan: agents}
  - {name: other, plan: agents, hosted_tools: [{kind: web_search, when_offered: strip}, {kind: mcp, when_offered: deny}]}
  - {name: bare}
`)
	planned := call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 3, Tokens: 500, Fee: 10_000_000_000}, call.WebFetch: {When: call.StripHosted}}
	for name, want := range map[string]call.HostedTools{
		"same":  planned,
		"other": {call.WebSearch: {When: call.StripHosted}, call.WebFetch: {When: call.StripHosted}, call.MCP: {}},
		"bare":  nil,
	} {
		if got := p.Tenant(name).HostedTools; !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestHostedToolsAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, tool, says string }{
		{"no kind", `{when_offered: strip}`, "kind is missing"},
		{"another kind", `{kind: web-search, when_offered: strip}`, "web_search"},
		{"nothing said", `{kind: web_search}`, "when_offered is missing"},
		{"something else", `{kind: web_search, when_offered: allow}`, "price"},
		{"no calls", `{kind: web_search, when_offered: price, tokens: 1}`, "calls is missing"},
		{"no tokens", `{kind: web_search, when_offered: price, calls: 1}`, "tokens is missing"},
		{"too many calls", `{kind: web_search, when_offered: price, calls: 101, tokens: 1}`, "101"},
		{"calls of what is stripped", `{kind: web_search, when_offered: strip, calls: 1}`, "is only of a tool that is priced"},
		{"no price", `{kind: web_search, when_offered: price, calls: 1, tokens: 1, fee: ten}`, "per 1000 searches"},
		{"a fee of nothing", `{kind: web_search, when_offered: price, calls: 1, tokens: 1, fee: "0"}`, "a fee of 0 is no fee"},
		{"what has no bound", `{kind: mcp, when_offered: price, calls: 1, tokens: 1}`, "write strip or deny"},
		{"twice", `{kind: mcp, when_offered: deny}, {kind: mcp, when_offered: strip}`, "is there twice"},
	} {
		_, err := policy.Parse("policy.yaml", []byte(head+tenantText("hosted_tools: ["+c.tool+"]")))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", c.name, err, c.says)
		}
	}
}
