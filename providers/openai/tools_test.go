package openai_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// TestToolsOffered: every tool that a request offers is seen, also where it is
// written in a way that no SDK writes.
func TestToolsOffered(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, members string
		want          []string
	}{
		{"none", `"n":1`, nil},
		{"null", `"tools":null,"functions":null`, nil},
		{"functions of tools", `"tools":[{"type":"function","function":{"name":"a","parameters":{"name":"no"}}},{"function":{"name":"b"},"type":"function"}]`, []string{"a", "b"}},
		{"a custom tool", `"tools":[{"type":"custom","custom":{"name":"sql"}}]`, []string{"sql"}},
		{"the older form", `"functions":[{"name":"old"}]`, []string{"old"}},
		{"both", `"functions":[{"name":"old"}],"tools":[{"type":"function","function":{"name":"new"}}]`, []string{"old", "new"}},
		{"an escaped name", `"tools":[{"type":"function","function":{"n\u0061me":"sh\u0065ll"}}]`, []string{"shell"}},
		{"no name", `"tools":[{"type":"function","function":{}}]`, []string{""}},
		{"a null name", `"tools":[{"type":"function","function":{"name":null}}]`, []string{""}},
		{"no function", `"tools":[{"type":"function"}]`, []string{""}},
		{"a tool of the provider", `"tools":[{"type":"web_search"}]`, []string{"web_search"}},
		{"no type at all", `"tools":[{}]`, []string{""}},
		{"two in one", `"tools":[{"type":"function","function":{"name":"a"},"custom":{"name":"b"}}]`, []string{"a", "b"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := mustParse(t, openai.ChatCompletions, with(row.members))
			if !slices.Equal(r.Tools, row.want) {
				t.Errorf("got %q, want %q", r.Tools, row.want)
			}
		})
	}
}

// chat is a body of these messages.
func chat(messages ...string) string {
	return `{"model":"m","messages":[` + strings.Join(messages, ",") + `]}`
}

const (
	user   = `{"role":"user","content":"hello"}`
	called = `{"role":"assistant","content":null,"tool_calls":[
		{"id":"c1","type":"function","function":{"name":"search","arguments":"{\"id\":\"c9\"}"}},
		{"id":"c2","type":"custom","custom":{"name":"sql","input":"x"}}]}`
)

func resultOf(id string) string {
	return `{"role":"tool","tool_call_id":"` + id + `","content":"done"}`
}

// TestToolResults: those after the last message of the assistant, with the
// names under which it called the tools.
func TestToolResults(t *testing.T) {
	t.Parallel()
	type results = []providers.ToolResult
	for _, row := range []struct {
		name, body string
		want       results
	}{
		{"none", chat(user), nil},
		{"a call without a result", chat(user, called), nil},
		{"two results", chat(user, called, resultOf("c2"), resultOf("c1")), results{{CallID: "c2", Name: "sql"}, {CallID: "c1", Name: "search"}}},
		{"before another message", chat(user, called, resultOf("c1"), user), results{{CallID: "c1", Name: "search"}}},
		{"answered already", chat(user, called, resultOf("c1"), `{"role":"assistant","content":"found"}`, user), nil},
		{"of an earlier call", chat(called, resultOf("c1"), `{"role":"assistant","content":"found"}`, resultOf("c1")), results{{CallID: "c1", Name: ""}}},
		{"of no call", chat(user, resultOf("c1")), results{{CallID: "c1", Name: ""}}},
		{"of another call", chat(called, resultOf("c7")), results{{CallID: "c7", Name: ""}}},
		{"twice", chat(called, resultOf("c1"), resultOf("c1")), results{{CallID: "c1", Name: "search"}, {CallID: "c1", Name: "search"}}},
		{"with a name of its own", chat(called, `{"name":"lies","tool_call_id":"c1","role":"tool","content":""}`), results{{CallID: "c1", Name: "search"}}},
		{"only with a name of its own", chat(called, `{"name":"n","role":"tool","tool_call_id":"x","content":""}`), results{{CallID: "x", Name: "n"}}},
		{"the older form", chat(user, `{"role":"assistant","function_call":{"name":"old","arguments":"{}"}}`, `{"role":"function","name":"old","content":"x"}`), results{{CallID: "", Name: "old"}}},
		{"two calls of one id", chat(`{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"a"}},{"id":"c","function":{"name":"b"}}]}`, resultOf("c")), results{{CallID: "c", Name: "a"}}},
		{"calls of odd types", chat(`{"role":"assistant","tool_calls":[7,null,{"id":5},{"id":"c","function":"a"}]}`, resultOf("c")), results{{CallID: "c", Name: ""}}},
		{"no calls", chat(`{"role":"assistant","tool_calls":null}`, resultOf("c")), results{{CallID: "c", Name: ""}}},
		{"an escaped role", chat(called, `{"r\u006fle":"t\u006fol","tool_call_id":"c\u0031","content":""}`), results{{CallID: "c1", Name: "search"}}},
		{"a null role", chat(called, `{"role":null,"tool_call_id":"c1"}`), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := mustParse(t, openai.ChatCompletions, row.body)
			if !slices.Equal(r.ToolResults, row.want) {
				t.Errorf("got %+v, want %+v", r.ToolResults, row.want)
			}
		})
	}
}

// TestToolsAreBounded in number.
func TestToolsAreBounded(t *testing.T) {
	t.Parallel()
	tools := func(n int) string {
		return with(`"tools":[` + strings.TrimSuffix(strings.Repeat(`{"type":"function","function":{"name":"f"}},`, n), ",") + `]`)
	}
	results := func(n int) string { return chat(called, strings.Repeat(resultOf("c1")+",", n-1)+resultOf("c1")) }
	for name, body := range map[string]func(int) string{"tools": tools, "tool results": results} {
		mustParse(t, openai.ChatCompletions, body(providers.MaxTools))
		_, err := openai.Parse(openai.ChatCompletions, []byte(body(providers.MaxTools+1)))
		if want := fmt.Sprintf("request has more than %d %s", providers.MaxTools, name); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What was answered already does not count.
	r := mustParse(t, openai.ChatCompletions, strings.TrimSuffix(results(providers.MaxTools+1), "]}")+","+called+","+resultOf("c2")+"]}")
	if len(r.ToolResults) != 1 || r.ToolResults[0].Name != "sql" {
		t.Errorf("got %+v", r.ToolResults)
	}
}
