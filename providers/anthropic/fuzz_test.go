package anthropic_test

import (
	"io"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// FuzzParse: whatever is taken leaves as it came, byte for byte; with a lower cap, a priced
// search and stripped tools it is still a request of the same messages, whose cap and calls
// are no more than were granted, and which a second look changes no more.
func FuzzParse(f *testing.F) {
	for _, members := range []string{
		`"messages":[{"role":"user","content":[{"type":"text","text":"\ud800"}]}],"thinking":{"budget_tokens":3},"tools":[{"name":"f"}]`,
		`"system":[{"type":"search_result","source":"s","content":[{"type":"text","text":"x"}],"citations":{"enabled":true}}],"messages":[]`,
		`"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"x"}},{"type":"document","source":{"type":"content","content":[{"type":"text","text":"x"}]}}]}]`,
		`"thinking":{"type":"enabled","budget_tokens":4} , "tools" : [ {"type":"web_search_20250305","name":"w","max_uses" : 9 } , {"type":"mcp_toolset"},{"name":"f"}],"mcp_servers":[{}],"messages":[]`,
		`"tools":[{"type":"advisor_1","name":"a"}],"tool_choice":{"type":"auto"},"messages":[{"role":"assistant","content":[{"type":"server_tool_use","id":"i","name":"web_search","input":{}}]}]`,
		`"messages":[{"role":"system","content":[{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"g"}}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"tool_reference","tool_name":"g"}]}]}]`,
		`"fallbacks":[{"model":"n","max_tokens":3,"speed":"fast"}],"compaction":null,"messages":[],"speed":"fast","inference_geo":"us","context_management":{"edits":[{"type":"compact_20260112"}]}`,
	} {
		f.Add([]byte(`{"model":"claude-opus-5","max_tokens":5,` + members + `}`))
	}
	rules := call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 5, Tokens: 10}, call.MCP: {When: call.StripHosted}, call.Advisor: {When: call.StripHosted}}
	edits := providers.Terms{Provider: "anthropic", Tools: rules, Context: 9, MaxOutput: 9}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := read(providers.Head{}, string(body))
		if err != nil {
			return
		}
		if o, err := r.On(terms); err == nil {
			if sent, _ := io.ReadAll(o.Send(0).Body); string(sent) != string(body) {
				t.Errorf("sent %q for %q", sent, body)
			}
		}
		o, err := r.On(edits)
		if err != nil {
			return
		}
		sent := string(o.Send(1).Body.Join())
		again, err := read(providers.Head{}, sent)
		if err != nil {
			t.Fatalf("sent %q for %q: %v", sent, body, err)
		}
		for _, name := range []string{"model", "messages", "system", "fallbacks"} {
			if was, is := gjson.GetBytes(body, name).Raw, gjson.Get(sent, name).Raw; was != is {
				t.Errorf("%s was %q and is %q", name, was, is)
			}
		}
		if strings.Contains(gjson.Get(sent, "tools.#.type").Raw, "advisor_") || gjson.Get(sent, "max_tokens").Int() > 1 {
			t.Errorf("sent %q", sent)
		}
		next, err := again.On(edits)
		if err != nil {
			t.Fatalf("sent %q, which has no bound: %v", sent, err)
		}
		if twice := string(next.Send(1).Body.Join()); twice != sent {
			t.Errorf("sent %q, and of that %q", sent, twice)
		}
	})
}
