package proxy_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

const (
	embeddingModel   = "text-embedding-3-small" // its context has 8,192 tokens
	embeddingContext = 8192
	embeddingPrice   = 20                       // nano-USD per token
	instructModel    = "gpt-3.5-turbo-instruct" // its context has 4,096 tokens
	instructContext  = 4096
)

// exactly is how many tokens a text has for a model.
func exactly(t testing.TB, model, text string) int64 {
	t.Helper()
	encoding, known := tokenizer.ForModel(model)
	n, err := encoding.Count(text)
	if err != nil || !known {
		t.Fatalf("tokenizer of %s: %v", model, err)
	}
	return n
}

// batch is a request body with many prompts.
func batch(model, field string, prompts any, members ...any) string {
	body := map[string]any{"model": model, field: prompts}
	for i := 0; i < len(members); i += 2 {
		body[members[i].(string)] = members[i+1]
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func repeated(text string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = text
	}
	return list
}

// TestBatchIsBoundedByAllItsPrompts: each prompt has the model's context to
// itself, so the hold covers the sum and not one context.
func TestBatchIsBoundedByAllItsPrompts(t *testing.T) {
	const exactBudget = `budgets: [{name: daily, window: forever, limit_usd: "0.02"}]` // less than a bound by bytes needs
	long := strings.Repeat(" hello", 2000)
	embeddings := batch(embeddingModel, "input", repeated(long, 100))
	completions := batch(instructModel, "prompt", repeated(strings.Repeat(" hello", 300), 50), "max_tokens", 1)
	tokenIDs := make([][]int, 100)
	for i := range tokenIDs {
		tokenIDs[i] = make([]int, 2000)
	}
	for _, row := range []struct {
		name, path, body, tenant string
		exact, context           int64
	}{
		{"100 inputs of 2,000 tokens", "/v1/embeddings", embeddings, ampleBudget, 100 * exactly(t, embeddingModel, long), embeddingContext},
		{"the same, counted", "/v1/embeddings", embeddings, exactBudget, 100 * exactly(t, embeddingModel, long), embeddingContext},
		{"100 inputs of 2,000 token ids", "/v1/embeddings", batch(embeddingModel, "input", tokenIDs), ampleBudget, 100 * 2000, embeddingContext},
		{"50 prompts of 300 tokens", "/v1/completions", completions, ampleBudget, 50 * 300, instructContext},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := simulated(t, simulator.Config{}, setting{tenant: row.tenant})
			a := w.post(row.path, row.body)
			if a.status != 200 {
				t.Fatalf("%d %.300s", a.status, a.body)
			}
			d := read[audit.Decision](w)[0]
			if d.Facts.InputTokens < row.exact || d.Facts.InputTokens <= row.context {
				t.Errorf("bounded by %d tokens (%s), the prompts have %d", d.Facts.InputTokens, d.Facts.InputBound, row.exact)
			}
			if d.Facts.Cost < row.exact*embeddingPrice { // the other model is dearer
				t.Errorf("holds %d nano-USD for %d tokens", d.Facts.Cost, row.exact)
			}
		})
	}
}

// TestBatchBoundProperty: whatever the prompts, the bound is at least what each
// of them can bill: its tokens, or the model's context.
func TestBatchBoundProperty(t *testing.T) {
	words := []string{" hello", " the", "\n", " 12", "ä", " 漢", "🙂", "<|endoftext|>"}
	known := map[string]int64{} // texts come again
	bills := func(text string) int64 {
		if _, ok := known[text]; !ok {
			known[text] = min(exactly(t, embeddingModel, text), embeddingContext)
		}
		return known[text]
	}
	for name, tenant := range map[string]string{
		"ample": ampleBudget,
		"tight": `budgets: [{name: daily, window: forever, limit_usd: "0.000000001"}]`, // counts, then denies
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setting{tenant: tenant, upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
				io.WriteString(w, `{"usage":{"prompt_tokens":1}}`)
			})}})
			rapid.Check(t, func(rt *rapid.T) {
				inputs := make([]string, rapid.IntRange(1, 12).Draw(rt, "inputs"))
				least := int64(0)
				for i := range inputs {
					word := rapid.SampledFrom(words).Draw(rt, "word")
					inputs[i] = word + strings.Repeat(word, rapid.SampledFrom([]int{0, 1, 50, 1500, 9000}).Draw(rt, "times"))
					least += bills(inputs[i])
				}
				recorder := httptest.NewRecorder()
				w.proxy.ServeHTTP(recorder, request(t.Context(), "http://proxy/v1/embeddings", batch(embeddingModel, "input", inputs)))
				list := read[audit.Decision](w)
				if d := list[len(list)-1]; d.Facts.InputTokens < least || d.Facts.Cost < least*embeddingPrice {
					rt.Fatalf("%d: bounded by %d tokens (%s) and %d nano-USD, %d inputs may bill %d tokens",
						recorder.Code, d.Facts.InputTokens, d.Facts.InputBound, d.Facts.Cost, len(inputs), least)
				}
			})
		})
	}
}
