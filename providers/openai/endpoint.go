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
	GenerateImages
	EditImages
	Speech
	Transcriptions
	Translations
)

// isMedia reports whether its input or output is images or sound alone. None has an output
// cap.
func (e Endpoint) isMedia() bool { return e >= GenerateImages }

// draws reports whether it makes images.
func (e Endpoint) draws() bool { return e == GenerateImages || e == EditImages }

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
	case GenerateImages:
		return call.GenerateImages
	case EditImages:
		return call.EditImages
	case Speech:
		return call.Speech
	case Transcriptions:
		return call.Transcriptions
	case Translations:
		return call.Translations
	}
	return "unknown"
}
