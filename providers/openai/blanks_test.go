package openai_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"pgregory.net/rapid"
)

// Blanks between tokens mean nothing in JSON, wherever they stand.
func TestMeterDoesNotMindBlanks(t *testing.T) {
	events := []string{
		`{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a","tool_calls":[{"id":"t","function":null}]},"finish_reason":null}],"usage":null}`,
		`{"id":"c","model":"m","choices":[{"delta":{"content":null,"function_call":null,"tool_calls":null,"custom":null}}],"x":[null,[],{}]}`,
		`{"choices":[{"delta":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":5}}}`,
		`{"choices":null,"usage":{"prompt_tokens":20,"completion_tokens":4,"total_tokens":30}}`,
		`{"usage":{"prompt_tokens":20,"completion_tokens":4},"choices":[]}`,
		`{"error":{"code":"server_error","message":"x"},"choices":null}`,
		`{"choices":[{"text":" a","logprobs":null}],"x_groq":{"usage":{"prompt_tokens":2,"completion_tokens":7}}}`,
	}
	rapid.Check(t, func(t *rapid.T) {
		var plain, blank []string
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(events)-1), 1, 6).Draw(t, "events") {
			plain = append(plain, "data: "+events[i]+"\n\n")
			blank = append(blank, "data: "+spread(t, events[i], " ", "\t", "  ")+"\n\n")
		}
		sameReport(t, true, strings.Join(plain, ""), strings.Join(blank, ""))
		document := rapid.SampledFrom(events).Draw(t, "document")
		sameReport(t, false, document, spread(t, document, " ", "\t", "\r\n", "\n  "))
	})
}

func sameReport(t *rapid.T, stream bool, plain, blank string) {
	t.Helper()
	_, want := meter(openai.ChatCompletions, stream, false, []byte(plain))
	if _, got := meter(openai.ChatCompletions, stream, false, []byte(blank)); !reflect.DeepEqual(got, want) {
		t.Fatalf("%s\ngot  %+v\nwant %+v", blank, got, want)
	}
}

var jsonToken = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,"\s]+`)

// spread puts blanks between some tokens of a JSON text.
func spread(t *rapid.T, text string, blanks ...string) string {
	var b strings.Builder
	for _, token := range jsonToken.FindAllString(text, -1) {
		b.WriteString(token)
		if rapid.Bool().Draw(t, "apart") {
			b.WriteString(rapid.SampledFrom(blanks).Draw(t, "blank"))
		}
	}
	return b.String()
}
