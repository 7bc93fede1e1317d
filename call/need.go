package call

import "slices"

// What a call can need of its tenant's allowance. The first ones are what an operation
// itself is.
const (
	NeedChat            = "chat"
	NeedCompletions     = "completions"
	NeedEmbeddings      = "embeddings"
	NeedModerations     = "moderations"
	NeedDrawing         = "image_generation"
	NeedSpeech          = "speech"
	NeedTranscriptions  = "transcriptions" // and translations of what is spoken
	NeedStream          = "stream"
	NeedTools           = "tools"
	NeedImages          = "images"
	NeedJSONSchema      = "json_schema"
	NeedLogprobs        = "logprobs"
	NeedPredictedOutput = "predicted_output"
	NeedMultipleChoices = "multiple_choices"
	NeedActions         = "actions" // what is no LLM call
)

// Needs are all that a policy can give to a tenant.
var Needs = [...]string{
	NeedChat,
	NeedCompletions,
	NeedEmbeddings,
	NeedModerations,
	NeedDrawing,
	NeedSpeech,
	NeedTranscriptions,
	NeedStream,
	NeedTools,
	NeedImages,
	NeedJSONSchema,
	NeedLogprobs,
	NeedPredictedOutput,
	NeedMultipleChoices,
	NeedActions,
}

// Operations that several packages must tell apart, by the names that policies and
// receipts have for them. NeedOf takes any other for a chat.
const (
	ChatCompletions = "chat/completions"
	Completions     = "completions"
	Embeddings      = "embeddings"
	Moderations     = "moderations"
	CountTokens     = "messages/count_tokens"

	GenerateImages = "images/generations"
	EditImages     = "images/edits"
	Speech         = "audio/speech"
	Transcriptions = "audio/transcriptions"
	Translations   = "audio/translations"

	ListModels    = "models"
	DescribeModel = "models/{model}"

	GenerateContent       = "generateContent"
	StreamGenerateContent = "streamGenerateContent"
	EmbedContent          = "embedContent"
	BatchEmbedContents    = "batchEmbedContents"
	CountContents         = "countTokens"

	Responses        = "responses"
	CompactResponses = "responses/compact"
	CountResponses   = "responses/input_tokens"
)

// NeedOf is what an operation needs by itself. Whatever is not known to be something
// else is chat.
func NeedOf(operation string) string {
	switch operation {
	case Completions:
		return NeedCompletions
	case Embeddings, EmbedContent, BatchEmbedContents:
		return NeedEmbeddings
	case Moderations:
		return NeedModerations
	case GenerateImages, EditImages:
		return NeedDrawing
	case Speech:
		return NeedSpeech
	case Transcriptions, Translations:
		return NeedTranscriptions
	}
	return NeedChat
}

// Withdraw takes tools out of what the call offers; without any left it needs none.
func (f *Facts) Withdraw(tools []string) {
	if len(tools) == 0 {
		return
	}
	f.Tools = slices.DeleteFunc(slices.Clone(f.Tools), func(t string) bool { return slices.Contains(tools, t) })
	if len(f.Tools) == 0 {
		f.Needs = slices.DeleteFunc(slices.Clone(f.Needs), func(n string) bool { return n == NeedTools })
	}
}

// AddImplied completes Needs by what other facts imply: the operation's own, which comes
// first, a stream, tools and several choices.
func (f *Facts) AddImplied() {
	implied := []string{NeedOf(f.Endpoint)}
	for _, need := range [...]struct {
		used bool
		name string
	}{
		{f.Stream, NeedStream},
		{len(f.Tools) > 0, NeedTools},
		{f.Choices > 1, NeedMultipleChoices},
	} {
		if need.used && !slices.Contains(f.Needs, need.name) {
			implied = append(implied, need.name)
		}
	}
	f.Needs = append(implied, f.Needs...)
}
