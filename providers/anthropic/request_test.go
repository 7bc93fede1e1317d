package anthropic_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/anthropic"
)

// parse reads a message with these members beside the least that one has.
func parse(t testing.TB, members string) (providers.Request, error) {
	t.Helper()
	return parseWith(t, providers.Head{}, members)
}

func parseWith(t testing.TB, h providers.Head, members string) (providers.Request, error) {
	t.Helper()
	body := `{"model":"claude-opus-5","max_tokens":2048,"messages":[{"role":"user","content":"Hello"}]` + members + `}`
	return read(h, body)
}

func read(h providers.Head, body string) (providers.Request, error) {
	h.Method, h.Path = "POST", "/v1/messages"
	op, _ := anthropic.Dialect{}.Match(h)
	return anthropic.Dialect{}.Parse(op, h, []byte(body))
}

var terms = providers.Terms{Provider: "anthropic"}

// TestAllowed: what a client may say of a text costs no more than is held.
func TestAllowed(t *testing.T) {
	for _, row := range []struct{ name, members string }{
		{"nothing else", ``},
		{"sampling", `,"temperature":1,"top_p":0.5,"top_k":5,"stop_sequences":["x"]`},
		{"a user", `,"metadata":{"user_id":"u"}`},
		{"a system prompt", `,"system":"Be brief"`},
		{"a system prompt in blocks", `,"system":[{"type":"text","text":"Be brief","cache_control":{"type":"ephemeral","ttl":"1h"}}]`},
		{"a stream", `,"stream":true`},
		{"tools of the client", `,"tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"strict":true,"defer_loading":false,"eager_input_streaming":true,"input_examples":[],"allowed_callers":["direct"]},{"type":"custom","name":"g","input_schema":{}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`},
		{"tools that the API defines and the client runs", `,"tools":[{"type":"bash_20250124","name":"bash"},{"type":"text_editor_20250728","name":"e","max_characters":5},{"type":"memory_20250818","name":"m"},{"type":"computer_20250124","name":"c","display_width_px":5,"display_height_px":5}]`},
		{"thinking", `,"thinking":{"type":"enabled","budget_tokens":1024,"display":"summarized"}`},
		{"adaptive thinking", `,"thinking":{"type":"adaptive"},"output_config":{"effort":"high","task_budget":{"total":5,"type":"tokens"}}`},
		{"a schema", `,"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}`},
		{"the older form of a schema", `,"output_format":{"type":"json_schema","schema":{"type":"object"}}`},
		{"an automatic cache", `,"cache_control":{"type":"ephemeral"}`},
		{"plain tiers", `,"service_tier":"standard_only","speed":"standard","inference_geo":"global"`},
		{"what is null", `,"service_tier":null,"speed":null,"inference_geo":null,"tools":null,"thinking":null,"output_config":null,"cache_control":null,"context_management":null,"container":null,"mcp_servers":[],"fallbacks":null,"thread":null,"unheard_of":null`},
		{"edits that clear the context", `,"context_management":{"edits":[{"type":"clear_tool_uses_20250919","keep":{"type":"tool_uses","value":3}},{"type":"clear_thinking_20251015","keep":"all"}]}`},
		{"how blocks of thinking are bound, and who may read the cache", `,"thinking":{"type":"adaptive","block_binding":{}},"cache_control":{"type":"ephemeral","scope":"global"}`},
		{"a faster answer, somewhere", `,"speed":"fast","inference_geo":"us"`},
		{"what makes it cheaper", `,"fallback_credit_token":"t"`},
		{"no compaction", `,"compaction":null`},
		{"checks of the answer's tools, as Claude Code asks for them", `,"safeguards":[{"type":"dangerous_tool_use","classifier_context":{"v":1,"rules":{"allow":[],"ttl":"1h"}}}]`},
		{"no checks", `,"safeguards":[]`},
		{"diagnostics", `,"diagnostics":{"previous_message_id":"msg_1"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := parse(t, row.members)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.On(terms); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUnbounded: what the body does not show is refused by name.
func TestUnbounded(t *testing.T) {
	block := func(b string) string {
		return `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[` + b + `]}]}`
	}
	with := func(members string) string {
		return `{"model":"m","max_tokens":5,"messages":[]` + members + `}`
	}
	for _, row := range []struct{ name, body, member, says string }{
		{"an image from somewhere else", block(`{"type":"image","source":{"type":"dream"}}`), "a content block of type image.source.dream", "allow"},
		{"an image in a result, from nowhere", block(`{"type":"tool_result","tool_use_id":"i","content":[{"type":"image"}]}`), "a content block of type image.source.", ""},
		{"a document whose model's context is not known", block(`{"type":"document","source":{"type":"file","file_id":"f"},"context":"c"}`), "a document of source file", "context_tokens"},
		{"pages in a fetched result", block(`{"type":"web_fetch_tool_result","tool_use_id":"i","content":{"type":"web_fetch_result","url":"u","content":{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"x"}}}}`), "a document of source base64", "context_tokens"},
		{"an upload", block(`{"type":"container_upload","file_id":"f"}`), "a content block of type container_upload", ""},
		{"a call that the provider has still to run", block(`{"type":"server_tool_use","id":"i","name":"web_search","input":{}},{"type":"web_search_tool_result","tool_use_id":"j","content":[]}`), "a content block of type server_tool_use", "provider"},
		{"another server's tools that come in between", block(`{"type":"tool_addition","tool":{"type":"mcp_toolset_reference","server_name":"s"}}`), "messages.content.tool", "provider"},
		{"a tool of the provider's that comes in between", block(`{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"type":"web_search_20250305","name":"w"}}}`), "a tool of type web_search_20250305", "provider"},
		{"a change of tools that nobody knows", block(`{"type":"tool_addition","tool":{"type":"wish"}}`), "messages.content.tool.type", "allow"},
		{"a call by code", block(`{"type":"tool_use","id":"i","name":"f","input":{},"caller":{"type":"code_execution_20250825","tool_id":"t"}}`), "messages.content.caller", "provider"},
		{"a block that nobody knows", block(`{"type":"hologram","x":1}`), "a content block of type hologram", `allow: {parts: ["hologram"]}`},
		{"a block without a type", block(`{"text":"x"}`), "a content block without a type", "nothing in a policy"},
		{"a member of a block that nobody knows", block(`{"type":"text","text":"x","zip":1}`), "messages.content.zip", `allow: {members: ["messages.content.zip"]}`},
		{"a member of a message that nobody knows", `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x","zip":1}]}`, "messages.zip", `allow: {members: ["messages.zip"]}`},
		{"a member that nobody knows", with(`,"zip":{"a":1}`), "zip", `allow: {members: ["zip"]}`},
		{"web search", with(`,"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":5}]`), "a tool of type web_search_20250305", "provider"},
		{"code execution", with(`,"tools":[{"type":"code_execution_20260120","name":"c"}]`), "a tool of type code_execution_20260120", "provider"},
		{"an advisor", with(`,"tools":[{"type":"advisor_20260301","name":"a","model":"claude-opus-5"}]`), "a tool of type advisor_20260301", "provider"},
		{"a tool that nobody knows", with(`,"tools":[{"type":"oracle_1","name":"o"}]`), "a tool of type oracle_1", `allow: {tools: ["oracle_1"]}`},
		{"tools called by code", with(`,"tools":[{"name":"f","input_schema":{},"allowed_callers":["code_execution_20260120"]}]`), "tools.allowed_callers", "provider"},
		{"MCP servers", with(`,"mcp_servers":[{"type":"url","url":"http://x","name":"n"}]`), "mcp_servers", ""},
		{"a container", with(`,"container":"c_1"`), "container", ""},
		{"a thread", with(`,"thread":{"id":"t"}`), "thread", ""},
		{"a fallback at a speed that nobody knows", with(`,"fallbacks":[{"model":"claude-opus-5","speed":"faster"}]`), "fallbacks.speed", ""},
		{"a member of a fallback that nobody knows", with(`,"fallbacks":[{"model":"claude-opus-5","zip":1}]`), "fallbacks.zip", "allow"},
		{"a check that nobody knows", with(`,"safeguards":[{"type":"dangerous_tool_use"},{"type":"oracle"}]`), "safeguards", `allow: {members: ["safeguards"]}`},
		{"the default fallbacks", with(`,"fallbacks":"default"`), "fallbacks", ""},
		{"compaction by a model that may write any length", with(`,"compaction":{"type":"summarize"}`), "compaction", "max_output_tokens"},
		{"the same as an edit", with(`,"context_management":{"edits":[{"type":"compact_20260112"}]}`), "compaction", "max_output_tokens"},
		{"an edit that nobody knows", with(`,"context_management":{"edits":[{"type":"rewrite_1"}]}`), "context_management.edits", ""},
		{"another lifetime", with(`,"cache_control":{"type":"ephemeral","ttl":"24h"}`), "cache_control.ttl", ""},
		{"a speed that nobody knows", with(`,"speed":"faster"`), "speed", ""},
		{"a region that nobody knows", with(`,"inference_geo":"mars"`), "inference_geo", ""},
		{"another tier", with(`,"service_tier":"priority"`), "service_tier priority", `allow: {tiers: ["priority"]}`},
		{"betas in the body", with(`,"betas":["x"]`), "betas", ""},
		{"another API's cap", with(`,"max_completion_tokens":5`), "max_completion_tokens", ""},
		{"many answers", with(`,"n":5`), "n", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := read(providers.Head{}, row.body)
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.On(terms)
			u, ok := errors.AsType[*providers.Unbounded](err)
			if !ok || u.Causes[0].Member != row.member || !strings.Contains(u.Error(), row.member) || !strings.Contains(u.Error(), row.says) {
				t.Errorf("%v, want %s", err, row.member)
			}
		})
	}
}

func TestRefusedBodies(t *testing.T) {
	for _, row := range []struct{ name, body, param string }{
		{"no object", `[]`, ""},
		{"no cap", `{"model":"m","messages":[]}`, "max_tokens"},
		{"a cap that is null", `{"model":"m","messages":[],"max_tokens":null}`, "max_tokens"},
		{"a cap with a fraction", `{"model":"m","messages":[],"max_tokens":1024.0}`, "max_tokens"},
		{"a cap in quotes", `{"model":"m","messages":[],"max_tokens":"5"}`, "max_tokens"},
		{"a cap below 0", `{"model":"m","messages":[],"max_tokens":-1}`, "max_tokens"},
		{"two caps", `{"model":"m","messages":[],"max_tokens":1,"max_tokens":9}`, ""},
		{"a cap spelled otherwise", `{"model":"m","messages":[],"max_tokens":1,"Max_Tokens":9}`, "Max_Tokens"},
		{"no model", `{"max_tokens":1,"messages":[]}`, "model"},
		{"a model that is none", `{"model":5,"max_tokens":1,"messages":[]}`, "model"},
		{"a fallback that is none", `{"model":"m","messages":[],"max_tokens":1,"fallbacks":[{"max_tokens":5}]}`, "fallbacks.model"},
		{"one block for blocks", `{"model":"m","messages":[{"role":"user","content":{"type":"text","text":"x"}}],"max_tokens":1}`, "messages.content"},
		{"a tool that may never be called", `{"model":"m","messages":[],"max_tokens":1,"tools":[{"type":"web_search_20250305","name":"w","max_uses":0}]}`, "tools.max_uses"},
		{"no messages", `{"model":"m","max_tokens":1}`, "messages"},
		{"messages that are none", `{"model":"m","max_tokens":1,"messages":"x"}`, "messages"},
		{"a text that is none", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":5}]}]}`, "messages.content.text"},
		{"a block spelled otherwise", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","Text":"x"}]}]}`, "messages.content.Text"},
		{"an edit spelled otherwise", `{"model":"m","max_tokens":1,"messages":[],"context_management":{"edits":[{"type":"clear_tool_uses_20250919","Type":"compact_20260112"}]}}`, "context_management.edits.Type"},
		{"part of an edit spelled otherwise", `{"model":"m","max_tokens":1,"messages":[],"context_management":{"edits":[{"type":"compact_20260112","trigger":{},"Trigger":{}}]}}`, "context_management.edits.Trigger"},
		{"a choice spelled otherwise", `{"model":"m","max_tokens":1,"messages":[],"tool_choice":{"type":"auto","Type":"any"}}`, "tool_choice.Type"},
		{"a choice spelled by an escape", `{"model":"m","max_tokens":1,"messages":[],"tool_choice":{"type":"tool","name":"a","n\u0041me":"b"}}`, "tool_choice.nAme"},
		{"citations spelled otherwise", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","citations":{"enabled":false,"Enabled":true},"source":{"type":"text","data":"x"}}]}]}`, "messages.content.citations.Enabled"},
		{"a caller spelled otherwise", `{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{},"caller":{"type":"direct","TYPE":"code_execution_20250825"}}]}]}`, "messages.content.caller.TYPE"},
		{"a format spelled otherwise", `{"model":"m","max_tokens":1,"messages":[],"output_config":{"format":{"type":"json_schema","schema":{},"Schema":{}}}}`, "format.Schema"},
		{"a place spelled otherwise", `{"model":"m","max_tokens":1,"messages":[],"tools":[{"type":"web_search_20250305","name":"w","user_location":{"type":"approximate","City":"x"}}]}`, "tools.user_location.City"},
		{"a budget with a fraction", `{"model":"m","max_tokens":1,"messages":[],"thinking":{"budget_tokens":1.5}}`, "thinking.budget_tokens"},
		{"more behind it", `{"model":"m","max_tokens":1,"messages":[]} {}`, ""},
		{"no UTF-8", "{\"model\":\"\xff\",\"max_tokens\":1,\"messages\":[]}", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := read(providers.Head{}, row.body)
			if e, ok := errors.AsType[*providers.ParseError](err); !ok || e.Param != row.param {
				t.Errorf("%v, want an error of %q", err, row.param)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	r, err := read(providers.Head{}, `{"model":"claude-opus-5","max_tokens":5,"stream":true,"metadata":{"user_id":"u-1"},
		"tools":[{"name":"look","input_schema":{}},{"type":"bash_20250124","name":"bash"}],
		"output_config":{"format":{"type":"json_schema","schema":{}}},
		"messages":[
			{"role":"user","content":"x"},
			{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"old","input":{}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]},
			{"content":[{"input":{},"name":"look","id":"b","type":"tool_use"},{"type":"tool_use","id":"c","name":"bash","input":{}}],"role":"assistant"},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":"r"},{"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":"r"}],"is_error":false}]}]}`)
	if err != nil {
		t.Fatal(err)
	}
	f := r.Facts()
	results := []call.ToolResult{{ID: call.HashName("b"), Tool: "look"}, {ID: call.HashName("c"), Tool: "bash"}}
	if f.Model != "claude-opus-5" || !f.Stream || !slices.Equal(f.Tools, []string{"look", "bash"}) || !slices.Equal(f.ToolResults, results) {
		t.Errorf("facts %+v", f)
	}
	if !slices.Equal(f.Needs, []string{call.NeedStream, call.NeedTools, call.NeedJSONSchema}) {
		t.Errorf("needs %v", f.Needs)
	}
	if user, ok := r.Field("metadata.user_id"); !ok || user != "u-1" {
		t.Errorf("user %q", user)
	}
	if _, ok := r.Field("metadata.other"); ok {
		t.Error("a field that is not there")
	}
}

func TestBound(t *testing.T) {
	short, long := call.Of(call.Input, call.CachedInput, call.CacheWrite), call.Of(call.Input, call.CachedInput, call.CacheWrite, call.CacheWrite1h)
	for _, row := range []struct {
		name, members string
		kinds         call.Kinds
	}{
		{"no cache", ``, call.Of(call.Input, call.CachedInput)},
		{"an automatic cache", `,"cache_control":{"type":"ephemeral"}`, short},
		{"for 5 minutes", `,"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"5m"}}]`, short},
		{"for an hour, deep inside", `,"system":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"document","source":{"type":"content","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}]}}]}]`, long},
		{"for an hour, of a tool", `,"tools":[{"name":"f","input_schema":{},"cache_control":{"type":"ephemeral","ttl":"1h"}}]`, long},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := parse(t, row.members)
			if err != nil {
				t.Fatal(err)
			}
			o, err := r.On(terms)
			if err != nil {
				t.Fatal(err)
			}
			b := o.Bound()
			if b.Input.Kinds != row.kinds || b.Output.Cap != 2048 || b.Output.Choices != 1 || b.Output.Kinds != call.Of(call.Output, call.Reasoning) {
				t.Errorf("bound %+v", b)
			}
			if row.members == "" && (!slices.Equal(b.Input.Texts, []string{"Hello"}) || b.Input.Fixed > 256) {
				t.Errorf("input %+v", b.Input)
			}
		})
	}
	r, _ := parse(t, "")
	if o, err := r.On(providers.Terms{MaxOutput: 1000}); err != nil || o.Bound().Output.Cap != 1000 {
		t.Errorf("the model's maximum bounds the output: %v", err)
	}
}

// TestServices: where the request leaves its tier to the account, the hold is made at
// those that the policy says the account may be served at.
func TestServices(t *testing.T) {
	allow := &call.Allow{}
	allow.Names[call.ExtraTier] = []string{"priority"}
	for members, want := range map[string][]string{
		``: {"priority"}, `,"service_tier":"auto"`: {"priority"}, `,"service_tier":"priority"`: {"priority"}, `,"service_tier":"standard_only"`: nil,
		`,"speed":"fast"`: {"priority", "fast"}, `,"service_tier":"standard_only","speed":"fast"`: {"fast"},
	} {
		r, err := parse(t, members)
		if err != nil {
			t.Fatal(err)
		}
		o, err := r.On(providers.Terms{Provider: "anthropic", Allow: allow})
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Bound().Services; !slices.Equal(got, want) {
			t.Errorf("%s: %v", members, got)
		}
	}
}

// TestRegion: where the request leaves its region to the account, the hold is at the
// dearest.
func TestRegion(t *testing.T) {
	for members, want := range map[string]string{
		``: call.AnyRegion, `,"inference_geo":null`: call.AnyRegion, `,"inference_geo":"global"`: "", `,"inference_geo":"us"`: "us",
	} {
		r, err := parse(t, members)
		if err != nil {
			t.Fatal(err)
		}
		o, err := r.On(terms)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Bound().Region; got != want {
			t.Errorf("%s: %q", members, got)
		}
	}
}

// TestCountTokens: it costs nothing at Anthropic, whatever is in it.
func TestCountTokens(t *testing.T) {
	head := providers.Head{Method: "POST", Path: "/v1/messages/count_tokens", Query: "beta=true"}
	op, _ := anthropic.Dialect{}.Match(head)
	const body = `{"model":"claude-opus-5","messages":[{"role":"user","content":[{"type":"image","source":{}}]}],"tools":[{"type":"web_search_20250305"}]}`
	r, err := anthropic.Dialect{}.Parse(op, head, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.On(terms)
	if err != nil || op.Kind != providers.Free || r.Facts().Model != "claude-opus-5" {
		t.Fatalf("%v %+v", err, r.Facts())
	}
	sent := o.Send(0)
	if string(sent.Body.Join()) != body || sent.Path != "/messages/count_tokens" || sent.Query != "beta=true" {
		t.Errorf("sent %+v", sent)
	}
	if _, err := r.On(providers.Terms{Provider: "another"}); err == nil {
		t.Error("another provider may bill it")
	}
	if _, err := (anthropic.Dialect{}).Parse(op, head, []byte(`{"messages":[]}`)); err == nil {
		t.Error("no model")
	}
}

// TestNoOutput: a cap of 0 fills the cache, at Anthropic.
func TestNoOutput(t *testing.T) {
	r, err := read(providers.Head{}, `{"model":"m","max_tokens":0,"messages":[]}`)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := r.On(terms); err != nil || o.Bound().Output.Cap != 0 || o.Bound().Output.Choices != 0 {
		t.Errorf("%v", err)
	}
	if _, err := r.On(providers.Terms{Provider: "mine"}); err == nil {
		t.Error("another server may take it for no cap")
	}
}

// TestSend: what leaves differs by no more than it must.
func TestSend(t *testing.T) {
	for _, row := range []struct {
		name, members string
		limit         int64
		cap           string
	}{
		{"nothing", ``, 0, "2048"},
		{"the client's own cap", ``, 2048, "2048"},
		{"more than the client's own", ``, 4096, "2048"},
		{"less", ``, 100, "100"},
		{"a budget of thinking", `,"thinking":{"type":"enabled","budget_tokens":1024,"display":"omitted"}`, 1500, "1500"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := parse(t, row.members)
			if err != nil {
				t.Fatal(err)
			}
			o, err := r.On(terms)
			if err != nil {
				t.Fatal(err)
			}
			want := `{"model":"claude-opus-5","max_tokens":` + row.cap + `,"messages":[{"role":"user","content":"Hello"}]` + row.members + `}`
			if got := string(o.Send(row.limit).Body.Join()); got != want {
				t.Errorf("sent %s\nwant %s", got, want)
			}
		})
	}
}

// TestCapStaysAboveThinking: the API refuses a budget of thinking that is not below the
// cap, so the cap is not lowered that far. A budget that was above it already stays there.
func TestCapStaysAboveThinking(t *testing.T) {
	for _, row := range []struct {
		budget, least int64
	}{{0, 0}, {1024, 1025}, {2047, 2048}, {2048, 0}, {9000, 0}} {
		r, err := parse(t, fmt.Sprintf(`,"thinking":{"type":"enabled","budget_tokens":%d}`, row.budget))
		if err != nil {
			t.Fatal(err)
		}
		o, err := r.On(terms)
		if err != nil {
			t.Fatal(err)
		}
		if out := o.Bound().Output; out.Least != row.least || (out.LeastFor != "") != (row.least > 0) {
			t.Errorf("budget %d: least cap %d because of %q", row.budget, out.Least, out.LeastFor)
		}
		of := terms
		of.MaxOutput = 2000 // of a cap of 2048
		_, err = r.On(of)
		if unbounded := (*providers.Unbounded)(nil); errors.As(err, &unbounded) != (row.least > 2000) || err != nil && unbounded.Causes[0].Member != "thinking.budget_tokens" {
			t.Errorf("budget %d above what the model writes: %v", row.budget, err)
		}
	}
}

func TestSentHead(t *testing.T) {
	h := providers.Head{Query: "beta=true&api_key=mine&Api-Key=mine&token=mine&fields=mine&%24fields=mine&alt=mine&$.xgafv=mine", Header: headers{
		"X-Api-Key": {"mine"}, "Authorization": {"Bearer mine"}, "Api-Key": {"mine"}, "X_api_key": {"mine"}, "Cookie": {"mine"},
		"X-Goog-Api-Key": {"mine"}, "Ocp-Apim-Subscription-Key": {"mine"}, "Proxy-Authorization": {"Basic mine"}, "X-Amz-Security-Token": {"mine"}, "X-Goog-User-Project": {"mine"}, "X-Goog-Fieldmask": {"mine"},
		"Anthropic-Workspace-Id": {"mine"}, "Anthropic-User-Profile-Id": {"mine"},
		"Anthropic-Version": {"2023-06-01"}, "X-App": {"cli"},
		"Anthropic-Beta": {"claude-code-20250219, cache-keepalive-2026-09-03", "context-1m-2025-08-07,interleaved-thinking-2025-05-14"},
	}}
	r, err := parseWith(t, h, "")
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.On(providers.Terms{Provider: "anthropic", Context: 200_000})
	if err != nil {
		t.Fatal(err)
	}
	sent := o.Send(0)
	if got := fmt.Sprint(sent.Path, sent.Query, sent.Header); strings.Contains(got, "mine") {
		t.Errorf("the client's key leaves, or what hides the usage: %s", got)
	}
	if sent.Path != "/messages" || sent.Query != "beta=true" {
		t.Errorf("sent to %s?%s", sent.Path, sent.Query)
	}
	if got := sent.Header["Anthropic-Beta"]; !slices.Equal(got, []string{"claude-code-20250219,interleaved-thinking-2025-05-14"}) {
		t.Errorf("betas %q", got)
	}
	if sent.Header["Anthropic-Version"][0] != "2023-06-01" || sent.Header["X-App"][0] != "cli" {
		t.Errorf("header %v", sent.Header)
	}
	if !slices.Equal(sent.Removed.Betas, []string{"cache-keepalive-2026-09-03", "context-1m-2025-08-07"}) {
		t.Errorf("taken out: %q", sent.Removed.Betas)
	}
	odd, _ := parseWith(t, providers.Head{Query: "region=us"}, "")
	if _, err := odd.On(terms); err == nil || !strings.Contains(err.Error(), `allow: {queries: ["region"]}`) {
		t.Errorf("a parameter that nobody knows: %v", err)
	}
}

// TestAdmitted: what nobody knows passes by the operator's word, and what is known to
// cost does not.
func TestAdmitted(t *testing.T) {
	allow := func(kind call.ExtraKind, name string) *call.Allow {
		a := &call.Allow{}
		a.Names[kind] = []string{name}
		return a
	}
	for _, row := range []struct {
		name, members, query string
		allow                *call.Allow
		priced, denied       bool
	}{
		{"a member by its name", `,"zip":{"a":1}`, "", allow(call.ExtraMember, "zip"), false, false},
		{"another member", `,"zip":{"a":1}`, "", allow(call.ExtraMember, "zap"), false, true},
		{"a scalar at the operator's price", `,"zip":1`, "", &call.Allow{Scalars: true}, true, false},
		{"a scalar at the table's price", `,"zip":1`, "", &call.Allow{Scalars: true}, false, true},
		{"an object at the operator's price", `,"zip":{}`, "", &call.Allow{Scalars: true}, true, true},
		{"a tier", `,"service_tier":"gold"`, "", allow(call.ExtraTier, "gold"), false, false},
		{"a query parameter", ``, "region=us", allow(call.ExtraQuery, "region"), false, false},
		{"what is known to cost", `,"container":"c"`, "", allow(call.ExtraMember, "container"), false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := parseWith(t, providers.Head{Query: row.query}, row.members)
			if err != nil {
				t.Fatal(err)
			}
			o, err := r.On(providers.Terms{Provider: "anthropic", Allow: row.allow, Priced: row.priced})
			if (err != nil) != row.denied {
				t.Fatalf("%v, want denied: %v", err, row.denied)
			}
			if err == nil && o.Send(0).Query != row.query {
				t.Errorf("query %q", o.Send(0).Query)
			}
		})
	}
}

func TestBetas(t *testing.T) {
	listed := func(names ...string) *call.Allow {
		a := &call.Allow{}
		a.Names[call.ExtraBeta] = names
		return a
	}
	for _, row := range []struct {
		name   string
		asked  []string
		allow  *call.Allow
		sent   []string
		taken  []string
		denied bool
	}{
		{"known ones, as they came", []string{"effort-2025-11-24 , oauth-2025-04-20", "structured-outputs-2025-11-13"}, nil,
			[]string{"effort-2025-11-24 , oauth-2025-04-20", "structured-outputs-2025-11-13"}, nil, false},
		{"unknown ones", []string{"x-2030-01-01,effort-2025-11-24"}, nil, []string{"effort-2025-11-24"}, []string{"x-2030-01-01"}, false},
		{"none that is known", []string{"x-2030-01-01"}, nil, nil, []string{"x-2030-01-01"}, false},
		{"admitted by name", []string{"x-2030-01-01"}, listed("x-*"), []string{"x-2030-01-01"}, nil, false},
		{"passed", []string{"x-2030-01-01"}, &call.Allow{Betas: call.PassBetas}, []string{"x-2030-01-01"}, nil, false},
		{"denied", []string{"x-2030-01-01"}, &call.Allow{Betas: call.DenyBetas}, nil, nil, true},
		{"known ones, where others are denied", []string{"effort-2025-11-24"}, &call.Allow{Betas: call.DenyBetas}, []string{"effort-2025-11-24"}, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := parseWith(t, providers.Head{Header: headers{"Anthropic-Beta": row.asked}}, "")
			if err != nil {
				t.Fatal(err)
			}
			o, err := r.On(providers.Terms{Provider: "anthropic", Allow: row.allow})
			if (err != nil) != row.denied {
				t.Fatalf("%v, want denied: %v", err, row.denied)
			}
			if err != nil {
				return
			}
			sent := o.Send(0)
			if !slices.Equal(sent.Header["Anthropic-Beta"], row.sent) || !slices.Equal(sent.Removed.Betas, row.taken) {
				t.Errorf("sent %q, taken out %q", sent.Header["Anthropic-Beta"], sent.Removed.Betas)
			}
		})
	}
}

// TestTooMany: what is kept of a request has limits.
func TestTooMany(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("beta-%d", i))
	}
	r, err := parseWith(t, providers.Head{Header: headers{"Anthropic-Beta": {strings.Join(names, ",")}}}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.On(terms); err == nil || !strings.Contains(err.Error(), "too many betas") {
		t.Errorf("%v", err)
	}
	for name, block := range map[string]string{
		"calls":   `{"type":"tool_use","id":"i","name":"f","input":{}}`,
		"results": `{"type":"tool_result","tool_use_id":"i"}`,
		"doubts":  `{"type":"text","text":"x","zip":1}`,
	} {
		body := `{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[` + strings.Repeat(block+",", providers.MaxTools) + block + `]}]}`
		if _, err := read(providers.Head{}, body); (err != nil) != (name != "doubts") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGatewaysGetPlainHeaders: a header may order something of a gateway.
func TestGatewaysGetPlainHeaders(t *testing.T) {
	h := providers.Head{Header: headers{"X-Route": {"dear"}, "Anthropic-Version": {"2023-06-01"}, "X-Stainless-Lang": {"python"}, "X-Mine": {"1"}}}
	r, err := parseWith(t, h, "")
	if err != nil {
		t.Fatal(err)
	}
	allow := &call.Allow{}
	allow.Names[call.ExtraHeader] = []string{"x-mine"}
	for provider, want := range map[string]int{"anthropic": 5, "openrouter": 4} {
		o, err := r.On(providers.Terms{Provider: provider, Allow: allow})
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Send(0).Header; len(got) != want || got["Anthropic-Version"] == nil || got["X-Mine"] == nil {
			t.Errorf("%s gets %v", provider, got)
		}
	}
}

// TestCapOnlyFalls: whatever is sent has a cap of at most what was asked, and is read
// as the same request otherwise.
func TestCapOnlyFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked := rapid.Int64Range(1, 1<<20).Draw(t, "cap")
		limit := rapid.Int64Range(0, 1<<20).Draw(t, "limit")
		budget := rapid.Int64Range(0, 1<<20).Draw(t, "budget")
		body := fmt.Sprintf(`{"thinking":{"budget_tokens":%d},"max_tokens":%d,"model":"m","messages":[]}`, budget, asked)
		r, err := read(providers.Head{}, body)
		if err != nil {
			t.Fatal(err)
		}
		o, err := r.On(terms)
		if err != nil {
			t.Fatal(err)
		}
		again, err := read(providers.Head{}, string(o.Send(limit).Body.Join()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := again.On(terms)
		if err != nil {
			t.Fatal(err)
		}
		want := asked
		if limit > 0 {
			want = min(asked, limit)
		}
		if got.Bound().Output.Cap != want {
			t.Fatalf("a cap of %d is sent, want %d", got.Bound().Output.Cap, want)
		}
	})
}
