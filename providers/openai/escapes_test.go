package openai_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"pgregory.net/rapid"
)

// Each letter of a name or a text may be written as an escape: the report is the
// same, in a document as in a stream.
func TestMeterDoesNotMindEscapes(t *testing.T) {
	answers := []string{
		`{"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":4,"total_tokens":24}}`,
		`{"choices":[{"delta":{"content":"a"}}],"error":{"code":429,"message":"x"}}`,
		`{"choices":[{"delta":{"content":""},"content_filter_results":{"hate":{"severity":"high"}},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":5,"audio_tokens":3},"completion_tokens_details":{"reasoning_tokens":2,"rejected_prediction_tokens":9}}}`,
		`{"choices":[{"text":"a","logprobs":{"tokens":["a"]}}],"x_groq":{"usage":{"prompt_tokens":2,"completion_tokens":7}}}`,
		`{"usage":{"prompt_tokens":20,"completion_tokens":4,"prompt_cache_hit_tokens":5,"reasoning_tokens":1},"choices":null}`,
		`{"error":{"code":"content_filter","message":"x"}}`,
		`{"error":{"innererror":{"code":"ResponsibleAIPolicyViolation"},"message":"x"}}`,
		`{"error":"Content violates usage guidelines."}`,
		`[{"error":{"code":"400"}},{"choices":[{"text":"a"}]}]`,
		`{"data":[{"embedding":[0.5],"object":"embedding"}],"usage":{"prompt_tokens":3}}`,
		`{"data":[{"embedding":"AAAA"}]}`,
	}
	rapid.Check(t, func(t *rapid.T) {
		endpoint := rapid.SampledFrom([]openai.Endpoint{openai.ChatCompletions, openai.Embeddings}).Draw(t, "endpoint")
		answer := rapid.SampledFrom(answers).Draw(t, "answer")
		if rapid.Bool().Draw(t, "stream") {
			answer = "data: " + answer + "\n\ndata: [DONE]\n\n"
		}
		_, want := meter(endpoint, false, false, []byte(answer))
		escaped := escape(t, answer)
		if _, got := meter(endpoint, false, false, []byte(escaped)); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\ngot  %+v\nwant %+v", escaped, got, want)
		}
	})
}

// escape writes some letters in the strings of a JSON text as escapes.
func escape(t *rapid.T, text string) string {
	return jsonToken.ReplaceAllStringFunc(text, func(token string) string {
		if token[0] != '"' {
			return token
		}
		var b strings.Builder
		for _, c := range []byte(token[1 : len(token)-1]) {
			if rapid.IntRange(0, 2).Draw(t, "escaped") == 0 {
				fmt.Fprintf(&b, rapid.SampledFrom([]string{`\u%04x`, `\u%04X`}).Draw(t, "digits"), c)
			} else {
				b.WriteByte(c)
			}
		}
		return `"` + b.String() + `"`
	})
}
