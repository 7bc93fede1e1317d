// Package openai is the dialect of OpenAI's API and of the many servers that speak it:
// chat completions, Responses (in the files that begin with responses), completions,
// embeddings, moderations, and the making and reading of images and sound (media.go, drawing.go,
// sound.go, and form.go for those that come as a form).
//
// Dialect answers what the seam asks. A request is read by Parse, changed by
// Request.Rewrite, and its answer metered by a Meter. What costs money that nothing here
// bounds is named in Request.Unbounded. What the API does not have is held against the
// lists of the upstream's provider (docs/lists.md) and the operator's: what they have
// passes untouched, and the rest has no bound.
package openai
