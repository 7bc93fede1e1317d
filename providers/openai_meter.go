package providers

// Limits of what a Meter holds of a response.
const (
	// MaxEventBytes is the longest stream event that is metered. A longer one
	// passes through unread.
	MaxEventBytes = 1 << 20
	// MaxCaptureBytes bounds each of usage, model and error in a JSON
	// response. A longer one counts as absent.
	MaxCaptureBytes = 64 << 10
)

// Report is what a Meter saw of a response.
type Report struct {
	// Usage is what the response reported, and final if HasUsage. Else it is
	// the last running total, if any: a floor.
	Usage    Usage
	HasUsage bool
	// Model is the model that answered, empty if the response named none.
	Model string
	// Complete says that the response ended as it should: the JSON object was
	// closed, or the stream sent [DONE].
	Complete bool
	// Failed says that the response carries an error object; ErrorCode is its
	// code, empty if it has none.
	Failed    bool
	ErrorCode string
	// OutputBytes counts the text in the deltas of a stream, and OutputDeltas
	// the deltas that had any. A server that sends each token once it has it
	// generated at least OutputDeltas tokens.
	OutputBytes  int64
	OutputDeltas int64
}

// Unbilled reports whether this response, with this HTTP status, is one that
// OpenAI does not bill: a complete error object under a status that says that
// no answer was generated.
//
// 408, 502 and 504 are not among them, nor anything incomplete: a gateway may
// have lost an answer that was generated, so that its cost is unknown. A
// content filter's error is not either, because Azure bills the prompt that it
// has filtered (Azure OpenAI, "Content filtering", status 400).
func (r Report) Unbilled(status int) bool {
	if !r.Complete || !r.Failed || r.HasUsage || r.ErrorCode == "content_filter" {
		return false
	}
	switch status {
	case 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503:
		return true
	}
	return false
}

// Meter reads a response as it passes and finds its usage, in bounded memory.
// It is not safe for concurrent use.
type Meter struct {
	found  findings
	object *objectScan
	stream *eventStream
}

// NewMeter returns a meter for a response to a request to endpoint. stream says
// that the response is an event stream (its content type, not the request, tells);
// stripUsage that usage was injected into the request and is to be taken out
// again: the event with empty choices and a usage object, and usage members
// that are null. All other bytes pass as they are.
func NewMeter(endpoint Endpoint, stream, stripUsage bool) *Meter {
	m := &Meter{found: findings{endpoint: endpoint}}
	if !stream {
		m.object = &objectScan{}
		return m
	}
	m.stream = &eventStream{lineEmpty: true, found: &m.found}
	if stripUsage {
		m.stream.out = make([]byte, 0, 1<<10)
	}
	return m
}

// Feed takes the next bytes of the response and returns those to pass on. Without
// stripping that is chunk itself. With it the result is valid until the next call,
// and an event is held until its blank line.
func (m *Meter) Feed(chunk []byte) []byte {
	if m.object != nil {
		m.object.feed(chunk)
		return chunk
	}
	return m.stream.feed(chunk)
}

// Close returns what is still to pass on when the response has ended.
func (m *Meter) Close() []byte {
	if m.object != nil {
		return nil
	}
	return m.stream.close()
}

// Complete is Report().Complete, at no cost.
func (m *Meter) Complete() bool {
	if m.object != nil {
		return m.object.complete()
	}
	return m.found.seen.Complete
}

// Report returns what was found so far; it is final after Close.
func (m *Meter) Report() Report {
	if m.object != nil {
		m.found.readObject(m.object)
	}
	return m.found.report()
}
