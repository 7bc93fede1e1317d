package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// answered8and4 is an answer with a usage of 8 and 4 tokens.
var answered8and4 = reply{body: `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi."},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":4,"total_tokens":12}}`}

// sends checks what the upstream gets.
func sends(want string) func(*testing.T, http.Header, string) {
	return func(t *testing.T, header http.Header, body string) {
		t.Helper()
		if body != want {
			t.Errorf("the upstream got %s\nwant %s", body, want)
		}
		if kind := header["Content-Type"]; len(kind) != 1 || kind[0] != "application/json" || header["Content-Encoding"] != nil {
			t.Errorf("the upstream got %v", header)
		}
	}
}

// TestRequestsThatServersReadDifferently: what an upstream could read as another
// request than was bounded is refused, and nothing is sent.
func TestRequestsThatServersReadDifferently(t *testing.T) {
	const ask = `{"model":"local","messages":[{"role":"user","content":"hi"}],"max_tokens":10%s}`
	bad := func(name string) want {
		return want{status: 400, code: "invalid_request", says: []string{name, "some servers"}}
	}
	foreign := func(charset string) want {
		return want{status: 415, code: "unsupported_media_type", says: []string{charset}}
	}
	json := func(kind string) map[string]string { return map[string]string{"Content-Type": kind} }
	cases := []wireCase{
		{name: "a cap in capitals", body: fmt.Sprintf(ask, `,"MAX_TOKENS":400000`), want: bad("MAX_TOKENS")},
		{name: "A2b: the Kelvin sign", body: fmt.Sprintf(ask, `,"max_to`+"\u212a"+`ens":400000`), want: bad(`max_to\\u212aens`)},
		{name: "A2b: that, escaped", body: fmt.Sprintf(ask, `,"max_to\u212aens":400000`), want: bad(`max_to\\u212aens`)},
		{name: "A2c: a model in other letters", body: fmt.Sprintf(ask, `,"Model":"big"`), want: bad("Model")},
		{name: "the cap of other servers", body: fmt.Sprintf(ask, `,"Max_Completion_Tokens":400000`), want: bad("Max_Completion_Tokens")},
		{name: "more choices", body: fmt.Sprintf(ask, `,"N":9`), want: bad("N")},
		{name: "the long s", body: fmt.Sprintf(ask, `,"be`+"\u017f"+`t_of":9`), want: bad("best_of")},
		{name: "a zero byte", body: fmt.Sprintf(ask, `,"max_tokens\u0000":9`), want: bad("max_tokens")},
		{name: "options of a stream", body: fmt.Sprintf(ask, `,"stream":true,"stream_options":{"Include_Usage":false}`), want: bad("Include_Usage")},
		{name: "a message", body: strings.Replace(fmt.Sprintf(ask, ""), `"role"`, `"Content":"long","role"`, 1), want: bad("Content")},
		{name: "a tool", body: fmt.Sprintf(ask, `,"tools":[{"type":"function","Type":"web_search","function":{"name":"f"}}]`), want: bad("Type")},
		{name: "extensions", body: fmt.Sprintf(ask, `,"extra_body":{"Max_Tokens":9}`), want: bad("Max_Tokens")},
		{name: "a schema is the client's own", body: fmt.Sprintf(ask, `,"tools":[{"type":"function","function":{"name":"f","parameters":{"Type":"object","MAX_TOKENS":1}}}]`),
			reply: answered8and4, want: want{basis: audit.BasisReported, charge: 16_000}},
		{name: "UTF-7", policy: gpt, header: json("application/json; charset=utf-7"), want: foreign("utf-7"),
			body: `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"h"}],"max_completion_tokens":10,"user":"x+ACI-,+ACI-max+AF8-completion+AF8-tokens+ACI-:16000,+ACI-y+ACI-:+ACI-"}`},
		{name: "UTF-16", header: json(`application/json;charset="UTF-16LE"`), body: fmt.Sprintf(ask, ""), want: foreign("UTF-16LE")},
		{name: "UTF-8 goes no further", header: json("application/json; charset=UTF-8"), body: fmt.Sprintf(ask, ""),
			reply: answered8and4, want: want{basis: audit.BasisReported, charge: 16_000, sent: sends(fmt.Sprintf(ask, ""))}},
		{name: "a coding that is not known", header: map[string]string{"Content-Encoding": "br"}, body: fmt.Sprintf(ask, ""), want: foreign("br")},
		{name: "a coding that is none", header: map[string]string{"Content-Encoding": "gzip"}, body: fmt.Sprintf(ask, ""),
			want: want{status: 400, code: "invalid_request", says: []string{"gzip"}}},
		{name: "a compressed body", header: map[string]string{"Content-Encoding": "gzip"}, body: zipped(fmt.Sprintf(ask, "")),
			reply: answered8and4, want: want{basis: audit.BasisReported, charge: 16_000, sent: sends(fmt.Sprintf(ask, ""))}},
	}
	for i := range cases {
		if cases[i].policy == "" {
			cases[i].policy = local
		}
	}
	play(t, cases)
}

// TestRequestsWithoutABound: input that is stored, and other requests that are
// asked of a gateway.
func TestRequestsWithoutABound(t *testing.T) {
	ask := `{"model":"gpt-4o-mini","max_tokens":10,%s"messages":[{"role":"user","content":"hi"}]}`
	unbounded := func(name string) want {
		return want{status: 403, code: "no_bound", says: []string{name}}
	}
	play(t, []wireCase{
		{name: "fallbacks and retries", body: fmt.Sprintf(ask, `"fallbacks":["gpt-5-pro"],"num_retries":9,`), want: unbounded("fallbacks")},
		{name: "retries", body: fmt.Sprintf(ask, `"num_retries":9,`), want: unbounded("num_retries")},
		{name: "stored content", body: fmt.Sprintf(ask, `"extra_body":{"google":{"cached_content":"cachedContents/abc"}},`), want: unbounded("cached_content")},
		{name: "a header", body: fmt.Sprintf(ask, ""), header: map[string]string{"X-Msh-Context-Cache": "cache-1"}, want: unbounded("x-msh-context-cache")},
		{name: "a role", body: strings.Replace(fmt.Sprintf(ask, ""), `"user"`, `"cache"`, 1), want: unbounded("messages.role")},
	})
}

// TestNamesOfModels: a name means one model in any case.
func TestNamesOfModels(t *testing.T) {
	policy := strings.Replace(casePolicy("openai", "max_completion_tokens", `{match: "*", upstreams: [up]}`, "1"),
		"    budgets:", "    models: {allow: [\"*\"], deny: [\"gpt-4*\"]}\n    budgets:", 1)
	ask := `{"model":"%s","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}`
	denied := want{status: 403, code: "model_not_allowed"}
	play(t, []wireCase{
		{name: "denied", policy: policy, body: fmt.Sprintf(ask, "gpt-4o-mini"), want: denied},
		{name: "denied in capitals", policy: policy, body: fmt.Sprintf(ask, "GPT-4o-mini"), want: denied},
		{name: "not denied", policy: policy, body: fmt.Sprintf(ask, "GPT-5"), reply: answered8and4, want: want{basis: audit.BasisReported, charge: 50_000}},
	})
}

// TestRequestsThatAreSound: what was refused, or sent with another cap than it
// means, though it is sound.
func TestRequestsThatAreSound(t *testing.T) {
	policy := casePolicy("openai", "max_tokens", `{match: "*", upstreams: [up]}`, "1")
	half := `{"model":"gpt-4o-mini","max_completion_tokens":10,"messages":[{"role":"user","content":"Great \ud83d"}]}`
	play(t, []wireCase{
		{name: "completions without a cap", policy: policy, path: "/v1/completions", body: `{"model":"gpt-3.5-turbo-instruct","prompt":"Say this"}`,
			reply: answered8and4, want: want{basis: audit.BasisReported, charge: 20_000, within: true, sent: sends(`{"model":"gpt-3.5-turbo-instruct","prompt":"Say this","max_tokens":16}`)}},
		{name: "an echo", policy: policy, path: "/v1/completions", body: `{"model":"gpt-3.5-turbo-instruct","prompt":"Say this to me and to nobody else","max_tokens":0,"echo":true}`,
			reply: reply{body: `{"model":"gpt-3.5-turbo-instruct","choices":[{"text":"Say this to me and to nobody else"}],"usage":{"prompt_tokens":8,"completion_tokens":0,"total_tokens":8}}`},
			want:  want{basis: audit.BasisReported, charge: 12_000, within: true}},
		{name: "an echo without a count of output", policy: policy, path: "/v1/completions", body: `{"model":"gpt-3.5-turbo-instruct","prompt":"Say this to me and to nobody else","max_tokens":0,"echo":true,"logprobs":1}`,
			reply: reply{body: `{"model":"gpt-3.5-turbo-instruct","choices":[{"text":"Say this to me and to nobody else"}],"usage":{"prompt_tokens":8,"total_tokens":8}}`},
			want:  want{basis: audit.BasisReported, charge: 12_000, within: true}},
		{name: "no echo where another cap allows output", policy: policy, path: "/v1/completions",
			body:  `{"model":"gpt-3.5-turbo-instruct","prompt":"Say this","max_tokens":500,"max_completion_tokens":0}`,
			reply: reply{body: `{"model":"gpt-3.5-turbo-instruct","choices":[{"text":"This."}],"usage":{"prompt_tokens":8,"total_tokens":8}}`},
			want:  want{basis: audit.BasisUnknown}},
		{name: "half of an emoji", body: half, reply: answered8and4, want: want{basis: audit.BasisReported, charge: 3_600, sent: sends(pinned(half))}},
	})
}
