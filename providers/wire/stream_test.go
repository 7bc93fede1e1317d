package wire

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// takings reads a stream, takes out whole events that say "drop", and of others the word
// "cut" where it stands, and notes all that it was told. An event without data says
// nothing: behind one that was taken out it may go unread.
type takings struct {
	events []string
	unread int
}

func (r *takings) Event(payload []byte) Addition {
	if payload != nil {
		r.events = append(r.events, string(payload))
	}
	if bytes.Contains(payload, []byte("drop")) {
		return Addition{Event: true}
	}
	if at := bytes.Index(payload, []byte("cut")); at >= 0 {
		return Addition{Member: Span{at, at + len("cut")}}
	}
	return Addition{}
}

func (r *takings) Unread(n int) { r.unread += n }

// passed is what comes out of a stream that comes in these pieces.
func passed(pieces []string, edited bool) (out string, r *takings) {
	r = new(takings)
	s := NewEventStream(r, edited)
	for _, piece := range pieces {
		out += string(s.Feed([]byte(piece)))
	}
	if edited {
		out += string(s.Close())
	} else {
		s.Close()
	}
	return out, r
}

// drawStream draws lines of a stream, broken ones among them.
func drawStream(t *rapid.T) string {
	lines := rapid.SliceOfN(rapid.SampledFrom([]string{
		`data: {"a":1}`, `data: {"a":`, `data:  "b"}`, `data: {"x":"drop"}`, `data: {"x":"cut","y":{}}`, `data: [DONE]`, `data:`, `data`,
		`: a comment`, `event: e`, `id: 1`, ``, ``, `{"bare":1}`, `data: {"s":"}{"}`, "\ufeffdata: {}",
	}), 0, 12).Draw(t, "lines")
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line)
		b.WriteString(rapid.SampledFrom([]string{"\n", "\r\n", "\r", "\n\n"}).Draw(t, "end"))
	}
	return strings.TrimSuffix(b.String(), rapid.SampledFrom([]string{"", "\n"}).Draw(t, "open"))
}

// TestEventStreamInPieces: how a stream is cut changes neither what is read of it nor what
// passes; and what is not edited passes as it is.
func TestEventStreamInPieces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := drawStream(t)
		var pieces []string
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		plain, read := passed(pieces, false)
		if plain != text {
			t.Fatalf("%q passes as %q", text, plain)
		}
		whole, wantRead := passed([]string{text}, false)
		if whole != text || !reflect.DeepEqual(read, wantRead) {
			t.Fatalf("%q in %d pieces reads as %q, whole as %q", text, len(pieces), read.events, wantRead.events)
		}
		edited, readEdited := passed(pieces, true)
		wantEdited, wantRead := passed([]string{text}, true) // no lines behind an event that goes
		if edited != wantEdited || !reflect.DeepEqual(readEdited, wantRead) {
			t.Fatalf("%q in %d pieces passes as %q, whole as %q", text, len(pieces), edited, wantEdited)
		}
		if strings.Contains(edited, "drop") {
			t.Fatalf("%q passes as %q", text, edited)
		}
	})
}

func TestEventStreamEdits(t *testing.T) {
	for _, row := range []struct{ name, in, out string }{
		{"nothing", "data: {\"a\":1}\n\n", "data: {\"a\":1}\n\n"},
		{"an event", "data: {}\n\ndata: {\"x\":\"drop\"}\n\ndata: {}\n\n", "data: {}\n\ndata: {}\n\n"},
		{"its comment stays", ": c\nevent: e\ndata: {\"x\":\"drop\"}\n\n", ": c\n"},
		{"a span", "data: {\"x\":\"cut\"}\r\n\r\n", "data: {\"x\":\"\"}\r\n\r\n"},
		{"in the second of two lines", "data: {\"x\":\ndata: \"cut\"}\n\n", "data: {\"x\":\ndata: \"\"}\n\n"},
		{"no blank lines", "data: {\"x\":\"drop\"}\ndata: {\"y\":1}\n", "data: {\"y\":1}\n"},
		{"no end", "data: {\"x\":\"cut\"}", "data: {\"x\":\"\"}"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, _ := passed([]string{row.in}, true); got != row.out {
				t.Errorf("%q passes as %q, want %q", row.in, got, row.out)
			}
		})
	}
}

// TestEventStreamTooLong: an event beyond the limit passes unread, and the next is read.
func TestEventStreamTooLong(t *testing.T) {
	long := `data: {"x":"` + strings.Repeat("drop", MaxEventBytes/4) + "\"}\n\n"
	got, r := passed([]string{long, "data: {\"a\":1}\n\n"}, true)
	if got != long+"data: {\"a\":1}\n\n" || r.unread < MaxEventBytes || !reflect.DeepEqual(r.events, []string{`{"a":1}`}) {
		t.Errorf("%d bytes pass, %d unread, read %q", len(got), r.unread, r.events)
	}
}

// TestBetween: an error can be put in only where no event goes on.
func TestBetween(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "data: {}\n\n": true, "data: {}\n": true, ": comment\n": true, "data: {\"a\":\n": false, "da": false, "event: e\n": false,
	} {
		s := NewEventStream(new(takings), false)
		if s.Feed([]byte(text)); s.Between() != want {
			t.Errorf("%q: between %v", text, !want)
		}
	}
}

// longEvents keeps what it is told of events.
type longEvents struct {
	events, long []string
	unread       int
}

func (r *longEvents) Event(payload []byte) (none Addition) {
	r.events = append(r.events, string(payload))
	return none
}

func (r *longEvents) Unread(n int) { r.unread += n }

func (r *longEvents) Long(piece []byte, last bool) {
	if len(r.long) == 0 {
		r.long = []string{""}
	}
	r.long[len(r.long)-1] += string(piece)
	if last {
		r.long = append(r.long, "")
	}
}

// TestLongEvents: an event that is too long to be kept is read as it passes, whole and
// once, and those around it as ever.
func TestLongEvents(t *testing.T) {
	payload := `{"a":"` + strings.Repeat("x", MaxEventBytes) + `"}`
	for _, row := range []struct{ name, text, want string }{
		{"between others", "data: 1\n\nevent: e\ndata: " + payload + "\n\ndata: 2\n\n", " " + payload + "\n"},
		{"without a blank", "data: 1\n\ndata:" + payload + "\r\n\r\ndata: 2\n\n", payload + "\r"},
		{"at the end", "data: 1\n\ndata: 2\n\ndata:" + payload, payload},
	} {
		for _, size := range []int{1 << 30, 1000, 4096, MaxEventBytes} {
			var r longEvents
			s := NewEventStream(&r, false)
			for chunk := range slices.Chunk([]byte(row.text), min(size, len(row.text))) {
				s.Feed(chunk)
			}
			s.Close()
			if len(r.long) != 2 || strings.TrimSpace(r.long[0]) != strings.TrimSpace(row.want) || r.unread != 0 {
				t.Fatalf("%s in pieces of %d: %d long events, %d bytes unread", row.name, size, len(r.long), r.unread)
			}
			told := slices.DeleteFunc(r.events, func(e string) bool { return e == "" })
			if strings.Join(told, ",") != "1,2" {
				t.Errorf("%s in pieces of %d: %q", row.name, size, told)
			}
		}
	}
}
