package openai_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// A second reader is a server's: it reads a body by other rules than Parse does.
// Where it could see another cap, model or count in it, Parse must refuse it.

// node is JSON text as it stands: an object with all its members, equal names
// among them, an array, or a scalar.
type node struct {
	members []namedNode // of an object
	array   []*node
	scalar  any // json.Number, string, bool, or nil
	kind    byte
}

type namedNode struct {
	name  string
	value *node
}

func readNode(d *json.Decoder) (*node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, nested := token.(json.Delim)
	if !nested {
		return &node{scalar: token, kind: 's'}, nil
	}
	n := &node{kind: byte(delim)}
	for d.More() {
		var name any
		if delim == '{' {
			if name, err = d.Token(); err != nil {
				return nil, err
			}
		}
		value, err := readNode(d)
		if err != nil {
			return nil, err
		}
		if delim == '{' {
			n.members = append(n.members, namedNode{name.(string), value})
		} else {
			n.array = append(n.array, value)
		}
	}
	_, err = d.Token()
	return n, err
}

// spellings are the ways in which servers compare names.
var spellings = map[string]func(a, b string) bool{
	"exactly":         func(a, b string) bool { return a == b },
	"in any case":     strings.EqualFold,
	"as Java does":    func(a, b string) bool { return strings.EqualFold(javaUpper(a), javaUpper(b)) },
	"to a zero byte":  func(a, b string) bool { return head(a) == b },
	"both of the two": func(a, b string) bool { return strings.EqualFold(head(a), b) },
}

func javaUpper(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "\u0130", "i")) }

func head(s string) string { s, _, _ = strings.Cut(s, "\x00"); return s }

// lookups are what each kind of server takes for the member of a name.
func (n *node) lookups(name string) map[string]*node {
	found := map[string]*node{}
	for how, same := range spellings {
		for _, m := range n.members {
			if same(m.name, name) {
				if found["first, "+how] == nil {
					found["first, "+how] = m.value
				}
				found["last, "+how] = m.value
			}
		}
	}
	return found
}

// member is the only member of a name; nil if there is none.
func (n *node) member(t fataler, body []byte, place, name string) *node {
	found := n.lookups(name)
	value := found["first, exactly"]
	for how, other := range found {
		if other != value {
			t.Fatalf("%q: %s in %q, %s, is another one", body, name, place, how)
		}
	}
	return value
}

// below says at which place the value of a member is, if names mean something
// there.
func below(place, name string) (string, bool) {
	inner := name
	if place != "" {
		inner = place + "." + name
	}
	switch {
	case name == "google" && place == "extra_body":
		return "google", true
	case inner == "messages.function_call", strings.HasPrefix(place, "messages.tool_calls") && (name == "function" || name == "custom"):
		return "messages.tool_calls", true
	case inner == "response_format.json_schema":
		return "response_format", true
	case place == "tool_choice" && (name == "function" || name == "custom" || name == "allowed_tools" || name == "tools"):
		return "tool_choice", true
	case place == "extra_body", name == "metadata":
		return "", false
	}
	_, known := openai.Known(openai.ChatCompletions)[inner]
	return inner, known
}

// checkNames has every server look for every name that means something.
func (n *node) checkNames(t fataler, body []byte, known map[string][]string, place string) {
	for _, element := range n.array {
		element.checkNames(t, body, known, place)
	}
	if n.kind != '{' {
		return
	}
	for _, name := range known[place] {
		value := n.member(t, body, place, name)
		if inner, deeper := below(place, name); value != nil && deeper {
			value.checkNames(t, body, known, inner)
		}
	}
}

// served is a body as a server in Go reads it, and one that lays extra_body over
// it.
type served struct {
	Model         string   `json:"model"`
	Stream        *bool    `json:"stream"`
	N             *int64   `json:"n"`
	BestOf        *int64   `json:"best_of"`
	MaxTokens     *int64   `json:"max_tokens"`
	MaxCompletion *int64   `json:"max_completion_tokens"`
	ServiceTier   *string  `json:"service_tier"`
	Options       *options `json:"stream_options"`
	Messages      []struct {
		Role    any             `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Tools []struct {
		Type     *string `json:"type"`
		Function *named  `json:"function"`
		Custom   *named  `json:"custom"`
	} `json:"tools"`
	Functions []named         `json:"functions"`
	Prompt    json.RawMessage `json:"prompt"`
	Input     json.RawMessage `json:"input"`
}

type options struct {
	IncludeUsage *bool `json:"include_usage"`
}

type named struct {
	Name *string `json:"name"`
}

// checkServed compares what a server in Go reads with what Parse has read.
func checkServed(t fataler, endpoint openai.Endpoint, body []byte, r *openai.Request) {
	var s served
	err := json.Unmarshal(body, &s)
	if _, refused := errors.AsType[*json.UnmarshalTypeError](err); refused && endpoint == openai.Completions {
		return // it reads chat's members here, which are no business of Parse
	}
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	is := func(what string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q: a server reads %s as %v, and Parse as %v", body, what, got, want)
		}
	}
	is("model", s.Model, r.Model)
	is("stream", or(s.Stream, false), r.Stream)
	is("include_usage", s.Options != nil && or(s.Options.IncludeUsage, false), r.IncludeUsage)
	is("service_tier", or(s.ServiceTier, ""), r.ServiceTier)
	for field, got := range map[string]*int64{openai.FieldMaxTokens: s.MaxTokens, openai.FieldMaxCompletionTokens: s.MaxCompletion} {
		want, set := r.Cap(field)
		is(field+" given", got != nil, set)
		is(field, or(got, 0), want)
	}
	messages, parts, tools, images, prompts, ids := openai.Counts(r)
	if endpoint == openai.ChatCompletions {
		is("messages", len(s.Messages), messages)
		is("parts", s.parts(), parts)
		is("images", s.images(), images)
		is("tools", s.functions(), tools)
		is("names of tools", s.toolNames(), slices.Sorted(slices.Values(r.Tools)))
		is("choices", max(or(s.N, 1), or(s.BestOf, 1), 1), r.Choices)
		return
	}
	text := s.Prompt
	if endpoint == openai.Embeddings {
		text = s.Input
	}
	n, tokens := promptsOf(text)
	is("prompts", n, prompts)
	is("token ids", tokens, ids)
	if endpoint == openai.Completions {
		is("choices", n*max(or(s.N, 1), or(s.BestOf, 1), 1), r.Choices)
	}
}

func or[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}

func (s *served) eachPart(f func(part json.RawMessage)) {
	for _, m := range s.Messages {
		var list []json.RawMessage
		if json.Unmarshal(m.Content, &list) == nil {
			for _, part := range list {
				f(part)
			}
		}
	}
}

func (s *served) parts() (n int) { s.eachPart(func(json.RawMessage) { n++ }); return n }

func (s *served) images() (n int) {
	s.eachPart(func(part json.RawMessage) {
		var p struct {
			Image *json.RawMessage `json:"image_url"`
		}
		if json.Unmarshal(part, &p) == nil && p.Image != nil {
			n++
		}
	})
	return n
}

func (s *served) functions() int {
	n := len(s.Functions)
	for _, tool := range s.Tools {
		if tool.Function != nil {
			n++
		}
		if tool.Custom != nil {
			n++
		}
	}
	return n
}

// toolNames are the names that a server knows the tools by.
func (s *served) toolNames() []string {
	list := []string{}
	name := func(n *named) { list = append(list, or(n.Name, "")) }
	for _, tool := range s.Tools {
		before := len(list)
		for _, f := range []*named{tool.Function, tool.Custom} {
			if f != nil {
				name(f)
			}
		}
		if len(list) == before {
			list = append(list, "")
		}
	}
	for i := range s.Functions {
		name(&s.Functions[i])
	}
	slices.Sort(list)
	return list
}

// promptsOf counts the prompts or inputs in a value, and their token ids.
func promptsOf(text json.RawMessage) (prompts, ids int64) {
	var list []json.RawMessage
	if json.Unmarshal(text, &list) != nil {
		return 1, 0
	}
	for _, element := range list {
		var inner []json.RawMessage
		switch {
		case json.Unmarshal(element, &inner) == nil:
			prompts, ids = prompts+1, ids+int64(len(inner))
		case bytes.HasPrefix(element, []byte(`"`)):
			prompts++
		default:
			ids++
		}
	}
	return max(prompts, 1), ids
}

// checkReaders parses a body and has every server read it too, and what leaves in
// its place.
func checkReaders(t fataler, endpoint openai.Endpoint, body []byte) {
	r, err := openai.Parse(endpoint, body)
	if err != nil || r.NoBound(&providers.Terms{Provider: "openai"}) != nil {
		return // it is refused, or denied
	}
	known := openai.Known(endpoint)
	checkBody(t, endpoint, known, body, r)
	for _, field := range []string{openai.FieldMaxTokens, openai.FieldMaxCompletionTokens} {
		edit := openai.Edit{CapField: field, OutputCap: 7, IncludeUsage: true}
		out := rewritten(t, r, edit)
		again, err := openai.Parse(endpoint, out)
		if err != nil {
			t.Fatalf("%q became %q: %v", body, out, err)
		}
		checkBody(t, endpoint, known, out, again)
		if endpoint == openai.Embeddings {
			continue
		}
		if endpoint == openai.Completions {
			field = openai.FieldMaxTokens
		}
		if tokens, ok := again.Cap(field); !ok || tokens > edit.OutputCap {
			t.Fatalf("%q became %q, which has a cap of %d", body, out, tokens)
		}
		if again.Model != r.Model || again.Choices != r.Choices || again.Stream != r.Stream || again.Stream && !again.IncludeUsage {
			t.Fatalf("%q became %q", body, out)
		}
	}
}

func checkBody(t fataler, endpoint openai.Endpoint, known map[string][]string, body []byte, r *openai.Request) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	n, err := readNode(d)
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	n.checkNames(t, body, known, "")
	checkServed(t, endpoint, body, r)
	if extra := n.member(t, body, "", "extra_body"); extra != nil {
		for _, name := range []string{"model", "n", "best_of", "max_tokens", "max_completion_tokens", "stream", "messages", "tools", "fallbacks"} {
			for how, value := range extra.lookups(name) {
				if value.scalar != nil && value.scalar != false || value.kind != 's' {
					t.Fatalf("%q: extra_body has %s, %s", body, name, how)
				}
			}
		}
	}
}

// odd draws a member whose name is near one that means something.
func odd(t *rapid.T, known map[string][]string) string {
	place := rapid.SampledFrom(slices.Sorted(keysOf(known))).Draw(t, "place")
	name := rapid.SampledFrom(known[place]).Draw(t, "name")
	name = rapid.SampledFrom(append(misspellings(name), name, name+"x")).Draw(t, "spelling")
	value := rapid.SampledFrom([]string{"null", "1", "100000", "true", `"text"`, `[]`, `{}`, `[{"type":"text","text":"a"}]`, `{"max_tokens":9,"N":2}`, `"\ud83d"`}).Draw(t, "value")
	return `"` + name + `":` + value
}

func keysOf(m map[string][]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestReadersAgree: whoever reads a body that passes sees the same cap, model and
// counts.
func TestReadersAgree(t *testing.T) {
	known := openai.Known(openai.ChatCompletions)
	shapes := slices.Collect(func(yield func(string) bool) {
		for _, shape := range places {
			if !yield(shape) {
				return
			}
		}
	})
	slices.Sort(shapes)
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return odd(t, known) }), 1, 3).Draw(t, "members")
		body := fmt.Sprintf(rapid.SampledFrom(shapes).Draw(t, "shape"), strings.Join(members, ","))
		checkReaders(t, rapid.SampledFrom([]openai.Endpoint{openai.ChatCompletions, openai.Completions}).Draw(t, "endpoint"), []byte(body))
	})
}

func FuzzReadersAgree(f *testing.F) {
	for _, shape := range places {
		for _, member := range []string{`"max_tokens":9`, `"MAX_TOKENS":9`, `"n":2,"best_of":3`, `"max_to\u212aens":9`, `"content":[{"type":"text","text":"a"}]`, `"name":"\ud83d"`} {
			f.Add(byte(0), fmt.Appendf(nil, shape, member))
		}
	}
	f.Add(byte(1), []byte(`{"model":"m","prompt":["a","b"],"n":2,"max_tokens":0,"echo":true}`))
	f.Add(byte(1), []byte(`{"model":"m","prompt":[[1,2],[3]],"max_completion_tokens":5,"stream":true,"stream_options":{"a":1}}`))
	f.Add(byte(2), []byte(`{"model":"m","input":[1,2,3],"n":3}`))
	f.Fuzz(func(t *testing.T, endpoint byte, body []byte) {
		list := [...]openai.Endpoint{openai.ChatCompletions, openai.Completions, openai.Embeddings}
		checkReaders(t, list[int(endpoint)%len(list)], body)
	})
}
