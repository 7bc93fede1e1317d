package providers

import (
	"bytes"

	"github.com/tidwall/gjson"
)

// chunk is what is collected of one event.
type chunk struct {
	usage     bool // it tells of usage
	failed    bool
	choices   int64 // in it
	text      int64 // bytes of generated text
	listed    bool  // there is a whole list of choices
	openEnded bool  // its choices may go on behind its end
}

// event reads the payload of one event. What include_usage has added to it is the
// event itself, or a usage member that is null.
func (f *findings) event(payload []byte) (added addition) {
	if string(bytes.TrimSpace(payload)) == "[DONE]" {
		f.done = true
		return added
	}
	var null, key span // of the last usage that is null
	var e chunk
	w := walk{text: payload}
	closed := f.begin(&w, func(name span) {
		switch w.nameOf(name) {
		case "usage":
			if v := w.value(); string(payload[v.start:v.end]) == "null" {
				key, null = name, v
			} else if bytes.HasPrefix(payload[v.start:v.end], []byte("{")) {
				e.usage = true
				f.readUsage(payload[v.start:v.end])
			}
		case "choices":
			f.readChoices(&w, &e)
		case "model":
			f.readModel(w.bytes())
		case "error":
			e.failed = f.readError(w.bytes())
		case "x_groq": // Groq reports a stream's usage here
			f.readUsage([]byte(memberOf(gjson.ParseBytes(w.bytes()), "usage").Raw))
		}
	})
	alone := e.choices == 0 && !e.openEnded && (closed || e.listed)
	f.follow(&e, alone)
	switch {
	case e.usage:
		added.event = alone && !e.failed
	case null.end > 0:
		added.member = memberSpan(payload, key.start-1, null.end)
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
	if e.choices > 0 {
		f.text = f.text || e.text > 0
		f.seen.Ran = f.seen.Ran || !e.failed || e.text > 0
		f.seen.OutputTokens += max(e.choices, e.text)
	}
}

// maxHeadBytes bounds what is remembered of how an event began.
const maxHeadBytes = 1 << 10

// begin walks the members of an event, and reports whether its object is closed.
// The events of one stream begin alike, byte by byte: its id, its model. Up to the
// choices, or what else may differ, an event that does is not read again.
func (f *findings) begin(w *walk, member func(name span)) (closed bool) {
	if len(f.head) > 0 && bytes.HasPrefix(w.text, f.head) {
		w.at = len(f.head)
		return w.more(member)
	}
	f.head = f.head[:0]
	return w.members(func(name span) {
		if len(f.head) == 0 && !sameInStream[w.nameOf(name)] && name.start <= maxHeadBytes {
			f.head = append(f.head, w.text[:name.start-1]...)
		}
		member(name)
	})
}

// sameInStream are the members that every event of a stream repeats.
var sameInStream = map[string]bool{"id": true, "object": true, "created": true, "model": true, "service_tier": true, "system_fingerprint": true}

// readChoices takes the choices and counts the text in them. Choices that are cut
// off may have gone on.
func (f *findings) readChoices(w *walk, e *chunk) {
	null := w.next() == 'n'
	closed := w.elements(func() {
		e.choices++
		w.members(func(name span) {
			e.text += f.readChoice(w, w.nameOf(name))
		})
	})
	e.listed, e.openEnded = closed, e.openEnded || !closed && !null
}

// readChoice takes a member of a choice.
func (f *findings) readChoice(w *walk, name string) (text int64) {
	if name == "finish_reason" {
		f.finished = w.stringBytes() > 0 || f.finished
		return 0
	}
	return memberText(w, name, 0)
}

// maxTextDepth is how deep text is looked for in a choice; what lies deeper counts
// as text whole.
const maxTextDepth = 16

// textBytes takes a value that a model made, or a part of one, and adds up the
// text in it: every string, in whatever member, but for labels.
func textBytes(w *walk, depth int) (n int64) {
	switch c := w.next(); {
	case c == '"':
		return w.stringBytes()
	case c == '{' && depth < maxTextDepth:
		w.members(func(name span) { n += memberText(w, w.nameOf(name), depth) })
	case c == '[' && depth < maxTextDepth:
		w.elements(func() { n += textBytes(w, depth+1) })
	case c == '{' || c == '[':
		return int64(len(w.bytes()))
	}
	return n
}

func memberText(w *walk, name string, depth int) int64 {
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
