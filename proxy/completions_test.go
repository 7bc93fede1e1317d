package proxy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// TestCompletionsWithoutACap: an absent cap means 16 tokens where that is
// documented, and the upstream is told so; a cap of 0 is one there.
func TestCompletionsWithoutACap(t *testing.T) {
	for _, row := range []struct {
		name, provider, model, body string
		sent                        string // "": refused
		output                      int64  // tokens held
	}{
		{"absent", "openai", "gpt-3.5-turbo-instruct", `"prompt":"Say this"`, `"prompt":"Say this","max_tokens":16`, 16},
		{"null", "openai", "gpt-3.5-turbo-instruct", `"prompt":"x","max_tokens":null`, `"prompt":"x","max_tokens":16`, 16},
		{"at Azure", "azure", "gpt-3.5-turbo-instruct", `"prompt":"x"`, `"prompt":"x","max_tokens":16`, 16},
		{"at vLLM, where the policy has a default", "vllm", "toy", `"prompt":"x"`, `"prompt":"x","max_tokens":16`, 16},
		{"null at vLLM, which is no absence", "vllm", "toy", `"prompt":"x","max_tokens":null`, `"prompt":"x","max_tokens":100`, 100},
		{"null by an escaped name at vLLM", "vllm", "toy", `"prompt":"x","max\u005ftokens":null`, `"prompt":"x","max\u005ftokens":100`, 100},
		{"null by the other name at vLLM", "vllm", "toy", `"prompt":"x","max_completion_tokens":null`, `"prompt":"x","max_completion_tokens":null,"max_tokens":16`, 16},
		{"at SGLang", "sglang", "toy", `"prompt":"x"`, `"prompt":"x","max_tokens":16`, 16},
		{"at another, where the policy has a default", "ollama", "toy", `"prompt":"x"`, `"prompt":"x","max_tokens":100`, 100},
		{"given", "openai", "gpt-3.5-turbo-instruct", `"prompt":"x","max_tokens":99`, `"prompt":"x","max_tokens":99`, 99},
		{"given by the other name", "openai", "gpt-3.5-turbo-instruct", `"prompt":"x","max_completion_tokens":99`, `"prompt":"x","max_tokens":99`, 99},
		{"each choice of each prompt", "openai", "gpt-3.5-turbo-instruct", `"prompt":["x","y"],"n":2,"best_of":3`, `"prompt":["x","y"],"n":2,"best_of":3,"max_tokens":16`, 6 * 16},
		{"0 and an echo", "openai", "gpt-3.5-turbo-instruct", `"prompt":"x","max_tokens":0,"echo":true`, `"prompt":"x","max_tokens":0,"echo":true`, 1},
		{"0 alone", "vllm", "toy", `"prompt":"x","max_tokens":0`, `"prompt":"x","max_tokens":0`, 1},
		{"0 for each choice", "openai", "gpt-3.5-turbo-instruct", `"prompt":"x","n":3,"max_tokens":0`, `"prompt":"x","n":3,"max_tokens":0`, 3},
		{"0 by the other name", "openai", "gpt-3.5-turbo-instruct", `"prompt":"x","max_completion_tokens":0`, `"prompt":"x","max_tokens":0`, 1},
		{"0 beside another by the other name", "openai", "gpt-3.5-turbo-instruct", `"prompt":"x","max_tokens":0,"max_completion_tokens":9`, `"prompt":"x","max_tokens":0,"max_completion_tokens":1`, 1},
		{"another beside 0 by the other name", "openai", "gpt-3.5-turbo-instruct", `"prompt":"x","max_tokens":9,"max_completion_tokens":0`, `"prompt":"x","max_tokens":9,"max_completion_tokens":0`, 9},
		{"0 at another", "ollama", "toy", `"prompt":"x","max_tokens":0,"echo":true`, "", 0},
		{"no prompt", "openai", "gpt-3.5-turbo-instruct", `"n":2`, `"n":2,"max_tokens":16`, 32},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got received
			w := newWorld(t, setting{upstreams: []http.Handler{recorder(&got)}, provider: row.provider})
			whole := func(members string) string { return fmt.Sprintf(`{"model":%q,%s}`, row.model, members) }
			a := w.post("/v1/completions", whole(row.body))
			if row.sent == "" {
				mustDeny(t, a, 403, "no_bound", "false", "because of max_tokens")
				w.nothingReserved()
				return
			}
			mustAllow(t, a)
			if got.body != whole(row.sent) {
				t.Errorf("sent %s\nwant %s", got.body, whole(row.sent))
			}
			facts := read[audit.Decision](w)[0].Facts
			if facts.OutputTokens != row.output || facts.InputTokens < 1 {
				t.Errorf("held %d tokens of input and %d of output, want %d", facts.InputTokens, facts.OutputTokens, row.output)
			}
			var sent struct {
				Cap int64 `json:"max_tokens"`
			}
			if err := json.Unmarshal([]byte(got.body), &sent); err != nil || facts.OutputCap != sent.Cap {
				t.Errorf("the receipt says a cap of %d, sent was %d (%v)", facts.OutputCap, sent.Cap, err)
			}
			w.settled(1)
			w.mustReplay()
		})
	}
}
