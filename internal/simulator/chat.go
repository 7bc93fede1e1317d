package simulator

import (
	"cmp"
	"encoding/json"
	"strings"
)

// toolCall is a function call, whole or a part of one.
type toolCall struct {
	Index    *int   `json:"index,omitempty"` // only in streams
	ID       string `json:"id,omitempty"`
	Type     string `json:"type,omitempty"`
	Function struct {
		Name      string `json:"name,omitempty"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type chatMessage struct {
	Role        string     `json:"role"`
	Content     *string    `json:"content"`
	Refusal     *string    `json:"refusal"`
	Annotations []string   `json:"annotations"`
	ToolCalls   []toolCall `json:"tool_calls,omitempty"`
}

type chatDelta struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
}

// chatChoice holds a message in a whole answer, a delta in a stream.
type chatChoice struct {
	Index    int          `json:"index"`
	Message  *chatMessage `json:"message,omitempty"`
	Delta    *chatDelta   `json:"delta,omitempty"`
	Logprobs *struct{}    `json:"logprobs"`
	Finish   *string      `json:"finish_reason"`
}

// chatBody is a chat.completion or a chat.completion.chunk.
type chatBody struct {
	ID          string          `json:"id"`
	Object      string          `json:"object"`
	Created     int64           `json:"created"`
	Model       string          `json:"model"`
	Choices     []chatChoice    `json:"choices"`
	Usage       json.RawMessage `json:"usage,omitempty"`
	ServiceTier string          `json:"service_tier"`
	Fingerprint string          `json:"system_fingerprint"`
	Padding     string          `json:"padding,omitempty"`
}

// chat answers a chat completion.
func chat(r *Request, a Answer, usage Usage) reply {
	choices := generateAll(r, a, &usage)
	body := chatBody{
		ID:          id("chatcmpl", r),
		Created:     created,
		Model:       cmp.Or(a.Model, r.Model),
		ServiceTier: "default",
		Fingerprint: "fp_simulated",
		Padding:     strings.Repeat("x", a.PadBytes),
	}
	if r.Stream {
		return chatStream(r, a, body, choices, usage)
	}
	body.Object = "chat.completion"
	for i, c := range choices {
		body.Choices = append(body.Choices, chatChoice{Index: i, Message: c.message(r), Finish: &c.finish})
	}
	if !a.NoUsage {
		body.Usage = usage.body()
	}
	return document(body, usage, a)
}

func (c choice) message(r *Request) *chatMessage {
	m := &chatMessage{Role: "assistant", Annotations: []string{}}
	text := c.text()
	if c.tool.Name == "" {
		m.Content = &text
		return m
	}
	call := c.call(r)
	call.Function.Arguments = text
	m.ToolCalls = []toolCall{call}
	return m
}

// call is the head of a function call, its arguments still empty.
func (c choice) call(r *Request) toolCall {
	call := toolCall{ID: id("call", r), Type: "function"}
	call.Function.Name = c.tool.Name
	return call
}

// chatStream sends a role for each choice, its tokens one by one, its finish,
// and the usage where it was asked for.
func chatStream(r *Request, a Answer, body chatBody, choices []choice, usage Usage) reply {
	body.Object = "chat.completion.chunk"
	plan := usagePlan(r, a, usage)
	body.Usage = plan.other
	s := stream{odd: a.OddWhitespace}
	send := func(index int, delta chatDelta, finish *string, tokens int64) {
		body.Choices = []chatChoice{{Index: index, Delta: &delta, Finish: finish}}
		s.event(encode(body), tokens)
		body.Padding = "" // the first event had it
	}
	for i, c := range choices {
		send(i, c.opening(r), nil, c.billed.Reasoning)
	}
	for at, more := 0, true; more; at++ {
		more = false
		for i, c := range choices {
			if at < len(c.tokens) {
				send(i, c.delta(at), nil, 1)
				more = true
			}
		}
	}
	for i, c := range choices {
		if i == len(choices)-1 {
			body.Usage = plan.finish
		}
		send(i, chatDelta{}, &c.finish, 0)
	}
	if plan.own != nil {
		body.Choices, body.Usage = []chatChoice{}, plan.own
		s.event(encode(body), 0)
	}
	s.done(a)
	return reply{status: 200, stream: true, usage: usage, pieces: s.pieces}
}

// opening is the delta that says who speaks, or which function is called.
func (c choice) opening(r *Request) chatDelta {
	if c.tool.Name == "" {
		empty := ""
		return chatDelta{Role: "assistant", Content: &empty}
	}
	call := c.call(r)
	call.Index = new(int)
	return chatDelta{Role: "assistant", ToolCalls: []toolCall{call}}
}

// delta is the token at that place.
func (c choice) delta(at int) chatDelta {
	if c.tool.Name == "" {
		return chatDelta{Content: &c.tokens[at]}
	}
	part := toolCall{Index: new(int)}
	part.Function.Arguments = c.tokens[at]
	return chatDelta{ToolCalls: []toolCall{part}}
}

// plan says where a stream tells its usage: as the usage member of the
// ordinary events, of the finishing one, or of an event of its own. A nil
// member is left out.
type plan struct{ other, finish, own json.RawMessage }

func usagePlan(r *Request, a Answer, usage Usage) plan {
	null := json.RawMessage("null")
	switch {
	case a.NoUsage:
		return plan{}
	case a.UsageBesideChoices:
		return plan{finish: usage.body()}
	case r.IncludeUsage:
		return plan{other: null, finish: null, own: usage.body()}
	}
	return plan{}
}
