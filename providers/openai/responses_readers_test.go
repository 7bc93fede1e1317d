package openai_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// responsePlaces are bodies of responses with room for one more member at each place where
// names mean something.
var responsePlaces = map[string]string{
	"":                  `{"model":"m",%s,"input":"hi"}`,
	"stream_options":    `{"model":"m","stream":true,"stream_options":{%s}}`,
	"input":             `{"model":"m","input":[{"type":"message",%s}]}`,
	"input.content":     `{"model":"m","input":[{"role":"user","content":[{"type":"input_text",%s}]}]}`,
	"text":              `{"model":"m","text":{%s}}`,
	"text.format":       `{"model":"m","text":{"format":{%s}}}`,
	"reasoning":         `{"model":"m","reasoning":{%s}}`,
	"multi_agent":       `{"model":"m","multi_agent":{%s}}`,
	"access_programs":   `{"model":"m","access_programs":{%s}}`,
	"image":             `{"model":"m","image":{%s}}`,
	"tools":             `{"model":"m","tools":[{"type":"function",%s}]}`,
	"tools.environment": `{"model":"m","tools":[{"type":"shell","environment":{%s}}]}`,
	"tool_choice":       `{"model":"m","tool_choice":{%s}}`,
	"extra_body":        `{"model":"m","extra_body":{%s}}`,

	"input.content.prompt_cache_breakpoint": `{"model":"m","input":[{"content":[{"prompt_cache_breakpoint":{%s}}]}]}`,
}

// TestResponseNamesInOtherLetters: a name that some server reads as one that means
// something in a response is refused, wherever names mean something.
func TestResponseNamesInOtherLetters(t *testing.T) {
	known := openai.Known(openai.Responses)
	for place, body := range responsePlaces {
		if len(known[place]) == 0 {
			t.Errorf("nothing is known at %q", place)
		}
		for _, name := range known[place] {
			for _, other := range misspellings(name) {
				if other == name {
					continue
				}
				_, err := openai.Parse(openai.Responses, fmt.Appendf(nil, body, `"`+other+`":null`))
				if refused, ok := errors.AsType[*wire.ParseError](err); !ok || !strings.Contains(refused.Message, "some servers") {
					t.Errorf("%s: %s passed for %s: %v", place, other, name, err)
				}
			}
		}
	}
}

// servedResponse is the body of a response as a server in Go reads it.
type servedResponse struct {
	Model    string          `json:"model"`
	Stream   *bool           `json:"stream"`
	Cap      *int64          `json:"max_output_tokens"`
	Calls    *int64          `json:"max_tool_calls"`
	Previous *string         `json:"previous_response_id"`
	Hidden   *bool           `json:"background"`
	Tier     *string         `json:"service_tier"`
	Input    json.RawMessage `json:"input"`
	Tools    []servedTool    `json:"tools"`
}

type servedTool struct {
	Type  *string      `json:"type"`
	Name  *string      `json:"name"`
	Tools []servedTool `json:"tools"`
}

type servedItem struct {
	Type    *string         `json:"type"`
	Content json.RawMessage `json:"content"`
	Output  json.RawMessage `json:"output"`
	Tools   []servedTool    `json:"tools"`
}

// names are those by which rules know the tools of a list.
func (t *servedTool) names() []string {
	within := namesOf(t.Tools)
	switch kind := or(t.Type, ""); kind {
	case "function", "custom":
		return append(within, or(t.Name, ""))
	case "namespace":
		return within
	default:
		return append(within, kind)
	}
}

func namesOf(tools []servedTool) (list []string) {
	for i := range tools {
		list = append(list, tools[i].names()...)
	}
	return list
}

// items are the number of items of an input, the images in them, and the tools that they
// bring.
func (s *servedResponse) items() (n, images int, tools []string) {
	var list []json.RawMessage
	if json.Unmarshal(s.Input, &list) != nil {
		return 1, 0, nil
	}
	for _, raw := range list {
		var item servedItem
		if json.Unmarshal(raw, &item) != nil {
			continue
		}
		images += imagesIn(item.Content) + imagesIn(item.Output)
		if or(item.Type, "") != "mcp_list_tools" {
			tools = append(tools, namesOf(item.Tools)...)
		}
	}
	return len(list), images, tools
}

func imagesIn(content json.RawMessage) (n int) {
	var list []json.RawMessage
	if json.Unmarshal(content, &list) != nil {
		list = []json.RawMessage{content}
	}
	for _, raw := range list {
		var part struct {
			Image *json.RawMessage `json:"image_url"`
			URL   *json.RawMessage `json:"url"`
		}
		if json.Unmarshal(raw, &part) == nil && (part.Image != nil || part.URL != nil) {
			n++
		}
	}
	return n
}

// checkResponseReaders parses a body and has a server in Go read it too, and what leaves in
// its place: they see the same model, cap and counts.
func checkResponseReaders(t fataler, body []byte) {
	r, err := openai.Parse(openai.Responses, body)
	if err != nil || r.NoBound(&providers.Terms{Provider: "openai"}) != nil {
		return // it is refused, or denied
	}
	checkServedResponse(t, body, r)
	out := rewritten(t, r, openai.Edit{CapField: openai.FieldMaxTokens, OutputCap: 20, IncludeUsage: true, Tier: "default"})
	again, err := openai.Parse(openai.Responses, out)
	if err != nil {
		t.Fatalf("%q became %q: %v", body, out, err)
	}
	checkServedResponse(t, out, again)
	if tokens, ok := again.Cap(openai.FieldMaxOutputTokens); !ok || tokens > 20 || again.Model != r.Model || again.IncludeUsage != r.IncludeUsage {
		t.Fatalf("%q became %q, which has a cap of %d", body, out, tokens)
	}
}

func checkServedResponse(t fataler, body []byte, r *openai.Request) {
	var s servedResponse
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	is := func(what string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q: a server reads %s as %v, and Parse as %v", body, what, got, want)
		}
	}
	tokens, set := r.Cap(openai.FieldMaxOutputTokens)
	is("model", s.Model, r.Model)
	is("stream", or(s.Stream, false), r.Stream)
	is("the cap", or(s.Cap, 0), tokens)
	is("the cap given", s.Cap != nil, set)
	is("the tier", or(s.Tier, ""), r.ServiceTier)
	is("the earlier response", or(s.Previous, ""), r.Previous)
	is("the background", or(s.Hidden, false), false)
	n, images, brought := s.items()
	_, _, _, gotImages, _, _ := openai.Counts(r)
	if len(s.Input) > 0 && string(s.Input) != "null" {
		messages, _, _, _, _, _ := openai.Counts(r)
		is("items", messages >= int64(n), true)
	}
	is("images", images <= int(gotImages), true)
	want := slices.Sorted(slices.Values(append(namesOf(s.Tools), brought...)))
	is("tools", want, slices.Sorted(slices.Values(r.Tools)))
}

// TestResponseReadersAgree: whoever reads a body that passes sees the same cap, model and
// counts.
func TestResponseReadersAgree(t *testing.T) {
	known := openai.Known(openai.Responses)
	shapes := slices.Sorted(maps.Values(responsePlaces))
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return odd(t, known) }), 1, 3).Draw(t, "members")
		checkResponseReaders(t, fmt.Appendf(nil, rapid.SampledFrom(shapes).Draw(t, "shape"), strings.Join(members, ",")))
	})
}

func FuzzResponseReadersAgree(f *testing.F) {
	for _, shape := range responsePlaces {
		for _, member := range []string{`"max_output_tokens":9`, `"MAX_OUTPUT_TOKENS":9`, `"image_url":"u"`, `"tools":[{"type":"namespace","tools":[{"type":"custom","name":"c"}]}]`, `"output":{"url":"u"}`} {
			f.Add(fmt.Appendf(nil, shape, member))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkResponseReaders(t, body) })
}
