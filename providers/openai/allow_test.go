package openai_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// noBound says why a request has no bound at an upstream; "" if it has one.
func noBound(r *openai.Request, at providers.Terms) string {
	no := r.NoBound(&at)
	if no == nil {
		return ""
	}
	return strings.TrimPrefix(no.Error(), "what this request costs has no bound, because of ")
}

// allowing is an allowance of names of one kind.
func allowing(kind call.ExtraKind, names ...string) *call.Allow {
	a := &call.Allow{}
	a.Names[kind] = names
	return a
}

// TestLists: what a provider documents and charges nothing for is served, and what is
// not listed there is denied with its name, the reason, and the line that admits it.
func TestLists(t *testing.T) {
	part := func(role, part string) string {
		return `{"model":"m","messages":[{"role":"` + role + `","content":[` + part + `]}]}`
	}
	message := func(members string) string {
		return `{"model":"m","messages":[{"role":"assistant","content":"a",` + members + `}]}`
	}
	tests := []struct {
		name, provider, body string
		allow                *call.Allow
		priced               bool
		want                 []string // of the reason; nil: there is a bound
	}{
		// Members.
		{name: "a model that always searches", body: `{"model":"gpt-4o-search-preview",` + hello + `}`,
			want: []string{openai.UnboundedWebSearch, "each search has a fee"}},
		{name: "plain", body: with(`"temperature":1,"seed":3`)},
		{name: "sampling, anywhere", body: with(`"top_k":4,"min_p":0.1,"repetition_penalty":1.1`)},
		{name: "vllm", provider: "vllm", body: with(`"top_k":4,"stop_token_ids":[1,2],"structured_outputs":{"json":{"a":1}},"chat_template_kwargs":{"enable_thinking":false}`)},
		{name: "vllm, at groq", provider: "groq", body: with(`"structured_outputs":{"json":{"a":1}}`),
			want: []string{"structured_outputs.json.a", "not known to cost nothing", `allow: {members: ["structured_outputs.*"]}`}},
		{name: "llama.cpp", provider: "llama.cpp", body: with(`"mirostat":2,"cache_prompt":true,"grammar":"root ::= x","lora":[{"id":0,"scale":0.5}]`)},
		{name: "ollama", provider: "ollama", body: with(`"reasoning":{"effort":"high"},"think":false`)},
		{name: "groq", provider: "groq", body: with(`"reasoning_format":"parsed","citation_options":"enabled","documents":[{"source":{"type":"text","text":"a"}}]`)},
		{name: "mistral", provider: "mistral", body: with(`"random_seed":1,"safe_prompt":true,"prompt_mode":"reasoning"`)},
		{name: "deepseek", provider: "deepseek", body: with(`"thinking":{"type":"enabled"}`)},
		{name: "fireworks", provider: "fireworks", body: with(`"mirostat_target":1.5,"prompt_truncate_len":10,"thinking":{"type":"enabled","budget_tokens":2048},"reasoning_effort":1000`)},
		{name: "together", provider: "together", body: with(`"context_length_exceeded_behavior":"truncate"`)},
		{name: "openrouter", provider: "openrouter", body: with(`"transforms":["middle-out"],"reasoning":{"max_tokens":9},"provider":{"max_price":{"prompt":1},"allow_fallbacks":false},"usage":{"include":true}`)},
		{name: "a host of openrouter", provider: "openrouter", body: with(`"provider":{"order":["x"]}`), want: []string{"provider.order", "chooses who serves"}},
		{name: "vllm's own arguments", provider: "vllm", body: with(`"vllm_xargs":{"a":1,"b":["x"]},"logits_processors":["a.B",{"qualname":"c","args":[1]}],"chat_template_kwargs":{"date_string":"today"}`)},
		{name: "how long a model stays", provider: "ollama", body: with(`"keep_alive":"5m"`)},
		{name: "llama.cpp's thoughts and drafts", provider: "llamacpp", body: with(`"thinking_forced_open":true,"reasoning_in_content":false,"reasoning_budget_message":"enough","speculative.n_max":4`)},
		{name: "xai's rounds", provider: "xai", body: with(`"max_turns":1`)},
		{name: "a pattern of the output", provider: "together", body: with(`"response_format":{"type":"regex","pattern":"a+"}`)},
		{name: "fireworks' cache", provider: "fireworks", body: with(`"prompt_cache_max_len":10`)},
		{name: "no search", provider: "xai", body: with(`"search_parameters":{"mode":"off","max_search_results":3}`)},
		{name: "a search", provider: "xai", body: with(`"search_parameters":{"mode":"auto"}`), want: []string{"search_parameters.mode", "fee"}},
		{name: "a search that does not say whether", provider: "xai", body: with(`"search_parameters":{"Mode":"off"}`), want: []string{"search_parameters.Mode"}},
		{name: "a key where nothing is searched", provider: "xai", body: with(`"search_parameters":{"mode":"off","api_key":"x"}`), want: []string{"credential"}},
		{name: "plugins without a fee", provider: "openrouter", body: with(`"plugins":[{"id":"response-healing"},{"id":"context-compression","engine":"middle-out"},{"id":"web","enabled":false}]`)},
		{name: "one with a fee among them", provider: "openrouter", body: with(`"plugins":[{"id":"response-healing"},{"id":"web"}]`), want: []string{"plugins.id", "fees"}},
		{name: "plugins that are no list", provider: "openrouter", body: with(`"plugins":{"id":"response-healing"}`), want: []string{"plugins.id"}},
		{name: "cerebras", provider: "cerebras", body: with(`"clear_thinking":false,"disable_reasoning":true`)},
		{name: "z.ai", provider: "zai", body: with(`"thinking":{"type":"enabled","clear_thinking":false},"do_sample":true`)},
		{name: "google", provider: "google", body: with(`"extra_body":{"google":{"thinking_config":{"thinking_budget":9}}}`)},
		{name: "google, through a gateway", provider: "litellm", body: with(`"google":{"thinking_config":{"thinking_budget":9},"safety_settings":[{"a":1}]}`)},
		{name: "google, and a member", provider: "google", body: with(`"extra_body":{"google":{"foo":1}}`), want: []string{"extra_body.google.foo", `allow: {members: ["extra_body.google.foo"]}`}},
		{name: "headers in the body", body: with(`"extra_headers":{"x":1}`), allow: allowing(call.ExtraMember, "*"), want: []string{"extra_headers.x", "nothing in a policy admits it"}},
		{name: "a provider that nobody knows", provider: "intranet", body: with(`"top_k":4,"reasoning":{"effort":"low"}`)},
		{name: "one that nobody knows, and a member", provider: "intranet", body: with(`"foo":1`), want: []string{"foo", `allow: {members: ["foo"]}`}},
		{name: "other spellings of a provider", provider: "Fireworks-AI", body: with(`"raw_output":true`)},
		{name: "null is as good as absent", body: with(`"foo":null,"fallbacks":null`)},
		{name: "so is an empty list", body: with(`"foo":[],"plugins":[]`)},
		{name: "an empty object is not", body: with(`"web_search_options":{}`), want: []string{"web_search_options", "fee"}},
		{name: "off", body: with(`"enable_search":false,"num_retries":0,"deferred":false`)},
		{name: "web search off", body: with(`"web_search_options":null`)},
		{name: "alibaba's thoughts", provider: "alibaba", body: with(`"enable_thinking":true`), want: []string{"enable_thinking", "cap"}},
		{name: "alibaba without thoughts", provider: "alibaba", body: with(`"enable_thinking":false`)},
		{name: "an unknown scalar", body: with(`"foo":1`), want: []string{"foo", `allow: {members: ["foo"]}`}},
		{name: "an unknown object", body: with(`"foo":{"bar":[{"baz":1}]}`), want: []string{"foo.bar.baz", `allow: {members: ["foo.*"]}`}},
		{name: "a listed scalar that is an object", body: with(`"top_k":{"fallbacks":[1]}`), want: []string{"top_k.fallbacks"}},
		{name: "an object where a scalar belongs", body: with(`"temperature":{"foo":1}`), want: []string{"temperature.foo"}},
		{name: "where a label does", body: with(`"user":{"foo":1}`), want: []string{"user.foo"}},
		{name: "where a text to stop at does", body: with(`"stop":["a",{"foo":1}]`), want: []string{"stop.foo"}},
		{name: "moderation", body: with(`"moderation":{"model":"omni-moderation-latest","policy":{"a":{"b":1}}}`)},
		{name: "and what nobody knows of it", body: with(`"moderation":{"foo":1}`), want: []string{"moderation.foo"}},
		{name: "a mark of a cache", body: with(`"cache_control":{"type":"ephemeral","ttl":"5m"}`)},
		{name: "and what nobody knows of it", body: with(`"cache_control":{"id":"x"}`), want: []string{"cache_control.id"}},
		{name: "options of a cache", body: with(`"prompt_cache_options":{"mode":"implicit","foo":1}`), want: []string{"prompt_cache_options.foo"}},
		{name: "a name that needs quotes", body: with(`"f\" oo":1`), want: []string{`a member "f\" oo"`, `allow: {members: ["f\" oo"]}`}},
		{name: "a name of which a policy holds the beginning", body: with(`"foo*o":1`), want: []string{"foo*o", `allow: {members: ["foo*"]}`}},
		{name: "a name that no policy can hold", body: with(`"\u0001":1`), want: []string{`a member "\x01"`, "nothing in a policy admits it"}},

		// Nested levels.
		{name: "an answer that comes back", body: message(`"refusal":null,"annotations":[],"reasoning_content":"hm","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}","parsed_arguments":{"a":1}}}],"reasoning_details":[{"type":"reasoning.text","text":"a","signature":"b"}]`)},
		{name: "a message", body: message(`"foo":{"id":"x"}`), want: []string{"messages.foo.id", `allow: {members: ["messages.foo.*"]}`}},
		{name: "a call", body: message(`"tool_calls":[{"id":"c","foo":"x"}]`), want: []string{"messages.tool_calls.foo"}},
		{name: "a part", body: part("user", `{"type":"text","text":"a","foo":1}`), want: []string{"messages.content.foo"}},
		{name: "an image", body: part("user", `{"type":"image_url","image_url":{"url":"u","max_pixels":1}}`), want: []string{"messages.content.image_url.max_pixels"}},
		{name: "stream options", body: with(`"stream":true,"stream_options":{"include_usage":true,"foo":true}`), want: []string{"stream_options.foo"}},
		{name: "a tool", body: with(`"tools":[{"type":"function","function":{"name":"f"},"foo":1}]`), want: []string{"tools.foo"}},
		{name: "a function", body: with(`"tools":[{"type":"function","function":{"name":"f","foo":1}}]`), want: []string{"tools.function.foo"}},
		{name: "a custom tool", body: with(`"tools":[{"type":"custom","custom":{"name":"f","description":"d","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"x"}}}}]`)},
		{name: "its grammar", body: with(`"tools":[{"type":"custom","custom":{"name":"f","format":{"type":"grammar","foo":{"a":1}}}}]`), want: []string{"tools.custom.foo.a"}},
		{name: "a mark of a cache in a part", body: part("user", `{"type":"text","text":"a","cache_control":{"type":"ephemeral","foo":1}}`), want: []string{"messages.content.foo"}},
		{name: "an old function", body: with(`"functions":[{"name":"f","foo":1}]`), want: []string{"functions.foo"}},
		{name: "a choice", body: with(`"tool_choice":{"type":"function","function":{"name":"f","foo":1}}`), want: []string{"tool_choice.foo"}},
		{name: "a format", body: with(`"response_format":{"type":"json_schema","json_schema":{"name":"x","foo":1}}`), want: []string{"response_format.foo"}},
		{name: "a prediction", body: with(`"prediction":{"type":"content","content":"a","foo":1}`), want: []string{"prediction.foo"}},
		{name: "audio", body: with(`"audio":{"voice":"alloy","foo":1}`), want: []string{"audio.foo"}},
		{name: "schemas are opaque", body: with(`"tools":[{"type":"function","function":{"name":"f","parameters":{"fallbacks":{"api_key":1}}}}],"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"models":1}}}`)},
		{name: "metadata is opaque", body: with(`"metadata":{"api_key":"a","models":["b"]}`)},

		// Parts and tools.
		{name: "F13: a thought that comes back", provider: "mistral", body: part("assistant", `{"type":"thinking","thinking":[{"type":"text","text":"add"}],"closed":true},{"type":"text","text":"4"}`)},
		{name: "a thought, anywhere", body: part("assistant", `{"thinking":"a","signature":"b","type":"thinking"}`)},
		{name: "a video", body: part("user", `{"type":"video_url","video_url":{"url":"u"}}`), want: []string{"a content part of type video_url", "tokens of a video", `allow: {parts: ["video_url"]}`}},
		{name: "a document", provider: "mistral", body: part("user", `{"type":"document_url","document_url":"u"}`), want: []string{"document_url", "pages"}},
		{name: "a part whose other members are null", provider: "huggingface", body: part("user", `{"type":"text","text":"a","image_url":null}`)},
		{name: "an unknown part", body: part("user", `{"type":"foo","bar":{"a":1}}`), want: []string{"a content part of type foo", `allow: {parts: ["foo"]}`}},
		{name: "a part without a type", body: part("user", `{"text":"a"}`), want: []string{"a content part without a type"}},
		{name: "an unknown part under a known type", body: part("user", `{"type":"text","video_url":{"url":"u"}}`), want: []string{"messages.content.video_url.url"}},
		{name: "a part that is admitted, and what is in it", body: part("user", `{"bar":{"a":1},"type":"foo"}`), allow: allowing(call.ExtraPart, "foo")},
		{name: "a function without a type", provider: "mistral", body: with(`"tools":[{"function":{"name":"f"}}]`)},
		{name: "nothing without a type", body: with(`"tools":[{"name":"f"}]`), want: []string{"a tool without a type"}},
		{name: "a tool that the provider runs", body: with(`"tools":[{"type":"web_search","foo":{"a":1}}]`), want: []string{"a tool of type web_search", `allow: {tools: ["web_search"]}`}},
		{name: "one that claims to be a function", body: with(`"tools":[{"type":"mcp","function":{"name":"f"}}]`), want: []string{"a tool of type mcp"}},
		{name: "one that is chosen without being offered", body: with(`"tool_choice":{"type":"openrouter:web_search"}`), want: []string{"a tool of type openrouter:web_search"}},
		{name: "one that is admitted", body: with(`"tools":[{"type":"bash_20250124","name":"bash","foo":1}]`), allow: allowing(call.ExtraTool, "bash_*")},

		// Tiers and models.
		{name: "the default tier", body: with(`"service_tier":"default"`)},
		{name: "F12: groq's name for it", provider: "groq", body: with(`"service_tier":"on_demand"`)},
		{name: "that name elsewhere", provider: "openai", body: with(`"service_tier":"on_demand"`), want: []string{"service_tier on_demand", `allow: {tiers: ["on_demand"]}`}},
		{name: "mistral's", provider: "mistral", body: with(`"service_tier":"standard_only"`)},
		{name: "a dearer tier", provider: "openai", body: with(`"service_tier":"priority"`), want: []string{"service_tier priority"}},
		{name: "google's", provider: "google", body: with(`"service_tier":"standard"`)},
		{name: "auto", provider: "cerebras", body: with(`"service_tier":"auto"`)},
		{name: "a tier that is admitted", provider: "openai", body: with(`"service_tier":"priority"`), allow: allowing(call.ExtraTier, "priority")},
		{name: "a model that runs others", provider: "groq", body: `{"model":"Groq/compound-mini",` + hello + `}`, want: []string{"the model"}},

		{name: "one that searches", provider: "openrouter", body: `{"model":"openai/gpt-4o:online",` + hello + `}`, want: []string{"the model"}},

		// What the policy admits.
		{name: "a member that is admitted", body: with(`"foo":"x"`), allow: allowing(call.ExtraMember, "foo")},
		{name: "all under one", body: with(`"foo":{"bar":[{"baz":1}]}`), allow: allowing(call.ExtraMember, "foo.*")},
		{name: "another one", body: with(`"foo":1,"bar":2`), allow: allowing(call.ExtraMember, "foo"), want: []string{"bar"}},
		{name: "the beginning of a name", body: with(`"x_foo":1`), allow: allowing(call.ExtraMember, "x_*")},
		{name: "a costly one that is admitted", provider: "openrouter", body: with(`"provider":{"order":["x"]}`), allow: allowing(call.ExtraMember, "provider.*")},
		{name: "unknown scalars", body: with(`"foo":1,"bar":"x"`), allow: &call.Allow{Scalars: true}, priced: true},
		{name: "unknown scalars in a message", body: message(`"foo":1`), allow: &call.Allow{Scalars: true}, priced: true},
		{name: "unknown scalars without a price", body: with(`"foo":1`), allow: &call.Allow{Scalars: true}, want: []string{"foo"}},
		{name: "an unknown object is no scalar", body: with(`"foo":{"a":1}`), allow: &call.Allow{Scalars: true}, priced: true, want: []string{"foo.a"}},
		{name: "a list is no scalar", body: with(`"foo":[1]`), allow: &call.Allow{Scalars: true}, priced: true, want: []string{"foo"}},
		{name: "a costly scalar is not unknown", body: with(`"num_retries":3`), allow: &call.Allow{Scalars: true}, priced: true, want: []string{"num_retries", "each try"}},

		// What goes nowhere.
		{name: "a credential", body: with(`"api_key":"sk"`), allow: allowing(call.ExtraMember, "*"), want: []string{"api_key", "credential", "nothing in a policy admits it"}},
		{name: "a credential deeper", body: with(`"x":{"aws_Secret-Access_Key":"sk"}`), allow: allowing(call.ExtraMember, "*"), want: []string{"credential"}},
		{name: "another cap", provider: "llama.cpp", body: with(`"n_predict":-1`), allow: allowing(call.ExtraMember, "*"), want: []string{"n_predict", "overrides", "nothing in a policy admits it"}},
		{name: "more choices", provider: "llama.cpp", body: with(`"n_cmpl":9`), allow: allowing(call.ExtraMember, "*"), want: []string{"n_cmpl"}},
		{name: "fields of the answer", provider: "llama.cpp", body: with(`"response_fields":["content"]`), allow: allowing(call.ExtraMember, "*"), want: []string{"response_fields", "hide"}},
		{name: "another endpoint's input", body: with(`"input":"a"`), want: []string{"input"}},
		{name: "F3: stored input", provider: "google", body: with(`"extra_body":{"google":{"cached_content":"cachedContents/abc"}}`), want: []string{"extra_body.google.cached_content", "stored"}},
		{name: "A4: fallbacks", body: with(`"fallbacks":["gpt-5-pro"],"num_retries":9`), want: []string{"fallbacks"}},
		{name: "a cache entry that lives longer", body: with(`"prompt_cache_options":{"ttl":"12h"}`), want: []string{"prompt_cache_options.ttl"}},
		{name: "one that lives as long as any", body: with(`"prompt_cache_options":{"ttl":"30m","mode":"explicit"}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := mustParse(t, openai.ChatCompletions, tt.body)
			if tt.provider == "" {
				tt.provider = "openai"
			}
			got := noBound(r, providers.Terms{Provider: tt.provider, Allow: tt.allow, Priced: tt.priced})
			if (got == "") != (tt.want == nil) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q does not say %q", got, want)
				}
			}
		})
	}
}

// TestListsOfOtherEndpoints: completions and embeddings have them too.
func TestListsOfOtherEndpoints(t *testing.T) {
	for _, tt := range []struct {
		name     string
		endpoint openai.Endpoint
		provider string
		body     string
		bound    bool
	}{
		{"a format at vllm", openai.Completions, "vllm", `{"model":"m","prompt":"a","top_k":3,"response_format":{"type":"json_object"}}`, true},
		{"a prediction at fireworks", openai.Completions, "fireworks", `{"model":"m","prompt":"a","prediction":{"type":"content","content":"b"}}`, true},
		{"images at fireworks", openai.Completions, "fireworks", `{"model":"m","prompt":"a","images":["u"]}`, false},
		{"tools of chats", openai.Completions, "vllm", `{"model":"m","prompt":"a","tools":[{"type":"function"}]}`, false},
		{"embedded prompts", openai.Completions, "vllm", `{"model":"m","prompt_embeds":"AAAA"}`, false},
		{"voyage", openai.Embeddings, "voyageai", `{"model":"m","input":["a"],"input_type":"query","output_dtype":null,"truncation":true}`, true},
		{"vllm", openai.Embeddings, "vllm", `{"model":"m","input":"a","truncate_prompt_tokens":9,"normalize":true}`, true},
		{"messages", openai.Embeddings, "vllm", `{"model":"m","input":"a","messages":[{"role":"user","content":"b"}]}`, false},
		{"unknown", openai.Embeddings, "openai", `{"model":"m","input":"a","task":"x"}`, false},
	} {
		if got := noBound(mustParse(t, tt.endpoint, tt.body), providers.Terms{Provider: tt.provider}); (got == "") != tt.bound {
			t.Errorf("%s: got %q", tt.name, got)
		}
	}
}

// TestNothingUnknownPasses: wherever names mean something, a member that nobody knows
// is denied at every provider, unless it is null or an empty list, and the denial names
// it and the line that admits it. With that line it passes.
func TestNothingUnknownPasses(t *testing.T) {
	shapes := slices.Sorted(maps.Keys(places))
	rapid.Check(t, func(t *rapid.T) {
		place := rapid.SampledFrom(shapes).Draw(t, "place")
		name := "zz_" + rapid.StringMatching(`[a-z_]{1,12}q`).Draw(t, "name")
		value := rapid.SampledFrom([]string{`1`, `-0.5`, `true`, `false`, `"x"`, `{}`, `{"a":1}`, `[1]`, `["x"]`, `[{"a":{"b":"c"}}]`}).Draw(t, "value")
		provider := rapid.SampledFrom([]string{"openai", "groq", "vllm", "llama.cpp", "openrouter", "google", "litellm", "", "intranet"}).Draw(t, "provider")
		member := `"` + name + `":` + value
		if place == "messages.content" { // an image has a part of its own
			member = `"text":"a",` + member
		}
		body := fmt.Sprintf(places[place], member)
		r, err := openai.Parse(openai.ChatCompletions, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		why := noBound(r, providers.Terms{Provider: provider})
		if !strings.Contains(why, name) {
			t.Fatalf("%s at %q: %q", body, provider, why)
		}
		_, line, _ := strings.Cut(why, `allow: {members: ["`)
		line, _, _ = strings.Cut(line, `"]}`)
		if why := noBound(r, providers.Terms{Provider: provider, Allow: allowing(call.ExtraMember, line)}); why != "" {
			t.Fatalf("%s: %q does not admit it: %s", body, line, why)
		}
	})
}

// TestExtrasAreBounded: what a client makes up takes little memory, and too much of it
// has no bound.
func TestExtrasAreBounded(t *testing.T) {
	var members []string
	for i := range 1000 {
		members = append(members, fmt.Sprintf(`"%s%d":1`, strings.Repeat("x", 1000), i))
	}
	r := mustParse(t, openai.ChatCompletions, with(strings.Join(members, ",")))
	if why := noBound(r, providers.Terms{Allow: allowing(call.ExtraMember, "*")}); why != "" && len(why) > 500 {
		t.Errorf("%d bytes: %s", len(why), why)
	}
	for i := range members {
		members[i] = fmt.Sprintf(`"x%d":1`, i)
	}
	r = mustParse(t, openai.ChatCompletions, with(strings.Join(members, ",")))
	if why := noBound(r, providers.Terms{Allow: allowing(call.ExtraMember, "*")}); !strings.HasPrefix(why, openai.UnboundedExtras) {
		t.Errorf("got %q", why)
	}
	deep := with(`"x":` + strings.Repeat(`{"`+strings.Repeat("y", 1000)+`":`, 100) + "1" + strings.Repeat("}", 100))
	if why := noBound(mustParse(t, openai.ChatCompletions, deep), providers.Terms{}); why == "" || len(why) > 500 {
		t.Errorf("%d bytes: %s", len(why), why)
	}
}

// TestLargeMembers: one with many scalars is judged as a whole, and what goes nowhere is
// found in it all the same. A long chat may bring many that are free.
func TestLargeMembers(t *testing.T) {
	var properties, calls []string
	for i := range 300 {
		properties = append(properties, fmt.Sprintf(`"p%d":{"type":"string"}`, i))
		calls = append(calls, fmt.Sprintf(`{"role":"assistant","content":"a","parsed":{"p%d":1},"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}","parsed_arguments":{"a%d":1}}}]}`, i, i))
	}
	large := "{" + strings.Join(properties, ",") + "}"
	for _, tt := range []struct {
		name, provider, body, want string
		allow                      *call.Allow
	}{
		{"a schema", "vllm", with(`"structured_outputs":{"json":` + large + `}`), "", nil},
		{"elsewhere", "openai", with(`"structured_outputs":{"json":` + large + `}`), `structured_outputs.*: it is not known to cost nothing there; where price and cap bound all that it costs, the line allow: {members: ["structured_outputs.*"]}`, nil},
		{"admitted", "openai", with(`"foo":` + large), "", allowing(call.ExtraMember, "foo.*")},
		{"with a credential", "openai", with(`"foo":` + strings.Replace(large, `"p299"`, `"api_key"`, 1)), "foo.api_key.type: it may hold", allowing(call.ExtraMember, "foo.*")},
		{"a long chat", "openai", `{"model":"m","messages":[` + strings.Join(calls, ",") + `]}`, "", nil},
		{"partly listed", "openrouter", with(`"provider":` + large), "provider.*: it chooses", nil},
	} {
		if got := noBound(mustParse(t, openai.ChatCompletions, tt.body), providers.Terms{Provider: tt.provider, Allow: tt.allow}); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestQuery: what may hold a credential or hide the usage is taken out, everything else
// is listed or denied.
func TestQuery(t *testing.T) {
	for _, tt := range []struct {
		query, left string
		why         string // nothing bounds it; "" something does
	}{
		{"", "", ""},
		{"api-version=2024-10-21", "api-version=2024-10-21", ""},
		{"&api-version=a%20b&", "&api-version=a%20b&", ""},
		{"key=sk&api-version=1", "api-version=1", ""},
		{"api-version=1&API_KEY=a&access_token=b&x-goog-api-key=c&subscription-key=d&%6bey=e&k%65y=f", "api-version=1", ""},
		{"fields=choices&$select=a&%24fields=b&callback=c&alt=proto", "", ""},
		{"foo=1", "foo=1", `the query parameter foo: it is not known to cost nothing there; where price and cap bound all that it costs, the line allow: {queries: ["foo"]}`},
		{"beta=true", "beta=true", "the query parameter beta"},
	} {
		r := mustParse(t, openai.ChatCompletions, with(`"seed":1`))
		if err := r.SeeQuery(tt.query); err != nil {
			t.Errorf("%s: %v", tt.query, err)
		}
		if got := r.Query(); got != tt.left {
			t.Errorf("%s: left is %q, want %q", tt.query, got, tt.left)
		}
		if got := noBound(r, providers.Terms{Provider: "azure"}); !strings.HasPrefix(got, tt.why) || (got == "") != (tt.why == "") {
			t.Errorf("%s: %q, want %q", tt.query, got, tt.why)
		}
	}
	for _, bad := range []string{"a=%zz", "%=1", "a=1;key=2", "api-version=1&api-version=2", "api-version=1&api_version=2"} {
		if err := mustParse(t, openai.ChatCompletions, with(`"seed":1`)).SeeQuery(bad); err == nil {
			t.Errorf("%s passed", bad)
		}
	}
}

// FuzzQuery: nothing that may hold a credential is left, what is left stood in the query,
// and is read the same by a reader of net/url.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{"api-version=1&key=a", "k%65y=1", "a=1;key=2", "%", "&&=&", "$fields=a&b"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := mustParse(t, openai.ChatCompletions, with(`"seed":1`))
		if r.SeeQuery(query) != nil {
			return
		}
		left, err := url.ParseQuery(r.Query())
		if err != nil {
			t.Fatalf("%q is left of %q: %v", r.Query(), query, err)
		}
		all, _ := url.ParseQuery(query)
		why := noBound(r, providers.Terms{Provider: "openai"})
		for name, values := range left {
			plain := strings.ToLower(name)
			if plain == "key" || strings.HasSuffix(plain, "_key") && strings.Contains(plain, "api") || plain == "fields" || len(values) > 1 || !slices.Equal(values, all[name]) {
				t.Fatalf("%q is left of %q", r.Query(), query)
			}
			if name != "api-version" && why == "" {
				t.Fatalf("%q passes", query)
			}
		}
	})
}

// TestHeaders: betas that are not listed are taken out, denied or passed, and a gateway
// gets no header that may mean something to it.
func TestHeaders(t *testing.T) {
	header := func() http.Header {
		return http.Header{
			"Openai-Beta":    {"assistants=v2, responses_multi_agent=v1", "foo"},
			"X-Custom":       {"a"},
			"X-Goog-Api-Key": {"k"}, "Ocp_Apim_Subscription_Key": {"k"}, "Cf-Aig-Authorization": {"k"}, "X-Goog-Fieldmask": {"k"},
			"Idempotency-Key": {"i"},
			"User-Agent":      {"b"},
			"Traceparent":     {"c"},
		}
	}
	pass := &call.Allow{Betas: call.PassBetas}
	pass.Names[call.ExtraHeader] = []string{"x-custom"}
	deny := &call.Allow{Betas: call.DenyBetas}
	for _, tt := range []struct {
		name  string
		at    providers.Terms
		out   []string
		betas []string // what is left of them
		sees  bool     // the custom header
		why   string
	}{
		{"a vendor", providers.Terms{Provider: "openai"}, []string{"foo", "responses_multi_agent=v1"}, []string{"assistants=v2"}, true, ""},
		{"a gateway", providers.Terms{Provider: "openrouter"}, []string{"foo", "responses_multi_agent=v1"}, []string{"assistants=v2"}, false, ""},
		{"one that nobody knows", providers.Terms{}, []string{"foo", "responses_multi_agent=v1"}, []string{"assistants=v2"}, false, ""},
		{"one beta is admitted", providers.Terms{Provider: "openai", Allow: allowing(call.ExtraBeta, "responses_*")}, []string{"foo"}, []string{"assistants=v2, responses_multi_agent=v1"}, true, ""},
		{"all pass", providers.Terms{Allow: pass}, nil, []string{"assistants=v2, responses_multi_agent=v1", "foo"}, true, ""},
		{"they are denied", providers.Terms{Provider: "openai", Allow: deny}, nil, nil, false, "the beta responses_multi_agent=v1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := mustParse(t, openai.ChatCompletions, with(`"seed":1`))
			r.SeeHeaders(header())
			if got := noBound(r, tt.at); !strings.HasPrefix(got, tt.why) || (got == "") != (tt.why == "") {
				t.Fatalf("got %q, want %q", got, tt.why)
			}
			if tt.why != "" {
				return
			}
			h, out := openai.Forward(&tt.at, header())
			if !slices.Equal(out, tt.out) {
				t.Errorf("out: %q, want %q", out, tt.out)
			}
			for name := range h {
				if strings.Contains(name, "Api") || strings.Contains(name, "Authorization") || h["Idempotency-Key"] == nil {
					t.Errorf("%s is left of %v", name, h)
				}
			}
			if !slices.Equal(h["Openai-Beta"], tt.betas) || (h["X-Custom"] != nil) != tt.sees || h["User-Agent"] == nil || h["Traceparent"] == nil {
				t.Errorf("left: %v", h)
			}
		})
	}
	r := mustParse(t, openai.ChatCompletions, with(`"seed":1`))
	r.SeeHeaders(http.Header{"X_Litellm_Num_Retries": {"9"}})
	if got := noBound(r, providers.Terms{Provider: "openai"}); !strings.HasPrefix(got, "the header x-litellm-num-retries") {
		t.Errorf("got %q", got)
	}
	if got := noBound(r, providers.Terms{Provider: "openai", Allow: allowing(call.ExtraHeader, "x-litellm-*")}); got != "" {
		t.Errorf("got %q", got)
	}
}
