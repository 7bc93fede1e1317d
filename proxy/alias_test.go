package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

const aliasPolicy = `generation: 1
upstreams:
  - {name: up1, base_url: "{up}/v1", api_key_env: AEGIS_TEST_UPSTREAM_KEY, provider: openai, cap_field: max_completion_tokens,
     dialects: [{name: openai}, {name: anthropic, base_url: "{up}/v1"}]}
models:
  - {match: "gpt-4o-mini", upstreams: [up1], price: {input: "1", output: "2"}, default_output_cap: 10}
  - {match: "gpt-4o-mini-search-preview", upstreams: [up1], price: {input: "1", output: "2"}, default_output_cap: 10}
  - {match: "gpt-4o", upstreams: [up1], price: {input: "10", output: "20"}, default_output_cap: 10}
  - {match: "claude-*", upstreams: [up1], price: {input: "1", output: "2"}, default_output_cap: 10, max_output_tokens: 4096, context_tokens: 200000}
aliases:
  - {name: fast, model: gpt-4o-mini}
  - {name: dear, model: gpt-4o}
  - {name: finder, model: gpt-4o-mini-search-preview}
  - {name: "claude/best", model: claude-opus-5}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "{hash}"}]
    models: {allow: ["gpt-4o-mini", "gpt-4o-mini-search-preview", "claude-*"]}
    budgets: [{name: daily, window: forever, limit_usd: "1"}]
`

// TestAliases: what is asked for under another name is asked for, allowed, priced and receipted under
// the model's own.
func TestAliases(t *testing.T) {
	for _, row := range []struct {
		name, path, body, sent, model string
		status                        int
	}{
		{"chat", chatPath, `{"model":"fast","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":5}`,
			`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":5}`, "gpt-4o-mini", 200},
		{"in another case", chatPath, `{"max_completion_tokens":5,"messages":[{"role":"user","content":"hi"}],"model": "FAST" }`,
			`{"max_completion_tokens":5,"messages":[{"role":"user","content":"hi"}],"model": "gpt-4o-mini",`, "gpt-4o-mini", 200},
		{"Messages", "/v1/messages", `{"model":"claude/best","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`,
			`{"model":"claude-opus-5","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`, "claude-opus-5", 200},
		{"a model that is not allowed", chatPath, `{"model":"dear","messages":[{"role":"user","content":"hi"}]}`, "", "gpt-4o", 403},
		{"a model that searches by itself", chatPath, `{"model":"finder","messages":[{"role":"user","content":"hi"}]}`, "", "gpt-4o-mini-search-preview", 403},
		{"the model itself", chatPath, `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":5}`,
			`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":5}`, "gpt-4o-mini", 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := new(received)
			w := newWorld(t, setting{upstreams: []http.Handler{recorder(got)}, policy: aliasPolicy})
			a := w.post(row.path, row.body)
			if a.status != row.status || row.status == 200 && !strings.Contains(string(got.body), row.sent[1:len(row.sent)-1]) {
				t.Errorf("%d %s; the upstream got %s, want %s", a.status, a.body, got.body, row.sent)
			}
			if d := read[audit.Decision](w)[0]; d.Facts.Model != row.model {
				t.Errorf("the receipt is of %q, want %q", d.Facts.Model, row.model)
			}
		})
	}
}

// Lists of models have the aliases whose models the tenant may use.
func TestAliasesAreListed(t *testing.T) {
	w := newWorld(t, setting{upstreams: []http.Handler{recorder(new(received))}, policy: aliasPolicy})
	if a := w.ask(http.MethodGet, "/v1/models"); !strings.Contains(a.body, `"id":"fast"`) || strings.Contains(a.body, `"id":"dear"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.ask(http.MethodGet, "/v1/models/fast"); a.status != 200 || !strings.Contains(a.body, `"id":"fast"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.ask(http.MethodGet, "/v1/models/dear"); a.status != 404 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
