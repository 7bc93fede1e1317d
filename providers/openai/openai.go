// Package openai is the dialect of OpenAI's API and of the many servers that speak it:
// chat completions, completions and embeddings.
//
// A request is read by Parse, changed by Request.Rewrite, its answer metered by a Meter,
// and an error written by AppendError. Whatever this package does not know passes
// untouched; whatever could cost money that it cannot bound is named in
// Request.Unbounded.
package openai
