package providers

import (
	"bytes"

	"github.com/tidwall/gjson"
)

// eventStream cuts a stream of server-sent events at their blank lines,
// whatever ends its lines (LF, CRLF or CR), and reads each event.
type eventStream struct {
	found *findings
	held  []byte // of the event that is not complete yet
	out   []byte // what to pass on; nil where nothing is stripped

	lineEmpty bool // the line has no byte yet
	afterCR   bool // a LF now belongs to the line end before it
	ended     bool // that CR ended an event, which was
	dropped   bool // dropped
	tooLong   bool // the event is beyond MaxEventBytes and passes unread

	lines  []dataLine
	joined []byte
}

// dataLine is the value of one data line of an event.
type dataLine struct {
	at      span // in the event
	payload int  // where it begins in the payload
}

func (s *eventStream) feed(chunk []byte) []byte {
	if s.out == nil {
		s.split(chunk)
		return chunk
	}
	s.out = s.out[:0]
	s.split(chunk)
	return s.out
}

// close reads what follows the last blank line as an event too: some servers
// end without one.
func (s *eventStream) close() []byte {
	if s.out != nil {
		s.out = s.out[:0]
	}
	if len(s.held) > 0 {
		s.event(s.held)
		s.held = nil
	}
	return s.out
}

func (s *eventStream) split(chunk []byte) {
	lines := newLineEnds(chunk)
	for from := 0; from < len(chunk); {
		if s.ended && chunk[from] == '\n' { // second half of the CRLF that ended it
			if !s.dropped {
				s.pass(chunk[from : from+1])
			}
			s.ended, s.afterCR = false, false
			from++
			continue
		}
		s.ended = false
		to, complete := s.scan(lines, from)
		s.take(chunk[from:to], complete)
		from = to
	}
}

// scan returns where the current event ends in the chunk, or the chunk does, and
// whether the event is complete there.
func (s *eventStream) scan(lines *lineEnds, from int) (to int, complete bool) {
	for from < len(lines.text) {
		end := lines.next(from)
		if end > from {
			s.lineEmpty, s.afterCR = false, false
		}
		if end == len(lines.text) {
			break
		}
		second := lines.text[end] == '\n' && s.afterCR
		s.afterCR = lines.text[end] == '\r'
		from = end + 1
		switch {
		case second:
		case s.lineEmpty:
			return from, true
		default:
			s.lineEmpty = true
		}
	}
	return len(lines.text), false
}

// lineEnds finds the ends of lines, reading each byte once for LF and once for CR.
type lineEnds struct {
	text   []byte
	lf, cr int // next ones known
}

func newLineEnds(text []byte) *lineEnds { return &lineEnds{text, -1, -1} }

// next returns the index of the first CR or LF at or after from, or the length of
// the text. from never decreases.
func (l *lineEnds) next(from int) int {
	if l.lf < from {
		l.lf = indexFrom(l.text, '\n', from)
	}
	if l.cr < from {
		l.cr = indexFrom(l.text, '\r', from)
	}
	return min(l.lf, l.cr)
}

func indexFrom(text []byte, c byte, from int) int {
	if i := bytes.IndexByte(text[from:], c); i >= 0 {
		return from + i
	}
	return len(text)
}

// take adds bytes to the current event and handles it once it is complete.
func (s *eventStream) take(b []byte, complete bool) {
	if !s.tooLong && len(s.held)+len(b) > MaxEventBytes {
		s.tooLong = true
		s.found.forget()
		s.pass(s.held)
		s.held = nil
	}
	switch {
	case s.tooLong:
		s.pass(b)
		s.dropped = false
	case !complete:
		s.held = append(s.held, b...)
	case len(s.held) == 0:
		s.event(b)
	default:
		s.held = append(s.held, b...)
		s.event(s.held)
		s.held = s.held[:0]
	}
	if complete {
		s.tooLong = false
		s.ended = s.afterCR
	}
}

func (s *eventStream) pass(b []byte) {
	if s.out != nil {
		s.out = append(s.out, b...)
	}
}

// event reads one event and passes on what is to remain of it.
func (s *eventStream) event(event []byte) {
	s.dropped = false
	payload := s.payload(event)
	if len(s.lines) == 0 {
		s.pass(event)
		return
	}
	if string(bytes.TrimSpace(payload)) == "[DONE]" {
		s.found.seen.Complete = true
		s.pass(event)
		return
	}
	added := s.found.readEvent(payload)
	if s.out == nil {
		return
	}
	switch {
	case added.event:
		s.dropped = true
		s.passComments(event)
	default:
		s.passWithout(event, added.member)
	}
}

// payload finds the data lines and returns what they say, joined by LF.
func (s *eventStream) payload(event []byte) []byte {
	s.lines, s.joined = s.lines[:0], s.joined[:0]
	eachLine(event, func(line span, _ int) {
		text := event[line.start:line.end]
		if line.start == 0 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		value, ok := bytes.CutPrefix(text, []byte("data:"))
		if !ok {
			return
		}
		value = bytes.TrimPrefix(value, []byte(" "))
		s.lines = append(s.lines, dataLine{at: span{line.end - len(value), line.end}})
	})
	if len(s.lines) == 1 {
		return event[s.lines[0].at.start:s.lines[0].at.end]
	}
	for i, l := range s.lines {
		if i > 0 {
			s.joined = append(s.joined, '\n')
		}
		s.lines[i].payload = len(s.joined)
		s.joined = append(s.joined, event[l.at.start:l.at.end]...)
	}
	return s.joined
}

// eachLine calls f with each line of an event, without its end, and where the
// next one begins.
func eachLine(event []byte, f func(line span, next int)) {
	lines := newLineEnds(event)
	for start := 0; start < len(event); {
		end := lines.next(start)
		next := min(end+1, len(event))
		if end+1 < len(event) && event[end] == '\r' && event[end+1] == '\n' {
			next++
		}
		f(span{start, end}, next)
		start = next
	}
}

// passComments passes on the comment lines of a dropped event.
func (s *eventStream) passComments(event []byte) {
	eachLine(event, func(line span, next int) {
		if line.end > line.start && event[line.start] == ':' {
			s.pass(event[line.start:next])
		}
	})
}

// passWithout passes on the event without this span of its payload. The ends of
// its data lines stay.
func (s *eventStream) passWithout(event []byte, cut span) {
	from := 0
	for _, l := range s.lines {
		shift := l.at.start - l.payload
		start := max(cut.start+shift, l.at.start)
		end := min(cut.end+shift, l.at.end)
		if start < end {
			s.pass(event[from:start])
			from = end
		}
	}
	s.pass(event[from:])
}

// addition is what include_usage has added to an event: the event itself, or
// the span of a null usage member.
type addition struct {
	event  bool
	member span
}

// readEvent reads the object of one event.
func (f *findings) readEvent(payload []byte) (added addition) {
	var usage, key span
	empty := false
	w := walk{text: payload}
	f.begin(&w, func(name span) {
		switch w.nameOf(name) {
		case "usage":
			key, usage = name, w.value()
		case "choices":
			empty = f.readChoices(&w)
		case "model":
			f.readModel(gjson.ParseBytes(w.bytes()))
		case "error":
			f.readError(gjson.ParseBytes(w.bytes()))
		case "x_groq": // Groq reports a stream's usage here
			f.readUsage(memberOf(gjson.ParseBytes(w.bytes()), "usage").Raw, false)
		}
	})
	switch object := payload[usage.start:usage.end]; {
	case bytes.HasPrefix(object, []byte("{")):
		f.readUsage(view(object), empty)
		added.event = empty
	case string(object) == "null":
		added.member = memberSpan(payload, key.start-1, usage.end)
	}
	return added
}

// memberSpan widens the span of a member by the comma that goes with it.
func memberSpan(object []byte, start, end int) span {
	const blank = " \t\r\n"
	rest := bytes.TrimLeft(object[end:], blank)
	if len(rest) > 0 && rest[0] == ',' {
		return span{start, len(object) - len(bytes.TrimLeft(rest[1:], blank))}
	}
	before := bytes.TrimRight(object[:start], blank)
	if n := len(before); n > 0 && before[n-1] == ',' {
		return span{n - 1, end}
	}
	return span{start, end}
}

// maxHeadBytes bounds what is remembered of how an event began.
const maxHeadBytes = 1 << 10

// begin walks the members of an event. Those of one stream begin alike, byte by
// byte: its id, its model. Up to the choices, or what else may differ, an event
// that does is not read again.
func (f *findings) begin(w *walk, member func(name span)) {
	if len(f.head) > 0 && bytes.HasPrefix(w.text, f.head) {
		w.at = len(f.head)
		w.more(member)
		return
	}
	f.head = f.head[:0]
	w.members(func(name span) {
		if len(f.head) == 0 && !sameInStream[w.nameOf(name)] && name.start <= maxHeadBytes {
			f.head = append(f.head, w.text[:name.start-1]...)
		}
		member(name)
	})
}

// sameInStream are the members that every event of a stream repeats.
var sameInStream = map[string]bool{"id": true, "object": true, "created": true, "model": true, "service_tier": true, "system_fingerprint": true}

// readChoices takes the choices and counts the text in their deltas. It reports
// whether there is an array of choices, and nothing in it. One that is cut off
// may have gone on: usage beside it is not the last word.
func (f *findings) readChoices(w *walk) (empty bool) {
	empty = w.next() == '['
	w.elements(func() {
		empty = false
		if text := textBytes(w, 0); text > 0 {
			f.seen.OutputBytes += text
			f.seen.OutputDeltas++
		}
	})
	return empty && w.text[w.at-1] == ']'
}

// maxDeltaDepth is how deep the text of a choice lies: delta, tool_calls, its
// element, function.
const maxDeltaDepth = 4

// textBytes takes a choice, or a part of one, and adds up the generated text in
// it.
func textBytes(w *walk, depth int) (n int64) {
	if depth > maxDeltaDepth {
		return 0
	}
	w.members(func(name span) {
		switch w.nameOf(name) {
		case "content", "refusal", "reasoning", "reasoning_content", "text", "arguments", "input", "name":
			n += w.stringBytes()
		case "delta", "tool_calls", "function", "function_call", "custom":
			n += textBytes(w, depth+1)
		}
	})
	w.elements(func() { n += textBytes(w, depth+1) })
	return n
}
