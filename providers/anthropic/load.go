package anthropic

import "github.com/aegis-proxy/aegis-proxy/providers/wire"

// Tokens that no text of a request shows.
const (
	// promptTokens begin and end a prompt.
	promptTokens = 32
	// messageTokens frame one message: a few.
	messageTokens = 8
	// blockTokens join a block to the next one.
	blockTokens = 4
	// toolBlockTokens frame a call of a tool, or its result, beside its JSON.
	toolBlockTokens = 64
	// toolsTokens are the system prompt that goes with tools: up to 804, by model and
	// tool_choice (https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview).
	toolsTokens = 1024
	// toolTokens frame one tool.
	toolTokens = 32
	// formatTokens are the system prompt that goes with a schema of the answer.
	formatTokens = 1024
	// documentTokens frame a document, or a result of a search.
	documentTokens = 64
	// citeTokens frame a piece that can be cited.
	citeTokens = 16
	// citationTokens are the system prompt that goes with citations.
	citationTokens = 1024
	// summaryTokens are the prompt that asks for a summary.
	summaryTokens = 4096
	// thinkingTokens are what goes with thinking.
	thinkingTokens = 64
)

// load is what a request adds to its input beside the texts.
type load struct {
	messages, blocks, toolBlocks int64
	tools, formats               int64
	documents, images            int64
	pages                        int64 // documents whose pages the body does not show
	cites                        int64 // pieces that can be cited
	defined                      int64 // tokens of tools that the API defines
	bytes                        int64 // of what the API may write into the prompt, at most
	halves                       int64 // of surrogate pairs, anywhere in the body
}

// tokens bounds the input that texts do not show, but for images. Every token covers at
// least a byte.
func (l *load) tokens() int64 {
	total := promptTokens + l.messages*messageTokens + l.blocks*blockTokens + l.toolBlocks*toolBlockTokens
	total += l.defined + l.bytes + l.halves*wire.HalfTokens + l.formats*formatTokens
	total += l.documents*documentTokens + l.cites*citeTokens
	if l.cites > 0 {
		total += citationTokens
	}
	if l.tools > 0 {
		total += toolsTokens + l.tools*toolTokens
	}
	return total + thinkingTokens
}
