package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// created is the Unix time that answers carry, in seconds: a constant, so that
// the same request gets the same bytes.
const created = 1_767_225_600

// vocabulary is what the simulator has to say. Each word, with a space before
// it or without, is one token in OpenAI's vocabularies.
var vocabulary = strings.Fields("the ledger of a house is kept by hand and every line in it must be true before the next can be read by who pays for it")

// choice is one generated answer.
type choice struct {
	tokens []string // as shown, one by one
	tool   ToolCall // the tool called; without a name: plain text
	finish string
	billed Usage // only completion and reasoning
}

func (c choice) text() string { return strings.Join(c.tokens, "") }

// generate makes one choice. Its index varies the text, so that choices differ.
func generate(r *Request, a Answer, index int) choice {
	switch {
	case a.Call.Name != "":
		return callTool(r, a, a.Call)
	case a.Text != "":
		return say(r, a, choice{finish: "stop"}, a.Text)
	case r.wantsTool():
		return callTool(r, a, r.firstTool())
	}
	length, finish := outputLength(r, a)
	reasoning := min(a.Reasoning, length)
	c := choice{finish: finish, billed: Usage{Completion: length, Reasoning: reasoning}}
	for i := range length - reasoning {
		word := vocabulary[(int(i)+index)%len(vocabulary)]
		if i > 0 {
			word = " " + word
		}
		c.tokens = append(c.tokens, word)
	}
	return c
}

// outputLength is the tokens to generate and why they end there.
func outputLength(r *Request, a Answer) (length int64, finish string) {
	length = a.OutputTokens
	if length == 0 {
		length = r.Cap
	}
	if length == 0 {
		length = DefaultOutputTokens
	}
	length = min(length, MaxOutputTokens)
	if r.Cap > 0 && length >= r.Cap && !a.IgnoreCap {
		return r.Cap, "length"
	}
	return length, "stop"
}

// tokenRunes is how much of a given text, or of a call's arguments, one token holds.
const tokenRunes = 4

// callTool makes a call of a tool; a cap cuts it short.
func callTool(r *Request, a Answer, call ToolCall) choice {
	return say(r, a, choice{tool: call, finish: "tool_calls"}, call.Arguments)
}

// firstTool is a call of the first function offered.
func (r *Request) firstTool() ToolCall {
	return ToolCall{Name: r.Tools[0], Arguments: string(arguments(r.parameters)), Custom: r.custom}
}

// say gives a choice its text, or as much of it as the cap allows, behind the reasoning.
func say(r *Request, a Answer, c choice, text string) choice {
	for part := range slices.Chunk([]rune(text), tokenRunes) {
		c.tokens = append(c.tokens, string(part))
	}
	c.billed = Usage{Completion: a.Reasoning + int64(len(c.tokens)), Reasoning: a.Reasoning}
	if r.Cap > 0 && c.billed.Completion > r.Cap && !a.IgnoreCap {
		c.billed = Usage{Completion: r.Cap, Reasoning: min(a.Reasoning, r.Cap)}
		c.tokens, c.finish = c.tokens[:r.Cap-c.billed.Reasoning], "length"
	}
	return c
}

// arguments fills every required parameter of a function by its type.
func arguments(schema json.RawMessage) []byte {
	var parsed struct {
		Properties map[string]struct {
			Type string   `json:"type"`
			Enum []string `json:"enum"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	// What cannot be read has no required parameters.
	_ = json.Unmarshal(schema, &parsed)
	values := map[string]any{}
	for _, name := range parsed.Required {
		property := parsed.Properties[name]
		switch {
		case len(property.Enum) > 0:
			values[name] = property.Enum[0]
		case property.Type == "integer" || property.Type == "number":
			values[name] = 7
		case property.Type == "boolean":
			values[name] = true
		default:
			values[name] = "ledger"
		}
	}
	encoded, _ := json.Marshal(values)
	return encoded
}

// usageBody is usage as OpenAI writes it.
type usageBody struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Total      int64 `json:"total_tokens"`
	PromptIs   struct {
		Cached int64 `json:"cached_tokens"`
		Audio  int64 `json:"audio_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionIs struct {
		Reasoning int64 `json:"reasoning_tokens"`
		Audio     int64 `json:"audio_tokens"`
		Accepted  int64 `json:"accepted_prediction_tokens"`
		Rejected  int64 `json:"rejected_prediction_tokens"`
	} `json:"completion_tokens_details"`
}

func (u Usage) body() json.RawMessage {
	b := usageBody{Prompt: u.Prompt, Completion: u.Completion, Total: u.Total()}
	b.PromptIs.Cached = u.Cached
	b.CompletionIs.Reasoning = u.Reasoning
	return encode(b)
}

// generateAll makes r.N choices and adds what they cost, best_of included, to
// the usage.
func generateAll(r *Request, a Answer, usage *Usage) []choice {
	var choices []choice
	for i := range r.BestOf {
		c := generate(r, a, i)
		usage.add(c.billed)
		if i < r.N {
			choices = append(choices, c)
		}
	}
	return choices
}

func id(prefix string, r *Request) string { return fmt.Sprintf("%s-%024x", prefix, r.Number) }

// encode is json.Marshal of values that cannot fail.
func encode(v any) []byte {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("simulator: a body of its own making is not JSON: %v", err))
	}
	return encoded
}

// document is a complete JSON answer, laid out as OpenAI does.
func document(v any, usage Usage, a Answer) reply {
	var out bytes.Buffer
	indent, end := "  ", "\n"
	if a.OddWhitespace {
		out.WriteString("\r\n \t")
		indent, end = " \t", " \r\n\t\n"
	}
	_ = json.Indent(&out, encode(v), "", indent) // encode gave valid JSON
	out.WriteString(end)
	return reply{status: 200, usage: usage, pieces: []piece{{data: out.Bytes(), tokens: usage.Completion}}}
}

// stream is a text/event-stream under construction.
type stream struct {
	pieces []piece
	odd    bool
}

func (s *stream) event(data []byte, tokens int64) {
	form := "data: %s\n\n"
	if s.odd {
		form = ": still here\r\ndata:%s \r\n\r\n"
	}
	s.pieces = append(s.pieces, piece{data: fmt.Appendf(nil, form, data), tokens: tokens})
}

func (s *stream) done(a Answer) {
	switch {
	case a.NoDone:
	case s.odd:
		s.pieces = append(s.pieces, piece{data: []byte("data:[DONE]\r\n\r\n\r\n\n")})
	default:
		s.pieces = append(s.pieces, piece{data: []byte("data: [DONE]\n\n")})
	}
}
