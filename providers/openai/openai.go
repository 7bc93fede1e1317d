// Package openai is the dialect of OpenAI's API and of the many servers that speak it:
// chat completions, completions and embeddings.
//
// Dialect answers what the seam asks. A request is read by Parse, changed by
// Request.Rewrite, and its answer metered by a Meter. Whatever this package does not know
// passes untouched; whatever could cost money that it cannot bound is named in
// Request.Unbounded.
package openai
