package openai_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// TestHalfASurrogatePairPasses: it is JSON wherever text is, the body stays as it
// is, and it counts for more than any server makes of it.
func TestHalfASurrogatePairPasses(t *testing.T) {
	const body = `{"model":"gpt-4o","max_tokens":9,"messages":[{"role":"user","content":"Great %s"}]}`
	plain := mustParse(t, openai.ChatCompletions, fmt.Sprintf(body, ""))
	for half, n := range map[string]int64{
		`\ud83d`: 1, `\uDE00`: 1, `\ud83d `: 1, `\ud83d\ud83d`: 2, `\ude00\ud83d`: 2, `\ud83d\ud83d\ude00`: 1, `\ud83d\n\ude00`: 2, `\ud83d\u0041`: 1,
		`\ud83d\ude00`: 0, `\\ud83d`: 0, `\\\ud83d`: 1, `\u00e9\uD83D\uDE00`: 0, `\n\\`: 0, `\ud7ff\ue000`: 0,
	} {
		text := fmt.Sprintf(body, half)
		r := mustParse(t, openai.ChatCompletions, text)
		if got := overhead(t, r, "gpt-4o") - overhead(t, plain, "gpt-4o"); got != 9*n {
			t.Errorf("%s adds %d, want %d", half, got, 9*n)
		}
		if sent := string(rewritten(t, r, openai.Edit{CapField: openai.FieldMaxTokens, OutputCap: 9})); sent != text {
			t.Errorf("%s was sent as %s", text, sent)
		}
	}
	for _, member := range []string{
		`"user":"\ud83d"`, `"metadata":{"\ud83d":"\ud83d"}`, `"x\ud83d":"\ud83d"`, `"stop":["\ud83d"]`, `"tool_choice":{"x":"\ud83d"}`,
		`"tools":[{"type":"function","function":{"name":"f","description":"\ud83d","parameters":{"enum":["\ud83d"]}}}]`,
		`"prediction":{"type":"content","content":"\ud83d"}`,
	} {
		r := mustParse(t, openai.ChatCompletions, with(member))
		if got := overhead(t, r, "gpt-4o") - overhead(t, mustParse(t, openai.ChatCompletions, with(strings.ReplaceAll(member, `\ud83d`, ""))), "gpt-4o"); got < 9 {
			t.Errorf("%s adds %d", member, got)
		}
	}
	r := mustParse(t, openai.ChatCompletions, with(`"prediction":{"type":"content","content":"a\ud83d"}`))
	if len(r.Prediction) != 1 || len(r.Prediction[0]) < len("a")+9 {
		t.Errorf("predicted %q", r.Prediction)
	}
}
