package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// ask makes a request without a body.
func (w *world) ask(method, path string, headers ...string) answer {
	w.t.Helper()
	r := request(w.t.Context(), w.front.URL+path, "", headers...)
	r.Method = method
	return w.do(r)
}

// TestModelByName: one model is described from the policy if this tenant may call it by
// that name and it has a price, in the list or not.
func TestModelByName(t *testing.T) {
	const text = `generation: 1
upstreams:
  - {name: up, base_url: "{up}/v1", provider: openai, cap_field: max_completion_tokens}
  - {name: claude, base_url: "{up}/v1", provider: anthropic, dialects: [{name: anthropic}]}
models:
  - {match: "secret", upstreams: [up]}
  - {match: "meta/llama-3/*", upstreams: [up], price: {input: "1", output: "1"}}
  - {match: "plain", upstreams: [up]}
  - {match: "claude-*", upstreams: [claude]}
  - {match: "gpt-*", upstreams: [up]}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "{hash}"}]
    models: {deny: [secret]}
`
	w, sim := simulated(t, simulator.Config{}, setting{policy: text})
	for _, row := range []struct{ name, path, id string }{
		{"of the price table", "/v1/models/gpt-4o-mini", "gpt-4o-mini"},
		{"without a version", "/models/gpt-4o-mini", "gpt-4o-mini"},
		{"a slash too many", "/v1/models//gpt-4o-mini/", "gpt-4o-mini"},
		{"a run", "/run/r/v1/models/gpt-4o-mini", "gpt-4o-mini"},
		{"named in the policy", "/v1/models/plain", "plain"},
		{"of a pattern with a price of its own", "/v1/models/meta/llama-3/8b", "meta/llama-3/8b"},
		{"its slashes escaped", "/v1/models/meta%2Fllama-3%2f8b", "meta/llama-3/8b"},
		{"without a price", "/v1/models/gpt-99-of-nobody", ""},
		{"one that the tenant may not use", "/v1/models/secret", ""},
		{"of no entry", "/v1/models/other", ""},
		{"of another API", "/v1/models/claude-haiku-4-5", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, head := w.ask(http.MethodGet, row.path), w.ask(http.MethodHead, row.path)
			if row.id == "" {
				if a.status != http.StatusNotFound || a.code() != "model_not_found" || a.header.Get("X-Aegis-Decision") != "deny" {
					t.Errorf("%d %s", a.status, a.body)
				}
			} else if want := `{"id":"` + row.id + `","object":"model","created":0,"owned_by":"up"}` + "\n"; a.status != http.StatusOK || a.body != want {
				t.Errorf("%d %s, want %s", a.status, a.body, want)
			}
			if head.status != a.status || head.body != "" || head.header.Get("Content-Length") != a.header.Get("Content-Length") {
				t.Errorf("HEAD is %d %q %v", head.status, head.body, head.header)
			}
		})
	}
	if a := w.ask(http.MethodGet, "/v1/models/gpt-4o-mini", "Authorization", "Bearer nobody"); a.status != http.StatusUnauthorized {
		t.Errorf("without a key %d %s", a.status, a.body)
	}
	if sim.Totals().Received != 0 {
		t.Error("the upstream was asked")
	}
}

// TestHeadIsAnswered: without a body, where a GET is answered by the proxy.
func TestHeadIsAnswered(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{})
	for path, status := range map[string]int{
		"/v1/models": 200, "/v1/models/toy": 200, "/v1/files": 403, "/v1/chat/completions": 403, "/v1/embeddings": 404, "/v1/nothing": 404,
	} {
		if a := w.ask(http.MethodHead, path); a.status != status || a.body != "" || a.header.Get("Content-Length") == "" {
			t.Errorf("HEAD %s: %d %q %v", path, a.status, a.body, a.header)
		}
	}
}

// TestSlashesTooMany: a base URL that ends in a slash, or has two in a row, leads to the
// same operation, and the upstream gets its own path.
func TestSlashesTooMany(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{})
	for n, path := range []string{
		"//v1/chat/completions", "/v1//chat/completions", "/v1/chat//completions", "/v1/chat/completions/", "///v1///chat/completions//",
		"//chat/completions", "/run/a//v1/chat/completions", "//run/a/v1/chat/completions/", "/run/a//depth/1//v1/chat/completions",
	} {
		if a := w.post(path, hello); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		if calls := sim.Calls(); len(calls) != n+1 || calls[n].Path != chatPath {
			t.Errorf("%s: the upstream got %d requests", path, len(calls))
		}
	}
	for path, code := range map[string]string{
		"/run//v1/chat/completions":      "invalid_run", // not a run of the name v1
		"/v1%2F%2Fchat/completions":      "unknown_route",
		"/v1/chat/completions%2F":        "unknown_route",
		"/v1/./chat/completions":         "unknown_route",
		"/v1//../v1/chat/completions":    "unknown_route",
		"/v1/files//":                    "route_not_allowed",
		"/aegis//v1/authorize/unknown//": "unknown_route",
	} {
		if a := w.post(path, hello); a.code() != code {
			t.Errorf("%s: %d %s, want %s", path, a.status, a.body, code)
		}
	}
	if a := w.post("//aegis/v1//authorize/", "{}"); a.status != http.StatusBadRequest || !strings.Contains(a.body, "id") {
		t.Errorf("an action: %d %s", a.status, a.body)
	}
}
