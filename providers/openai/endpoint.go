package openai

import "github.com/aegis-proxy/aegis-proxy/call"

// Endpoint is one governed route of the dialect. The zero value is none.
type Endpoint uint8

// The governed routes.
const (
	ChatCompletions Endpoint = iota + 1
	Completions
	Embeddings
)

// String returns the operation's name, which is the route's path without its version.
func (e Endpoint) String() string {
	switch e {
	case ChatCompletions:
		return call.ChatCompletions
	case Completions:
		return call.Completions
	case Embeddings:
		return call.Embeddings
	}
	return "unknown"
}
