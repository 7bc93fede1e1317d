package openai_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"pgregory.net/rapid"
)

func overhead(t testing.TB, r *openai.Request, model string) int64 {
	t.Helper()
	total, err := r.Overhead(model, 0)
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// The counts of OpenAI's cookbook for the framing of messages are never above
// the overhead, and close to it.
func TestOverheadOfMessages(t *testing.T) {
	for n := range 20 {
		messages := strings.Repeat(`{"role":"user","name":"ann","content":"hi"},`, n) + `{"role":"user","content":"hi"}`
		r := mustParse(t, openai.ChatCompletions, `{"model":"gpt-4o","messages":[`+messages+`]}`)
		cookbook := int64(3*(n+1) + n + 3)
		if got := overhead(t, r, "gpt-4o"); got < cookbook || got > 2*cookbook {
			t.Errorf("%d messages: got %d, cookbook says %d", n+1, got, cookbook)
		}
	}
}

func TestOverheadCountsTokenIDs(t *testing.T) {
	one := mustParse(t, openai.Embeddings, `{"model":"m","input":[[1,2,3]]}`)
	more := mustParse(t, openai.Embeddings, `{"model":"m","input":[[1,2,3,4,5]]}`)
	if got := overhead(t, more, "m") - overhead(t, one, "m"); got != 2 {
		t.Errorf("two more ids are %d more tokens", got)
	}
}

// Another server's template may say more than OpenAI's.
func TestOverheadOfOtherModels(t *testing.T) {
	r := mustParse(t, openai.ChatCompletions, with(`"n":1`))
	if openai, other := overhead(t, r, "ft:gpt-4o-mini:acme"), overhead(t, r, "gpt-oss-120b"); other <= openai {
		t.Errorf("got %d for OpenAI, %d for another", openai, other)
	}
}

// An unknown member counts as if a template wrote it; known ones that never
// reach a prompt do not.
func TestOverheadOfUnknownMembers(t *testing.T) {
	plain := overhead(t, mustParse(t, openai.ChatCompletions, with(`"n":1`)), "gpt-4o")
	long := strings.Repeat("a", 1000)
	tests := []struct {
		member string
		grows  int64
	}{
		{`"documents":[{"text":"` + long + `"}]`, 1000},
		{`"context":"` + long + `"`, 1000},
		{`"user":"` + long + `"`, 0},
		{`"metadata":{"a":"` + long + `"}`, 0},
		{`"seed":12345`, 0},
	}
	for _, tt := range tests {
		got := overhead(t, mustParse(t, openai.ChatCompletions, with(tt.member)), "gpt-4o") - plain
		if got < tt.grows || tt.grows == 0 && got != 0 {
			t.Errorf("%.20s adds %d, want at least %d", tt.member, got, tt.grows)
		}
	}
}

// value draws a JSON value, as a schema may hold it, of at most depth levels.
func value(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Float64Range(-1e300, 1e300).AsAny(), rapid.Bool().AsAny(),
		rapid.Just[any](nil), rapid.SampledFrom([]any{"<a>", "it's", "é", "日本", "🙂", "tab\t", "\x7f\u2028", "\\", 1e20, 1e-7, 0.1}),
	)
	if depth == 0 {
		return scalar
	}
	return rapid.OneOf(
		scalar,
		rapid.SliceOfN(value(depth-1), 0, 4).AsAny(),
		rapid.MapOfN(rapid.String(), value(depth-1), 0, 4).AsAny(),
	)
}

// Whatever a template makes of a schema, there are no more bytes of it than
// tokens were counted.
func TestOverheadBoundsRenderedSchemas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tools := []any{map[string]any{"type": "function", "function": map[string]any{"name": "f", "parameters": value(4).Draw(t, "schema")}}}
		compact, err := json.Marshal(tools)
		if err != nil {
			t.Fatal(err)
		}
		r, err := openai.Parse(openai.ChatCompletions, []byte(with(`"tools":`+string(compact))))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := r.Overhead("gpt-4o", 0)
		if want := int64(len(rendered(t, tools))); got < want {
			t.Fatalf("%s: %d tokens counted, %d bytes rendered", compact, got, want)
		}
	})
}

// A short float may print in full: 1e20 has 21 digits, and two more in Python.
func TestOverheadBoundsRenderedFloats(t *testing.T) {
	body := func(n int) *openai.Request {
		return mustParse(t, openai.ChatCompletions, with(`"x":[`+strings.Repeat("1e20,", n)+`0]`))
	}
	if got := overhead(t, body(100), "gpt-4o") - overhead(t, body(0), "gpt-4o"); got < 100*len64("100000000000000000000.0,") {
		t.Errorf("100 floats count %d", got)
	}
}

// A text that is not JSON is measured as JSON too, whatever is in it.
func TestOverheadOfTextsThatAreNotJSON(t *testing.T) {
	for c := range 0x80 {
		r := mustParse(t, openai.ChatCompletions, fmt.Sprintf(`{"model":"m","messages":[{"role":"assistant","reasoning_content":"\u%04x x"}]}`, c))
		if got := overhead(t, r, "m"); got < 1 {
			t.Errorf("%q counts %d", rune(c), got)
		}
	}
}

func len64(s string) int64 { return int64(len(s)) }

// rendered writes v as the widest template does: indented by 4, floats in full,
// HTML characters and all beyond ASCII escaped.
func rendered(t *rapid.T, v any) string {
	wide, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range string(wide) {
		switch {
		case c == '\'':
			b.WriteString(`\u0027`)
		case c > 0xFFFF:
			b.WriteString(`\ud83d\ude42`)
		case c > 0x7F:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func image(detail string) string {
	if detail != "" {
		detail = `,"detail":"` + detail + `"`
	}
	return `{"type":"image_url","image_url":{"url":"https://example.com/a.png"` + detail + `}}`
}

// The most that an image of any size costs, from OpenAI's published rules.
func TestOverheadOfImages(t *testing.T) {
	tests := []struct {
		model, detail string
		want          int64
	}{
		{"gpt-4o", "low", 85},
		{"gpt-4o", "high", 85 + 8*170},
		{"gpt-4o-2024-08-06", "", 85 + 8*170},
		{"gpt-4o", "unheard-of", 85 + 8*170},
		{"gpt-4o-mini", "low", 2833},
		{"gpt-4o-mini-2024-07-18", "auto", 2833 + 8*5667},
		{"ft:gpt-4o-mini-2024-07-18:acme::x", "high", 2833 + 8*5667},
		{"openai/gpt-4o", "high", 85 + 8*170},
		{"gpt-4.1", "high", 1536},
		{"gpt-4.1-mini", "low", 2489},
		{"gpt-4.1-nano", "high", 3779},
		{"o1", "high", 75 + 8*150},
		{"o3-pro", "low", 75},
		{"o4-mini", "high", 2642},
		{"gpt-5", "high", 1844},
		{"gpt-5-mini-2025-08-07", "high", 2489},
		{"gpt-5-nano", "high", 3779},
		{"gpt-5.4", "auto", 3000},
		{"gpt-5.4", "original", 12000},
		{"gpt-5.5", "auto", 12000},
		{"gpt-5.6-sol", "", 36000},
		{"gpt-5.6-sol", "high", 3000},
		{"gpt-6-astra", "", 36000},
		{"gpt-6.1-sol", "high", 3000},
	}
	for _, tt := range tests {
		t.Run(tt.model+" "+tt.detail, func(t *testing.T) {
			body := func(images string) *openai.Request {
				return mustParse(t, openai.ChatCompletions,
					`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}`+images+`]}]}`)
			}
			got := overhead(t, body(","+image(tt.detail)), tt.model) - overhead(t, body(`,""`), tt.model)
			if got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestOverheadOfImagesWithoutRule(t *testing.T) {
	r := mustParse(t, openai.ChatCompletions,
		`{"model":"m","messages":[{"role":"user","content":[`+image("")+`,{"type":"image_url","image_url":"u"}]}]}`)
	for _, model := range []string{"llava", "gpt-5.7", "gpt-7", "gpt-4", ""} {
		if _, err := r.Overhead(model, 0); !errors.Is(err, openai.ErrImageUnbounded) {
			t.Errorf("%q: got %v", model, err)
		}
	}
	low, err1 := r.Overhead("llava", 1)
	high, err2 := r.Overhead("llava", 1001)
	if err1 != nil || err2 != nil || high-low != 2000 {
		t.Errorf("two images of 1000 more tokens: got %d more (%v, %v)", high-low, err1, err2)
	}
	if _, err := r.Overhead("llava", 1<<62); err == nil {
		t.Error("an overflow passed")
	}
}
