package openai

import (
	"errors"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Tokens that no text of a request shows. Where two sources differ the larger
// is taken.
const (
	// messageTokens frame one message. OpenAI's cookbook (How to count tokens
	// with tiktoken) gives 3, and 4 for the oldest snapshot. The chat templates
	// of Llama 3, ChatML and Harmony write 4 or 5 special tokens and newlines
	// around the role, which is among the texts.
	messageTokens = 5
	// partTokens allow for what joins the parts of one content, and for how
	// the seam is tokenised.
	partTokens = 2
	// nameTokens go with a message's name: 1, by the same source.
	nameTokens = 1
	// replyTokens prime the answer: 3, by the same source.
	replyTokens = 3
	// promptTokens are the beginning and end marks of one prompt or input.
	promptTokens = 4
	// responseTokens allow for what OpenAI writes around the input of a response beyond
	// that. In recordings it was 17 at most, with an empty list of tools.
	responseTokens = 64
	// compactTokens are what it asks of the model to have an input made shorter. In
	// recordings it was 93 at most.
	compactTokens = 1024
	// toolsTokens frame the list of tools and toolTokens each tool in it, in
	// OpenAI's rendering as a TypeScript namespace. The cookbook gives 12 for
	// the list and 7 to 10 a function.
	toolsTokens = 32
	toolTokens  = 16
	// builtinTokens are what OpenAI says to the model of a tool that the client runs and
	// only the API describes, such as apply_patch. It publishes no number; a page of
	// text is less.
	builtinTokens = 2048
	// formatTokens introduce the schema of a structured output.
	formatTokens = 32
	// templateTokens is what the chat template of a model that is not OpenAI's
	// may say of its own: default system prompts, dates, instructions on how to
	// call tools. The longest known, those for tools of Qwen and Llama, stay
	// below 300.
	templateTokens = 512
)

// ErrImageUnbounded is returned for images when the model's rule is not known
// and the policy sets no limit for an image.
var ErrImageUnbounded = errors.New("no published rule bounds the tokens of an image for this model")

// load is what a request adds to its input beside the texts.
type load struct {
	messages int64
	parts    int64
	names    int64
	tools    int64
	formats  int64
	prompts  int64
	tokenIDs int64
	images   images
	halves   int64 // of surrogate pairs, anywhere in the body
	// rendered is the size, in bytes, of what a template writes as JSON.
	rendered int64
	// rewritten is the size, in bytes, of texts that templates of models
	// other than OpenAI's may parse and write anew.
	rewritten int64
	// encrypted is the size, in bytes, of what only the provider can read.
	encrypted int64
	builtins  int64 // tools that the client runs and the provider describes
	// compactions is how often the model is to make the input shorter before it answers, and
	// managed says that it is to do so wherever there is too much of it.
	compactions int64
	managed     bool
	searches    int64 // of the web, earlier ones, that are named by their ids
	files       int64 // whose pages the body does not show
	// beyond is the first member that brings an input which only the model's context
	// bounds; "" for none.
	beyond string
}

// needContext notes such a member.
func (l *load) needContext(member string) {
	if l.beyond == "" {
		l.beyond = member
	}
}

// Overhead bounds the input tokens that Texts do not show, for this model:
// framing of messages and tools, schemas, token ids and images. imageTokens is
// the policy's bound for one image where the model's rule is not known; with
// none (0), images are then refused with ErrImageUnbounded.
//
// The input is at most Overhead plus the tokens of each of Texts. Schemas
// count one token a byte, since every token covers at least one.
func (r *Request) Overhead(model string, imageTokens int64) (int64, error) {
	l := &r.load
	total := l.rendered + l.tokenIDs + l.prompts*promptTokens + l.names*nameTokens + l.formats*formatTokens + l.halves*wire.HalfTokens
	if r.Endpoint == ChatCompletions || r.Endpoint.isResponse() {
		total += l.messages*messageTokens + l.parts*partTokens + replyTokens
	}
	switch r.Endpoint {
	case Responses:
		total += responseTokens
	case CompactResponses:
		total += responseTokens + compactTokens
	}
	if l.tools > 0 {
		total += toolsTokens + l.tools*toolTokens
	}
	total += l.encrypted + l.builtins*builtinTokens
	if (r.Endpoint == ChatCompletions || r.Endpoint.isResponse()) && !isOpenAIModel(model) {
		total += templateTokens + l.rewritten
	}
	images, err := l.images.tokens(model, imageTokens)
	return total + images, err
}

// isOpenAIModel reports whether OpenAI itself renders prompts for this model.
// gpt-oss does not count: others serve it with a template.
func isOpenAIModel(model string) bool {
	model = bareModel(model)
	if strings.HasPrefix(model, "gpt-oss") {
		return false
	}
	for _, prefix := range [...]string{"gpt-", "chatgpt-", "o1", "o3", "o4", "text-", "davinci-", "babbage-"} {
		if strings.HasPrefix(model, prefix) {
			return true
		}
	}
	return false
}

// bareModel folds a model's name and takes off what names a router or a
// fine-tuning around it.
func bareModel(model string) string {
	model = strings.TrimPrefix(names.Fold(model), "openai/")
	return strings.TrimPrefix(model, "ft:")
}
