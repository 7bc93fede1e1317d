package openai

import (
	"bytes"
	"maps"
	"strconv"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/agents"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// responseMeter reads the answer of a response as it passes. Nothing is taken out of it.
type responseMeter struct {
	Meter
	events responseEvents
}

// responseAsked is what a meter knows of the request.
type responseAsked struct {
	reader     string     // see Request.reader
	kinds      call.Kinds // what a token of its input may be
	longWrites bool       // cache entries are asked for that stay for longLife
	stored     bool       // the provider keeps it, and its usage tells how long it is
	searches   int64      // of the web, at most; 0: none is offered
	stopCode   string
}

// stopCode is the code of a failure that ends the matter for whoever sent a request.
func stopCode(h providers.Head) string {
	if agents.ShowsFailures(h) {
		return "invalid_prompt"
	}
	return "insufficient_quota"
}

// newResponseMeter returns a meter.
func newResponseMeter(asked responseAsked, b bill.Reader, a providers.Answer) *responseMeter {
	m := &responseMeter{Meter: Meter{
		found:  findings{endpoint: Responses, bill: b, ahead: bill.Ahead(a.Header), unframed: !a.Framed, response: asked},
		opened: wire.Opening{Announced: a.Stream()},
		object: wire.NewDocument(watchedResponse),
	}}
	if asked.searches > 0 || asked.stored {
		m.object = wire.NewDocument(watchedOutput)
	}
	m.events.findings = &m.found
	m.stream = wire.NewEventStream(&m.events, false)
	return m
}

// responseLabels are members of an answer whose strings no model has generated.
var responseLabels = func() map[string]bool {
	all := maps.Clone(labels)
	all["status"], all["call_id"], all["phase"] = true, true, true
	return all
}()

// What is looked for in a document, and in an event that is too long to be kept.
var (
	watchedResponse = wire.Paths{
		Keep: []string{"id", "model", "error", "usage", "service_tier", "tool_usage"}, Output: []string{"output"}, Labels: responseLabels, Words: filterCodes,
	}.Watch()
	watchedOutput = wire.Paths{
		Keep: []string{"id", "model", "error", "usage", "service_tier", "tool_usage", "output"}, Output: []string{"output"}, Labels: responseLabels, Words: filterCodes,
	}.Watch()
	watchedEvent = wire.Paths{
		Keep: []string{"type", "sequence_number", "response.id", "response.model", "response.error", "response.usage", "response.service_tier", "response.tool_usage", "response.output"},
	}.Watch()
)

// Report returns what was found so far; it is final after Close.
func (m *responseMeter) Report() providers.Report {
	if !m.streams() {
		m.found.readToolUsage(m.object.Kept("tool_usage").Last())
		m.found.readID(m.object.Kept("id").Last())
		if asked := &m.found.response; asked.searches > 0 || asked.stored {
			m.found.readOutput(m.object.Kept("output"))
			m.found.readItems(m.object.Kept("output").Last())
		}
	}
	return m.Meter.Report()
}

// Stop ends a stream as a response that has failed because a quota is used up, which
// takes no client to another try. What was begun is not completed, calls of tools least
// of all. The error stands beside it too, where the official SDKs raise it. Before the
// response has begun there is the error alone.
func (m *responseMeter) Stop(d *call.Denial) (words []byte, whole bool) {
	if !m.streams() || !m.stream.Between() || m.found.done {
		return nil, false
	}
	name, data := "error", m.events.errorEvent(d)
	if len(m.events.created) > 0 {
		name, data = "response.failed", m.events.failedEvent(d)
	}
	words = append(append([]byte("\nevent: "), name...), "\ndata: "...)
	return append(append(words, data...), "\n\n"...), true
}

// maxCreatedBytes bounds what is kept of a response as it began, which repeats the tools
// and instructions of its request. Of a longer one the members that are short are kept.
const maxCreatedBytes = 16 << 10

// replaced are the members of a response that its end replaces.
var replaced = map[string]bool{
	"status": true, "error": true, "usage": true, "incomplete_details": true, "output": true, "completed_at": true,
}

// begin keeps the members of a response that has begun: name, colon, value, comma.
func (e *responseEvents) begin(response []byte) {
	if len(e.created) > 0 {
		return
	}
	w := wire.Walk{Text: response}
	w.Members(func(name wire.Span) {
		member := w.Text[name.Start-1 : name.End+1]
		value := w.Bytes()
		if w.NameOf(name) == "id" {
			e.readID(value)
		}
		if !replaced[wire.Unescaped(w.Text[name.Start:name.End])] && len(e.created)+len(member)+len(value) < maxCreatedBytes {
			e.created = append(append(append(append(e.created, member...), ':'), value...), ',')
		}
	})
}

// failedEvent is the last event of a response that has begun.
func (e *responseEvents) failedEvent(d *call.Denial) []byte {
	dst := strconv.AppendInt([]byte(`{"type":"response.failed","sequence_number":`), e.sequence+1, 10)
	dst = append(append(dst, `,"response":{`...), e.created...)
	dst = append(dst, `"status":"failed","error":{"code":`...)
	dst = append(wire.AppendString(dst, e.response.stopCode), `,"message":`...)
	dst = append(wire.AppendString(dst, d.Error()), `},"incomplete_details":null,"output":[],"usage":null},"error":`...)
	return append(append(dst, e.errorObject(d)...), '}')
}

// errorEvent is an error, in both ways in which the API is known to write one.
func (e *responseEvents) errorEvent(d *call.Denial) []byte {
	dst := strconv.AppendInt([]byte(`{"type":"error","sequence_number":`), e.sequence+1, 10)
	dst = append(dst, `,"code":"insufficient_quota","message":`...)
	dst = append(wire.AppendString(dst, d.Error()), `,"param":null,"error":`...)
	return append(append(dst, e.errorObject(d)...), '}')
}

// errorObject is the object of the error.
func (e *responseEvents) errorObject(d *call.Denial) []byte {
	stopped := *d
	stopped.Class = call.Exhausted // the code that ends the matter
	body := bytes.TrimSpace(errorBody(&stopped))
	return bytes.TrimSuffix(bytes.TrimPrefix(body, []byte(`{"error":`)), []byte(`}`))
}
