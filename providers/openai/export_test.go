package openai

import (
	"maps"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Forward is how headers are sent on.
var Forward = forward

// Known are the names that mean something, by the place where they do.
func Known(endpoint Endpoint) map[string][]string {
	known := func(v wire.Vocabulary) []string { return slices.Sorted(maps.Values(v)) }
	common := map[string][]string{
		"":               known(bodies[endpoint].Known),
		"stream_options": known(streamLevel.Known),
		"extra_body":     known(bodies[endpoint].Known),
		"google":         known(googleNames),
	}
	if endpoint.isResponse() {
		maps.Copy(common, map[string][]string{
			"input": known(itemLevel.Known), "input.content": known(inputPartLevel.Known), breakpointPlace: known(breakpointLevel.Known),
			"text": known(textLevel.Known), "text.format": known(formatNames), "reasoning": known(reasoningLevel.Known),
			"multi_agent": known(multiAgentLevel.Known), "access_programs": known(accessLevel.Known), "image": known(imageOptionsLevel.Known),
			"tools": known(offeredLevel.Known), "tools.environment": known(environmentLevel.Known), "tool_choice": known(choiceNames),
		})
		return common
	}
	if endpoint != ChatCompletions {
		return common
	}
	chat := map[string][]string{
		"messages":                   known(messageLevel.Known),
		"messages.tool_calls":        known(callNames),
		"messages.content":           known(partLevel.Known),
		"messages.content.image_url": known(imageLevel.Known),
		"tools":                      known(toolLevel.Known),
		"tools.function":             known(functionLevel.Known),
		"tools.custom":               known(functionLevel.Known),
		"functions":                  known(functionLevel.Known),
		"tool_choice":                known(choiceNames),
		"function_call":              known(choiceNames),
		"response_format":            known(formatNames),
		"prediction":                 known(predictionLevel.Known),
		"prediction.content":         known(predictedLevel.Known),
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

// MeterOf is a meter for an answer that is announced as a stream or not, and whose usage
// was asked for or not.
func MeterOf(endpoint Endpoint, stream, asked bool) *Meter {
	a := providers.Answer{Framed: true}
	if stream {
		a.Header = map[string][]string{"Content-Type": {"text/event-stream"}}
	}
	return NewMeter(endpoint, a, asked, false)
}
