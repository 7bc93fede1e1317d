package wire

import (
	"bytes"
	"slices"
)

// MaxEventBytes is the longest event that is read of a stream. A longer one passes
// through unread.
const MaxEventBytes = 1 << 20

// EventReader reads what a stream says.
type EventReader interface {
	// Event reads the payload of one event: its data lines joined by LF, nil if it
	// has none. It returns what is to be taken out, if the stream is edited.
	Event(payload []byte) Addition
	// Unread says that so many bytes passed unread, in an event beyond MaxEventBytes.
	Unread(bytes int)
}

// LongReader is an EventReader that reads also events beyond MaxEventBytes, in one data
// line, as they pass.
type LongReader interface {
	EventReader
	// Long reads the next piece of the payload; last says that it ends there.
	Long(piece []byte, last bool)
}

// Addition is what is taken out of an event: all of it but its comments, or a
// span of its payload; both empty for nothing.
type Addition struct {
	Event  bool
	Member Span
}

// EventStream cuts a stream of server-sent events into lines, whatever ends them
// (LF, CRLF or CR), and reads each event. An event ends with the data line that
// makes it whole, or with a blank line: some servers send no blank lines, and no
// JSON goes on behind its last brace.
type EventStream struct {
	reader EventReader
	out    []byte // what to pass on; nil where nothing is stripped

	held    []byte     // of the event that is not complete yet, its last line perhaps cut
	start   int        // of that line
	lines   []dataLine // of the event
	nesting nesting    // of the JSON in its data lines
	joined  []byte

	afterCR bool       // a LF now belongs to the line end before it
	gone    bool       // the last line was dropped
	leaving bool       // the event was dropped: what follows of it goes too
	long    LongReader // reads the event beyond MaxEventBytes; nil: it passes unread
	tooLong bool       // the line is of an event beyond MaxEventBytes and passes unread
}

// dataLine is the value of one data line of an event.
type dataLine struct {
	at      Span // in the event
	payload int  // where it begins in the payload
}

// NewEventStream returns a stream whose events r reads. edited says that what r
// returns is taken out; else all bytes pass as they are.
func NewEventStream(r EventReader, edited bool) EventStream {
	s := EventStream{reader: r}
	if edited {
		s.out = make([]byte, 0, 1<<10)
	}
	return s
}

// Feed takes the next bytes and returns those to pass on: without edits chunk itself,
// else what is valid until the next call.
func (s *EventStream) Feed(chunk []byte) []byte {
	if s.out == nil {
		s.split(chunk)
		return chunk
	}
	s.out = s.out[:0]
	s.split(chunk)
	return s.out
}

// Leave passes on what was held, and a chunk: it is no stream after all.
func (s *EventStream) Leave(chunk []byte) []byte {
	if s.out == nil {
		return chunk
	}
	s.out = append(append(s.out[:0], s.held...), chunk...)
	return s.out
}

// Close reads the line that has no end as if it had: some servers end without one.
func (s *EventStream) Close() []byte {
	if s.out != nil {
		s.out = s.out[:0]
	}
	switch {
	case len(s.held) > 0:
		s.addLine(s.held, s.start)
		s.event(s.held)
	case s.tooLong && s.long != nil:
		s.long.Long(nil, true)
	}
	return s.out
}

// Between reports whether what has come so far ended between two lines that are no part
// of an event whose payload goes on.
func (s *EventStream) Between() bool { return len(s.held) == 0 && !s.tooLong }

func (s *EventStream) split(chunk []byte) {
	lines := newLineEnds(chunk)
	for from := 0; from < len(chunk); {
		if s.afterCR && chunk[from] == '\n' {
			s.afterCR = false
			s.second(chunk[from : from+1])
			from++
			continue
		}
		end := lines.next(from)
		s.afterCR = end < len(chunk) && chunk[end] == '\r'
		to := min(end+1, len(chunk))
		s.take(chunk[from:to], end < len(chunk))
		from = to
	}
}

// second takes the LF of a CRLF, which goes where the line went.
func (s *EventStream) second(lf []byte) {
	switch {
	case len(s.held) > 0:
		s.held = append(s.held, lf...)
		s.start = len(s.held)
	case !s.gone:
		s.pass(lf)
	}
}

// take adds bytes to the current line and handles it once it is complete.
func (s *EventStream) take(b []byte, complete bool) {
	if s.tooLong || len(s.held)+len(b) > MaxEventBytes {
		s.passUnread(b, complete)
		s.tooLong = !complete
		return
	}
	event := b
	if len(s.held) > 0 || !complete {
		s.held = append(s.held, b...)
		event = s.held
	}
	if complete {
		s.line(event, s.start)
	}
}

// passUnread passes on an event that is too long. Where it is not read piece by piece, it
// may have held usage, and each of its bytes may have been a token.
func (s *EventStream) passUnread(b []byte, complete bool) {
	piece := b
	if !s.tooLong {
		piece, s.long = s.longBegins(b)
	}
	if s.long != nil {
		s.long.Long(piece, complete)
	} else {
		s.reader.Unread(len(s.held) + len(b))
	}
	s.pass(s.held)
	s.pass(b)
	s.reset()
	s.gone, s.leaving = false, false
}

// longBegins returns what has come of the payload of an event that is too long now, and
// who reads it on: it is one data line, behind lines of other fields.
func (s *EventStream) longBegins(b []byte) (piece []byte, long LongReader) {
	long, ok := s.reader.(LongReader)
	if !ok || len(s.lines) > 0 {
		return nil, nil
	}
	line := b
	if s.start < len(s.held) {
		line = slices.Concat(s.held[s.start:], b)
	}
	if s.start == 0 {
		line = trimMark(line)
	}
	piece, ok = bytes.CutPrefix(line, []byte("data:"))
	if !ok {
		return nil, nil
	}
	return piece, long
}

// reset begins another event.
func (s *EventStream) reset() {
	s.held, s.start, s.lines, s.nesting = s.held[:0], 0, s.lines[:0], nesting{}
}

// line handles a line that is complete: the last one of the event.
func (s *EventStream) line(event []byte, start int) {
	text := bytes.TrimRight(event[start:], "\r\n")
	whole := s.addLine(event, start)
	switch blank := len(text) == 0; {
	case start > 0 && blank, whole:
		s.end(event, whole)
	case start > 0, len(s.lines) > 0:
		s.hold(event)
	case blank, text[0] == ':':
		s.passLine(event, s.leaving && blank)
	case s.leaving:
		s.passLine(nil, true)
	default:
		s.hold(event)
	}
}

// end handles an event that is complete.
func (s *EventStream) end(event []byte, whole bool) {
	s.gone = s.event(event)
	s.leaving = s.gone && whole
	s.reset()
}

// hold keeps the lines of an event that goes on.
func (s *EventStream) hold(event []byte) {
	if len(s.held) == 0 {
		s.held = append(s.held, event...)
	}
	s.start, s.leaving = len(s.held), false
}

// passLine handles a line that is no part of an event with data.
func (s *EventStream) passLine(line []byte, drop bool) {
	if !drop {
		s.pass(line)
	} else if len(line) > 0 {
		s.leaving = false
	}
	s.gone = drop
	s.reset()
}

// addLine notes the line that begins at start, if it is one of data, and reports
// whether that makes the payload whole.
func (s *EventStream) addLine(event []byte, start int) (whole bool) {
	text := bytes.TrimRight(event[start:], "\r\n")
	end := start + len(text)
	if start == 0 {
		text = trimMark(text)
	}
	value, ok := bytes.CutPrefix(text, []byte("data:"))
	if !ok {
		return false
	}
	value = bytes.TrimPrefix(value, []byte(" "))
	s.lines = append(s.lines, dataLine{at: Span{end - len(value), end}})
	return s.nesting.closes(value)
}

func (s *EventStream) pass(b []byte) {
	if s.out != nil {
		s.out = append(s.out, b...)
	}
}

// event reads one event and passes on what is to remain of it. It reports whether
// the event is dropped.
func (s *EventStream) event(event []byte) (dropped bool) {
	added := s.reader.Event(s.payload(event))
	switch {
	case s.out == nil:
	case added.Event:
		s.passComments(event)
		return true
	default:
		s.passWithout(event, added.Member)
	}
	return false
}

// payload is what the data lines say, joined by LF.
func (s *EventStream) payload(event []byte) []byte {
	switch len(s.lines) {
	case 0:
		return nil
	case 1:
		return event[s.lines[0].at.Start:s.lines[0].at.End]
	}
	s.joined = s.joined[:0]
	for i, l := range s.lines {
		if i > 0 {
			s.joined = append(s.joined, '\n')
		}
		s.lines[i].payload = len(s.joined)
		s.joined = append(s.joined, event[l.at.Start:l.at.End]...)
	}
	return s.joined
}

// passComments passes on the comment lines of a dropped event.
func (s *EventStream) passComments(event []byte) {
	lines := newLineEnds(event)
	for start := 0; start < len(event); {
		next := min(lines.next(start)+1, len(event))
		if next < len(event) && event[next-1] == '\r' && event[next] == '\n' {
			next++
		}
		if event[start] == ':' {
			s.pass(event[start:next])
		}
		start = next
	}
}

// passWithout passes on the event without this span of its payload. The ends of
// its data lines stay.
func (s *EventStream) passWithout(event []byte, cut Span) {
	from := 0
	for _, l := range s.lines {
		shift := l.at.Start - l.payload
		start := max(cut.Start+shift, l.at.Start)
		end := min(cut.End+shift, l.at.End)
		if start < end {
			s.pass(event[from:start])
			from = end
		}
	}
	s.pass(event[from:])
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
