package proxy_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestWhatTheBodyDoesNotShowIsRefused: members and headers that take in stored
// input, or make another request or several of one, have no bound, and the
// denial names them. Nothing is sent.
func TestWhatTheBodyDoesNotShowIsRefused(t *testing.T) {
	body := func(member string) string { return with(member) }
	for _, row := range []struct {
		name, body, header, names string
	}{
		{"fallbacks", body(`"fallbacks":["gpt-5-pro"]`), "", "fallbacks"},
		{"fallbacks of another kind", body(`"context_window_fallbacks":[{"toy":["dear"]}]`), "", "context_window_fallbacks"},
		{"retries", body(`"num_retries":9`), "", "num_retries"},
		{"retries, as text", body(`"num_retries":"9"`), "", "num_retries"},
		{"stored input", body(`"cached_content":"cachedContents/abc"`), "", "cached_content"},
		{"stored input, as Google spells it", body(`"cachedContent":"cachedContents/abc"`), "", "cachedContent"},
		{"stored input below extra_body", body(`"extra_body":{"google":{"cached_content":"c"}}`), "", "google.cached_content"},
		{"stored input below google", body(`"google":{"thinking_config":{},"cachedContent":"c"}`), "", "google.cachedContent"},
		{"stored input in extra_body", body(`"extra_body":{"cached_content":"c"}`), "", "extra_body.cached_content"},
		{"fallbacks in extra_body", body(`"extra_body":{"fallbacks":["dear"]}`), "", "extra_body.fallbacks"},
		{"another model in extra_body", body(`"extra_body":{"model":"dear"}`), "", "extra_body.model"},
		{"another cap in extra_body", body(`"extra_body":{"max_tokens":100000}`), "", "extra_body.max_tokens"},
		{"more choices in extra_body", body(`"extra_body":{"extra_body":{"n":9}}`), "", "extra_body.extra_body"},
		{"tools of Google's", body(`"extra_body":{"google":{"tools":[{"google_search":{}}]}}`), "", "google.tools"},
		{"a context", body(`"context_id":"ctx-1"`), "", "context_id"},
		{"a route", body(`"route":"fallback"`), "", "route"},
		{"a stored prompt", body(`"prompt_id":"p"`), "", "prompt_id"},
		{"headers for the next hop", body(`"extra_headers":{"X-Msh-Context-Cache":"c"}`), "", "extra_headers"},
		{"a role", strings.Replace(hello, `"user"`, `"cache"`, 1), "", "messages.role"},
		{"that, in capitals", strings.Replace(hello, `"user"`, `"CACHE"`, 1), "", "messages.role"},
		{"a cache by header", hello, "X-Msh-Context-Cache", "x-msh-context-cache"},
		{"its lifetime", hello, "x-msh-context-cache-reset-ttl", "x-msh-context-cache-reset-ttl"},
		{"by a name that WSGI reads so", hello, "X_Msh_Context_Cache", "x-msh-context-cache"},
		{"fallbacks by header", hello, "Helicone-Fallbacks", "helicone-fallbacks"},
		{"retries by header", hello, "cf-aig-max-attempts", "cf-aig-max-attempts"},
		{"more of them", hello, "X-LiteLLM-Num-Retries", "x-litellm-num-retries"},
		{"a configuration", hello, "X-Portkey-Config", "x-portkey-config"},
		{"another deployment", hello, "azureml-model-deployment", "azureml-model-deployment"},
		{"a dearer tier", hello, "X-Vertex-AI-LLM-Shared-Request-Type", "x-vertex-ai-llm-shared-request-type"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := received{body: "none"}
			w := newWorld(t, setting{upstreams: []http.Handler{recorder(&got)}})
			var headers []string
			if row.header != "" {
				headers = []string{row.header, "9"}
			}
			mustDeny(t, w.post(chatPath, row.body, headers...), 403, "no_bound", "false", row.names)
			w.nothingReserved()
			if got.body != "none" {
				t.Errorf("sent %s", got.body)
			}
		})
	}
}

// TestHarmlessGatewayMembersPass: none of them, no times, and what only names or
// shapes a request.
func TestHarmlessGatewayMembersPass(t *testing.T) {
	w := newWorld(t, setting{upstreams: []http.Handler{recorder(new(received))}})
	for _, member := range []string{
		`"fallbacks":[ ]`, `"fallbacks":null`, `"num_retries":0`, `"max_retries":null`, `"cached_content":null`,
		`"extra_body":null`, `"extra_body":{}`, `"extra_body":{"google":{"thinking_config":{"thinking_budget":9},"thought_tag_marker":"t"}}`,
		`"extra_body":{"top_k":5,"temperature":1,"reasoning":{"effort":"low"}}`, `"google":{"thinking_config":null}`,
	} {
		mustAllow(t, w.post(chatPath, with(member)))
	}
	mustAllow(t, w.post(chatPath, hello, "Helicone-Property-App", "x", "X-Portkey-Trace-Id", "x", "cf-aig-metadata", "{}",
		"X-Stainless-Retry-Count", "2", "Idempotency-Key", "x", "X-LiteLLM-Timeout", "9"))
}
