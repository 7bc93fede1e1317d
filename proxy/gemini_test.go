package proxy_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// geminiPolicy has an upstream that speaks as Google does, at 1 nano-USD a token of input, 2 one of output and 1,000 a
// search, and an alias.
const geminiPolicy = `generation: 1
upstreams:
  - {name: google, base_url: "{up}", api_key_env: AEGIS_TEST_UPSTREAM_KEY, key_header: x-goog-api-key, provider: google, dialects: [{name: gemini}]}
models:
  - {match: "gemini-*", upstreams: [google], price: {input: "0.001", output: "0.002", searches: "0.001"}, default_output_cap: 10}
aliases: [{name: house, model: gemini-2.5-flash}]
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "{hash}"}]
    capabilities: [chat, embeddings, stream, tools]
    hosted_tools: [{kind: web_search, when_offered: price, calls: 2, tokens: 10}]
    budgets: [{name: daily, window: forever, limit_usd: "1"}]
`

// Requests of Google's API.
const (
	geminiAsk    = `{"contents":[{"parts":[{"text":"hi"}]}]}`
	geminiSearch = `{"contents":[{"parts":[{"text":"hi"}]}],"tools":[{"googleSearch":{}}]}`
	geminiEmbed  = `{"requests":[{"model":"models/house","content":{"parts":[{"text":"hi"}]}},{"model":"models/house","content":{"parts":[{"text":"ho"}]}}]}`
)

// TestGemini: what Google's API is asked is charged by what its answers tell, in each form of answer, and follows from
// the receipts.
func TestGemini(t *testing.T) {
	for _, row := range []struct {
		name, path, body string
		answer           simulator.Answer
		status           int
		model            string
		cost             int64 // nano-USD
		basis            string
	}{
		{"a document", "/v1beta/models/gemini-2.5-flash:generateContent", geminiAsk, simulator.Answer{PromptTokens: 5, OutputTokens: 3}, 200, "gemini-2.5-flash", 5 + 3*2, audit.BasisReported},
		{"thoughts", "/v1/models/gemini-2.5-flash:generateContent", geminiAsk, simulator.Answer{PromptTokens: 5, OutputTokens: 8, Reasoning: 6}, 200, "gemini-2.5-flash", 5 + 8*2, audit.BasisReported},
		{"an alias", "/v1beta/models/house:generateContent", geminiAsk, simulator.Answer{PromptTokens: 5, OutputTokens: 3}, 200, "gemini-2.5-flash", 5 + 3*2, audit.BasisReported},
		{"events", "/v1beta/models/house:streamGenerateContent?alt=sse", geminiAsk, simulator.Answer{PromptTokens: 5, OutputTokens: 3}, 200, "gemini-2.5-flash", 5 + 3*2, audit.BasisReported},
		{"an array", "/v1beta/models/house:streamGenerateContent", geminiAsk, simulator.Answer{PromptTokens: 5, OutputTokens: 3}, 200, "gemini-2.5-flash", 5 + 3*2, audit.BasisReported},
		{"a search before Gemini 3", "/v1beta/models/gemini-2.5-flash:generateContent", geminiSearch, simulator.Answer{PromptTokens: 5, OutputTokens: 3, Searches: 2}, 200, "gemini-2.5-flash", 5 + 3*2 + 1000, audit.BasisReported},
		{"searches since", "/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse", geminiSearch, simulator.Answer{PromptTokens: 5, OutputTokens: 3, Searches: 2}, 200, "gemini-3.5-flash", 5 + 3*2 + 2000, audit.BasisReported},
		{"more than are held", "/v1beta/models/gemini-3.5-flash:generateContent", geminiSearch, simulator.Answer{PromptTokens: 5, OutputTokens: 3, Searches: 4}, 200, "gemini-3.5-flash", 5 + 3*2 + 4000, audit.BasisReported},
		{"embeddings", "/v1beta/models/house:batchEmbedContents", geminiEmbed, simulator.Answer{PromptTokens: 7}, 200, "gemini-2.5-flash", 7, audit.BasisReported},
		{"a refusal", "/v1beta/models/house:generateContent", geminiAsk, simulator.Fail(http.StatusBadRequest), 400, "gemini-2.5-flash", 0, audit.BasisUnbilled},
		{"a capability that is not there", "/v1beta/models/house:generateContent", `{"contents":[],"generationConfig":{"candidateCount":2}}`, simulator.Answer{}, 403, "gemini-2.5-flash", 0, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{Script: simulator.Always(row.answer)}, setting{policy: geminiPolicy})
			a := w.post(row.path, row.body)
			if a.status != row.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if d := read[audit.Decision](w)[0]; d.Facts.Model != row.model || d.Facts.Dialect != "gemini" {
				t.Errorf("the receipt is of %+v", d.Facts)
			}
			if row.basis != "" {
				if s := w.settled(1)[0]; s.Charge != row.cost || s.Basis != row.basis {
					t.Errorf("it cost %d by %s, want %d by %s", s.Charge, s.Basis, row.cost, row.basis)
				}
				if calls := sim.Calls(); strings.Contains(string(calls[0].Body)+calls[0].Path, "house") {
					t.Errorf("the upstream is asked for the alias: %s %s", calls[0].Path, calls[0].Body)
				}
			}
			w.mustBalance(row.cost, 0)
			w.mustReplay()
		})
	}
}

// An answer that tells no usage is charged its hold, and a count of tokens is free.
func TestGeminiWithoutUsage(t *testing.T) {
	w, _ := simulated(t, simulator.Config{Script: simulator.Always(simulator.Answer{NoUsage: true})}, setting{policy: geminiPolicy})
	if a := w.post("/v1beta/models/house:embedContent", `{"content":{"parts":[{"text":"hi"}]}}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	d, s := read[audit.Decision](w)[0], w.settled(1)[0]
	if s.Basis != audit.BasisUnknown || s.Charge != d.Facts.Cost || s.Charge == 0 || d.Facts.OutputCap != 0 || d.Facts.Needs[0] != call.NeedEmbeddings {
		t.Errorf("%d by %s, of %+v", s.Charge, s.Basis, d.Facts)
	}
	if a := w.post("/v1beta/models/house:countTokens", geminiAsk); a.status != 200 || !strings.Contains(a.body, "totalTokens") {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.mustBalance(s.Charge, 0)
	w.mustReplay()
}

// The key of a tenant, wherever it stands, reaches neither the upstream nor anything that is written.
func TestGeminiKeysAreKept(t *testing.T) {
	for _, row := range []struct {
		name, query string
		header      []string
	}{
		{"the query", "?key=" + tenantKey, []string{"Authorization", ""}},
		{"its header", "?alt=json", []string{"Authorization", "", "X-Goog-Api-Key", tenantKey}},
		{"all places", "?key=" + tenantKey, []string{"X-Goog-Api-Key", tenantKey}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, setting{policy: geminiPolicy})
			if a := w.post("/v1beta/models/house:generateContent"+row.query, geminiAsk, row.header...); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			w.settled(1)
			c := sim.Calls()[0]
			if c.Header.Get("X-Goog-Api-Key") != upstreamKey || strings.Contains(c.Query, "key") || c.Header.Get("Authorization") != "" {
				t.Errorf("the upstream gets ?%s and %v", c.Query, c.Header)
			}
			err := filepath.WalkDir(w.dir, func(path string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				written, err := os.ReadFile(path)
				if strings.Contains(string(written), tenantKey) {
					t.Errorf("the key stands in %s", path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
