package gemini

import "github.com/aegis-proxy/aegis-proxy/providers/wire"

// Tokens that no text of a request shows. No page tells them; they are more than what recorded prompts have beside
// the bytes of their texts.
const (
	promptTokens  = 32 // begin and end a prompt
	contentTokens = 8  // frame a content
	partTokens    = 4  // join a part to the next one
	callTokens    = 64 // frame a call of a function, or its result, beside its JSON
	toolsTokens   = 512
	toolTokens    = 32 // frame one function
)

// functionFactor is how often a byte of a function's declaration may be written: as it is, and into the form that
// the model reads.
const functionFactor = 2

// load is what a request adds to its input beside the texts.
type load struct {
	contents, parts, calls int64
	functions              int64
	declared               int64 // bytes of declarations and schemas
	bytes                  int64 // of what else the API may write into the prompt, at most
	images                 int64
	tiled                  int64 // tokens of those whose size can be read, by the rule of Gemini 2
	sizeless               int64 // how many of them have none
	audio, video, document bool
	other                  bool  // it may be of any kind
	sound                  int64 // tokens of audio whose length is known
	hidden                 int64 // things whose tokens the body does not show
	stored                 bool  // it brings what may fill the context, whatever the policy says of a document
	halves                 int64 // of surrogate pairs, anywhere in the body
}

// tokens bounds the input that texts do not show, but for images. Every token covers at least a byte.
func (l *load) tokens() int64 {
	total := promptTokens + l.contents*contentTokens + l.parts*partTokens + l.calls*callTokens
	total += l.bytes + l.declared*functionFactor + l.halves*wire.HalfTokens + l.sound
	if l.functions > 0 {
		total += toolsTokens + l.functions*toolTokens
	}
	return total
}
