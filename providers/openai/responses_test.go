package openai_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// responseTerms are those of a model of OpenAI's.
var responseTerms = providers.Terms{Provider: "openai", MaxOutput: 1000, Context: 50_000, Obeys: providers.Obeys{CapField: openai.FieldMaxCompletionTokens, StreamUsage: true}}

// responseOn parses the body of a response and bounds it.
func responseOn(t testing.TB, path, body string, terms providers.Terms) (*openai.Request, providers.Offer, error) {
	t.Helper()
	h := providers.Head{Method: "POST", Path: path}
	op, _ := openai.Dialect{}.Match(h)
	r, err := openai.Dialect{}.Parse(op, h, []byte(body))
	if err != nil {
		return nil, nil, err
	}
	offer, err := r.On(terms)
	return r.(*openai.Request), offer, err
}

// TestResponseBound: what bounds each part of a response, or why nothing does.
func TestResponseBound(t *testing.T) {
	const context = 50_001 // tokens: told as the whole context
	body := func(members string) string { return `{"model":"gpt-4o",` + members + `}` }
	items := func(list string) string { return body(`"input":[` + list + `]`) }
	for _, row := range []struct {
		name, body string
		input      int64  // at least so many tokens are fixed
		below      int64  // and less than so many
		member     string // that has no bound
	}{
		{"a text", body(`"input":"hi"`), 64, 200, ""},
		{"no input at all", body(`"instructions":"hi"`), 64, 200, ""},
		{"messages without a type", items(`{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"output_text","text":"x"}],"phase":"final"}`), 64, 200, ""},
		{"a reference without a type", items(`{"id":"msg_1"}`), context, 1 << 30, ""},
		{"a reference", items(`{"type":"item_reference","id":"msg_1"}`), context, 1 << 30, ""},
		{"an earlier response", body(`"input":"hi","previous_response_id":"resp_1"`), context, 1 << 30, ""},
		{"null is no earlier response", body(`"input":"hi","previous_response_id":null`), 64, 200, ""},
		{"what was thought, by its bytes", items(`{"type":"reasoning","summary":[],"encrypted_content":"` + strings.Repeat("x", 3000) + `"}`), 3000, 3300, ""},
		{"a compacted input, by its bytes", items(`{"type":"compaction","encrypted_content":"` + strings.Repeat("x", 3000) + `"}`), 3000, 3300, ""},
		{"an image", items(`{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"low"}]}`), 85, 300, ""},
		{"an image by a URL", items(`{"role":"user","content":[{"type":"input_image","image_url":"https://example.com/a.png"}]}`), 85 + 8*170, 2000, ""},
		{"an image that a tool gave", items(`{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"data:,"}]}`), 85 + 8*170, 2000, ""},
		{"a screenshot", items(`{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","image_url":"data:,"}}`), 85 + 8*170, 2000, ""},
		{"an image that was made", items(`{"type":"image_generation_call","id":"ig","result":"` + strings.Repeat("A", 9000) + `"}`), 85 + 8*170, 2000, ""},
		{"a file", items(`{"role":"user","content":[{"type":"input_file","filename":"a.pdf","file_data":"data:,"}]}`), context, 1 << 30, ""},
		{"a file by a URL", items(`{"role":"user","content":[{"type":"input_file","file_url":"https://example.com/a.pdf"}]}`), context, 1 << 30, ""},
		{"a file by its id", items(`{"role":"user","content":[{"type":"input_file","file_id":"file_1"}]}`), 0, 0, "input.content.file_id"},
		{"audio", items(`{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}]}`), context, 1 << 30, ""},
		{"a function", body(`"input":"hi","tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}]`), 112, 400, ""},
		{"a custom tool", body(`"input":"hi","tools":[{"type":"custom","name":"apply_patch","format":{"type":"grammar","syntax":"lark","definition":"start: x"}}]`), 112, 500, ""},
		{"a namespace", body(`"input":"hi","tools":[{"type":"namespace","name":"n","description":"d","tools":[{"type":"function","name":"f"}]}]`), 112, 500, ""},
		{"tools that the client runs", body(`"input":"hi","tools":[{"type":"local_shell"},{"type":"shell","environment":{"type":"local"}},{"type":"apply_patch"},{"type":"tool_search","execution":"client"}]`), 4 * 2048, 9000, ""},
		{"a shell in a container", body(`"input":"hi","tools":[{"type":"shell","environment":{"type":"container_auto"}}]`), 0, 0, "shell"},
		{"a search of tools at the provider", body(`"input":"hi","tools":[{"type":"tool_search"}]`), 0, 0, "tool_search"},
		{"a search of files", body(`"input":"hi","tools":[{"type":"file_search","vector_store_ids":["v"]}]`), 0, 0, "file_search"},
		{"a tool inside a namespace", body(`"input":"hi","tools":[{"type":"namespace","name":"n","tools":[{"type":"mcp","server_url":"u"}]}]`), 0, 0, "mcp"},
		{"a tool that an item brings", items(`{"type":"additional_tools","role":"developer","tools":[{"type":"code_interpreter"}]}`), 0, 0, "code_interpreter"},
		{"a tool that was found", items(`{"tools":[{"type":"mcp"}],"type":"tool_search_output","call_id":"c","execution":"client"}`), 0, 0, "mcp"},
		{"a list of tools that was told", items(`{"tools":[{"name":"f","input_schema":{}}],"type":"mcp_list_tools","id":"m","server_label":"s"}`), 64, 400, ""},
		{"a computer", body(`"input":"hi","tool_choice":{"type":"computer_use_preview"},"tools":[{"type":"computer_use_preview","display_width":1024,"display_height":768,"environment":"browser"}]`), 2048, 2400, ""},
		{"a computer that is chosen by its other name", body(`"input":"hi","tool_choice":{"type":"computer_use"},"tools":[{"type":"computer"}]`), 2048, 2400, ""},
		{"a shell that the client runs, and is chosen", body(`"input":"hi","tool_choice":{"type":"shell"},"tools":[{"type":"shell","environment":{"type":"local"}}]`), 2048, 2400, ""},
		{"a shell that is only chosen", body(`"input":"hi","tool_choice":{"type":"shell"},"tools":[{"type":"function","name":"shell"}]`), 0, 0, "shell"},
		{"a shell that is chosen, and in a container", body(`"input":"hi","tool_choice":{"type":"shell"},"tools":[{"type":"shell","environment":"local"}]`), 0, 0, "shell"},
		{"a tool that is only chosen", body(`"input":"hi","tool_choice":{"type":"image_generation"}`), 0, 0, "image_generation"},
		{"in the background", body(`"input":"hi","background":true`), 0, 0, "background"},
		{"not in the background", body(`"input":"hi","background":false`), 64, 200, ""},
		{"a conversation", body(`"input":"hi","conversation":{"id":"conv_1"}`), 0, 0, "conversation"},
		{"a stored prompt", body(`"prompt":{"id":"pmpt_1"}`), 0, 0, "prompt"},
		{"agents", body(`"input":"hi","multi_agent":{"enabled":true}`), 0, 0, "multi_agent.enabled"},
		{"no agents", body(`"input":"hi","multi_agent":{"enabled":false}`), 64, 200, ""},
		{"several runs at once", body(`"input":"hi","reasoning":{"mode":"pro"}`), 0, 0, "reasoning.mode"},
		{"one run", body(`"input":"hi","reasoning":{"mode":"standard","effort":"high","summary":"auto"}`), 64, 200, ""},
		{"compaction on the way", body(`"input":"hi","context_management":[{"type":"compaction","compact_threshold":1000}]`), 2 * 1024, 2300, ""},
		{"something else on the way", body(`"input":"hi","context_management":[{"type":"forgetting"}]`), 0, 0, "context_management"},
		{"compaction on the way, in a way that nobody knows", body(`"input":"hi","context_management":[{"type":"compaction","model":"gpt-5-pro"}]`), 0, 0, "context_management.model"},
		{"two compactions on the way", body(`"input":"hi","context_management":[{"type":"compaction"},{"type":"compaction"}]`), 0, 0, "context_management"},
		{"no compaction", body(`"input":"hi","context_management":[]`), 64, 200, ""},
		{"compaction at the end", items(`{"role":"user","content":"hi"},{"type":"compaction_trigger"}`), 1024, 1300, ""},
		{"what a client says of itself", body(`"input":"hi","client_metadata":{"turn_id":"t"}`), 64, 200, ""},
		{"a message of another agent", items(`{"type":"agent_message","author":"/root","recipient":"/a","content":[{"type":"encrypted_content","encrypted_content":"` + strings.Repeat("x", 3000) + `"}]}`), 3000, 3300, ""},
		{"an item that nobody knows", items(`{"type":"teleport"}`), 0, 0, "teleport"},
		{"a part that nobody knows", items(`{"role":"user","content":[{"type":"input_smell"}]}`), 0, 0, "input_smell"},
		{"a member that nobody knows", body(`"input":"hi","turbo":true`), 0, 0, "turbo"},
		{"the cap of a chat", body(`"input":"hi","max_tokens":5`), 0, 0, "max_tokens"},
		{"several choices", body(`"input":"hi","n":2`), 0, 0, "n"},
		{"a schema", body(`"input":"hi","text":{"format":{"type":"json_schema","name":"s","schema":{"type":"object"}},"verbosity":"low"}`), 96, 400, ""},
		{"moderation", body(`"input":"hi","moderation":{"model":"omni-moderation-latest","policy":{"input":{"mode":"block"}}}`), 64, 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, offer, err := responseOn(t, "/v1/responses", row.body, responseTerms)
			if no, ok := errors.AsType[*providers.Unbounded](err); ok || row.member != "" {
				if !ok || unboundName(no) != row.member {
					t.Fatalf("%v, want none because of %q", err, row.member)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := offer.Bound().Input.Fixed; got < row.input || got >= row.below {
				t.Errorf("%d tokens are fixed, want %d to %d", got, row.input, row.below)
			}
		})
	}
}

// TestResponseWithoutContext: what only the context bounds has no bound where nobody
// knows that.
func TestResponseWithoutContext(t *testing.T) {
	terms := responseTerms
	terms.Context = 0
	_, _, err := responseOn(t, "/v1/responses", `{"model":"m","previous_response_id":"resp_1"}`, terms)
	if no, ok := errors.AsType[*providers.Unbounded](err); !ok || unboundName(no) != "previous_response_id" || !strings.Contains(no.Error(), "context_tokens") {
		t.Errorf("%v", err)
	}
}

// TestResponseCompactions: an input that is to be made shorter first is read once more, and
// what that comes to is held at the most that the model writes.
func TestResponseCompactions(t *testing.T) {
	const body = `{"model":"gpt-4o","max_output_tokens":50,"input":[{"role":"user","content":"hi"},{"type":"compaction_trigger"}]}`
	_, offer, err := responseOn(t, "/v1/responses", body, responseTerms)
	if err != nil {
		t.Fatal(err)
	}
	b := offer.Bound()
	if b.Input.Rereads != 1 || b.Output.Cap != 50 || b.Output.Fixed != 1000 || len(b.Beside) != 1 || b.Beside[0].Usage != (call.Usage{call.Input: 1000}) {
		t.Errorf("bound %+v", b)
	}
	terms := responseTerms
	terms.MaxOutput = 0
	if _, _, err := responseOn(t, "/v1/responses", body, terms); err == nil || !strings.Contains(err.Error(), "compaction_trigger") {
		t.Errorf("%v", err)
	}
}

// TestResponseCompactionsAsNeeded: where the provider makes an input shorter wherever it is
// too long, it may do so before the model answers, and after each of its rounds. Each time
// reads all that is there, what was written and found among it, and may write as much as
// the model can, which is read later.
func TestResponseCompactionsAsNeeded(t *testing.T) {
	const body = `{"model":"gpt-4o","max_output_tokens":50,"input":"hi","context_management":[{"type":"compaction","compact_threshold":1000}]`
	searching := responseTerms
	searching.Tools = call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 3, Tokens: 500}}
	for _, row := range []struct {
		name, members string
		terms         providers.Terms
		runs, calls   int64
		reads         int64 // of what is written by compactions, and of what is found
	}{
		{"one round", `}`, responseTerms, 2, 0, 2 * 1000},
		{"with searches", `,"tools":[{"type":"web_search"}]}`, searching, 5, 3, 5*4*1000 + 5*3*500},
	} {
		_, offer, err := responseOn(t, "/v1/responses", body+row.members, row.terms)
		if err != nil {
			t.Fatal(err)
		}
		b := offer.Bound()
		if b.Input.Rereads != row.runs+row.calls || b.Output.Rereads != row.runs+row.calls || b.Output.Fixed != row.runs*1000 || b.Beside[0].Usage != (call.Usage{call.Input: row.reads}) {
			t.Errorf("%s: bound %+v", row.name, b)
		}
	}
	elsewhere := responseTerms
	elsewhere.Provider = "openrouter"
	if _, _, err := responseOn(t, "/v1/responses", body+"}", elsewhere); err == nil || !strings.Contains(err.Error(), "context_management") {
		t.Errorf("elsewhere: %v", err)
	}
}

// TestResponseFiles: a file is as long as the policy says that one can be.
func TestResponseFiles(t *testing.T) {
	const file = `{"type":"input_file","file_data":"data:,"}`
	body := `{"model":"gpt-4o","input":[{"role":"user","content":[` + file + "," + file + `]}]}`
	terms := responseTerms
	terms.MaxDocument = 3000
	_, offer, err := responseOn(t, "/v1/responses", body, terms)
	if err != nil {
		t.Fatal(err)
	}
	if got := offer.Bound().Input.Fixed; got < 6000 || got > 6200 {
		t.Errorf("%d tokens are fixed, want two files of 3000", got)
	}
}

// TestEarlierResponse: a response that goes on from another has as input what that has read
// and written, where somebody remembers, and else as much as the context holds.
func TestEarlierResponse(t *testing.T) {
	terms := responseTerms
	terms.Earlier = func(id string) providers.Earlier {
		return map[string]providers.Earlier{
			"mine": {Own: true, Tokens: 700, Reader: "gpt-4o"}, "mini's": {Own: true, Tokens: 700, Reader: "gpt-4o-mini"},
			"all": {Own: true, Tokens: 700, Reader: "gpt-4o as it reads otherwise"}, "theirs": {Foreign: true},
		}[id]
	}
	fixed := func(path, previous string) (int64, error) {
		_, offer, err := responseOn(t, path, `{"model":"gpt-4o","input":"hi","previous_response_id":"`+previous+`"}`, terms)
		if err != nil {
			return 0, err
		}
		return offer.Bound().Input.Fixed, nil
	}
	alone, _ := fixed("/v1/responses", "")
	if got, err := fixed("/v1/responses", "mine"); err != nil || got != alone+700 {
		t.Errorf("%d tokens are fixed, %d without: %v", got, alone, err)
	}
	if got, err := fixed("/v1/responses", "nobody's"); err != nil || got != terms.Context+1 {
		t.Errorf("%d tokens are fixed: %v", got, err)
	}
	if got, err := fixed("/v1/responses", "mini's"); err != nil || got != terms.Context+1 {
		t.Errorf("%d tokens are fixed of what another model counted: %v", got, err)
	}
	for _, row := range []struct {
		item string
		want int64 // more than without; -1: it is denied
	}{
		{`{"id":"mine"}`, 700},
		{`{"type":"item_reference","id":"mine"}`, 700},
		{`{"type":"reasoning","id":"mine","summary":[]}`, 700},
		{`{"type":"reasoning","id":"mine","summary":[],"encrypted_content":null}`, 700},
		{`{"type":"reasoning","id":"nobody's","summary":[],"encrypted_content":"xxxx"}`, 0},
		{`{"type":"reasoning","summary":[]}`, 0},
		{`{"type":"reasoning","id":"nobody's","summary":[]}`, terms.Context},
		{`{"id":"nobody's"}`, terms.Context},
		{`{"id":"mini's"}`, terms.Context},
		{`{"id":"all"}`, terms.Context},
		{`{"id":"theirs"}`, -1},
		{`{"type":"image_generation_call","id":"theirs"}`, -1},
		{`{"type":"web_search_call","id":"theirs","status":"completed","action":{"type":"search","query":"q"}}`, -1},
		{`{"type":"web_search_call","id":"nobody's","status":"completed","action":{"type":"search","query":"q"}}`, 0},
		{`{"id":"theirs","role":"assistant"}`, -1},
		{`{"id":"theirs","role":"assistant","content":null}`, -1},
		{`{"id":"theirs","content":"hi"}`, -1},
		{`{"id":"theirs","role":"Assistant","content":"hi"}`, -1},
		{`{"id":"theirs","type":null,"role":"","content":"hi"}`, -1},
		{`{"id":"theirs","call_id":"c","name":"f","arguments":"{}"}`, -1},
		{`{"type":"reasoning","id":"theirs","summary":[],"encrypted_content":""}`, -1},
		{`{"id":"theirs","role":"assistant","content":"hi"}`, 0},
		{`{"content":"hi"}`, 0},
	} {
		_, offer, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":[`+row.item+`]}`, terms)
		if (err != nil) != (row.want < 0) {
			t.Errorf("%s: %v", row.item, err)
		} else if err == nil && (offer.Bound().Input.Fixed < row.want || offer.Bound().Input.Fixed > row.want+100) {
			t.Errorf("%s: %d tokens are fixed", row.item, offer.Bound().Input.Fixed)
		}
	}
	for _, path := range []string{"/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"} {
		if _, err := fixed(path, "theirs"); err == nil || !strings.Contains(err.Error(), "this tenant's") {
			t.Errorf("%s goes on from another tenant's: %v", path, err)
		}
	}
	terms.DenyUnknown = true
	for _, path := range []string{"/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"} {
		if _, err := fixed(path, "nobody's"); err == nil || !strings.Contains(err.Error(), "when_response_unknown") {
			t.Errorf("%s goes on from one that is not known, and is to be denied: %v", path, err)
		}
		for _, known := range []string{"mine", "mini's"} {
			if _, err := fixed(path, known); err != nil {
				t.Errorf("%s does not go on from one that is known: %v", path, err)
			}
		}
	}
	if _, _, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":[{"id":"nobody's"}]}`, terms); err == nil || !strings.Contains(err.Error(), "input.item_reference") {
		t.Errorf("an item that is not known, and is to be denied: %v", err)
	}
	if _, _, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":[{"type":"image_generation_call","id":"nobody's"}]}`, terms); err == nil || !strings.Contains(err.Error(), "input.item_reference") {
		t.Errorf("an image that is not known, and is to be denied: %v", err)
	}
	if _, _, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":[{"type":"web_search_call","id":"nobody's"},{"type":"image_generation_call","id":"nobody's","result":"AAAA"}]}`, terms); err != nil {
		t.Errorf("items that are there: %v", err)
	}
}

// TestEarlierResponseReadOtherwise: what a response counted that was to read what went
// before in one way does not bound one that reads it in another: earlier thoughts may have
// been left out, images made smaller, and all of it made shorter.
func TestEarlierResponseReadOtherwise(t *testing.T) {
	ways := []string{
		``, `"reasoning":{"context":"all_turns"},`, `"reasoning":{"effort":"low","context":"current_turn"},`,
		`"image":{"context_compression":"enabled"},`, `"context_management":[{"type":"compaction"}],`,
	}
	for i, before := range ways {
		for j, after := range ways {
			terms := responseTerms
			_, first, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o",`+before+`"input":"hi"}`, terms)
			if err != nil {
				t.Fatal(err)
			}
			m := first.Send(20).Meter(providers.Answer{Status: 200, Framed: true})
			m.Feed([]byte(`{"id":"resp_1","output":[],"usage":{"input_tokens":600,"output_tokens":100}}`))
			terms.Earlier = func(string) providers.Earlier {
				return providers.Earlier{Own: true, Tokens: 700, Reader: m.Report().LeftBy}
			}
			_, second, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o",`+after+`"previous_response_id":"resp_1","input":"hi"}`, terms)
			if err != nil {
				t.Fatal(err)
			}
			if held := second.Bound().Input.Fixed >= terms.Context; held != (i != j) {
				t.Errorf("%q after %q: %d tokens are fixed", after, before, second.Bound().Input.Fixed)
			}
		}
	}
	for _, same := range []string{`"reasoning":{"context":null},`, `"reasoning":null,`, `"image":{},`, `"context_management":[],`, `"context_management":null,`, `"reasoning":{"effort":"high"},`} {
		terms := responseTerms
		terms.Earlier = func(string) providers.Earlier {
			return providers.Earlier{Own: true, Tokens: 700, Reader: "gpt-4o"}
		}
		if _, o, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o",`+same+`"previous_response_id":"resp_1","input":"hi"}`, terms); err != nil || o.Bound().Input.Fixed >= terms.Context {
			t.Errorf("%s: %v, and it is held at the context", same, err)
		}
	}
}

// TestResponseLeft: the id of an answer that the provider keeps is told, and of no other.
func TestResponseLeft(t *testing.T) {
	for _, row := range []struct{ members, want string }{{``, "resp_1"}, {`,"store":true`, "resp_1"}, {`,"store":null`, "resp_1"}, {`,"store":false`, ""}, {`,"truncation":"disabled"`, "resp_1"}, {`,"truncation":"auto"`, ""}} {
		for _, answer := range []string{
			`{"id":"resp_1","output":[],"usage":{"input_tokens":1,"output_tokens":0}}`,
			event("response.created", `,"response":{"id":"resp_1"}`),
			event("response.completed", `,"response":{"id":"resp_1"}`),
		} {
			_, offer, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":"hi"`+row.members+`}`, responseTerms)
			if err != nil {
				t.Fatal(err)
			}
			m := offer.Send(20).Meter(providers.Answer{Status: 200, Framed: true})
			m.Feed([]byte(answer))
			if got := m.Report().Left; got != row.want {
				t.Errorf("%q: %q was left, want %q", row.members, got, row.want)
			}
		}
		for _, answer := range []string{
			`{"id":"resp_1","output":[{"id":"rs_1","type":"reasoning"},{"id":"ws_1","type":"web_search_call"},{"id":"ig_1","type":"image_generation_call"},{"type":"message"}],"usage":{"input_tokens":1,"output_tokens":0}}`,
			event("response.output_item.done", `,"item":{"id":"rs_1","type":"reasoning"}`) + event("response.output_item.added", `,"item":{"id":"x","type":"message"}`) +
				event("response.output_item.done", `,"item":{"id":"ws_1","type":"web_search_call"}`) + event("response.output_item.done", `,"item":{"id":"ig_1","type":"image_generation_call"}`),
		} {
			_, offer, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":"hi"`+row.members+`}`, responseTerms)
			if err != nil {
				t.Fatal(err)
			}
			m := offer.Send(20).Meter(providers.Answer{Status: 200, Framed: true})
			m.Feed([]byte(answer))
			var want []providers.Item
			if row.want != "" {
				want = []providers.Item{{ID: "rs_1", Content: providers.Written}, {ID: "ws_1", Content: providers.Found}, {ID: "ig_1", Content: providers.Opaque}}
			}
			if got := m.Report().Items; !slices.Equal(got, want) {
				t.Errorf("%q: %v were left", row.members, got)
			}
		}
	}
}

// TestResponseCap: which cap leaves, by the one that the client sent, the policy's and
// what is granted.
func TestResponseCap(t *testing.T) {
	for _, row := range []struct {
		name, members     string
		policy            int64
		grant             int64
		bound             int64
		want              string
		provider, another string
	}{
		{"none", ``, 0, 1000, 1000, `,"max_output_tokens":1000`, "openai", ""},
		{"the policy's", ``, 200, 200, 200, `,"max_output_tokens":200`, "openai", ""},
		{"a policy's below what the API takes", ``, 5, 16, 16, `,"max_output_tokens":16`, "openai", ""},
		{"the client's", `,"max_output_tokens":300`, 200, 300, 300, `,"max_output_tokens":300`, "openai", ""},
		{"lowered", `,"max_output_tokens":300`, 0, 50, 300, `,"max_output_tokens":50`, "openai", ""},
		{"null", `,"max_output_tokens":null`, 0, 1000, 1000, `,"max_output_tokens":1000`, "openai", ""},
		{"elsewhere", ``, 0, 1000, 1000, `,"max_output_tokens":1000`, "groq", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			terms := responseTerms
			terms.Provider, terms.DefaultOutput = row.provider, row.policy
			_, offer, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":"hi","stream":true`+row.members+`}`, terms)
			if err != nil {
				t.Fatal(err)
			}
			if got := offer.Bound().Output.Cap; got != row.bound {
				t.Errorf("the cap is bounded by %d, want %d", got, row.bound)
			}
			body, _ := io.ReadAll(offer.Send(row.grant).Body)
			want := `{"model":"gpt-4o","input":"hi","stream":true` + row.want
			if row.provider == "openai" {
				want += `,"service_tier":"default"`
			}
			if string(body) != want+"}" {
				t.Errorf("sent %s", body)
			}
		})
	}
}

// TestCompaction: nothing caps its output but the model's own maximum.
func TestCompaction(t *testing.T) {
	_, offer, err := responseOn(t, "/v1/responses/compact", `{"model":"gpt-4o","input":"hi"}`, responseTerms)
	if err != nil {
		t.Fatal(err)
	}
	if out := offer.Bound().Output; out.Fixed != 1000 || out.Cap != 0 || out.Choices != 1 {
		t.Errorf("output %+v", out)
	}
	if body, _ := io.ReadAll(offer.Send(0).Body); string(body) != `{"model":"gpt-4o","input":"hi","service_tier":"default"}` {
		t.Errorf("sent %s", body)
	}
	terms := responseTerms
	terms.MaxOutput = 0
	if _, _, err := responseOn(t, "/v1/responses/compact", `{"model":"gpt-4o","input":"hi"}`, terms); err == nil {
		t.Error("one of a model whose maximum nobody knows is bounded")
	}
}

// TestResponseCaches: a token that stays in the cache for twelve hours is held at what
// that costs, and only then.
func TestResponseCaches(t *testing.T) {
	const usage = `{"input_tokens":10,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":8},"output_tokens":1}`
	for _, row := range []struct {
		name, members string
		long          bool
	}{
		{"by itself", ``, false},
		{"for half an hour", `,"prompt_cache_options":{"mode":"explicit","ttl":"30m"}`, false},
		{"for twelve hours", `,"prompt_cache_options":{"ttl":"12h"}`, true},
		{"by a block", `,"instructions":[{"role":"user","content":[{"type":"input_text","text":"x","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}}]}]`, true},
		{"by an older member", `,"prompt_cache_retention":"24h","prompt_cache_key":"k"`, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, offer, err := responseOn(t, "/v1/responses", `{"model":"gpt-5.6","input":"hi"`+row.members+`}`, responseTerms)
			if err != nil {
				t.Fatal(err)
			}
			kinds := offer.Bound().Input.Kinds
			if kinds.Has(call.CacheWrite12h) != row.long || !kinds.Has(call.CacheWrite) || kinds.Has(call.CacheWrite1h) {
				t.Errorf("kinds %b", kinds)
			}
			m := offer.Send(20).Meter(providers.Answer{Status: 200, Framed: true})
			m.Feed([]byte(`{"output":[],"usage":` + usage + `}`))
			m.Close(io.EOF)
			used := m.Report().Lines[0].Usage
			want := call.Usage{call.Input: 2, call.CacheWrite: 8, call.Output: 1}
			if row.long {
				want[call.CacheWrite], want[call.CacheWrite12h] = 0, 8
			}
			if used != want {
				t.Errorf("used %s, want %s", used, want)
			}
		})
	}
}

// TestEarlierKinds: what a response goes on from may be images, audio, and writes to a cache
// that live longer, as the request had them that it is the answer of, or that one's own
// earlier ones; of one that nobody knows, all of them.
func TestEarlierKinds(t *testing.T) {
	long, audio, images := call.Of(call.CacheWrite12h), call.Of(call.AudioInput, call.CachedAudioInput, call.AudioCacheWrite), call.Of(call.ImageInput, call.CachedImageInput)
	terms := responseTerms
	terms.Context = 0 // so that nothing is held at it
	known := map[string]providers.Earlier{}
	terms.Earlier = func(id string) providers.Earlier { return known[id] }
	answer := func(body string) (providers.Report, call.Kinds) {
		_, offer, err := responseOn(t, "/v1/responses", `{"model":"gpt-5",`+body+`}`, terms)
		if err != nil {
			t.Fatal(body, err)
		}
		m := offer.Send(20).Meter(providers.Answer{Status: 200, Framed: true})
		m.Feed([]byte(`{"id":"resp","output":[],"usage":{"input_tokens":10,"input_tokens_details":{"cache_write_tokens":8},"output_tokens":1}}`))
		m.Close(io.EOF)
		return m.Report(), offer.Bound().Input.Kinds
	}
	for _, row := range []struct {
		name, members string
		want          call.Kinds
	}{
		{"nothing", `"input":"hi"`, 0},
		{"writes for twelve hours", `"input":"hi","prompt_cache_options":{"ttl":"12h"}`, long},
		{"an image", `"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:,"}]}]`, images},
	} {
		first, own := answer(row.members)
		known["first"] = providers.Earlier{Own: true, Tokens: 11, Reader: first.LeftBy, Kinds: first.LeftKinds}
		second, kinds := answer(`"input":"hi","previous_response_id":"first"`)
		known["second"] = providers.Earlier{Own: true, Tokens: 11, Reader: second.LeftBy, Kinds: second.LeftKinds}
		third, last := answer(`"input":[{"type":"item_reference","id":"second"}]`)
		if own|row.want != kinds|images&row.want || kinds&(long|audio|images) != row.want || last != kinds {
			t.Errorf("%s: kinds %b, then %b, then %b", row.name, own, kinds, last)
		}
		if written := third.Lines[0].Usage[call.CacheWrite12h]; (written == 8) != (row.want == long) {
			t.Errorf("%s: %d tokens are written for twelve hours", row.name, written)
		}
	}
	terms.Context = 50_000
	if report, kinds := answer(`"input":"hi","previous_response_id":"nobody's"`); kinds&(long|audio|images) != long|audio|images || report.Lines[0].Usage[call.CacheWrite12h] != 0 {
		t.Errorf("of one that nobody knows: kinds %b, used %s", kinds, report.Lines[0].Usage)
	}
	_, alone := answer(`"input":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}]}]`)
	if alone&audio != audio {
		t.Errorf("audio: kinds %b", alone)
	}
}

// TestResponseResults: the results that a request brings are those behind the last thing
// that the model said, with the names that its calls have.
func TestResponseResults(t *testing.T) {
	const (
		user   = `{"role":"user","content":"hi"}`
		says   = `{"type":"message","role":"assistant","content":"hm"}`
		thinks = `{"type":"reasoning","summary":[]}`
	)
	calls := func(id string) string {
		return `{"type":"function_call","call_id":"` + id + `","name":"f_` + id + `","arguments":"{}"}`
	}
	gives := func(id string) string { return `{"type":"function_call_output","call_id":"` + id + `","output":"x"}` }
	for _, row := range []struct {
		name, items string
		want        string
	}{
		{"none", user, ""},
		{"two at once", user + "," + calls("a") + "," + calls("b") + "," + gives("a") + "," + gives("b"), "a:f_a b:f_b"},
		{"the last turn alone", user + "," + calls("a") + "," + gives("a") + "," + thinks + "," + calls("b") + "," + gives("b"), "b:f_b"},
		{"a turn without a thought", calls("a") + "," + gives("a") + "," + calls("b") + "," + gives("b"), "b:f_b"},
		{"the model has answered", calls("a") + "," + gives("a") + "," + says, ""},
		{"a result, then a user", calls("a") + "," + gives("a") + "," + user, "a:f_a"},
		{"of an earlier response", gives("a"), "a:"},
		{"tools of other types", `{"type":"local_shell_call_output","id":"l","output":"x"},{"type":"shell_call_output","call_id":"s","output":[{"stdout":"x","stderr":"","outcome":{"type":"exit","exit_code":0}}]},{"type":"apply_patch_call_output","call_id":"p","status":"completed"},{"type":"custom_tool_call_output","call_id":"c","output":"x"}`,
			"l:local_shell s:shell p:apply_patch c:"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, _, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":[`+row.items+`]}`, responseTerms)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, result := range r.ToolResults {
				got = append(got, result.CallID+":"+result.Name)
			}
			if strings.Join(got, " ") != row.want {
				t.Errorf("results %q, want %q", got, row.want)
			}
		})
	}
}

// TestResponseFacts: what the rules see.
func TestResponseFacts(t *testing.T) {
	r, _, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","stream":true,"metadata":{"customer":"c"},"client_metadata":{"session_id":"s","api_key":"a"},"text":{"format":{"type":"json_schema","schema":{}}},
		"input":[{"role":"user","content":[{"type":"input_image","image_url":"u"}]},{"type":"additional_tools","tools":[{"type":"function","name":"late"}]}],
		"tools":[{"type":"function","name":"f"},{"type":"namespace","name":"n","tools":[{"type":"custom","name":"c"}]},{"type":"local_shell"}]}`, responseTerms)
	if err != nil {
		t.Fatal(err)
	}
	f := r.Facts()
	if strings.Join(f.Tools, ",") != "late,f,c,local_shell" || !f.Stream || f.Model != "gpt-4o" {
		t.Errorf("facts %+v", f)
	}
	for _, need := range []string{call.NeedStream, call.NeedTools, call.NeedImages, call.NeedJSONSchema} {
		if !slices.Contains(f.Needs, need) {
			t.Errorf("needs %q lack %s", f.Needs, need)
		}
	}
	if user, _ := r.Field("metadata.customer"); user != "c" {
		t.Errorf("user %q", user)
	}
}

// responseMeter is the meter of a plain response.
func responseMeter(t testing.TB, stream bool) providers.Meter {
	t.Helper()
	_, offer, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":"hi"}`, responseTerms)
	if err != nil {
		t.Fatal(err)
	}
	a := providers.Answer{Status: 200, Framed: true}
	if stream {
		a.Header = map[string][]string{"Content-Type": {"text/event-stream"}}
	}
	return offer.Send(100).Meter(a)
}

func event(kind, members string) string {
	return fmt.Sprintf("event: %s\ndata: {\"type\":%q%s}\n\n", kind, kind, members)
}

// TestResponseStops: a stream that is stopped ends as a response that has failed for want
// of a quota, with what the response began with, and no call of a tool in it is whole.
func TestResponseStops(t *testing.T) {
	denial := &call.Denial{Class: call.Forbidden, Code: "kill_switch", Message: `spend limit "x"`}
	created := event("response.created", `,"sequence_number":3,"response":{"id":"resp_1","object":"response","created_at":7,"status":"in_progress","error":null,"model":"gpt-4o","output":[],"tools":[],"parallel_tool_calls":true,"usage":null}`)
	open := event("response.function_call_arguments.delta", `,"sequence_number":9,"delta":"{\"rm"`)
	for _, row := range []struct {
		name, sent string
		want       string // the name of the event; "" for none
		number     int64
	}{
		{"before it began", ": a comment\n\n", "error", 1},
		{"once it began", created, "response.failed", 4},
		{"inside a call of a tool", created + open, "response.failed", 10},
		{"inside an event", created + "event: response.output_text.delta\ndata: {", "", 0},
		{"after its end", created + event("response.completed", `,"response":{}`), "", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := responseMeter(t, true)
			m.Feed([]byte(row.sent))
			words, whole := m.Stop(denial)
			if row.want == "" {
				if words != nil || whole {
					t.Errorf("said %q", words)
				}
				return
			}
			name, data, _ := strings.Cut(strings.TrimPrefix(string(words), "\nevent: "), "\ndata: ")
			var told struct {
				Type     string `json:"type"`
				Number   int64  `json:"sequence_number"`
				Response struct {
					ID, Status, Model string
					Output            []any
					Error             struct{ Code, Message string }
				}
				Error struct{ Message, Type, Code string }
			}
			if err := json.Unmarshal([]byte(data), &told); err != nil || !strings.HasSuffix(data, "}\n\n") {
				t.Fatalf("%v: %q", err, words)
			}
			if name != row.want || told.Type != row.want || told.Number != row.number || !whole {
				t.Errorf("%s %+v, whole %v", name, told, whole)
			}
			if told.Error.Message != denial.Error() || told.Error.Code != "insufficient_quota" {
				t.Errorf("error %+v", told.Error)
			}
			if r := told.Response; row.want == "response.failed" && (r.ID != "resp_1" || r.Status != "failed" || r.Model != "gpt-4o" || len(r.Output) != 0 || r.Error.Code != "insufficient_quota") {
				t.Errorf("response %+v", r)
			}
		})
	}
}

// TestLongResponse: a response whose last event repeats megabytes is read in bounded
// memory, however it is cut and ended.
func TestLongResponse(t *testing.T) {
	image := strings.Repeat("iVBORw0KGgo", 300_000)
	last := `{"type":"response.completed","sequence_number":7,"response":{"id":"resp_1","output":[{"type":"image_generation_call","result":"` + image + `"}],"model":"gpt-4o-x","usage":{"input_tokens":9,"output_tokens":5,"total_tokens":14},"tool_usage":{"web_search":{"num_requests":2}},"service_tier":"default"}}`
	for _, row := range []struct {
		name, text string
		size       int
		known      bool
	}{
		{"at once", "event: response.completed\ndata: " + last + "\n\n", 0, true},
		{"in pieces", "event: response.completed\ndata: " + last + "\n\n", 30_000, true},
		{"without a line end", "event: response.completed\ndata: " + last, 30_000, true},
		{"with CRLF", "event: response.completed\r\ndata:" + last + "\r\n\r\n", 30_000, true},
		{"cut off", "event: response.completed\ndata: " + last[:len(last)-3], 30_000, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := responseMeter(t, true)
			m.Feed([]byte(event("response.created", `,"response":{"id":"resp_1"}`)))
			size := row.size
			if size == 0 {
				size = len(row.text)
			}
			for chunk := range slices.Chunk([]byte(row.text), size) {
				if got := m.Feed(chunk); len(got) != len(chunk) {
					t.Fatalf("%d bytes became %d", len(chunk), len(got))
				}
			}
			m.Close(io.EOF)
			r := m.Report()
			if r.HasUsage != row.known {
				t.Fatalf("%+v", r)
			}
			want := call.Usage{call.Input: 9, call.Output: 5, call.Searches: 2}
			if line := r.Lines[0]; row.known && (line.Usage != want || line.Model != "gpt-4o-x" || line.Service != call.Standard) {
				t.Errorf("%+v", line)
			}
		})
	}
}

// TestResponseFails: an error once a response has begun leaves open whether the model ran,
// however long what it began with is.
func TestResponseFails(t *testing.T) {
	for _, size := range []int{10, 2 << 20} {
		for _, end := range []string{
			event("response.failed", `,"response":{"id":"r","error":{"code":"server_error","message":"m"},"usage":null}`),
			event("error", `,"code":"server_error","message":"m"`),
		} {
			m := responseMeter(t, true)
			m.Feed([]byte(event("response.created", `,"response":{"id":"r","instructions":"`+strings.Repeat("x", size)+`"}`) + end))
			m.Close(io.EOF)
			if r := m.Report(); !r.Ran || r.HasUsage {
				t.Errorf("begun with %d bytes, ended by %s: %+v", size, end, r)
			}
		}
	}
}

// TestResponseSeen: output is seen by the bytes of its deltas, whatever they are of.
func TestResponseSeen(t *testing.T) {
	m := responseMeter(t, true)
	for _, kind := range []string{"response.output_text.delta", "response.reasoning_summary_text.delta", "response.function_call_arguments.delta", "response.custom_tool_call_input.delta"} {
		m.Feed([]byte(event(kind, `,"item_id":"an id that is no text","delta":"four"`)))
	}
	m.Feed([]byte(event("response.output_text.done", `,"text":"fourfour"`)))
	m.Feed([]byte(event("response.aside", `,"item_id":"i","thought":{"deep":["four"]}`))) // nobody knows it yet
	m.Feed([]byte(event("response.output_text.delta", `,"delta":"tw","aside":"wo","obfuscation":"xxxxxx","logprobs":[]`)))
	if seen, complete := m.Seen(); seen != 24 || complete {
		t.Errorf("saw %d, complete %v", seen, complete)
	}
	m.Close(io.ErrUnexpectedEOF)
	if r := m.Report(); r.HasUsage || !r.Ran || r.OutputTokens != 24 {
		t.Errorf("%+v", r)
	}
}

// FuzzResponse: no body panics, and how an answer is cut changes nothing.
func FuzzResponse(f *testing.F) {
	f.Add(`{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"x"}]},{"id":"a"}],"tools":[{"type":"namespace","tools":[{}]}]}`, "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n", 3)
	f.Add(`{"model":"m","input":[{"tools":[{"type":"mcp"}],"type":"mcp_list_tools"}]}`, `{"output":[],"usage":{"input_tokens":1,"output_tokens":0}}`, 1)
	f.Fuzz(func(t *testing.T, body, answer string, size int) {
		if r, offer, err := responseOn(t, "/v1/responses", body, responseTerms); err == nil {
			_ = r.Facts()
			if sent, err := io.ReadAll(offer.Send(offer.Bound().Output.Cap).Body); err != nil || !json.Valid(sent) {
				t.Fatalf("%v: sent %s", err, sent)
			}
		}
		var reports [2]providers.Report
		for i, n := range [...]int{max(1, size), len(answer) + 1} {
			m := responseMeter(t, true)
			for chunk := range slices.Chunk([]byte(answer), n) {
				m.Feed(chunk)
			}
			m.Stop(&call.Denial{})
			m.Close(io.EOF)
			reports[i] = m.Report()
		}
		if fmt.Sprint(reports[0]) != fmt.Sprint(reports[1]) {
			t.Fatalf("%+v and %+v", reports[0], reports[1])
		}
	})
}
