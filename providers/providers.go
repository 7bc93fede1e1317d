// Package providers knows the wire facts of each LLM API dialect: what a
// request may cost and what bounds it, how to cap its output, where a response
// or stream carries its usage, which errors are not billed, and the shape of
// an error. It knows no HTTP server, no prices and no budgets.
//
// The OpenAI dialect (chat completions, completions, embeddings) is read by
// Parse, changed by Request.Rewrite, metered by Meter and answered with
// AppendError. Whatever this package does not know passes untouched; whatever
// could cost money that it cannot bound is named in Request.Unbounded.
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
