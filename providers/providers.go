// Package providers knows the wire facts of each LLM API dialect: what a
// request may cost and what bounds it, how to cap its output, where a response
// or stream carries its usage, which errors are not billed, and the shape of
// an error. It knows no HTTP server, no prices and no budgets.
package providers

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
