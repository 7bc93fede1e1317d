package anthropic_test

import (
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Policies of tools that run at the provider.
var (
	priced = call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 5, Tokens: 1000}}
	strips = call.HostedTools{
		call.WebSearch: {When: call.StripHosted}, call.ToolSearch: {When: call.StripHosted}, call.MCP: {When: call.StripHosted},
		call.CodeExecution: {When: call.StripHosted}, call.Advisor: {When: call.StripHosted}, call.WebFetch: {When: call.StripHosted},
	}
)

// hosted is a body with these tools, and more members, on a policy.
func hosted(t *testing.T, tools, content, members string, rules call.HostedTools) (body string, o providers.Offer, err error) {
	t.Helper()
	body = `{"model":"claude-opus-5","max_tokens":100,"messages":[{"role":"assistant","content":[` + content + `]}], "tools" : [` + tools + `]` + members + `}`
	r, err := read(providers.Head{}, body)
	if err != nil {
		t.Fatal(err)
	}
	o, err = r.On(providers.Terms{Provider: "anthropic", Tools: rules})
	return body, o, err
}

const (
	ownTool   = `{"name":"f","input_schema":{}}`
	pending   = `{"type":"server_tool_use","id":"s","name":"web_search","input":{}}`
	answer    = `{"type":"web_search_tool_result","tool_use_id":"s","content":[]}`
	anySearch = `{"type":"web_search_20250305","name":"web_search"}`
)

// TestPricedSearch: how often it may be called is said in the request, and ten rounds of
// the model are held, each with the whole cap.
func TestPricedSearch(t *testing.T) {
	for _, row := range []struct {
		name, tool, content string
		sent                string // of the tool
		searches, tokens    int64
	}{
		{"without a cap", anySearch, "", `{"type":"web_search_20250305","name":"web_search","max_uses":5}`, 5, 45_000},
		{"with none", `{"max_uses": null, "type":"web_search_20260318","name":"web_search","allowed_domains":["x"]}`, "",
			`{"max_uses": 5, "type":"web_search_20260318","name":"web_search","allowed_domains":["x"]}`, 5, 45_000},
		{"with a larger one", `{"type":"web_search_20260209","max_uses":8,"name":"web_search"}`, "", `{"type":"web_search_20260209","max_uses":5,"name":"web_search"}`, 5, 45_000},
		{"with a smaller one", `{"type":"web_search_20250305","max_uses":2,"name":"web_search","user_location":{"type":"approximate"}}`, "", `{"type":"web_search_20250305","max_uses":2,"name":"web_search","user_location":{"type":"approximate"}}`, 2, 18_000},
		{"a call that was answered", anySearch, pending + "," + answer, `{"type":"web_search_20250305","name":"web_search","max_uses":5}`, 5, 45_000},
		{"two calls of one id, of which one was answered", anySearch, pending + "," + pending + "," + answer, `{"type":"web_search_20250305","name":"web_search","max_uses":4}`, 5, 46_000},
		{"a call that was not", anySearch, pending, `{"type":"web_search_20250305","name":"web_search","max_uses":4}`, 5, 46_000},
	} {
		t.Run(row.name, func(t *testing.T) {
			body, o, err := hosted(t, ownTool+" , "+row.tool, row.content, "", priced)
			if err != nil {
				t.Fatal(err)
			}
			b := o.Bound()
			if b.Input.Rereads != 9 || b.Output.Choices != 10 || b.Output.Rereads != 45 || len(b.Beside) != 1 || b.Beside[0] != (call.Line{Usage: call.Usage{call.Searches: row.searches, call.Input: row.tokens}}) {
				t.Errorf("bound %+v", b)
			}
			want := strings.Replace(body, row.tool, row.sent, 1)
			for range 2 { // the same in every turn
				if got := string(o.Send(100).Body.Join()); got != want {
					t.Errorf("sent %s\nwant %s", got, want)
				}
			}
		})
	}
}

// TestStrippedTools: they are taken out, with nothing else.
func TestStrippedTools(t *testing.T) {
	const code = `{"type":"code_execution_20260120","name":"code_execution"}`
	const search, both = "web_search_20250305", "web_search_20250305, code_execution_20260120"
	for _, row := range []struct{ name, tools, members, sent, told string }{
		{"the first", anySearch + ", " + ownTool, "", ` "tools" : [` + ownTool + `]}`, search},
		{"the last", ownTool + ", " + anySearch, "", ` "tools" : [` + ownTool + `]}`, search},
		{"around one", anySearch + "," + ownTool + " ," + code, "", ` "tools" : [` + ownTool + `]}`, both},
		{"in a row", ownTool + ", " + anySearch + " , " + code + " , " + ownTool, "", ` "tools" : [` + ownTool + " , " + ownTool + `]}`, both},
		{"the only one", anySearch, "", `}`, search},
		{"all, and the choice among them", anySearch + "," + code, `, "tool_choice":{"type":"auto"}, "stream":true`, `, "stream":true}`, both},
		{"a choice that stays", anySearch + "," + ownTool, `,"tool_choice":{"type":"any"}`, ` "tools" : [` + ownTool + `],"tool_choice":{"type":"any"}}`, search},
		{"servers of tools", ownTool + `,{"type":"mcp_toolset","mcp_server_name":"s"}`, `,"mcp_servers":[{"type":"url","url":"http://x","name":"s"}]`, ` "tools" : [` + ownTool + `]}`, "mcp_toolset, mcp_servers"},
	} {
		t.Run(row.name, func(t *testing.T) {
			body, o, err := hosted(t, row.tools, "", row.members, strips)
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := strings.Cut(body, ` "tools"`)
			want := strings.TrimSuffix(head, ",") + row.sent
			if strings.HasPrefix(row.sent, ` "tools"`) {
				want = head + row.sent
			}
			if got := string(o.Send(100).Body.Join()); got != want {
				t.Errorf("sent %s\nwant %s", got, want)
			}
			if told := strings.Join(o.Send(100).Removed.Tools, ", "); told != row.told {
				t.Errorf("taken out were %q, want %q", told, row.told)
			}
			if fixed := o.Bound().Input.Fixed; fixed > 3000 { // what is gone is no input
				t.Errorf("%d tokens of input", fixed)
			}
			if b := o.Bound(); b.Input.Rereads != 0 || b.Output.Choices != 1 || len(b.Beside) > 0 || len(b.Stripped) == 0 {
				t.Errorf("bound %+v", b)
			}
		})
	}
}

// TestHostedDenied: a tool that the policy does not name, or that cannot be taken out any
// more, has no bound.
func TestHostedDenied(t *testing.T) {
	twice := anySearch + `,{"type":"web_search_20260209","name":"other"}`
	for _, row := range []struct {
		name, tools, content, members string
		rules                         call.HostedTools
		says                          string
	}{
		{"a kind that no policy names", anySearch, "", "", nil, "when_offered: price"},
		{"one that can only be stripped", `{"type":"advisor_20260301","name":"advisor","model":"m"}`, "", "", priced, "hosted_tools: [{kind: advisor, when_offered: strip}]"},
		{"one that nobody knows", `{"type":"oracle_1","name":"o"}`, "", "", strips, "allow: {tools"},
		{"a version of a search whose fee nobody knows", `{"type":"web_search_29990101","name":"web_search"}`, "", "", priced, "web_search"},
		{"a version of a client's tool that nobody knows", `{"type":"bash_29990101","name":"bash"}`, "", "", priced, "allow: {tools"},
		{"servers of tools", ownTool, "", `,"mcp_servers":[{"type":"url","url":"http://x","name":"s"}]`, priced, "hosted_tools: [{kind: mcp, when_offered: strip}]"},
		{"two searches", twice, "", "", priced, "another one"},
		{"as many calls that have no result", anySearch, strings.Repeat(strings.Replace(pending, `"s"`, `"X"`, 1)+",", 5) + `{"type":"text"}`, "", call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 1}}, "as many as"},
		{"a call without a result, and no tool", ownTool, pending, "", priced, "has no result"},
		{"a call without a result of another tool", anySearch, `{"type":"server_tool_use","id":"s","name":"web_fetch","input":{}}`, "", priced, "has no result"},
		{"a stripped one that history has", anySearch + "," + ownTool, pending + "," + answer, "", strips, "history"},
		{"a stripped one that is chosen", anySearch + "," + ownTool, "", `,"tool_choice":{"type":"tool","name":"web_search"}`, strips, "tool_choice"},
		{"a stripped one that was referred to", anySearch + "," + ownTool, `{"type":"tool_addition","tool":{"type":"tool_reference","name":"web_search"}}`, "", strips, "history"},
		{"the only one, where one must be called", anySearch, "", `,"tool_choice":{"type":"any"}`, strips, "no other"},
		{"servers that history has", ownTool, `{"type":"mcp_tool_use","id":"m","name":"n","server_name":"s","input":{}},{"type":"mcp_tool_result","tool_use_id":"m","content":"x"}`, `,"mcp_servers":[{"name":"s"}]`, strips, "history"},
		{"a search beside fallbacks", anySearch, "", `,"fallbacks":[{"model":"claude-fable-5"}]`, priced, "other runs"},
		{"a member of a search that nobody knows", `{"type":"web_search_20250305","name":"web_search","depth":9}`, "", "", priced, "tools.depth"},
		{"one of the client's that code may call", `{"name":"f","input_schema":{},"allowed_callers":["code_execution_20260120"]}`, "", "", priced, "tools.allowed_callers"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, _, err := hosted(t, row.tools, row.content, row.members, row.rules)
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%v, want %q", err, row.says)
			}
		})
	}
}
