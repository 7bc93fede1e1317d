package call

// Listed reports whether an operation is one that the policy alone answers: a list of models,
// or what describes one. No upstream is asked, and it costs nothing anywhere.
func Listed(operation string) bool { return operation == ListModels || operation == DescribeModel }

// FreeSomewhere reports whether an operation is one that costs nothing at some providers: at which,
// its dialect knows, and Facts tell.
func FreeSomewhere(operation string) bool {
	return operation == Moderations || operation == CountTokens || operation == CountResponses || operation == CountContents
}
