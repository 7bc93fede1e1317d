package openai_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"pgregory.net/rapid"
)

func TestRewrite(t *testing.T) {
	const (
		first  = openai.FieldMaxTokens
		second = openai.FieldMaxCompletionTokens
	)
	tests := []struct {
		name, member string
		edit         openai.Edit
		want         string // the member as it becomes
	}{
		{"nothing asked", `"n": 1`, openai.Edit{}, `"n": 1`},
		{"no tier: inserted", `"n": 1`, openai.Edit{Tier: "default"}, `"n": 1,"service_tier":"default"`},
		{"a tier that is null: replaced", `"service_tier" : null`, openai.Edit{Tier: "default"}, `"service_tier" : "default"`},
		{"auto: replaced", `"service_tier":"auto","n":1`, openai.Edit{Tier: "default"}, `"service_tier":"default","n":1`},
		{"cap absent: inserted", `"n": 1`, openai.Edit{CapField: first, OutputCap: 9}, `"n": 1,"max_tokens":9`},
		{"cap null: replaced", `"max_tokens" : null`, openai.Edit{CapField: first, OutputCap: 9}, `"max_tokens" : 9`},
		{"cap above: lowered", `"max_tokens" :  100 `, openai.Edit{CapField: first, OutputCap: 9}, `"max_tokens" :  9 `},
		{"cap below: kept", `"max_tokens":5`, openai.Edit{CapField: first, OutputCap: 9}, `"max_tokens":5`},
		{"cap equal: kept", `"max_tokens":9`, openai.Edit{CapField: first, OutputCap: 9}, `"max_tokens":9`},
		{"other field below: renamed", `"max_tokens" : 5`, openai.Edit{CapField: second, OutputCap: 9},
			`"max_completion_tokens" : 5`},
		{"other field above: renamed and lowered", `"max_tokens":50`, openai.Edit{CapField: second, OutputCap: 9},
			`"max_completion_tokens":9`},
		{"other field escaped: renamed", `"max\u005fcompletion_tokens":5`, openai.Edit{CapField: first, OutputCap: 9},
			`"max_tokens":5`},
		{"other field, ours null: swapped", `"max_tokens":50,"max_completion_tokens":null`, openai.Edit{CapField: second, OutputCap: 9},
			`"max_tokens":null,"max_completion_tokens":9`},
		{"other field null: kept", `"max_tokens":null`, openai.Edit{CapField: second, OutputCap: 9},
			`"max_tokens":null,"max_completion_tokens":9`},
		{"both fields: both lowered", `"max_completion_tokens":5,"max_tokens":50`, openai.Edit{CapField: second, OutputCap: 9},
			`"max_completion_tokens":5,"max_tokens":9`},
		{"name with an escape", `"max\u005ftokens":50`, openai.Edit{CapField: first, OutputCap: 9}, `"max\u005ftokens":9`},
		{"no such cap field", `"n":1`, openai.Edit{OutputCap: 9}, `"n":1,"max_tokens":9`},
		{"usage without stream", `"stream":false`, openai.Edit{IncludeUsage: true}, `"stream":false`},
		{"usage: options absent", `"stream":true`, openai.Edit{IncludeUsage: true},
			`"stream":true,"stream_options":{"include_usage":true}`},
		{"usage: options null", `"stream":true,"stream_options":null`, openai.Edit{IncludeUsage: true},
			`"stream":true,"stream_options":{"include_usage":true}`},
		{"usage: options empty", `"stream":true,"stream_options":{ }`, openai.Edit{IncludeUsage: true},
			`"stream":true,"stream_options":{"include_usage":true }`},
		{"usage: other options", `"stream":true,"stream_options":{"include_obfuscation":false }`, openai.Edit{IncludeUsage: true},
			`"stream":true,"stream_options":{"include_obfuscation":false,"include_usage":true }`},
		{"usage: off", `"stream":true,"stream_options":{"include_usage": false}`, openai.Edit{IncludeUsage: true},
			`"stream":true,"stream_options":{"include_usage": true}`},
		{"usage: null", `"stream":true,"stream_options":{"include_usage":null,"a":1}`, openai.Edit{IncludeUsage: true},
			`"stream":true,"stream_options":{"include_usage":true,"a":1}`},
		{"usage: on already", `"stream":true,"stream_options":{"include_usage":true}`, openai.Edit{IncludeUsage: true},
			`"stream":true,"stream_options":{"include_usage":true}`},
		{"both edits", `"max_tokens":50,"stream":true`, openai.Edit{CapField: second, OutputCap: 9, IncludeUsage: true},
			`"max_completion_tokens":9,"stream":true,"stream_options":{"include_usage":true}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := rewritten(t, mustParse(t, openai.ChatCompletions, with(tt.member)), tt.edit)
			if want := with(tt.want); string(got) != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// rewritten is what a rewrite sends, which says its size beforehand.
func rewritten(t fataler, r *openai.Request, e openai.Edit) []byte {
	edited := r.Rewrite(e)
	size := edited.Size()
	out, err := io.ReadAll(edited)
	if err != nil || int64(len(out)) != size {
		t.Fatalf("%d bytes, %v, said to be %d", len(out), err, size)
	}
	return out
}

// TestRewriteReads as a reader must, whatever it is read into.
func TestRewriteReads(t *testing.T) {
	r := mustParse(t, openai.ChatCompletions, with(`"max_tokens":50,"stream":true`))
	edit := openai.Edit{CapField: openai.FieldMaxCompletionTokens, OutputCap: 9, IncludeUsage: true}
	want := rewritten(t, r, edit)
	if err := iotest.TestReader(r.Rewrite(edit), want); err != nil {
		t.Error(err)
	}
	whole := make([]byte, len(want)+1)
	if n, err := r.Rewrite(edit).Read(whole); n != len(want) || err != nil {
		t.Errorf("one read gives %d bytes of %d, %v", n, len(want), err)
	}
}

// TestRewriteDoesNotCopyTheBody, changed or not.
func TestRewriteDoesNotCopyTheBody(t *testing.T) {
	const size = 4 << 20
	r := mustParse(t, openai.ChatCompletions, with(`"max_tokens":5,"x":"`+strings.Repeat("x", size)+`"`))
	for _, capped := range []int64{5, 4} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		edited := r.Rewrite(openai.Edit{CapField: openai.FieldMaxTokens, OutputCap: capped})
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > size/2 {
			t.Errorf("cap %d: a body of %d bytes took %d more", capped, edited.Size(), took)
		}
	}
}

// Completions know one cap field, whatever the upstream's chats obey.
func TestRewriteCompletions(t *testing.T) {
	r := mustParse(t, openai.Completions, `{"model":"m","prompt":"a","max_tokens":50}`)
	got := rewritten(t, r, openai.Edit{CapField: openai.FieldMaxCompletionTokens, OutputCap: 9})
	if want := `{"model":"m","prompt":"a","max_tokens":9}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRewriteLeavesEmbeddings(t *testing.T) {
	body := `{"model":"m","input":"a"}`
	got := rewritten(t, mustParse(t, openai.Embeddings, body), openai.Edit{CapField: openai.FieldMaxTokens, OutputCap: 5, IncludeUsage: true})
	if string(got) != body {
		t.Errorf("got %s", got)
	}
}

// bodies draws chat bodies with caps and stream options in any shape and order,
// among members that no rewrite may touch.
func bodies(t *rapid.T) string {
	members := []string{`"model":"gpt-4o"`, hello}
	optional := func(name string, values ...string) {
		if v := rapid.SampledFrom(append(values, "")).Draw(t, name); v != "" {
			members = append(members, `"`+name+`":`+v)
		}
	}
	optional("max_tokens", "null", "1", "77", "100000")
	optional("max_completion_tokens", "null", "1", "77", "100000")
	optional("stream", "null", "true", "true", "false")
	optional("stream_options", "null", "{}", `{"a":[1,{}]}`, `{"include_usage":false}`, `{"include_usage":true,"b":2}`, `{"a":1,"include_usage":null}`)
	optional("x", `{"max_tokens":5}`, `"\"max_tokens\":5"`, "[ 1 , 2 ]", "1e400")
	members = rapid.Permutation(members).Draw(t, "order")
	blank := rapid.SampledFrom([]string{"", " ", "\n\t", "\r\n"}).Draw(t, "blank")
	return blank + "{" + blank + strings.Join(members, blank+","+blank) + blank + "}" + blank
}

// After any rewrite the caps and the usage are as asked, no cap is higher than
// it was, all other members are the same bytes, and a second rewrite changes
// nothing.
func TestRewriteProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edit := openai.Edit{
			CapField:     rapid.SampledFrom([]string{openai.FieldMaxTokens, openai.FieldMaxCompletionTokens}).Draw(t, "field"),
			OutputCap:    rapid.SampledFrom([]int64{0, 1, 50, 77, 1 << 40}).Draw(t, "cap"),
			IncludeUsage: rapid.Bool().Draw(t, "usage"),
		}
		checkRewrite(t, []byte(bodies(t)), edit)
	})
}

type fataler interface{ Fatalf(string, ...any) }

func checkRewrite(t fataler, body []byte, edit openai.Edit) {
	before := bytes.Clone(body)
	r, err := openai.Parse(openai.ChatCompletions, body)
	if err != nil {
		return
	}
	out := rewritten(t, r, edit)
	if !bytes.Equal(body, before) {
		t.Fatalf("%s: the body has changed", body)
	}
	again, err := openai.Parse(openai.ChatCompletions, out)
	if err != nil {
		t.Fatalf("%s became %s: %v", body, out, err)
	}
	if twice := rewritten(t, again, edit); !bytes.Equal(twice, out) {
		t.Fatalf("%s, again %s", out, twice)
	}
	if edit.OutputCap > 0 {
		checkCaps(t, r, again, edit)
	}
	if again.Stream && edit.IncludeUsage && !again.IncludeUsage {
		t.Fatalf("%s does not include usage", out)
	}
	if got, want := untouched(t, out), untouched(t, body); !reflect.DeepEqual(got, want) {
		t.Fatalf("%s became %s", body, out)
	}
}

func checkCaps(t fataler, before, after *openai.Request, edit openai.Edit) {
	if tokens, ok := after.Cap(edit.CapField); !ok || tokens > edit.OutputCap {
		t.Fatalf("cap is %d, %v; want at most %d", tokens, ok, edit.OutputCap)
	}
	for _, field := range []string{openai.FieldMaxTokens, openai.FieldMaxCompletionTokens} {
		was, had := before.Cap(field)
		is, has := after.Cap(field)
		if had && has && is > was || has && is > edit.OutputCap {
			t.Fatalf("%s was %d, %v and is %d, %v; limit %d", field, was, had, is, has, edit.OutputCap)
		}
		if field != edit.CapField && has && !had {
			t.Fatalf("%s was inserted", field)
		}
	}
	if asked, ok := before.AskedCap(edit.CapField); ok {
		if is, _ := after.Cap(edit.CapField); is != min(asked, edit.OutputCap) {
			t.Fatalf("client asked for %d, got %d of %d", asked, is, edit.OutputCap)
		}
	}
}

// untouched returns the raw bytes of all members that no rewrite may change.
func untouched(t fataler, body []byte) map[string]string {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	kept := map[string]string{}
	for name, raw := range members {
		kept[name] = string(raw)
	}
	delete(kept, openai.FieldMaxTokens)
	delete(kept, openai.FieldMaxCompletionTokens)
	delete(kept, "stream_options")
	var options map[string]json.RawMessage
	if json.Unmarshal(members["stream_options"], &options) == nil {
		for _, name := range slices.Collect(maps.Keys(options)) {
			kept["stream_options."+name] = string(options[name])
		}
		delete(kept, "stream_options.include_usage")
	}
	return kept
}

func FuzzRewrite(f *testing.F) {
	for _, s := range []string{
		`"max_tokens":500`, `"max_tokens":null`, `"max_completion_tokens":5,"max_tokens":700`,
		`"stream":true,"stream_options":{}`, `"stream":true,"stream_options":{"include_usage":null}`, `"x":1e400`,
	} {
		f.Add([]byte(with(s)), int64(100), true)
	}
	f.Add([]byte("\ufeff{}"), int64(1), false)
	f.Fuzz(func(t *testing.T, body []byte, outputCap int64, second bool) {
		edit := openai.Edit{CapField: openai.FieldMaxTokens, OutputCap: min(outputCap, providers.MaxCap), IncludeUsage: true}
		if second {
			edit.CapField = openai.FieldMaxCompletionTokens
		}
		checkRewrite(t, body, edit)
	})
}
