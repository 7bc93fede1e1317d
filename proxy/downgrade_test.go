package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

const downgradePolicy = `generation: 1
upstreams:
  - {name: up1, base_url: "{up}/v1", api_key_env: AEGIS_TEST_UPSTREAM_KEY, provider: openai, cap_field: max_completion_tokens,
     dialects: [{name: openai}, {name: anthropic, base_url: "{up}/v1"}]}
  - {name: up2, base_url: "{up}/v1", api_key_env: AEGIS_TEST_UPSTREAM_KEY, provider: openai, cap_field: max_completion_tokens}
models:
  - {match: "dear", upstreams: [up1], price: {input: "10", output: "1000"}, default_output_cap: 10, max_output_tokens: 4096, context_tokens: 200000}
  - {match: "cheap", upstreams: [{cheap}], price: {input: "1", output: "1"}, default_output_cap: 10, max_output_tokens: 4096, context_tokens: 200000}
aliases:
  - {name: best, model: dear}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "{hash}"}]
    when_exhausted: {exhausted}
    budgets: [{budgets}]
`

// downgraded is downgradePolicy with what happens when budgets are exhausted.
func downgraded(exhausted, cheap, budgets string) string {
	return strings.NewReplacer("{exhausted}", exhausted, "{cheap}", cheap, "{budgets}", budgets).Replace(downgradePolicy)
}

// TestDowngrade: where a budget is exhausted for the model that was asked for, the one that the policy names is
// called in its place, bounded and held anew, and never over a limit.
func TestDowngrade(t *testing.T) {
	const (
		use    = "{use: cheap}"
		small  = `{name: daily, window: forever, limit_usd: "0.002"}`
		none   = `{name: daily, window: forever, limit_usd: "0.000000001"}`
		ofDear = `{name: dear, scope: model, models: dear, window: forever, limit_usd: "0.002"}, {name: all, window: forever, limit_usd: "1"}`
		chat   = `{"model":"dear","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":50}`
		sent   = `{"model":"cheap","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":50`
	)
	for _, row := range []struct {
		name, path, body, policy string
		status                   int
		sent, verdicts, instead  string
	}{
		{"a budget of all", chatPath, chat, downgraded(use, "up1", small), 200, sent, "deny dear, allow cheap", "dear"},
		{"a budget of the model's", chatPath, chat, downgraded(use, "up1", ofDear), 200, sent, "deny dear, allow cheap", "dear"},
		{"at another upstream", chatPath, chat, downgraded(use, "up2", small), 200, sent, "deny dear, allow cheap", "dear"},
		{"an alias", chatPath, strings.Replace(chat, "dear", "best", 1), downgraded(use, "up1", small), 200, sent, "deny dear, allow cheap", "dear"},
		{"Messages", "/v1/messages", `{"model":"dear","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}`, downgraded(use, "up1", small), 200,
			`{"model":"cheap","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}`, "deny dear, allow cheap", "dear"},
		{"an upstream that does not speak the API", "/v1/messages", `{"model":"dear","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}`,
			downgraded(use, "up2", small), 402, "", "deny dear, deny cheap", ""},
		{"it fits", chatPath, chat, downgraded(use, "up1", `{name: daily, window: forever, limit_usd: "1"}`), 200, chat[:len(chat)-1], "allow dear", ""},
		{"neither fits", chatPath, chat, downgraded(use, "up1", none), 402, "", "deny dear, deny cheap", ""},
		{"the other one was asked for", chatPath, strings.Replace(chat, "dear", "CHEAP", 1), downgraded(use, "up1", none), 402, "", "deny CHEAP", ""},
		{"it is clamped then", chatPath, strings.Replace(chat, "50}", "4000}", 1), downgraded("{use: cheap, then: clamp}", "up1", small), 200,
			`{"model":"cheap","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":1`, "deny dear, allow cheap", "dear"},
		{"another reason", chatPath, strings.Replace(chat, "dear", "nobodys", 1), downgraded(use, "up1", small), 403, "", "deny nobodys", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := new(received)
			w := newWorld(t, setting{upstreams: []http.Handler{recorder(got)}, policy: row.policy})
			a := w.post(row.path, row.body)
			if a.status != row.status || !strings.HasPrefix(string(got.body), row.sent) || a.header.Get("X-Aegis-Instead-Of") != row.instead {
				t.Errorf("%d %v %s; the upstream got %s, want %s", a.status, a.header, a.body, got.body, row.sent)
			}
			w.close()
			var verdicts []string
			for _, d := range read[audit.Decision](w) {
				verdicts = append(verdicts, d.Verdict+" "+d.Facts.Model)
				if want := map[bool]string{true: "dear", false: ""}[d.Facts.Model == "cheap"]; d.Facts.InsteadOf != want {
					t.Errorf("%s is receipted in the place of %q, want %q", d.Facts.Model, d.Facts.InsteadOf, want)
				}
			}
			if list := strings.Join(verdicts, ", "); list != row.verdicts {
				t.Errorf("receipts say %s, want %s", list, row.verdicts)
			}
			w.mustReplay()
		})
	}
}
