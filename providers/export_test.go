package providers

import (
	"maps"
	"slices"
)

// Known are the names that mean something, by the place where they do.
func Known(endpoint Endpoint) map[string][]string {
	known := func(v vocabulary) []string { return slices.Sorted(maps.Values(v)) }
	common := map[string][]string{
		"":               known(bodies[endpoint].known),
		"stream_options": known(streamLevel.known),
		"extra_body":     known(bodies[endpoint].known),
		"google":         known(googleLevel.known),
	}
	if endpoint != ChatCompletions {
		return common
	}
	chat := map[string][]string{
		"messages":                   known(messageLevel.known),
		"messages.tool_calls":        known(callNames),
		"messages.content":           known(partLevel.known),
		"messages.content.image_url": known(imageLevel.known),
		"tools":                      known(toolLevel.known),
		"tools.function":             known(functionLevel.known),
		"tools.custom":               known(functionLevel.known),
		"functions":                  known(functionLevel.known),
		"tool_choice":                known(choiceNames),
		"function_call":              known(choiceNames),
		"response_format":            known(formatNames),
		"prediction":                 known(predictionLevel.known),
		"prediction.content":         known(predictedLevel.known),
		"audio":                      known(audioNames),
	}
	maps.Copy(chat, common)
	return chat
}

// Counts are what a request's overhead is made of.
func Counts(r *Request) (messages, parts, tools, images, prompts, tokenIDs int64) {
	l := &r.load
	return l.messages, l.parts, l.tools, l.images.low + l.images.high + l.images.auto + l.images.original, r.prompts, l.tokenIDs
}
