package openai_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

const hello = `"messages":[{"role":"user","content":"hello"}]`

// with is a valid chat body with one more member.
func with(member string) string {
	return `{"model":"gpt-4o",` + hello + `,` + member + `}`
}

func mustParse(t testing.TB, e openai.Endpoint, body string) *openai.Request {
	t.Helper()
	r, err := openai.Parse(e, []byte(body))
	if err != nil {
		t.Fatalf("Parse(%.200s): %v", body, err)
	}
	return r
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, body, param string
	}{
		{"empty body", ``, ""},
		{"only blanks", " \n", ""},
		{"not JSON", `hello`, ""},
		{"truncated", `{"model":"gpt-4o","messages":[{"role"`, ""},
		{"array", `[]`, ""},
		{"null", `null`, ""},
		{"byte order mark", "\ufeff" + with(`"n":1`), ""},
		{"data after the object", with(`"n":1`) + `{}`, ""},
		{"garbage after the object", with(`"n":1`) + ` x`, ""},
		{"zero byte after the object", with(`"n":1`) + "\x00", ""},
		{"cut off behind a name", `{"model":"gpt-4o","tool_choice" `, ""},
		{"cut off in a choice", `{"model":"gpt-4o","tool_choice":{"type":  `, ""},
		{"cut off in extensions", `{"model":"gpt-4o","extra_body":{"google": {"x":   `, ""},
		{"trailing comma", `{"model":"gpt-4o",` + hello + `,}`, ""},
		{"single quotes", `{'model':'gpt-4o'}`, ""},
		{"comment", `{/**/"model":"gpt-4o"}`, ""},
		{"NaN", with(`"temperature":NaN`), ""},
		{"bad UTF-8 in a text", `{"model":"gpt-4o","messages":[{"role":"user","content":"` + "\xff" + `"}]}`, ""},
		{"model with a blank before it", `{"model":" gpt-4o",` + hello + `}`, "model"},
		{"model with a newline behind it", `{"model":"gpt-4o\n",` + hello + `}`, "model"},
		{"model that ends early in C", `{"model":"gpt-4\u0000-mini",` + hello + `}`, "model"},
		{"half a surrogate pair in a model", `{"model":"gpt-4o\ud800","messages":[]}`, "model"},
		{"half a surrogate pair in a tool's name", with(`"tools":[{"type":"function","function":{"name":"f\udc00"}}]`), "tools.function.name"},
		{"half a surrogate pair in a call's id", `{"model":"gpt-4o","messages":[{"role":"tool","tool_call_id":"\ud83dx"}]}`, "messages.tool_call_id"},
		{"names that differ by half a pair", with(`"\ud800":1,"\ud801":2`), ""},
		{"raw newline in a text", `{"model":"gpt-4o","messages":[{"role":"user","content":"` + "\n" + `"}]}`, ""},
		{"cap twice", with(`"max_tokens":1,"max_tokens":100000`), ""},
		{"cap twice, once escaped", with(`"max_tokens":1,"max_tok\u0065ns":100000`), ""},
		{"duplicate below", with(`"metadata":{"a":"1","a":"2"}`), ""},
		{"duplicate in a message", `{"model":"gpt-4o","messages":[{"role":"user","content":"a","content":"b"}]}`, ""},

		{"no model", `{` + hello + `}`, "model"},
		{"empty model", `{"model":"",` + hello + `}`, "model"},
		{"null model", `{"model":null,` + hello + `}`, "model"},
		{"model is a number", `{"model":4,` + hello + `}`, "model"},
		{"model too long", `{"model":"` + strings.Repeat("m", 257) + `",` + hello + `}`, "model"},
		{"model in another case", `{"Model":"gpt-4o",` + hello + `}`, "Model"},
		{"no messages", `{"model":"gpt-4o"}`, "messages"},
		{"messages null", `{"model":"gpt-4o","messages":null}`, "messages"},
		{"messages a string", `{"model":"gpt-4o","messages":"hello"}`, "messages"},
		{"message a string", `{"model":"gpt-4o","messages":["hello"]}`, "messages"},
		{"content a number", `{"model":"gpt-4o","messages":[{"role":"user","content":5}]}`, "messages.content"},
		{"content an object", `{"model":"gpt-4o","messages":[{"role":"user","content":{}}]}`, "messages.content"},
		{"part a number", `{"model":"gpt-4o","messages":[{"role":"user","content":[1]}]}`, "messages.content"},
		{"role a number", `{"model":"gpt-4o","messages":[{"role":1,"content":"a"}]}`, "messages.role"},

		{"cap a string", with(`"max_tokens":"100"`), "max_tokens"},
		{"cap a fraction", with(`"max_tokens":1.9`), "max_tokens"},
		{"cap a whole fraction", with(`"max_tokens":100.0`), "max_tokens"},
		{"cap with an exponent", with(`"max_tokens":1e2`), "max_tokens"},
		{"cap beyond float64", with(`"max_tokens":1e400`), "max_tokens"},
		{"cap beyond int64", with(`"max_tokens":9223372036854775808`), "max_tokens"},
		{"cap beyond exact floats", with(`"max_tokens":9007199254740992`), "max_tokens"},
		{"cap of a million digits", with(`"max_tokens":` + strings.Repeat("9", 1_000_000)), "max_tokens"},
		{"cap negative", with(`"max_tokens":-1`), "max_tokens"},
		{"cap zero", with(`"max_tokens":0`), "max_tokens"},
		{"cap a boolean", with(`"max_tokens":true`), "max_tokens"},
		{"cap an array", with(`"max_tokens":[1]`), "max_tokens"},
		{"other cap a string", with(`"max_completion_tokens":"100"`), "max_completion_tokens"},
		{"n zero", with(`"n":0`), "n"},
		{"n too large", with(`"n":1025`), "n"},
		{"n a fraction", with(`"n":1.5`), "n"},
		{"best_of a string", with(`"best_of":"2"`), "best_of"},
		{"stream a string", with(`"stream":"true"`), "stream"},
		{"stream a number", with(`"stream":1`), "stream"},
		{"stream_options a boolean", with(`"stream_options":true`), "stream_options"},
		{"include_usage a number", with(`"stream_options":{"include_usage":1}`), "stream_options.include_usage"},
		{"tools an object", with(`"tools":{}`), "tools"},
		{"tool a string", with(`"tools":["search"]`), "tools"},
		{"tool name a number", with(`"tools":[{"type":"function","function":{"name":1}}]`), "tools.function.name"},
		{"response_format a string", with(`"response_format":"json"`), "response_format"},
		{"service_tier a number", with(`"service_tier":1`), "service_tier"},
		{"store a string", with(`"store":"yes"`), "store"},
		{"prediction a string", with(`"prediction":"text"`), "prediction"},
		{"modalities a string", with(`"modalities":"audio"`), "modalities"},
		{"image detail a number", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u","detail":1}}]}]}`, "messages.content.image_url.detail"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := openai.Parse(openai.ChatCompletions, []byte(tt.body))
			var parse *wire.ParseError
			if !errors.As(err, &parse) {
				t.Fatalf("got %+v, %v; want a ParseError", r, err)
			}
			if parse.Param != tt.param || parse.Message == "" {
				t.Errorf("got param %q, message %q; want param %q", parse.Param, parse.Message, tt.param)
			}
		})
	}
}

func TestParseRefusesInputs(t *testing.T) {
	tests := []struct {
		name     string
		endpoint openai.Endpoint
		body     string
		param    string
	}{
		{"no input", openai.Embeddings, `{"model":"m"}`, "input"},
		{"null input", openai.Embeddings, `{"model":"m","input":null}`, "input"},
		{"input an object", openai.Embeddings, `{"model":"m","input":{}}`, "input"},
		{"input of objects", openai.Embeddings, `{"model":"m","input":[{}]}`, "input"},
		{"ids and texts", openai.Embeddings, `{"model":"m","input":[1,"a"]}`, "input"},
		{"id negative", openai.Embeddings, `{"model":"m","input":[-1]}`, "input"},
		{"id a fraction", openai.Embeddings, `{"model":"m","input":[[1.5]]}`, "input"},
		{"id a text", openai.Embeddings, `{"model":"m","input":[["a"]]}`, "input"},
		{"prompt a number", openai.Completions, `{"model":"m","prompt":1}`, "prompt"},
		{"no such endpoint", openai.Endpoint(0), `{"model":"m"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := openai.Parse(tt.endpoint, []byte(tt.body))
			var parse *wire.ParseError
			if !errors.As(err, &parse) || parse.Param != tt.param {
				t.Errorf("got %#v, want a ParseError for %q", err, tt.param)
			}
		})
	}
}

func TestParseBoundsHostileBodies(t *testing.T) {
	var members strings.Builder
	for i := range wire.MaxMembers + 1 {
		fmt.Fprintf(&members, `,"k%d":1`, i)
	}
	tests := map[string]string{
		"20 MB of brackets":          strings.Repeat("[", 20<<20),
		"20 MB of braces":            strings.Repeat(`{"a":`, 4<<20),
		"brackets in a field":        with(`"x":` + strings.Repeat("[", 1<<20)),
		"brackets in a tool call":    `{"model":"m","messages":[{"tool_calls":` + strings.Repeat("[", 1<<20),
		"one level too deep":         with(`"x":` + strings.Repeat("[", wire.MaxDepth) + strings.Repeat("]", wire.MaxDepth)),
		"too many members":           `{"model":"m"` + members.String() + `}`,
		"too many members below":     with(`"x":{"a":1` + members.String() + `}`),
		"too many texts":             `{"model":"m","messages":[{"content":[` + strings.Repeat(`"",`, providers.MaxTexts) + `""]}]}`,
		"too many values":            with(`"x":[[` + strings.Repeat(`1,`, wire.MaxValues/2) + `1],[` + strings.Repeat(`1,`, wire.MaxValues/2) + `1]]`),
		"a string that never closes": `{"model":"` + strings.Repeat("a", 1<<20),
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := openai.Parse(openai.ChatCompletions, []byte(body)); err == nil {
				t.Error("accepted")
			} else if len(err.Error()) > 200 {
				t.Errorf("message has %d bytes", len(err.Error()))
			}
		})
	}
	deepest := with(`"x":` + strings.Repeat("[", wire.MaxDepth-1) + strings.Repeat("]", wire.MaxDepth-1))
	mustParse(t, openai.ChatCompletions, deepest)
}

func TestParseCaps(t *testing.T) {
	const both = `"max_tokens":50,"max_completion_tokens":70`
	tests := []struct {
		name, member, field string
		cap                 int64
		set                 bool
		asked               int64
	}{
		{"none", `"n":1`, openai.FieldMaxTokens, 0, false, 0},
		{"null is absent", `"max_tokens":null`, openai.FieldMaxTokens, 0, false, 0},
		{"the same field", `"max_tokens":50`, openai.FieldMaxTokens, 50, true, 50},
		{"only the other field", `"max_tokens":50`, openai.FieldMaxCompletionTokens, 0, false, 50},
		{"both, first", both, openai.FieldMaxTokens, 50, true, 50},
		{"both, second", both, openai.FieldMaxCompletionTokens, 70, true, 70},
		{"escaped name", `"max\u005ftokens":50`, openai.FieldMaxTokens, 50, true, 50},
		{"largest", `"max_tokens":9007199254740991`, openai.FieldMaxTokens, 1<<53 - 1, true, 1<<53 - 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := mustParse(t, openai.ChatCompletions, with(tt.member))
			if tokens, set := r.Cap(tt.field); tokens != tt.cap || set != tt.set {
				t.Errorf("Cap = %d, %v; want %d, %v", tokens, set, tt.cap, tt.set)
			}
			if tokens, _ := r.AskedCap(tt.field); tokens != tt.asked {
				t.Errorf("AskedCap = %d; want %d", tokens, tt.asked)
			}
		})
	}
}

func TestParseChoices(t *testing.T) {
	tests := []struct {
		name     string
		endpoint openai.Endpoint
		body     string
		want     int64
	}{
		{"chat", openai.ChatCompletions, with(`"x":1`), 1},
		{"chat n", openai.ChatCompletions, with(`"n":3`), 3},
		{"chat n null", openai.ChatCompletions, with(`"n":null`), 1},
		{"chat best_of of some servers", openai.ChatCompletions, with(`"n":3,"best_of":5`), 5},
		{"completion", openai.Completions, `{"model":"m","prompt":"a"}`, 1},
		{"no prompt is one empty prompt", openai.Completions, `{"model":"m"}`, 1},
		{"null prompt too", openai.Completions, `{"model":"m","prompt":null}`, 1},
		{"empty array too", openai.Completions, `{"model":"m","prompt":[]}`, 1},
		{"best_of above n", openai.Completions, `{"model":"m","prompt":"a","n":2,"best_of":4}`, 4},
		{"best_of below n", openai.Completions, `{"model":"m","prompt":"a","n":2,"best_of":0}`, 2},
		{"prompts", openai.Completions, `{"model":"m","prompt":["a","b","c"],"best_of":4}`, 12},
		{"token ids are one prompt", openai.Completions, `{"model":"m","prompt":[1,2,3]}`, 1},
		{"arrays of token ids", openai.Completions, `{"model":"m","prompt":[[1,2],[3]],"n":2}`, 4},
		{"embeddings have no output", openai.Embeddings, `{"model":"m","input":["a","b"]}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustParse(t, tt.endpoint, tt.body).Choices; got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// Whatever can become a token is among the texts.
func TestParseTexts(t *testing.T) {
	tests := []struct {
		name     string
		endpoint openai.Endpoint
		body     string
		want     []string
	}{
		{"message", openai.ChatCompletions, `{"model":"m","messages":[{"role":"user","name":"ann","content":"hi\n\u00e9"}]}`,
			[]string{"user", "ann", "hi\né"}},
		{"parts, whatever the order", openai.ChatCompletions,
			`{"model":"m","messages":[{"content":[{"text":"a","type":"text"},{"type":"refusal","refusal":"b"},"c"],"refusal":"d"}]}`,
			[]string{"a", "b", "c", "d"}},
		{"null content", openai.ChatCompletions, `{"model":"m","messages":[{"role":"assistant","content":null}]}`,
			[]string{"assistant"}},
		{"tool call and result", openai.ChatCompletions,
			`{"model":"m","messages":[{"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"tool_call_id":"c1","content":"42"}]}`,
			[]string{"c1", "function", "f", `{"a":1}`, "c1", "42"}},
		{"what other servers add to a message", openai.ChatCompletions,
			`{"model":"m","messages":[{"reasoning_content":"hm","thoughts":[{"t":"so"}]}]}`,
			[]string{"hm", "so"}},
		{"prompts and suffix", openai.Completions, `{"model":"m","prompt":["a","b"],"suffix":"c"}`,
			[]string{"a", "b", "c"}},
		{"input", openai.Embeddings, `{"model":"m","input":"a"}`, []string{"a"}},
		{"token ids have no text", openai.Embeddings, `{"model":"m","input":[1,2]}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustParse(t, tt.endpoint, tt.body).Texts; !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseUnbounded(t *testing.T) {
	content := func(part string) string {
		return `{"model":"gpt-4o","messages":[{"role":"user","content":[` + part + `]}]}`
	}
	tests := []struct {
		name, body string
		want       []string
	}{
		{"plain", with(`"temperature":1`), nil},
		{"image", content(`{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}`), nil},
		{"earlier audio", `{"model":"m","messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}`, []string{openai.UnboundedAudioID}},
		{"no earlier audio", `{"model":"m","messages":[{"role":"assistant","audio":null}]}`, nil},
		{"client tools", with(`"tools":[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{"name":"g"}}]`), nil},
		{"output that is neither text nor audio", with(`"modalities":["image"]`), []string{openai.UnboundedModality}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustParse(t, openai.ChatCompletions, tt.body).Unbounded; !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	zero := mustParse(t, openai.Completions, `{"model":"m","prompt":"a","max_tokens":0,"echo":true}`)
	if !zero.ZeroCap || zero.Unbounded != nil || zero.ImpliedCap("openai") != 16 || zero.ImpliedCap("ollama") != 0 {
		t.Errorf("a cap of 0: got %+v", zero)
	}
}

func TestParseFacts(t *testing.T) {
	r := mustParse(t, openai.ChatCompletions, `{"model":"gpt-4o-audio-preview",`+hello+`,
		"stream":true,"stream_options":{"include_usage":true},"store":true,"service_tier":"priority",
		"reasoning_effort":"high","modalities":["text","audio"],"audio":{"voice":"alloy","format":"wav"},
		"tools":[{"type":"function","function":{"name":"weather","parameters":{}}},{"custom":{"name":"sql"},"type":"custom"}],
		"functions":[{"name":"old"}],"prediction":{"type":"content","content":[{"type":"text","text":"x = 1"}]}}`)
	if !r.Stream || !r.IncludeUsage || !r.AudioOutput {
		t.Errorf("flags: %+v", r)
	}
	if r.Model != "gpt-4o-audio-preview" || r.ServiceTier != "priority" {
		t.Errorf("names: %q %q", r.Model, r.ServiceTier)
	}
	if want := []string{"weather", "sql", "old"}; !slices.Equal(r.Tools, want) {
		t.Errorf("tools: got %q, want %q", r.Tools, want)
	}
	if want := []string{"x = 1"}; !slices.Equal(r.Prediction, want) {
		t.Errorf("prediction: got %q, want %q", r.Prediction, want)
	}
}

func TestField(t *testing.T) {
	r := mustParse(t, openai.ChatCompletions, with(
		`"user":"ann\u00e9","safety_identifier":7,"metadata":{"customer":"c-1","a.b":"dotted","n":1,"deep":{"x":"y"}}`))
	tests := []struct {
		path, want string
		ok         bool
	}{
		{"user", "anné", true},
		{"User", "", false},
		{"safety_identifier", "", false},
		{"absent", "", false},
		{"", "", false},
		{"metadata", "", false},
		{"metadata.customer", "c-1", true},
		{"metadata.a.b", "dotted", true},
		{"metadata.n", "", false},
		{"metadata.deep", "", false},
		{"metadata.#", "", false},
		{"user.x", "", false},
	}
	for _, tt := range tests {
		if got, ok := r.Field(tt.path); got != tt.want || ok != tt.ok {
			t.Errorf("Field(%q) = %q, %v; want %q, %v", tt.path, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	seeds := []string{
		with(`"max_tokens":5,"stream":true`), with(`"a":1,"a":2`), `{`, "\ufeff{}", with(`"n":1`) + "x",
		strings.Repeat("[", 300), `{"model":"m","input":[[1,2],[3]]}`, `{"model":"m","prompt":["a"],"best_of":3}`,
		with(`"max_tokens":1e400`), with(`"x":"` + "\xff" + `"`), with(`"x":"\ud800"`),
		with(`"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]`),
	}
	for _, s := range seeds {
		for e := openai.ChatCompletions; e <= openai.Embeddings; e++ {
			f.Add(uint8(e), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, e uint8, body []byte) {
		before := bytes.Clone(body)
		r, err := openai.Parse(openai.Endpoint(e), body)
		if !bytes.Equal(body, before) {
			t.Fatal("the body has changed")
		}
		if err != nil {
			return
		}
		total, err := r.Overhead(r.Model, 1000)
		if err != nil || total < 0 || r.Model == "" || r.Choices < 0 {
			t.Fatalf("overhead %d, %v; model %q, choices %d", total, err, r.Model, r.Choices)
		}
		r.Field("metadata.x")
	})
}
