package openai

import (
	"bytes"
	"io"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// mediaMeter reads the answer to an operation on images or sound: a document, a stream of
// events, or what is heard or seen itself.
type mediaMeter struct {
	endpoint Endpoint
	spoken   int64       // characters that are billed, which no answer tells
	images   int64       // that were asked for
	timed    bool        // it is bounded by time: tokens that an answer tells are not what was held
	amounts  bill.Reader // of what its provider says that it costs; nil where none is known to
	ahead    wire.Count  // nano-USD that its head says that it costs
	served   bool        // its status is no refusal's
	raw      bool        // it is sound, or text
	ended    bool
	bytes    int64

	opened wire.Opening
	object wire.Document
	stream wire.EventStream
	seen   mediaFindings
}

// mediaFindings are what the events of a stream tell.
type mediaFindings struct {
	counts  wire.Count // of usage objects
	usage   []byte     // the last
	events  int64
	failed  bool
	message bool // the failure has a message
	dropped bool // an event was not read

	long wire.Document // an event beyond wire.MaxEventBytes, which an image can be
	open bool
}

var watchedMedia = wire.Paths{Keep: []string{"usage", "error", "model"}, Output: []string{"data", "text"}}.Watch()

func newMediaMeter(e Endpoint, a providers.Answer) *mediaMeter {
	m := &mediaMeter{
		endpoint: e, ahead: bill.Ahead(a.Header), served: a.Status < 300, raw: a.Status < 300 && !a.Stream() && !saysJSON(a.Header["Content-Type"]),
		opened: wire.Opening{Announced: a.Stream()}, object: wire.NewDocument(watchedMedia),
	}
	m.stream = wire.NewEventStream(&m.seen, false)
	return m
}

func saysJSON(contentTypes []string) bool {
	return len(contentTypes) == 1 && strings.Contains(strings.ToLower(contentTypes[0]), "json")
}

// Feed takes the next bytes, which all pass.
func (m *mediaMeter) Feed(chunk []byte) []byte {
	m.bytes += int64(len(chunk))
	if m.raw {
		return chunk
	}
	before := m.opened.Shape
	switch m.opened.Look(chunk) {
	case wire.ShapeDocument:
		m.object.Feed(chunk)
		if before != wire.ShapeDocument {
			m.stream.Leave(chunk)
		}
	case wire.ShapeEvents:
		m.stream.Feed(chunk)
	default:
		m.object.Feed(chunk)
		m.stream.Feed(chunk)
	}
	return chunk
}

// Close says that the answer has ended.
func (m *mediaMeter) Close(err error) []byte {
	m.ended = err == io.EOF
	if !m.raw && m.opened.Shape == wire.ShapeDocument {
		m.object.End()
	} else if !m.raw {
		m.stream.Close()
	}
	return nil
}

// Edits reports that nothing is taken out.
func (m *mediaMeter) Edits() (edits, sure bool) { return false, true }

func (m *mediaMeter) streams() bool {
	return !m.raw && (m.opened.Shape == wire.ShapeEvents || m.opened.Shape == wire.ShapeUnopened && m.opened.Announced)
}

// Seen tells no output: what a request makes is known before it is sent.
func (m *mediaMeter) Seen() (output int64, complete bool) {
	return 0, m.ended || !m.streams() && !m.raw && m.object.Complete()
}

// Stop returns an event that tells of an error.
func (m *mediaMeter) Stop(d *call.Denial) (words []byte, whole bool) {
	if !m.streams() || !m.stream.Between() {
		return nil, false
	}
	words = append([]byte("event: error\ndata: "), errorBody(d)...)
	return append(words, '\n'), false
}

// Event reads the payload of one event.
func (f *mediaFindings) Event(payload []byte) (none wire.Addition) {
	v := wire.Parse(payload)
	if usage := wire.Get(v, "usage"); usage.IsObject() {
		f.counts.N++
		f.usage = append(f.usage[:0], usage.Raw...)
	}
	if e := wire.Get(v, "error"); e.IsObject() {
		f.failed, f.message = true, f.message || wire.Get(e, "message").Str != ""
	}
	if v.IsObject() && !f.failed {
		f.events++
	}
	return none
}

// Unread notes an event that was not read.
func (f *mediaFindings) Unread(int) { f.events, f.dropped = f.events+1, true }

// Long reads an event that is longer than others, as one with a large image is.
func (f *mediaFindings) Long(piece []byte, last bool) {
	if !f.open {
		f.long, f.open = wire.NewDocument(watchedMedia), true
	}
	f.long.Feed(piece)
	if !last {
		return
	}
	f.open, f.events = false, f.events+1
	told := f.long.Kept("usage")
	f.dropped = f.dropped || told.Dropped || !f.long.Complete()
	if usage := told.Last(); usage != nil {
		f.counts.N++
		f.usage = append(f.usage[:0], usage...)
	}
}

// Report is what was found.
func (m *mediaMeter) Report() providers.Report {
	switch {
	case m.raw:
		return m.ofRaw()
	case m.streams():
		return m.ofStream()
	}
	return m.ofDocument()
}

// ofRaw is the report of sound or of text: it tells no usage, and characters are billed by what was
// asked for.
func (m *mediaMeter) ofRaw() providers.Report {
	r := providers.Report{Lines: []call.Line{{Billed: m.ahead.N}}, Complete: m.ended, Ran: m.bytes > 0}
	if m.spoken > 0 && m.ended && m.served && m.bytes > 0 {
		r.Lines[0].Usage[call.CharactersIn] = m.spoken
		r.HasUsage = true
	}
	return r
}

// ofStream is the report of a stream. What each of several usages means, nobody says: the cost is
// unknown then. So it is where a stream of several images was cut: others may have been made.
func (m *mediaMeter) ofStream() providers.Report {
	f := &m.seen
	r := providers.Report{Stream: true, BilledWhole: true, Complete: m.ended, Failed: f.failed, ErrorObject: f.message, Ran: f.events > 0}
	line, whole := m.lineOf(f.usage)
	r.Lines = []call.Line{line}
	r.HasUsage = whole && f.counts.N == 1 && !f.failed && !f.dropped && (m.ended || m.images <= 1)
	return r
}

// ofDocument is the report of a document.
func (m *mediaMeter) ofDocument() providers.Report {
	d := &m.object
	r := providers.Report{Complete: d.Complete(), Ran: d.Output()}
	told := d.Kept("usage")
	line, whole := m.lineOf(told.Last())
	r.Lines = []call.Line{line}
	r.HasUsage = whole && d.Complete() && len(told.Values) == 1 && !told.Dropped
	r.Ran = r.Ran || len(bytes.TrimSpace(told.Last())) > 0
	if e := wire.Parse(d.Kept("error").Last()); d.Complete() && e.IsObject() {
		r.Failed, r.ErrorObject = true, wire.Get(e, "message").Str != ""
	}
	return r
}

// lineOf is what a usage object, and the answer's head, say.
func (m *mediaMeter) lineOf(object []byte) (l call.Line, whole bool) {
	l.Usage, whole = m.usageOf(object)
	billed := m.ahead
	if v := wire.Parse(object); m.amounts != nil && v.IsObject() {
		billed.Add(m.amounts(v))
	}
	l.Billed = billed.N
	return l, whole && !billed.Odd
}

// usageOf reads a usage object; whole is false where it lacks what the operation bills.
func (m *mediaMeter) usageOf(object []byte) (u call.Usage, whole bool) {
	v := wire.Parse(object)
	if !v.IsObject() {
		return u, false
	}
	if duration := wire.Get(v, "type").Str == "duration"; duration != m.timed {
		return u, false
	} else if duration {
		heard := wire.Amount(wire.Get(v, "seconds"), 3)
		u[call.AudioTimeIn] = heard.N
		return u, heard.N > 0 && !heard.Odd
	}
	c := readCounts(v)
	if c.prompt.Odd || c.completion.Odd || c.total.Odd || c.prompt.N == 0 {
		return u, false
	}
	m.plain(&c)
	return c.usage(m.endpoint)
}

// plain takes output whose parts are not told for what the operation makes.
func (m *mediaMeter) plain(c *counts) {
	switch {
	case m.endpoint.draws() && !c.drawn.Told:
		c.drawn = c.completion
	case m.endpoint == Speech && !c.spoken.Told:
		c.spoken = c.completion
	}
}
