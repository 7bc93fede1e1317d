package openai_test

import (
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// TestWhatLiesInWhatIsAdmitted: who admits a part, a tool or a member that nobody knows
// does not admit what is known to cost inside of it, nor what may hold a credential. What a
// list has is known, whatever lies in it.
func TestWhatLiesInWhatIsAdmitted(t *testing.T) {
	part := func(more string) string {
		return `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"odd",` + more + `}]}]}`
	}
	tool := func(more string) string {
		return `{"model":"m","max_tokens":9,"messages":[],"tools":[{"type":"odd",` + more + `}]}`
	}
	member := func(more string) string { return `{"model":"m","max_tokens":9,"messages":[],"odd":` + more + `}` }
	many := `{"api_key":"sk"`
	for i := range 40 {
		many += `,"a` + string(rune('a'+i%26)) + string(rune('a'+i/26)) + `":1`
	}
	many += `}`
	for _, row := range []struct{ name, body, denied string }{
		{"a part of text", part(`"x":{"type":"text","text":"hi"}`), ""},
		{"a file in a part", part(`"x":[{"type":"input_file","file_id":"f"}]`), "input_file"},
		{"a file deep in a part", part(`"x":{"y":[[{"z":{"type":"file"}}]]}`), "file"},
		{"in other letters", part(`"x":{"\u0054ype":"Input_File"}`), "input_file"},
		{"an image in a part", part(`"x":{"type":"image_url","image_url":{"url":"https://x"}}`), "image_url"},
		{"a video in a part", part(`"x":{"type":"video_url"}`), "video_url"},
		{"a key in a part", part(`"api_key":"sk"`), "messages.content.api_key"},
		{"a server in a part", part(`"x":{"access_token":"sk"}`), "messages.content.x.access_token"},
		{"a tool of functions", tool(`"functions":[{"type":"function","name":"f"}]`), ""},
		{"a search in a tool", tool(`"tools":[{"type":"web_search"}]`), "web_search"},
		{"a server in a tool", tool(`"x":{"y":{"type":"mcp"}}`), "mcp"},
		{"a key in a tool", tool(`"x":{"client_secret":"s"}`), "tools.x.client_secret"},
		{"a member", member(`{"a":1}`), ""},
		{"a file in a member", member(`{"a":{"type":"document"}}`), "document"},
		{"a tool in a member", member(`[{"type":"code_interpreter"}]`), "code_interpreter"},
		{"a key in a member of many", member(many), "odd.api_key"},
	} {
		r, err := openai.Parse(openai.ChatCompletions, []byte(row.body))
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		allow := &call.Allow{}
		allow.Names[call.ExtraPart], allow.Names[call.ExtraTool], allow.Names[call.ExtraMember] = []string{"odd"}, []string{"odd"}, []string{"odd*"}
		terms := providers.Terms{Provider: "acme", Allow: allow, Obeys: providers.Obeys{CapField: openai.FieldMaxTokens}}
		got := ""
		if no := r.NoBound(&terms); no != nil {
			got = unboundName(no)
		}
		if got != row.denied {
			t.Errorf("%s: denied for %q, want %q", row.name, got, row.denied)
		}
	}
}

// TestWhatLiesInItems: alike in the Responses API, whose items have types too.
func TestWhatLiesInItems(t *testing.T) {
	for _, row := range []struct{ name, input, denied string }{
		{"an item of text", `{"type":"odd","x":{"type":"input_text","text":"hi"}}`, ""},
		{"a file in an item", `{"type":"odd","x":[{"type":"input_file","file_id":"f"}]}`, "input_file"},
		{"a key in an item", `{"type":"odd","api_key":"sk"}`, "input.api_key"},
		{"a file in a part", `{"role":"user","content":[{"type":"odd","x":{"type":"input_file"}}]}`, "input_file"},
		{"a key in a part", `{"role":"user","content":[{"type":"odd","x":{"access_token":"sk"}}]}`, "input.content.x.access_token"},
		{"a member that is admitted", `{"role":"user","content":"hi","mark":1}`, ""},
		{"another member", `{"role":"user","content":"hi","stain":1}`, "input.stain"},
	} {
		r, err := openai.Parse(openai.Responses, []byte(`{"model":"m","max_output_tokens":20,"input":[`+row.input+`]}`))
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		allow := &call.Allow{}
		allow.Names[call.ExtraPart], allow.Names[call.ExtraMember] = []string{"odd"}, []string{"input.mark"}
		got := ""
		if no := r.NoBound(&providers.Terms{Provider: "openai", Allow: allow, Obeys: providers.Obeys{CapField: openai.FieldMaxCompletionTokens}}); no != nil {
			got = unboundName(no)
		}
		if got != row.denied {
			t.Errorf("%s: denied for %q, want %q", row.name, got, row.denied)
		}
	}
}

// TestAnothersInput: no allowance admits the input of another endpoint, whatever is in it.
func TestAnothersInput(t *testing.T) {
	allow := &call.Allow{}
	allow.Names[call.ExtraMember] = []string{"*"}
	for _, row := range []struct {
		endpoint     openai.Endpoint
		body, denied string
	}{
		{openai.ChatCompletions, `{"model":"m","max_tokens":9,"messages":[],"input":[{"role":"user","content":"x"}]}`, "input"},
		{openai.ChatCompletions, `{"model":"m","max_tokens":9,"messages":[],"prompt":["x"]}`, "prompt"},
		{openai.Responses, `{"model":"m","max_output_tokens":20,"input":"x","messages":[{"role":"user","content":"y"}]}`, "messages"},
	} {
		r, err := openai.Parse(row.endpoint, []byte(row.body))
		if err != nil {
			t.Fatal(err)
		}
		no := r.NoBound(&providers.Terms{Provider: "acme", Allow: allow, Obeys: providers.Obeys{CapField: openai.FieldMaxTokens}})
		if no == nil || unboundName(no) != row.denied {
			t.Errorf("%s: denied for %v, want %s", row.body, no, row.denied)
		}
	}
}

// TestWhatListsHaveIsKnown: a member that a list has may hold what elsewhere would cost.
func TestWhatListsHaveIsKnown(t *testing.T) {
	for name, body := range map[string]string{
		"files that were read before": `{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":"x","annotations":[{"type":"file","file":{"hash":"h"}}]}]}`,
		"a thought with its seal":     `{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"s"}]}]}`,
	} {
		r, err := openai.Parse(openai.ChatCompletions, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if no := r.NoBound(&providers.Terms{Provider: "openrouter", Obeys: providers.Obeys{CapField: openai.FieldMaxTokens}}); no != nil {
			t.Errorf("%s: %v", name, no)
		}
	}
}

// unboundName is the name of what a request has no bound for, less what it is.
func unboundName(no *providers.Unbounded) string {
	member := no.Causes[0].Member
	return member[strings.LastIndexByte(member, ' ')+1:]
}
