package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
)

// responseBody is a response of OpenAI's Responses API: whole, or as far as it has come
// when a stream's event tells of it. The members that agents read are here, in the
// order of the recordings.
type responseBody struct {
	ID              string          `json:"id"`
	Object          string          `json:"object"`
	CreatedAt       int64           `json:"created_at"`
	Status          string          `json:"status"`
	Background      bool            `json:"background"`
	CompletedAt     *int64          `json:"completed_at"`
	Error           json.RawMessage `json:"error"`
	Incomplete      json.RawMessage `json:"incomplete_details"`
	Instructions    json.RawMessage `json:"instructions"`
	MaxOutputTokens *int64          `json:"max_output_tokens"`
	MaxToolCalls    *int64          `json:"max_tool_calls"`
	Model           string          `json:"model"`
	Output          []outputItem    `json:"output"`
	Parallel        bool            `json:"parallel_tool_calls"`
	Previous        *string         `json:"previous_response_id"`
	Reasoning       json.RawMessage `json:"reasoning"`
	ServiceTier     string          `json:"service_tier"`
	Store           bool            `json:"store"`
	Temperature     float64         `json:"temperature"`
	Text            json.RawMessage `json:"text"`
	ToolChoice      json.RawMessage `json:"tool_choice"`
	ToolUsage       json.RawMessage `json:"tool_usage,omitempty"`
	Tools           json.RawMessage `json:"tools"`
	TopP            float64         `json:"top_p"`
	Truncation      string          `json:"truncation"`
	Usage           json.RawMessage `json:"usage"`
	User            *string         `json:"user"`
	Metadata        json.RawMessage `json:"metadata"`
	Padding         string          `json:"padding,omitempty"`
}

// responseMembers are what a response repeats of its request, and what else of a request
// decides what it shows.
type responseMembers struct {
	Instructions json.RawMessage `json:"instructions"`
	MaxOutput    *int64          `json:"max_output_tokens"`
	MaxToolCalls *int64          `json:"max_tool_calls"`
	Parallel     *bool           `json:"parallel_tool_calls"`
	Previous     *string         `json:"previous_response_id"`
	Reasoning    json.RawMessage `json:"reasoning"`
	Store        *bool           `json:"store"`
	Text         json.RawMessage `json:"text"`
	ToolChoice   json.RawMessage `json:"tool_choice"`
	Tools        json.RawMessage `json:"tools"`
	Metadata     json.RawMessage `json:"metadata"`
	Include      []string        `json:"include"`
}

// responses answers a request of the Responses API.
func responses(r *Request, a Answer, usage Usage) reply {
	c := generate(r, a, 0)
	usage.add(c.billed)
	var asked responseMembers
	_ = json.Unmarshal(r.Body, &asked) // of another type: not repeated
	body, items := asked.body(r, a), asked.items(r, a, c)
	if r.Stream {
		return responseStream(a, body, items, c, usage)
	}
	return document(body.ended(a, c, items, usage), usage, a)
}

// body is the response as a stream begins with it.
func (m responseMembers) body(r *Request, a Answer) responseBody {
	return responseBody{
		ID: fmt.Sprintf("resp_%048x", r.Number), Object: "response", CreatedAt: created, Status: "in_progress",
		Instructions: m.Instructions, MaxOutputTokens: m.MaxOutput, MaxToolCalls: m.MaxToolCalls,
		Model: cmp.Or(a.Model, r.Model), Output: []outputItem{}, Parallel: m.Parallel == nil || *m.Parallel, Previous: m.Previous,
		Reasoning: orJSON(m.Reasoning, `{"effort":null,"summary":null}`), ServiceTier: "auto", Store: m.Store == nil || *m.Store,
		Temperature: 1, Text: orJSON(m.Text, `{"format":{"type":"text"},"verbosity":"medium"}`), ToolChoice: orJSON(m.ToolChoice, `"auto"`),
		Tools: orJSON(m.Tools, `[]`), TopP: 1, Truncation: "disabled", Metadata: orJSON(m.Metadata, `{}`),
		Padding: strings.Repeat("x", a.PadBytes),
	}
}

// ended is the response at its end: all items, why it ended, and what it used.
func (b responseBody) ended(a Answer, c choice, items []outputItem, usage Usage) responseBody {
	b.Status, b.ServiceTier = "completed", "default"
	for _, item := range items {
		b.Output = append(b.Output, item.whole(c.status()))
	}
	if c.finish == "length" {
		b.Status, b.Incomplete = "incomplete", json.RawMessage(`{"reason":"max_output_tokens"}`)
	} else {
		at := int64(created + 1)
		b.CompletedAt = &at
	}
	b.ToolUsage = fmt.Appendf(nil, `{"web_search":{"num_requests":%d}}`, a.Searches)
	if !a.NoUsage {
		b.Usage = usage.response()
	}
	return b
}

// status is that of an item which ends the output.
func (c choice) status() string {
	if c.finish == "length" {
		return "incomplete"
	}
	return "completed"
}

// response is usage as the Responses API writes it: what was cached is part of the input.
func (u Usage) response() json.RawMessage {
	return fmt.Appendf(nil, `{"input_tokens":%d,"input_tokens_details":{"cache_write_tokens":%d,"cached_tokens":%d},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":%d},"total_tokens":%d}`,
		u.Prompt, u.CacheWrites, u.Cached, u.Completion, u.Reasoning, u.Total())
}

// orJSON is a member as it was sent, or its default where it was not.
func orJSON(sent json.RawMessage, otherwise string) json.RawMessage {
	if len(sent) == 0 || string(sent) == "null" {
		return json.RawMessage(otherwise)
	}
	return sent
}
