// Package gemini is the dialect of Google's Gemini API: what a client sends and gets passes
// unchanged but for what docs/transparency.md lists.
//
// The model, and whether the answer streams, stand in the path, and the key in a header or
// the query. Each member has two spellings, maxOutputTokens and max_output_tokens, since
// that is what protobuf's JSON takes; both in one object are refused. Numbers may come as
// strings.
//
// It promises a bound of every call that it offers. The output is at most
// maxOutputTokens for each candidate, which holds for thoughts too, and is inserted where it
// is absent. The input is at most the bytes of its texts, since every token covers at least
// one byte, beside what the API writes around them; images by their sizes, as
// their model counts them; and where a body brings what it does not show (a file, a video, a stored context)
// all that the model reads. Tools that run at the provider have no bound, and are refused
// by name, taken out, or priced as the policy says: members, parts, tools, query parameters and
// headers are read by lists of what is known.
//
// Of its counts, what was cached is part of the prompt, and thoughts and what tools found lie
// beside the candidates and the prompt. The counts of a stream are running totals, each the
// last that was told.
package gemini

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Name is the dialect's, in policies and receipts.
const Name = "gemini"

// Dialect is the dialect of the Gemini API.
type Dialect struct{}

var _ providers.Dialect = Dialect{}

// Name returns the dialect's name.
func (Dialect) Name() string { return Name }

// Routes returns the operations.
func (Dialect) Routes() []providers.Route { return routes }

// Parse reads a body, and of the head what can cost money.
func (Dialect) Parse(op providers.Operation, h providers.Head, body []byte) (providers.Request, error) {
	return parse(op, h, body)
}

// Operations, by the names of the API's methods.
const (
	generate = call.GenerateContent
	stream   = call.StreamGenerateContent
)
