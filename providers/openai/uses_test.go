package openai_test

import (
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// TestUses: what a request uses is seen where it is used, and nowhere else.
func TestUses(t *testing.T) {
	type uses struct{ cacheControl, images, jsonSchema, logprobs, prediction, choices bool }
	for _, row := range []struct {
		name, body string
		endpoint   openai.Endpoint
		want       uses
	}{
		{"nothing", with(`"n":1`), openai.ChatCompletions, uses{}},
		{"everything off", with(`"logprobs":null,"top_logprobs":null,"prediction":null,"response_format":null,"n":null`), openai.ChatCompletions, uses{}},
		{"logprobs", with(`"logprobs":true`), openai.ChatCompletions, uses{logprobs: true}},
		{"logprobs switched off", with(`"logprobs":false`), openai.ChatCompletions, uses{}},
		{"top_logprobs", with(`"top_logprobs":3`), openai.ChatCompletions, uses{logprobs: true}},
		{"logprobs of completions", `{"model":"m","prompt":"x","logprobs":1}`, openai.Completions, uses{logprobs: true}},
		{"a schema", with(`"response_format":{"json_schema":{},"type":"json_schema"}`), openai.ChatCompletions, uses{jsonSchema: true}},
		{"a schema, escaped", with(`"response_format":{"\u0074ype":"json_\u0073chema"}`), openai.ChatCompletions, uses{jsonSchema: true}},
		{"JSON without a schema", with(`"response_format":{"type":"json_object"}`), openai.ChatCompletions, uses{}},
		{"a prediction", with(`"prediction":{"type":"content"}`), openai.ChatCompletions, uses{prediction: true}},
		{"n", with(`"n":2`), openai.ChatCompletions, uses{choices: true}},
		{"best_of", `{"model":"m","prompt":"x","best_of":2}`, openai.Completions, uses{choices: true}},
		{"two prompts", `{"model":"m","prompt":["x","y"]}`, openai.Completions, uses{}},
		{"an image", `{"model":"m","messages":[{"content":[{"type":"image_url","image_url":{"url":"u"}}]}]}`, openai.ChatCompletions, uses{images: true}},
		{"a bare image", `{"model":"m","messages":[{"content":[{"type":"image_url","image_url":"u"}]}]}`, openai.ChatCompletions, uses{images: true}},
		{"a cache mark on a part", `{"model":"m","messages":[{"content":[{"type":"text","text":"x","cache_control":{}}]}]}`, openai.ChatCompletions, uses{cacheControl: true}},
		{"on a message", `{"model":"m","messages":[{"content":"x","cache_control":{}}]}`, openai.ChatCompletions, uses{cacheControl: true}},
		{"on a tool", with(`"tools":[{"type":"function","function":{"name":"f"},"cache_control":{}}]`), openai.ChatCompletions, uses{cacheControl: true}},
		{"on a function", with(`"tools":[{"type":"function","function":{"name":"f","cache_control":{}}}]`), openai.ChatCompletions, uses{cacheControl: true}},
		{"on the request", with(`"cache_\u0063ontrol":{"type":"ephemeral"}`), openai.ChatCompletions, uses{cacheControl: true}},
		{"a parameter of that name", with(`"tools":[{"type":"function","function":{"name":"f","parameters":{"cache_control":{}}}}]`), openai.ChatCompletions, uses{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := mustParse(t, row.endpoint, row.body)
			got := uses{r.CacheControl, r.Images, r.JSONSchema, r.Logprobs, r.PredictedOutput, r.MultipleChoices}
			if got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}
