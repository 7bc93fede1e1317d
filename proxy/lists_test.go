package proxy_test

import (
	"net/http"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// TestWhatIsInNoListIsDenied: by provider, with the line of the policy that admits it;
// with that line it is served.
func TestWhatIsInNoListIsDenied(t *testing.T) {
	at := func(provider, model, upstream string) string {
		p := casePolicy(provider, "max_tokens", `{match: "`+model+`", upstreams: [up], max_output_tokens: 4096, context_tokens: 32768, price: {input_usd_per_million: "1", output_usd_per_million: "2"}}`, "1")
		if upstream == "" {
			return p
		}
		return upstreamWith(p, upstream)
	}
	ask := func(model, member string) string {
		return `{"model":"` + model + `","max_tokens":1000,` + member + `"messages":[{"role":"user","content":"hi"}]}`
	}
	served := want{basis: audit.BasisReported, charge: 16_000}
	denied := func(says ...string) want { return want{status: 403, code: "no_bound", says: says} }
	thought := `{"model":"magistral-medium-latest","max_tokens":1000,"messages":[{"role":"user","content":"2+2?"},` +
		`{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"add"}]},{"type":"text","text":"4"}]},{"role":"user","content":"3+3?"}]}`
	play(t, []wireCase{
		{name: "F3: stored input", policy: at("google", "gemini-*", ""), body: ask("gemini-2.5-pro", `"extra_body":{"google":{"cached_content":"cachedContents/abc123"}},`),
			want: denied("extra_body.google.cached_content")},
		{name: "F12: the default tier by groq's name", policy: at("groq", "openai/*", ""), body: ask("openai/gpt-oss-20b", `"service_tier":"on_demand",`), reply: answered8and4, want: served},
		{name: "a dearer one", policy: at("groq", "openai/*", ""), body: ask("openai/gpt-oss-20b", `"service_tier":"priority",`), want: denied("service_tier priority", `allow: {tiers: [\"priority\"]}`)},
		{name: "F13: a thought that comes back", policy: at("mistral", "magistral-*", ""), body: thought, reply: answered8and4, want: served},
		{name: "A4: fallbacks and retries", policy: at("openai", "gpt-*", ""), body: ask("gpt-4o-mini", `"fallbacks":["gpt-5-pro"],"num_retries":9,`), want: denied("fallbacks")},
		{name: "an unknown member", policy: at("openai", "gpt-*", ""), body: ask("gpt-4o-mini", `"foo":1,`), want: denied("foo", `allow: {members: [\"foo\"]}`)},
		{name: "admitted", policy: at("openai", "gpt-*", "allow: {members: [foo]}"), body: ask("gpt-4o-mini", `"foo":1,`), reply: answered8and4, want: served},
		{name: "admitted as a scalar", policy: at("openai", "gpt-*", "extra: pass"), body: ask("gpt-4o-mini", `"foo":1,`), reply: answered8and4, want: served},
		{name: "no scalar", policy: at("openai", "gpt-*", "extra: pass"), body: ask("gpt-4o-mini", `"foo":[1],`), want: denied("foo")},
		{name: "a scalar without a price", policy: upstreamWith(gpt, "extra: pass"), body: ask("gpt-4o-mini", `"foo":1,`), want: denied("foo")},
		{name: "a credential", policy: at("openai", "gpt-*", `allow: {members: ["*"]}`), body: ask("gpt-4o-mini", `"api_key":"sk",`), want: denied("api_key", "credential")},
		{name: "a parameter", policy: at("openai", "gpt-*", ""), path: chatPath + "?foo=1", body: ask("gpt-4o-mini", ""), want: denied("the query parameter foo", `allow: {queries: [\"foo\"]}`)},
		{name: "two parameters of one name", policy: at("openai", "gpt-*", ""), path: chatPath + "?api-version=1&api-version=2", body: ask("gpt-4o-mini", ""),
			want: want{status: 400, code: "invalid_request", says: []string{"two parameters"}}},
		{name: "a beta, where they are denied", policy: at("openai", "gpt-*", "betas: deny"), header: map[string]string{"OpenAI-Beta": "foo=v1"}, body: ask("gpt-4o-mini", ""),
			want: denied("the beta foo=v1", `allow: {betas: [\"foo=v1\"]}`)},
	})
}

// TestAllowedInOneDialect: an upstream that speaks two admits in each what it says there,
// and what it says for both.
func TestAllowedInOneDialect(t *testing.T) {
	policy := upstreamWith(casePolicy("local", "max_tokens", `{match: "m", upstreams: [up], max_output_tokens: 4096, context_tokens: 32768, price: {input: "1", output: "2"}}`, "1"),
		`allow: {members: [both]}, dialects: [{name: openai, allow: {members: [chat_only]}}, {name: anthropic, allow: {members: [message_only]}}]`)
	ask := func(member string) string {
		return `{"model":"m","max_tokens":1000,"` + member + `":1,"messages":[{"role":"user","content":"hi"}]}`
	}
	version := map[string]string{"Anthropic-Version": "2023-06-01"}
	answer := reply{body: message(`{"input_tokens":8,"output_tokens":4}`)}
	served := want{basis: audit.BasisReported, charge: 16_000}
	denied := func(member string) want {
		return want{status: 403, says: []string{`allow: {members: [\"` + member + `\"]}`}}
	}
	play(t, []wireCase{
		{name: "chat, in both", policy: policy, body: ask("both"), reply: answered8and4, want: served},
		{name: "chat, its own", policy: policy, body: ask("chat_only"), reply: answered8and4, want: served},
		{name: "chat, the other's", policy: policy, body: ask("message_only"), want: denied("message_only")},
		{name: "a message, in both", policy: policy, path: messagesPath, header: version, body: ask("both"), reply: answer, want: served},
		{name: "a message, its own", policy: policy, path: messagesPath, header: version, body: ask("message_only"), reply: answer, want: served},
		{name: "a message, the other's", policy: policy, path: messagesPath, header: version, body: ask("chat_only"), want: denied("chat_only")},
	})
}

// TestGatewayGetsNoHeaderOfItsOwn: what is in no list goes to a vendor, and not to a
// gateway, unless the policy admits it.
func TestGatewayGetsNoHeaderOfItsOwn(t *testing.T) {
	for _, tt := range []struct {
		name, provider, upstream string
		passes                   bool
	}{
		{"a vendor", "openai", "", true},
		{"a gateway", "openrouter", "", false},
		{"a provider that nobody knows", "intranet", "", false},
		{"a gateway, admitted", "openrouter", "allow: {headers: [x-route]}", true},
	} {
		policy := casePolicy(tt.provider, "max_tokens", `{match: "*", upstreams: [up], max_output_tokens: 4096, context_tokens: 32768, price: {input_usd_per_million: "1", output_usd_per_million: "2"}}`, "1")
		if tt.upstream != "" {
			policy = upstreamWith(policy, tt.upstream)
		}
		play(t, []wireCase{{
			name: tt.name, policy: policy, header: map[string]string{"X-Route": "dear", "User-Agent": "app/1", "Traceparent": "t"},
			body:  `{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}`,
			reply: answered8and4,
			want: want{basis: audit.BasisReported, charge: 16_000, sent: func(t *testing.T, header http.Header, _ string) {
				t.Helper()
				if got := header.Get("X-Route") != ""; got != tt.passes || header.Get("User-Agent") != "app/1" || header.Get("Traceparent") == "" {
					t.Errorf("the upstream got %v", header)
				}
			}},
		}})
	}
}
