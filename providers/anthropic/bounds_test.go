package anthropic_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// TestImages: an image is bounded by what its model fits it into.
func TestImages(t *testing.T) {
	const small, large = 1664, 4848
	for _, row := range []struct {
		model, provider string
		max, want       int64
	}{
		{"claude-3-5-sonnet-20240620", "anthropic", 0, small},
		{"claude-3-opus-20240229", "anthropic", 0, small},
		{"claude-sonnet-4-20250514", "anthropic", 0, small},
		{"claude-sonnet-4@20250514", "google", 0, small},
		{"us.anthropic.claude-opus-4-1-20250805-v1:0", "aws", 0, small},
		{"Claude-Haiku-4-5", "azure", 0, small},
		{"claude-opus-4.6", "openrouter", 0, small},
		{"claude-4-6-opus", "anthropic", 0, small},
		{"claude-opus-4-7", "anthropic", 0, large},
		{"claude-opus-4-10", "anthropic", 0, large},
		{"claude-opus-5", "anthropic", 0, large},
		{"claude-5-opus", "anthropic", 0, large},
		{"claude-opus-5-5-20261001", "anthropic", 0, large},
		{"claude-mythos-preview", "anthropic", 0, large},
		{"claude", "somebody", 0, large},
		{"something", "anthropic", 0, large},
		{"glm-5", "somebody", 2000, 2000},
		{"glm-5", "somebody", 0, 0},
	} {
		body := `{"model":"` + row.model + `","max_tokens":5,"messages":[{"role":"user","content":[%s]}]}`
		fixed := func(content string) (int64, error) {
			r, err := read(providers.Head{}, fmt.Sprintf(body, content))
			if err != nil {
				t.Fatal(err)
			}
			o, err := r.On(providers.Terms{Provider: row.provider, MaxImage: row.max})
			if err != nil {
				return 0, err
			}
			return o.Bound().Input.Fixed, nil
		}
		without, _ := fixed(`{"type":"text"}`)
		with, err := fixed(`{"type":"image","source":{"type":"url","url":"http://x"}}`)
		if (err != nil) != (row.want == 0) || err == nil && with-without != row.want {
			t.Errorf("%s at %s: %d, %v, want %d", row.model, row.provider, with-without, err, row.want)
		}
	}
}

// TestHiddenInput: where the body does not show an input it is what the model reads.
func TestHiddenInput(t *testing.T) {
	const context = 200_000
	document := func(source string) string { return `{"type":"document","source":` + source + `}` }
	for _, row := range []struct {
		name, block string
		hidden      bool
		texts       int
	}{
		{"a text", document(`{"type":"text","media_type":"text/plain","data":"abc"}`), false, 0},
		{"a text of blocks", document(`{"type":"content","content":[{"type":"text","text":"abc"}]}`), false, 1},
		{"a text of one", document(`{"type":"content","content":"abc"}`), false, 1},
		{"a result of a search", `{"type":"search_result","source":"http://x","title":"t","content":[{"type":"text","text":"abc"}],"citations":{"enabled":true}}`, false, 3},
		{"pages", document(`{"type":"base64","media_type":"application/pdf","data":"JVBERi0="}`), true, 0},
		{"pages elsewhere", document(`{"type":"url","url":"http://x"}`), true, 0},
		{"pages that are stored", document(`{"type":"file","file_id":"f"}`), true, 0},
		{"pages in a result", `{"type":"tool_result","tool_use_id":"t","content":[` + document(`{"type":"file","file_id":"f"}`) + `]}`, true, 0},
		{"a tool's answer to the model", `{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"q"}},{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","title":"t","url":"u","encrypted_content":"e","page_age":null}]}`, false, 1},
		{"what a code said", `{"type":"code_execution_tool_result","tool_use_id":"s","content":{"type":"code_execution_result","stdout":"x","stderr":"","return_code":0,"content":[{"type":"code_execution_output","file_id":"f"}]}}`, false, 0},
		{"a tool of another server", `{"type":"mcp_tool_use","id":"m","name":"n","server_name":"s","input":{}},{"type":"mcp_tool_result","tool_use_id":"m","is_error":false,"content":[{"type":"text","text":"abc"}]}`, false, 1},
		{"an advice", `{"type":"advisor_tool_result","tool_use_id":"s","content":{"type":"advisor_result","text":"abc","stop_reason":"end_turn"}}`, false, 1},
		{"a summary", `{"type":"compaction","content":"abc","encrypted_content":"e","signature":"s","tool_changes":[{"type":"tool_removal","tool":{"type":"tool_reference","name":"f"}}]}`, false, 1},
		{"where another model took over", `{"type":"fallback","from":{"model":"a"},"to":{"model":"b"},"trigger":{}}`, false, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := read(providers.Head{}, `{"model":"claude-opus-5","max_tokens":5,"messages":[{"role":"user","content":[`+row.block+`]}]}`)
			if err != nil {
				t.Fatal(err)
			}
			o, err := r.On(providers.Terms{Provider: "anthropic", Context: context})
			if err != nil {
				t.Fatal(err)
			}
			in := o.Bound().Input
			if (in.Fixed >= context) != row.hidden || len(in.Texts) != row.texts {
				t.Errorf("input %+v", in)
			}
			if images := slices.Contains(r.Facts().Needs, call.NeedImages); images != row.hidden {
				t.Errorf("needs images: %v", images)
			}
		})
	}
}

// TestDocumentAllowance: what the policy says of a document of pages holds for each, in
// place of the context.
func TestDocumentAllowance(t *testing.T) {
	fixed := func(documents int, each int64) int64 {
		pages := strings.Repeat(`,{"type":"document","source":{"type":"url","url":"u"}}`, documents)
		r, err := read(providers.Head{}, `{"model":"claude-opus-5","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text"}`+pages+`]}]}`)
		if err != nil {
			t.Fatal(err)
		}
		o, err := r.On(providers.Terms{Provider: "anthropic", Context: 1_000_000, MaxDocument: each})
		if err != nil {
			t.Fatal(err)
		}
		return o.Bound().Input.Fixed
	}
	if none, two := fixed(0, 5000), fixed(2, 5000); two-none < 2*5000 || two-none > 2*5000+2*5000 {
		t.Errorf("two documents add %d tokens", two-none)
	}
	if got := fixed(1, 0); got != 1_000_000 {
		t.Errorf("without an allowance: %d", got)
	}
}

// TestToolReferences: a tool that is referred to may stand in the prompt once more.
func TestToolReferences(t *testing.T) {
	const tools = `,"tools":[{"name":"f","description":"12345678901234567890","input_schema":{},"defer_loading":true},{"name":"g","input_schema":{}}]`
	fixed := func(content string) int64 {
		r, err := read(providers.Head{}, `{"model":"claude-opus-5","max_tokens":5,"messages":[{"role":"user","content":[`+content+`]}]`+tools+`}`)
		if err != nil {
			t.Fatal(err)
		}
		o, err := r.On(terms)
		if err != nil {
			t.Fatal(err)
		}
		return o.Bound().Input.Fixed
	}
	result := func(names ...string) string {
		var list []string
		for _, name := range names {
			list = append(list, `{"type":"tool_reference","tool_name":"`+name+`"}`)
		}
		return `{"type":"tool_result","tool_use_id":"t","content":[` + strings.Join(list, ",") + `]}`
	}
	none, f, ff, g, unknown := fixed(result()), fixed(result("f")), fixed(result("f", "f")), fixed(result("g")), fixed(result("h"))
	if f-none < 60 || ff-f != f-none || g-none >= f-none || unknown != f {
		t.Errorf("none %d, f %d, twice %d, g %d, unknown %d", none, f, ff, g, unknown)
	}
	if added := fixed(`{"type":"tool_addition","tool":{"type":"tool_reference","name":"f"}}`); added-none < 60 {
		t.Errorf("added %d, none %d", added, none)
	}
	r, err := read(providers.Head{}, `{"model":"m","max_tokens":5,"messages":[{"role":"system","content":[{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"h","input_schema":{}}}}]}]}`)
	if err != nil || !slices.Equal(r.Facts().Tools, []string{"h"}) {
		t.Errorf("a tool that is defined in between: %+v, %v", r.Facts(), err)
	}
}

// TestSummaries: what sums the conversation up reads it once more, and writes what no cap
// bounds.
func TestSummaries(t *testing.T) {
	bound := func(members string) *providers.Bound {
		r, err := parse(t, members)
		if err != nil {
			t.Fatal(err)
		}
		o, err := r.On(providers.Terms{Provider: "anthropic", MaxOutput: 9000})
		if err != nil {
			t.Fatal(err)
		}
		return o.Bound()
	}
	plain, alone, edit := bound(``), bound(`,"compaction":{"type":"summarize","instructions":"i"}`), bound(`,"context_management":{"edits":[{"type":"compact_20260112"}]}`)
	if alone.Output.Fixed != 9000 || edit.Output.Fixed != 0 || plain.Output.Fixed != 0 || edit.Output.Cap != 2048 {
		t.Errorf("outputs %+v, %+v, %+v", plain.Output, alone.Output, edit.Output)
	}
	if alone.Input.Fixed < plain.Input.Fixed+4096 || edit.Input.Fixed != plain.Input.Fixed+9000 {
		t.Errorf("inputs %+v, %+v, %+v", plain.Input, alone.Input, edit.Input)
	}
	if len(edit.Beside) != 1 || len(alone.Beside)+len(plain.Beside) > 0 {
		t.Fatalf("runs %+v, %+v", alone.Beside, edit.Beside)
	}
	if run := edit.Beside[0]; run.Model != "claude-opus-5" || run.Usage[call.Output] != 9000 || run.Usage[call.Input] < plain.Input.Fixed+4096 {
		t.Errorf("a run %+v", run)
	}
}

// TestFallbacks: each is a run of its own, which reads the request and what those before
// it wrote, and has its own cap and speed.
func TestFallbacks(t *testing.T) {
	r, err := parse(t, `,"fallbacks":[{"model":"claude-fable-5","max_tokens":300},{"model":"claude-opus-5-5","speed":"fast","thinking":{"type":"adaptive"},"output_config":{"effort":"low"}}]`)
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.On(terms)
	if err != nil {
		t.Fatal(err)
	}
	b := o.Bound()
	input := b.Input.Fixed + b.Input.Bytes()
	want := []call.Line{
		{Key: call.Key{Model: "claude-fable-5"}, Usage: call.Usage{call.Input: input + 2048, call.Output: 300}},
		{Key: call.Key{Model: "claude-opus-5-5", Service: "fast"}, Usage: call.Usage{call.Input: input + 2348, call.Output: 2048}},
	}
	if !slices.Equal(b.Beside, want) {
		t.Errorf("runs %+v, want %+v", b.Beside, want)
	}
	for _, members := range []string{
		`,"fallbacks":[{"model":"m"}],"context_management":{"edits":[{"type":"compact_20260112"}]}`,
		`,"fallbacks":[{"model":"m"}],"system":[{"type":"document","source":{"type":"file"}}]`,
	} {
		r, err := parse(t, members)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.On(providers.Terms{Provider: "anthropic", MaxOutput: 9, Context: 9}); err == nil {
			t.Errorf("%s has a bound", members)
		}
	}
}
