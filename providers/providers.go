// Package providers is the seam between the proxy and the APIs of LLM providers: what a
// dialect must tell of a request and of its answer. Each dialect is a package below it,
// made of the toolkit in wire. It knows no vendor, no HTTP server, no prices and no
// budgets.
package providers

import "github.com/aegis-proxy/aegis-proxy/providers/wire"

// What a dialect's reader and writer return.
type (
	ParseError = wire.ParseError
	Edited     = wire.Edited
)

// Usage is what a response reports. Cached, CacheWrite and Audio are parts of
// Input; Reasoning and AudioOutput are parts of Output. All are tokens.
type Usage struct {
	Input       int64
	Cached      int64
	CacheWrite  int64
	Audio       int64
	Output      int64
	Reasoning   int64
	AudioOutput int64
}

// Report is what a Meter saw of a response.
type Report struct {
	// Usage is what the response reported, and final if HasUsage. Else it is
	// the last running total, if any: a floor.
	Usage    Usage
	HasUsage bool
	// Model is the model that answered, empty if the response named none.
	Model string
	// Stream says that it is a stream.
	Stream bool
	// Complete says that the response came whole: its JSON was closed, its stream
	// sent its own end mark, or it was read to its end, whatever is in it.
	Complete bool
	// Failed says that the response carries an error that says something: a text, an
	// object with a message or with an HTTP status as its code. ErrorObject says that
	// it is an object with a message, as the API writes one; ErrorStatus is that
	// status, 0 if it gives none; Filtered that the request was judged by its content,
	// which some providers bill.
	Failed      bool
	ErrorObject bool
	ErrorStatus int
	Filtered    bool
	// Ran says that there is output in the response, in a stream the frame of one even if it
	// has no text, or a count of tokens that is not zero: something was done for it
	// that may be billed.
	Ran bool
	// OutputTokens is how much output was seen in a stream: a token for each byte
	// of text in a delta, in whatever member it stands, and at least one for each
	// event with output in it.
	OutputTokens int64
}

// Refused reports whether this is a whole response in which nothing speaks for a
// bill: neither output, nor usage, nor an error that providers bill. Whether a refusal
// costs nothing depends on its status, which the policy judges.
func (r Report) Refused() bool { return r.Complete && !r.Ran && !r.HasUsage && !r.Filtered }
