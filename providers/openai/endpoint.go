package openai

import "github.com/aegis-proxy/aegis-proxy/call"

// Endpoint is one route with a body of the dialect. The zero value is none.
type Endpoint uint8

// Those that are governed, and the ones that are free.
const (
	ChatCompletions Endpoint = iota + 1
	Completions
	Embeddings
	Moderations
	Responses
	CompactResponses
	CountResponses
)

// asksForUsage reports whether a stream has to be asked for its usage. A response has it in
// any case, and OpenAI refuses one that asks.
func (e Endpoint) asksForUsage() bool { return e == ChatCompletions || e == Completions }

// String returns the operation's name, which is the route's path without its version.
func (e Endpoint) String() string {
	switch e {
	case ChatCompletions:
		return call.ChatCompletions
	case Completions:
		return call.Completions
	case Embeddings:
		return call.Embeddings
	case Moderations:
		return call.Moderations
	case Responses:
		return call.Responses
	case CompactResponses:
		return call.CompactResponses
	case CountResponses:
		return call.CountResponses
	}
	return "unknown"
}
