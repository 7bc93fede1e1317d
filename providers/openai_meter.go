package providers

import (
	"io"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Report is what a Meter saw of a response.
type Report struct {
	// Usage is what the response reported, and final if HasUsage. Else it is
	// the last running total, if any: a floor.
	Usage    Usage
	HasUsage bool
	// Model is the model that answered, empty if the response named none.
	Model string
	// Complete says that the response came whole: its JSON was closed, its stream
	// sent [DONE], or it was read to its end, whatever is in it.
	Complete bool
	// Failed says that the response carries an error that says something: a text, an
	// object with a message or with an HTTP status as its code. ErrorObject says that
	// it is an object with a message, as OpenAI writes one; ErrorStatus is that
	// status, 0 if it gives none; Filtered that the request was judged by its content,
	// which some providers bill.
	Failed      bool
	ErrorObject bool
	ErrorStatus int
	Filtered    bool
	// Ran says that there is output in the response, a choice in a stream even if it
	// has no text, or a count of tokens that is not zero: something was done for it
	// that may be billed.
	Ran bool
	// OutputTokens is how much output was seen in a stream: a token for each byte
	// of text in a delta, in whatever member it stands, and at least one for each
	// event with a choice in it.
	OutputTokens int64
}

// Refused reports whether this is a whole response in which nothing speaks for a
// bill: neither output, nor usage, nor an error that providers bill. Azure bills the
// prompt that it has filtered (Azure OpenAI, "Content filtering", status 400), and
// xAI has a fee for requests against its usage guidelines. Whether a refusal costs
// nothing depends on its status, which the policy judges.
func (r Report) Refused() bool { return r.Complete && !r.Ran && !r.HasUsage && !r.Filtered }

// Meter reads a response as it passes and finds its usage, in bounded memory.
// It is not safe for concurrent use.
type Meter struct {
	found  findings
	opened wire.Opening
	object objectScan
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
	m.object.numbers = endpoint == Embeddings
	m.stream = wire.NewEventStream(&m.found, stripUsage)
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
	case wire.Document:
		m.object.feed(chunk)
		if before == wire.Document {
			return chunk
		}
		return m.stream.Leave(chunk)
	case wire.Events:
		return m.stream.Feed(chunk)
	}
	m.object.feed(chunk) // only blanks, and the beginning of a name
	return m.stream.Feed(chunk)
}

// Close returns what is still to pass on when the response has ended. err is what
// the body ended with: io.EOF if its sender ended it.
func (m *Meter) Close(err error) []byte {
	m.found.ended = err == io.EOF
	if m.opened.Shape == wire.Document {
		m.object.end()
		return nil
	}
	return m.stream.Close()
}

// Opened reports whether enough was seen to tell a stream from a document.
func (m *Meter) Opened() bool { return m.opened.Shape != wire.Unopened }

// Streams reports whether the response is an event stream, by what was seen of it.
func (m *Meter) Streams() bool {
	return m.opened.Shape == wire.Events || m.opened.Shape == wire.Unopened && m.opened.Announced
}

// Complete reports whether a document was closed or a stream has sent [DONE].
func (m *Meter) Complete() bool {
	if m.Streams() {
		return m.found.done
	}
	return m.object.complete()
}

// Report returns what was found so far; it is final after Close.
func (m *Meter) Report() Report {
	if m.Streams() {
		return m.found.ofStream()
	}
	return m.found.ofDocument(&m.object)
}
