package openai

import (
	"io"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Meter reads a response as it passes and finds its usage, in bounded memory.
// It is not safe for concurrent use.
type Meter struct {
	found  findings
	opened wire.Opening
	object wire.Document
	strips bool
	stream wire.EventStream
}

// NewMeter returns a meter for the answer to a request that was sent to an endpoint. That
// the answer is announced as a stream is believed less than its first bytes: servers
// answer a stream with an object, and send a stream under any content type.
//
// asked says that usage was injected into the request. It is taken out of a stream again:
// the event with a usage object and no choices, and usage members that are null. All
// other bytes pass as they are. silent says that the request asks for no output: the text
// in the answer is then the prompt's, and usage without completion_tokens is whole if it
// has the total, since OpenAI leaves them out.
func NewMeter(endpoint Endpoint, a providers.Answer, asked, silent bool) *Meter {
	m := &Meter{
		found:  findings{endpoint: endpoint, silent: silent, unframed: !a.Framed, served: a.Status < 300, ahead: bill.Ahead(a.Header)},
		opened: wire.Opening{Announced: a.Stream()},
		object: wire.NewDocument(watched),
		strips: asked && a.Coding() == "",
	}
	if endpoint == Embeddings {
		m.object = wire.NewDocument(watchedEmbeddings)
	}
	m.stream = wire.NewEventStream(&m.found, m.strips)
	return m
}

// Feed takes the next bytes of the response and returns those to pass on. Without
// stripping that is chunk itself. With it the result is valid until the next call,
// and an event is held until its last line has come.
func (m *Meter) Feed(chunk []byte) []byte {
	before := m.opened.Shape
	switch m.opened.Look(chunk) {
	case wire.ShapeDocument:
		m.object.Feed(chunk)
		if before == wire.ShapeDocument {
			return chunk
		}
		return m.stream.Leave(chunk)
	case wire.ShapeEvents:
		return m.stream.Feed(chunk)
	}
	m.object.Feed(chunk) // only blanks, and the beginning of a name
	return m.stream.Feed(chunk)
}

// Close returns what is still to pass on when the response has ended. err is what
// the body ended with: io.EOF if its sender ended it.
func (m *Meter) Close(err error) []byte {
	m.found.ended = err == io.EOF
	if m.opened.Shape == wire.ShapeDocument {
		m.object.End()
		return nil
	}
	return m.stream.Close()
}

// isOpen reports whether enough was seen to tell a stream from a document.
func (m *Meter) isOpen() bool { return m.opened.Shape != wire.ShapeUnopened }

// streams reports whether the response is an event stream, by what was seen of it.
func (m *Meter) streams() bool {
	return m.opened.Shape == wire.ShapeEvents || m.opened.Shape == wire.ShapeUnopened && m.opened.Announced
}

// complete reports whether a document was closed or a stream has sent [DONE].
func (m *Meter) complete() bool {
	if m.streams() {
		return m.found.done
	}
	return m.object.Complete()
}

// Edits reports whether usage is taken out.
func (m *Meter) Edits() (edits, sure bool) {
	if !m.strips {
		return false, true
	}
	return m.streams(), m.isOpen()
}

// Seen is how much output was seen in a stream, and whether the answer was complete.
func (m *Meter) Seen() (output int64, complete bool) {
	return m.found.seen.OutputTokens, m.complete()
}

// Stop returns an event that tells of an error, unless one is just being sent. The SDKs
// raise it, and never send a stream again.
func (m *Meter) Stop(d *call.Denial) (words []byte, whole bool) {
	if !m.streams() || !m.stream.Between() {
		return nil, false
	}
	words = append([]byte("\ndata: "), errorBody(d)...)
	return append(words, '\n'), false
}

// Report returns what was found so far; it is final after Close.
func (m *Meter) Report() providers.Report {
	if m.streams() {
		return m.found.ofStream()
	}
	return m.found.ofDocument(&m.object)
}
