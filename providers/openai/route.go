package openai

import "strings"

// Endpoint is one governed route of an API dialect. The zero value is none.
type Endpoint uint8

// The routes of the OpenAI dialect.
const (
	ChatCompletions Endpoint = iota + 1
	Completions
	Embeddings
	Models
)

// String returns the route's path without its version, for logs and receipts.
func (e Endpoint) String() string {
	switch e {
	case ChatCompletions:
		return "chat/completions"
	case Completions:
		return "completions"
	case Embeddings:
		return "embeddings"
	case Models:
		return "models"
	}
	return "unknown"
}

// Route returns the endpoint that a method and path name, with or without the
// leading /v1. Any other route reports false: it may be billable, and nothing
// here could bound it.
func Route(method, path string) (Endpoint, bool) {
	if rest, ok := strings.CutPrefix(path, "/v1/"); ok {
		path = rest
	} else {
		path = strings.TrimPrefix(path, "/")
	}
	switch method + " " + path {
	case "POST chat/completions":
		return ChatCompletions, true
	case "POST completions":
		return Completions, true
	case "POST embeddings":
		return Embeddings, true
	case "GET models":
		return Models, true
	}
	return 0, false
}
