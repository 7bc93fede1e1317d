package openai

import (
	"bytes"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// chunk is what is collected of one event.
type chunk struct {
	usage     bool // it tells of usage
	failed    bool
	choices   int64 // in it
	text      int64 // bytes of generated text
	beside    int64 // bytes of text beside the choices, in members that nobody knows
	listed    bool  // there is a whole list of choices
	openEnded bool  // its choices may go on behind its end
}

// event reads the payload of one event. What include_usage has added to it is the
// event itself, or a usage member that is null.
func (f *findings) Event(payload []byte) (added wire.Addition) {
	if string(bytes.TrimSpace(payload)) == "[DONE]" {
		f.done = true
		return added
	}
	var null, key wire.Span // of the last usage that is null
	var e chunk
	w := wire.Walk{Text: payload}
	closed := f.begin(&w, func(name wire.Span) {
		switch w.NameOf(name) {
		case "usage":
			if v := w.Value(); string(payload[v.Start:v.End]) == "null" {
				key, null = name, v
			} else if bytes.HasPrefix(payload[v.Start:v.End], []byte("{")) {
				e.usage = true
				f.readUsage(payload[v.Start:v.End])
			}
		case "choices":
			f.readChoices(&w, &e)
		case "model":
			f.readModel(w.Bytes())
		case "service_tier":
			f.readTier(w.Bytes())
		case "error":
			e.failed = f.readError(w.Bytes())
		case "x_groq": // Groq reports a stream's usage here
			f.readUsage([]byte(wire.Get(gjson.ParseBytes(w.Bytes()), "usage").Raw))
		default:
			e.beside += eventText(&w, w.NameOf(name))
		}
	})
	alone := e.choices == 0 && !e.openEnded && (closed || e.listed)
	f.follow(&e, alone)
	switch {
	case e.usage:
		added.Event = alone && !e.failed
	case null.End > 0:
		added.Member = wire.MemberSpan(payload, key.Start-1, null.End)
	}
	return added
}

// follow notes what an event makes of the usage that was told. One beside no
// choices is the last word, unless choices follow; one beside choices may be a
// running total until the stream has ended; and one before more text is not the
// total of anything.
func (f *findings) follow(e *chunk, alone bool) {
	switch {
	case f.tells:
		f.final, f.stale = alone, false
	case e.choices > 0:
		f.final = false
		f.stale = f.stale || e.text > 0
	}
	f.tells = false
	f.seen.OutputTokens += max(e.choices, e.text+e.beside)
	f.seen.Ran = f.seen.Ran || e.beside > 0 && !e.failed && f.served
	if e.choices > 0 {
		f.text = f.text || e.text > 0
		f.seen.Ran = f.seen.Ran || !e.failed || e.text > 0
	}
}

// maxHeadBytes bounds what is remembered of how an event began.
const maxHeadBytes = 1 << 10

// begin walks the members of an event, and reports whether its object is closed.
// The events of one stream begin alike, byte by byte: its id, its model. Up to the
// choices, or what else may differ, an event that does is not read again.
func (f *findings) begin(w *wire.Walk, member func(name wire.Span)) (closed bool) {
	if len(f.head) > 0 && bytes.HasPrefix(w.Text, f.head) {
		w.At = len(f.head)
		return w.More(member)
	}
	f.head = f.head[:0]
	return w.Members(func(name wire.Span) {
		if len(f.head) == 0 && !sameInStream[w.NameOf(name)] && name.Start <= maxHeadBytes {
			f.head = append(f.head, w.Text[:name.Start-1]...)
		}
		member(name)
	})
}

// sameInStream are the members that every event of a stream repeats.
var sameInStream = map[string]bool{"id": true, "object": true, "created": true, "model": true, "service_tier": true, "system_fingerprint": true}

// readChoices takes the choices and counts the text in them. Choices that are cut
// off may have gone on.
func (f *findings) readChoices(w *wire.Walk, e *chunk) {
	null := w.Next() == 'n'
	closed := w.Elements(func() {
		e.choices++
		w.Members(func(name wire.Span) {
			e.text += f.readChoice(w, w.NameOf(name))
		})
	})
	e.listed, e.openEnded = closed, e.openEnded || !closed && !null
}

// readChoice takes a member of a choice.
func (f *findings) readChoice(w *wire.Walk, name string) (text int64) {
	if name == "finish_reason" {
		f.finished = w.StringBytes() > 0 || f.finished
		return 0
	}
	return memberText(w, name, 0)
}

// maxTextDepth is how deep text is looked for in a choice; what lies deeper counts
// as text whole.
const maxTextDepth = 16

// textBytes takes a value that a model made, or a part of one, and adds up the
// text in it: every string, in whatever member, but for labels.
func textBytes(w *wire.Walk, depth int) (n int64) {
	switch c := w.Next(); {
	case c == '"':
		return w.StringBytes()
	case c == '{' && depth < maxTextDepth:
		w.Members(func(name wire.Span) { n += memberText(w, w.NameOf(name), depth) })
	case c == '[' && depth < maxTextDepth:
		w.Elements(func() { n += max(textBytes(w, depth+1), isNumber(w)) })
	case c == '{' || c == '[':
		return int64(len(w.Bytes()))
	}
	return n
}

// isNumber is 1 if a number comes next: in a list it may be that of a token.
func isNumber(w *wire.Walk) int64 {
	if c := w.Next(); '0' <= c && c <= '9' {
		return 1
	}
	return 0
}

// eventText is the text in a member of an event.
func eventText(w *wire.Walk, name string) int64 {
	if noOutput[name] {
		return 0
	}
	return memberText(w, name, 0)
}

// noOutput are members of an event, beside labels, in which is nothing that a model has
// written: the names and sizes of things, what the prompt was, and what a search has found.
var noOutput = map[string]bool{
	"created": true, "system_fingerprint": true, "provider": true, "obfuscation": true, "p": true, "event_id": true, "request_id": true,
	"item_id": true, "response_id": true, "output_index": true, "content_index": true, "summary_index": true, "sequence_number": true,
	"prompt_filter_results": true, "prompt_token_ids": true, "prompt_logprobs": true, "kv_transfer_params": true, "timings": true,
	"citations": true, "search_results": true, "images": true, "related_questions": true,
}

func memberText(w *wire.Walk, name string, depth int) int64 {
	if labels[name] {
		return 0
	}
	return textBytes(w, depth+1)
}

// labels are members whose strings no model has generated: names and reasons that
// servers give, and what says the same text again.
var labels = map[string]bool{
	"role": true, "id": true, "type": true, "object": true, "format": true, "model": true, "service_tier": true,
	"finish_reason": true, "native_finish_reason": true, "stop_reason": true, "matched_stop": true,
	"content_filter_results": true, "content_filter_result": true, "content_filter_offsets": true, "logprobs": true,
}
