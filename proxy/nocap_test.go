package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// noCapPolicy has an upstream that takes no output cap, and a model that writes at most 1,000 tokens
// at a dollar each thousand.
const noCapPolicy = `generation: 1
upstreams:
  - {name: up, base_url: "{up}/v1", provider: openai, api_key_env: ` + upstreamVar + `, cap_field: none}
models:
  - {match: toy, upstreams: [up], default_output_cap: 10, max_output_tokens: 1000, context_tokens: 100000, price: {input: "0", output: "1000"}}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "{hash}"}]
    when_exhausted: clamp
    budgets: [{name: total, window: forever, limit_usd: "LIMIT"}]
`

// TestUpstreamThatTakesNoCap: its bodies are as they came, the most that the model can write is held and
// nothing less, and the charge is what it wrote.
func TestUpstreamThatTakesNoCap(t *testing.T) {
	const response, chat = `{"model":"toy","input":"hi"}`, `{"model":"toy","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`
	for _, row := range []struct {
		name, path, body, limit string
		status                  int
	}{
		{"a response", "/v1/responses", response, "1", 200},
		{"a chat with a cap of its own", chatPath, chat, "1", 200},
		{"a budget that has room for the cap alone", chatPath, chat, "0.999", 402},
		{"a budget that a clamp would fit", "/v1/responses", response, "0.5", 402},
	} {
		t.Run(row.name, func(t *testing.T) {
			sim := simulator.New(simulator.Config{Refuses: []string{"max_output_tokens", "max_completion_tokens", "service_tier"}})
			t.Cleanup(sim.Close)
			w := newWorld(t, setting{upstreams: []http.Handler{sim}, policy: strings.Replace(noCapPolicy, "LIMIT", row.limit, 1)})
			a := w.post(row.path, row.body)
			if a.status != row.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			d := read[audit.Decision](w)[0]
			if d.Facts.OutputTokens != 1000 || d.Facts.Cost != 1_000_000_000 {
				t.Errorf("held are %d tokens, %d nano-USD", d.Facts.OutputTokens, d.Facts.Cost)
			}
			if calls := sim.Calls(); row.status == 200 {
				if string(calls[0].Body) != row.body {
					t.Errorf("sent %s", calls[0].Body)
				}
				w.settled(1)
				if spent, held := w.balance(); spent != calls[0].Billed.Completion*1_000_000 || spent == 0 || held != 0 {
					t.Errorf("spent %d, held %d, billed %+v", spent, held, calls[0].Billed)
				}
			}
			w.mustReplay()
		})
	}
}
