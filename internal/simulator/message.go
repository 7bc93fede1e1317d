package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// block is a content block of a message, whole or as it begins.
type block struct {
	Type      string          `json:"type"`
	Text      *string         `json:"text,omitempty"`
	Thinking  *string         `json:"thinking,omitempty"`
	Signature *string         `json:"signature,omitempty"`
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`
	ToolUseID string          `json:"tool_use_id,omitempty"`
	Content   json.RawMessage `json:"content,omitempty"`

	tokens []string // as streamed, one by one
	hidden int64    // billed, but not streamed one by one
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
	body.StopReason = &reason
	for _, b := range c.blocks(r, a) {
		body.Content = append(body.Content, b.whole())
	}
	if !a.NoUsage {
		body.Usage = usage.message(usage.Completion)
	}
	return document(body, usage, a)
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
	Creation struct {
		Short int64 `json:"ephemeral_5m_input_tokens"`
		Long  int64 `json:"ephemeral_1h_input_tokens"`
	} `json:"cache_creation"`
	ServerTools *serverTools `json:"server_tool_use,omitempty"`
}

type serverTools struct {
	Searches int64 `json:"web_search_requests"`
	Fetches  int64 `json:"web_fetch_requests"`
}

func (u Usage) message(output int64) json.RawMessage {
	b := messageUsage{Input: u.Prompt - u.Cached - u.CacheWrites, Write: u.CacheWrites, Read: u.Cached, Output: output, Tier: "standard"}
	b.Creation.Short = u.CacheWrites
	if u.Searches > 0 {
		b.ServerTools = &serverTools{Searches: u.Searches}
	}
	b.OutputHas.Thinking = min(u.Reasoning, output)
	return encode(b)
}

// messageStream sends the message as it begins, its blocks token by token, why it
// ended, and what it used: the input at first, the output at last.
func messageStream(r *Request, a Answer, body messageBody, c choice, usage Usage) reply {
	s := stream{odd: a.OddWhitespace}
	if !a.NoUsage {
		body.Usage = usage.message(1)
	}
	s.named("message_start", 0, "message", encode(body))
	s.named("ping", 0)
	for i, b := range c.blocks(r, a) {
		index := strconv.Itoa(i)
		s.named("content_block_start", b.hidden, "index", index, "content_block", encode(b.beginning()))
		for _, d := range b.deltas() {
			s.named("content_block_delta", d.tokens, "index", index, "delta", d.data)
		}
		s.named("content_block_stop", 0, "index", index)
	}
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
	if key := r.Header.Get("X-Api-Key"); key != "" && r.Endpoint.anthropic() {
		return key
	}
	if r.Endpoint.google() {
		return r.Header.Get("X-Goog-Api-Key")
	}
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return key
}
