// Package providers is the seam between the proxy and the APIs of LLM providers: what a
// dialect must tell of a request and of its answer. Each dialect is a package below it,
// made of the toolkit in wire. It knows no vendor, no HTTP server, no prices and no
// budgets.
package providers

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// What a dialect's reader and writer return.
type (
	ParseError = wire.ParseError
	Edited     = wire.Edited
)

// Report is what a Meter saw of a response.
type Report struct {
	// Lines are what the response reported, of the run of the model that answered first;
	// there is always that one. They are final if HasUsage, else the last running total,
	// if any: a floor.
	Lines    []call.Line
	HasUsage bool
	// Stream says that it is a stream.
	Stream bool
	// BilledWhole says that closing the connection saves nothing: what was asked for is billed once
	// it has begun, as an image is.
	BilledWhole bool
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
	// Left is the id under which the provider keeps the answer, so that another request
	// can go on from it; "" where it keeps none.
	Left string
	// LeftBy is the model that was asked for it, and how it was to read what went before.
	// Another may read more tokens in the same input: an image has up to 33 times as many,
	// and what was thought earlier may be left out or not.
	LeftBy string
	// LeftKinds are the kinds of input tokens that it may be for a request that goes on from
	// it, whatever that brings itself.
	LeftKinds call.Kinds
	// Items are parts of it that can be named alone.
	Items []Item
}

// Item is a part of an answer that its provider keeps.
type Item struct {
	ID      string
	Content Content
}

// Content is what a part of an answer stands for, where another request names it.
type Content uint8

// What it stands for, in tokens.
const (
	Opaque  Content = iota // nobody knows
	Written                // at most what the answer has written
	Found                  // at most what it has read and written: what a tool at the provider found
)

// Refused reports whether this is a whole response in which nothing speaks for a
// bill: neither output, nor usage, nor an error that providers bill. Whether a refusal
// costs nothing depends on its status, which the policy judges.
func (r Report) Refused() bool { return r.Complete && !r.Ran && !r.HasUsage && !r.Filtered }
