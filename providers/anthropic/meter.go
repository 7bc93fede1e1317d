package anthropic

import (
	"io"
	"strconv"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// asked is what a meter knows of the request.
type asked struct {
	silent bool   // it asks for no output
	limit  int64  // of the output, in tokens, as it was sent
	long   bool   // it asks for writes to the cache that last an hour
	fast   bool   // it asks for a faster run
	region string // that it asks for
	sums   bool   // the conversation may be summed up
	model  string
	others []fallback // models that run where that one declines

	amounts bill.Reader // of its provider; nil where none is known
}

// meter reads a response as it passes and finds its usage, in bounded memory.
type meter struct {
	found  findings
	opened wire.Opening
	object wire.Document
	stream wire.EventStream
}

func newMeter(of asked, a providers.Answer) *meter {
	m := &meter{found: findings{asked: of, unframed: !a.Framed, served: a.Status < 300, ahead: bill.Ahead(a.Header)}}
	m.opened.Announced = a.Stream()
	m.object = wire.NewDocument(watched)
	m.stream = wire.NewEventStream(&m.found, false)
	return m
}

// watched is what is looked for in a document.
var watched = wire.Paths{
	Keep: []string{"model", "error", "usage"}, Output: []string{"content"}, Labels: labels,
}.Watch()

// Feed takes the next bytes of the response. All of them pass.
func (m *meter) Feed(chunk []byte) []byte {
	switch m.opened.Look(chunk) {
	case wire.ShapeDocument:
		m.object.Feed(chunk)
	case wire.ShapeEvents:
		m.stream.Feed(chunk)
	default: // only blanks, and the beginning of a name
		m.object.Feed(chunk)
		m.stream.Feed(chunk)
	}
	return chunk
}

// Close takes in the end of the response. Nothing is left to pass on.
func (m *meter) Close(err error) []byte {
	m.found.ended = err == io.EOF
	if m.opened.Shape == wire.ShapeDocument {
		m.object.End()
	} else {
		m.stream.Close()
	}
	return nil
}

// Edits reports that no byte of a response is taken out.
func (m *meter) Edits() (edits, sure bool) { return false, true }

// Streams reports whether the response is an event stream, by what was seen of it.
func (m *meter) Streams() bool {
	return m.opened.Shape == wire.ShapeEvents || m.opened.Shape == wire.ShapeUnopened && m.opened.Announced
}

// Seen is how much output was seen in a stream, and whether the answer was complete.
func (m *meter) Seen() (output int64, complete bool) {
	if m.Streams() {
		return m.found.seen.OutputTokens, m.found.done
	}
	return 0, m.object.Complete()
}

// Report returns what was found so far; it is final after Close.
func (m *meter) Report() providers.Report {
	if m.Streams() {
		return m.found.ofStream()
	}
	return m.found.ofDocument(&m.object)
}

// Stop ends a stream as one whose cap was reached: its text is closed, and the client has a
// message that is whole, which the SDKs do not try again. Claude Code asks for the rest,
// and shows what that is denied with. A call of a tool, or thinking, that is not whole is not
// made so: then, and before the message has begun, an error says why, which SDKs raise.
func (m *meter) Stop(d *call.Denial) (words []byte, whole bool) {
	f := &m.found
	if !m.Streams() || !m.stream.Between() || f.done || f.failed {
		return nil, false
	}
	if !f.started || f.inside() {
		return appendEvent(nil, "error", errorObject(d)), true
	}
	for _, b := range f.open {
		words = appendEvent(words, "content_block_stop", []byte(`{"type":"content_block_stop","index":`+b.index+`}`))
	}
	if !f.stopped {
		words = appendEvent(words, "message_delta", f.cutShort(d))
	}
	return appendEvent(words, "message_stop", []byte(`{"type":"message_stop"}`)), true
}

// cutShort is the message_delta of a message that reached its cap, and says why in a
// member of its own, which SDKs leave alone.
func (f *findings) cutShort(d *call.Denial) []byte {
	dst := []byte(`{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":`)
	dst = strconv.AppendInt(dst, min(f.seen.OutputTokens, f.asked.limit), 10)
	dst = wire.AppendString(append(dst, `},"aegis":{"message":`...), d.Error())
	return append(dst, "}}"...)
}

func appendEvent(dst []byte, name string, data []byte) []byte {
	dst = append(append(append(dst, "event: "...), name...), "\ndata: "...)
	return append(append(dst, data...), "\n\n"...)
}
