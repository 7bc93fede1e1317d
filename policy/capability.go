package policy

// What a request can need. The first three are the endpoints themselves.
const (
	CapChat            = "chat"
	CapCompletions     = "completions"
	CapEmbeddings      = "embeddings"
	CapStream          = "stream"
	CapTools           = "tools"
	CapImages          = "images"
	CapJSONSchema      = "json_schema"
	CapLogprobs        = "logprobs"
	CapPredictedOutput = "predicted_output"
	CapMultipleChoices = "multiple_choices"
	CapActions         = "actions" // what is no LLM call
)

// Capabilities are all that a policy can give to a tenant.
var Capabilities = [...]string{
	CapChat,
	CapCompletions,
	CapEmbeddings,
	CapStream,
	CapTools,
	CapImages,
	CapJSONSchema,
	CapLogprobs,
	CapPredictedOutput,
	CapMultipleChoices,
	CapActions,
}
