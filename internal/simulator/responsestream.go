package simulator

import (
	"encoding/json"
	"fmt"
)

// events is a stream of the Responses API under construction: each event is named and
// numbered.
type events struct {
	stream
	next int
	at   int    // the place of the item that the events tell of
	item string // its id
}

// responseStream sends the response as it begins, its items one after the other, and the
// response at its end, which alone says what it used.
func responseStream(a Answer, body responseBody, items []outputItem, c choice, usage Usage) reply {
	s := events{stream: stream{odd: a.OddWhitespace}}
	s.send("response.created", 0, "response", body)
	body.Padding = "" // the first event had it
	s.send("response.in_progress", 0, "response", body)
	for i, item := range items {
		s.at, s.item = i, item.ID
		s.send("response.output_item.added", item.hidden, "output_index", i, "item", item.beginning())
		s.content(item)
		s.send("response.output_item.done", 0, "output_index", i, "item", item.whole(c.status()))
	}
	ended := body.ended(a, c, items, usage)
	if !a.NoDone {
		s.send("response."+ended.Status, 0, "response", ended)
	}
	return reply{status: 200, stream: true, usage: usage, pieces: s.pieces, broken: brokenResponse(body)}
}

// content sends what lies between the beginning of an item and its end.
func (s *events) content(item outputItem) {
	whole := item.whole("")
	switch item.Type {
	case "message":
		s.inItem("response.content_part.added", 0, "content_index", 0, "part", textPart(""))
		s.deltas(item, "response.output_text.delta", "content_index", 0, "logprobs", []string{})
		s.inItem("response.output_text.done", 0, "content_index", 0, "text", whole.Content[0].Text, "logprobs", []string{})
		s.inItem("response.content_part.done", 0, "content_index", 0, "part", whole.Content[0])
	case "function_call":
		s.deltas(item, "response.function_call_arguments.delta")
		s.inItem("response.function_call_arguments.done", 0, "arguments", *whole.Arguments, "name", item.Name)
	case "custom_tool_call":
		s.deltas(item, "response.custom_tool_call_input.delta")
		s.inItem("response.custom_tool_call_input.done", 0, "input", *whole.Input)
	case "reasoning":
		s.summary(item.Summary)
	case "web_search_call":
		for _, state := range []string{"in_progress", "searching", "completed"} {
			s.inItem("response.web_search_call."+state, 0)
		}
	}
}

func (s *events) summary(parts []outputPart) {
	for i, part := range parts {
		s.inItem("response.reasoning_summary_part.added", 0, "summary_index", i, "part", outputPart{Type: part.Type})
		s.inItem("response.reasoning_summary_text.delta", 0, "summary_index", i, "delta", part.Text)
		s.inItem("response.reasoning_summary_text.done", 0, "summary_index", i, "text", part.Text)
		s.inItem("response.reasoning_summary_part.done", 0, "summary_index", i, "part", part)
	}
}

// deltas sends the tokens of an item, with these other members.
func (s *events) deltas(item outputItem, kind string, members ...any) {
	for _, token := range item.tokens {
		s.inItem(kind, 1, append(members[:len(members):len(members)], "delta", token)...)
	}
}

func (s *events) inItem(kind string, tokens int64, members ...any) {
	s.send(kind, tokens, append([]any{"item_id", s.item, "output_index", s.at}, members...)...)
}

// send adds an event with these members: names and values.
func (s *events) send(kind string, tokens int64, members ...any) {
	encoded := []any{"sequence_number", fmt.Append(nil, s.next)}
	for i := 0; i < len(members); i += 2 {
		encoded = append(encoded, members[i], encode(members[i+1]))
	}
	s.next++
	s.named(kind, tokens, encoded...)
}

// brokenResponse is how OpenAI breaks off a stream of a response that has begun.
func brokenResponse(body responseBody) *piece {
	body.Status, body.Error = "failed", json.RawMessage(`{"code":"server_error","message":"The server had an error while processing your request."}`)
	s := events{next: MaxOutputTokens} // above the number of any event before
	s.send("error", 0, "error", json.RawMessage(`{"type":"server_error","code":"server_error","message":"The server had an error while processing your request.","param":null}`))
	s.send("response.failed", 0, "response", body)
	return &piece{data: append(s.pieces[0].data, s.pieces[1].data...)}
}
