package gemini

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
	candidates int64
	searches   int64      // fees that are held, at most
	once       bool       // searches are billed once a prompt, not one by one
	embeds     bool       // it asks for embeddings, which have no output
	array      bool       // it asks for a stream that is a JSON array
	kinds      call.Kinds // of tokens that are held

	amounts bill.Reader // of its provider; nil where none is known
}

// meter reads a response as it passes and finds its usage, in bounded memory.
type meter struct {
	found  findings
	opened wire.Opening
	object wire.Document
	stream wire.EventStream
	array  array
}

func newMeter(of asked, a providers.Answer) *meter {
	m := &meter{found: findings{asked: of, unframed: !a.Framed, served: a.Status < 300, ahead: bill.Ahead(a.Header)}}
	m.opened.Announced = a.Stream()
	m.object = wire.NewDocument(watched)
	if of.searches > 0 {
		m.object = wire.NewDocument(watchedWithAnswers)
	}
	m.stream = wire.NewEventStream(&m.found, false)
	m.array.found = &m.found
	return m
}

// watched is what is looked for in a document.
var watched = wire.Paths{
	Keep: []string{usageMember, modelMember, "error"}, Output: []string{candidatesMember}, Labels: labels,
}.Watch()

// watchedWithAnswers keeps the answers too: they say what was found, where searches are paid for.
var watchedWithAnswers = wire.Paths{
	Keep: []string{usageMember, modelMember, "error", candidatesMember}, Output: []string{candidatesMember}, Labels: labels,
}.Watch()

const (
	usageMember      = "usageMetadata"
	modelMember      = "modelVersion"
	candidatesMember = "candidates"
	blockedMember    = "promptFeedback"
)

// labels are members whose strings no model has generated.
var labels = map[string]bool{"role": true, "finishReason": true, "mimeType": true, "thoughtSignature": true, "category": true, "probability": true, "language": true}

// Feed takes the next bytes of the response. All of them pass.
func (m *meter) Feed(chunk []byte) []byte {
	switch m.opened.Look(chunk) {
	case wire.ShapeDocument:
		m.document(chunk)
	case wire.ShapeEvents:
		m.stream.Feed(chunk)
	default: // only blanks, and the beginning of a name
		m.document(chunk)
		m.stream.Feed(chunk)
	}
	return chunk
}

// document takes the next bytes of what is no event stream. A stream that was asked for as an array may be
// answered by an object, if that is an error.
func (m *meter) document(chunk []byte) {
	if m.found.asked.array {
		m.array.feed(chunk)
	}
	if !m.inArray() {
		m.object.Feed(chunk)
	}
}

// inArray reports whether the answer is the array that was asked for.
func (m *meter) inArray() bool {
	return m.found.asked.array && m.opened.Shape == wire.ShapeDocument && m.array.depth > 0 && !m.array.broken
}

// Close takes in the end of the response. Nothing is left to pass on.
func (m *meter) Close(err error) []byte {
	m.found.ended = err == io.EOF
	if m.inArray() {
		m.array.close()
	} else if m.opened.Shape == wire.ShapeDocument {
		m.object.End()
	} else {
		m.stream.Close()
	}
	return nil
}

// Edits reports that no byte of a response is taken out.
func (m *meter) Edits() (edits, sure bool) { return false, true }

// events reports whether the response is an event stream, by what was seen of it.
func (m *meter) events() bool {
	return m.opened.Shape == wire.ShapeEvents || m.opened.Shape == wire.ShapeUnopened && m.opened.Announced
}

// Seen is how much output was seen in a stream, and whether the answer was complete.
func (m *meter) Seen() (output int64, complete bool) {
	switch {
	case m.events():
		return m.found.seen.OutputTokens, m.found.settled()
	case m.inArray():
		return m.found.seen.OutputTokens, m.array.whole()
	}
	return 0, m.object.Complete()
}

// Report returns what was found so far; it is final after Close.
func (m *meter) Report() providers.Report {
	switch {
	case m.events():
		return m.found.ofStream()
	case m.inArray():
		return m.found.ofArray(&m.array)
	}
	return m.found.ofDocument(&m.object)
}

// Stop ends a stream as one whose cap was reached, which the SDKs take for whole. Gemini CLI sends a stream without a
// reason for its end again. Functions come whole, each in one event.
func (m *meter) Stop(d *call.Denial) (words []byte, whole bool) {
	if !m.events() || !m.stream.Between() || m.found.finished {
		return nil, false
	}
	words = []byte(`data: {"candidates":[{"index":0,"content":{"role":"model","parts":[]},"finishReason":"MAX_TOKENS"}],"usageMetadata":{"candidatesTokenCount":`)
	words = strconv.AppendInt(words, m.found.seen.OutputTokens, 10)
	words = wire.AppendString(append(words, `},"aegis":{"message":`...), d.Error())
	return append(words, "}}\r\n\r\n"...), true
}
