package openai

import (
	"io"

	"github.com/aegis-proxy/aegis-proxy/providers"
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

// NewMeter returns a meter for a response to a request to endpoint. stream says
// that the response is announced as an event stream, but its first bytes are
// believed before that: servers answer a stream with an object, and send a stream
// under any content type. stripUsage says that usage was injected into the request
// and is to be taken out of a stream again: the event with a usage object and no
// choices, and usage members that are null. All other bytes pass as they are.
func NewMeter(endpoint Endpoint, stream, stripUsage bool) *Meter {
	m := &Meter{found: findings{endpoint: endpoint}, opened: wire.Opening{Announced: stream}}
	m.object = wire.NewDocument(watched)
	if endpoint == Embeddings {
		m.object = wire.NewDocument(watchedEmbeddings)
	}
	m.strips = stripUsage
	m.stream = wire.NewEventStream(&m.found, stripUsage)
	return m
}

// newMeter returns a meter for the answer to a request that was sent. asked says that
// the proxy asked for its usage; silent that it asks for no output.
func newMeter(endpoint Endpoint, a providers.Answer, asked, silent bool) *Meter {
	m := NewMeter(endpoint, a.Stream(), asked && a.Coding() == "")
	m.found.silent, m.found.unframed = silent, !a.Framed
	return m
}

// ExpectEcho notes that the request asks for no output. The text in the response
// is then the prompt's, and usage without completion_tokens is whole if it has the
// total: OpenAI leaves them out.
func (m *Meter) ExpectEcho() { m.found.silent = true }

// ExpectBreak notes that the response ends where its connection does, which may be
// anywhere: JSON that is not closed has not come whole then.
func (m *Meter) ExpectBreak() { m.found.unframed = true }

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

// Opened reports whether enough was seen to tell a stream from a document.
func (m *Meter) Opened() bool { return m.opened.Shape != wire.ShapeUnopened }

// Streams reports whether the response is an event stream, by what was seen of it.
func (m *Meter) Streams() bool {
	return m.opened.Shape == wire.ShapeEvents || m.opened.Shape == wire.ShapeUnopened && m.opened.Announced
}

// Complete reports whether a document was closed or a stream has sent [DONE].
func (m *Meter) Complete() bool {
	if m.Streams() {
		return m.found.done
	}
	return m.object.Complete()
}

// Edits reports whether usage is taken out.
func (m *Meter) Edits() (edits, sure bool) {
	if !m.strips {
		return false, true
	}
	return m.Streams(), m.Opened()
}

// Seen is how much output was seen in a stream, and whether the answer was complete.
func (m *Meter) Seen() (output int64, complete bool) {
	return m.found.seen.OutputTokens, m.Complete()
}

// Stop returns an event that tells of an error, unless one is just being sent. The SDKs
// raise it, and never send a stream again.
func (m *Meter) Stop(d *providers.Denial) []byte {
	if !m.Streams() || !m.stream.Between() {
		return nil
	}
	out := append([]byte("\ndata: "), errorBody(d)...)
	return append(out, '\n')
}

// Report returns what was found so far; it is final after Close.
func (m *Meter) Report() providers.Report {
	if m.Streams() {
		return m.found.ofStream()
	}
	return m.found.ofDocument(&m.object)
}
