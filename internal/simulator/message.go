package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// block is a content block of a message, whole or as it begins.
type block struct {
	Type  string          `json:"type"`
	Text  *string         `json:"text,omitempty"`
	ID    string          `json:"id,omitempty"`
	Name  string          `json:"name,omitempty"`
	Input json.RawMessage `json:"input,omitempty"`
}

// messageBody is a message, whole or as a stream begins with it.
type messageBody struct {
	ID           string          `json:"id"`
	Type         string          `json:"type"`
	Role         string          `json:"role"`
	Model        string          `json:"model"`
	Content      []block         `json:"content"`
	StopReason   *string         `json:"stop_reason"`
	StopSequence *string         `json:"stop_sequence"`
	Usage        json.RawMessage `json:"usage,omitempty"`
	Padding      string          `json:"padding,omitempty"`
}

// stopReasons are the API's words for why a choice ended.
var stopReasons = map[string]string{"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}

// messages answers a request of Anthropic's API.
func messages(r *Request, a Answer, usage Usage) reply {
	c := generate(r, a, 0)
	usage.add(c.billed)
	body := messageBody{
		ID: id("msg", r), Type: "message", Role: "assistant", Model: cmp.Or(a.Model, r.Model),
		Content: []block{}, Padding: strings.Repeat("x", a.PadBytes),
	}
	if r.Stream {
		return messageStream(r, a, body, c, usage)
	}
	reason := stopReasons[c.finish]
	body.Content, body.StopReason = append(body.Content, c.block(r)), &reason
	if !a.NoUsage {
		body.Usage = usage.message(usage.Completion)
	}
	return document(body, usage, a)
}

// block is the whole of what was generated.
func (c choice) block(r *Request) block {
	b := c.beginning(r)
	if text := c.text(); c.tool == "" {
		b.Text = &text
	} else if json.Valid([]byte(text)) {
		b.Input = json.RawMessage(text)
	}
	return b
}

// beginning is the block as a stream begins with it.
func (c choice) beginning(r *Request) block {
	if c.tool == "" {
		return block{Type: "text", Text: new(string)}
	}
	return block{Type: "tool_use", ID: id("toolu", r), Name: c.tool, Input: json.RawMessage("{}")}
}

// messageUsage is usage as Anthropic writes it: what was cached lies beside the input.
type messageUsage struct {
	Input     int64  `json:"input_tokens"`
	Write     int64  `json:"cache_creation_input_tokens"`
	Read      int64  `json:"cache_read_input_tokens"`
	Output    int64  `json:"output_tokens"`
	Tier      string `json:"service_tier,omitempty"`
	OutputHas struct {
		Thinking int64 `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
}

func (u Usage) message(output int64) json.RawMessage {
	b := messageUsage{Input: u.Prompt - u.Cached, Read: u.Cached, Output: output, Tier: "standard"}
	b.OutputHas.Thinking = min(u.Reasoning, output)
	return encode(b)
}

// messageStream sends the message as it begins, its one block token by token, why it
// ended, and what it used: the input at first, the output at last.
func messageStream(r *Request, a Answer, body messageBody, c choice, usage Usage) reply {
	s := stream{odd: a.OddWhitespace}
	if !a.NoUsage {
		body.Usage = usage.message(1)
	}
	s.named("message_start", 0, "message", encode(body))
	s.named("ping", 0)
	s.named("content_block_start", usage.Reasoning, "index", "0", "content_block", encode(c.beginning(r)))
	kind, member := "text_delta", "text"
	if c.tool != "" {
		kind, member = "input_json_delta", "partial_json"
	}
	for _, token := range c.tokens {
		delta := map[string]string{"type": kind, member: token}
		s.named("content_block_delta", 1, "index", "0", "delta", encode(delta))
	}
	s.named("content_block_stop", 0, "index", "0")
	s.finish(a, c, usage)
	return reply{status: 200, stream: true, usage: usage, pieces: s.pieces, broken: brokenMessage}
}

func (s *stream) finish(a Answer, c choice, usage Usage) {
	delta := fmt.Sprintf(`{"stop_reason":%q,"stop_sequence":null}`, stopReasons[c.finish])
	if a.NoUsage {
		s.named("message_delta", 0, "delta", delta)
	} else {
		s.named("message_delta", 0, "delta", delta, "usage", usage.message(usage.Completion))
	}
	if !a.NoDone {
		s.named("message_stop", 0)
	}
}

// named adds an event whose name is its type, with these members: names and JSON.
func (s *stream) named(kind string, tokens int64, members ...any) {
	data := fmt.Appendf(nil, `{"type":%q`, kind)
	for i := 0; i < len(members); i += 2 {
		data = fmt.Appendf(data, `,%q:%s`, members[i], members[i+1])
	}
	data = append(data, '}')
	form := "event: %s\ndata: %s\n\n"
	if s.odd {
		form = ": still here\r\nevent:%s\r\ndata:%s \r\n\r\n"
	}
	s.pieces = append(s.pieces, piece{data: fmt.Appendf(nil, form, kind, data), tokens: tokens})
}

// brokenMessage is how Anthropic breaks off a stream that has begun.
var brokenMessage = &piece{data: []byte("event: error\ndata: " + `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}` + "\n\n")}

// anthropicErrors are the API's error types by status.
var anthropicErrors = map[int]string{
	400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
	413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 503: "api_error", 504: "timeout_error", 529: "overloaded_error",
}

// messageFailure is an error body as Anthropic writes it.
func messageFailure(status int, message string) reply {
	kind := cmp.Or(anthropicErrors[status], "api_error")
	var body struct {
		Type  string `json:"type"`
		Error struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Type, body.Error.Type, body.Error.Message = "error", kind, cmp.Or(message, http.StatusText(status))
	return reply{status: status, pieces: []piece{{data: encode(body)}}}
}

// key is the API key that a request brings.
func (r *Request) key() string {
	if key := r.Header.Get("X-Api-Key"); key != "" && r.Endpoint == Messages {
		return key
	}
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return key
}
