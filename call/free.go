package call

// Free reports whether an operation costs nothing at a provider, as a policy names it,
// whatever is in it, and leaves nothing behind there. Receipts of such a call tell no
// price and are recomputed by this function.
//
// OpenAI bills no moderation (https://platform.openai.com/docs/guides/moderation), and
// has no price for a count of the tokens of a response's input
// (https://platform.openai.com/docs/api-reference/responses/input-tokens).
// Mistral bills its own by the token, and nobody knows of others. Anthropic bills no count
// of tokens (https://platform.claude.com/docs/en/build-with-claude/token-counting).
func Free(operation, provider string) bool {
	switch operation {
	case Moderations, CountResponses:
		return provider == "openai"
	case CountTokens:
		return provider == "anthropic"
	}
	return false
}

// Listed reports whether an operation is one that the policy alone answers: a list of models,
// or what describes one. No upstream is asked, and it costs nothing anywhere.
func Listed(operation string) bool { return operation == ListModels || operation == DescribeModel }

// FreeSomewhere reports whether there is a provider at which an operation costs nothing.
func FreeSomewhere(operation string) bool {
	return operation == Moderations || operation == CountTokens || operation == CountResponses
}
