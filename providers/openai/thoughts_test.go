package openai_test

import (
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// TestThoughtsBeyondTheCap: where the output cap leaves thoughts out, what a model thinks
// unasked has no bound, unless the request says that it must not, the upstream obeys the
// cap that counts them, or the operator knows better.
func TestThoughtsBeyondTheCap(t *testing.T) {
	const off, disabled = `"enable_thinking":false`, `"thinking":{"type":"disabled"}`
	const line = `allow: {members: ["enable_thinking"]}`
	both := openai.FieldMaxCompletionTokens
	tests := []struct {
		name, provider, model, members, capField string
		allow                                    *call.Allow
		want                                     string // of the reason; empty: there is a bound
	}{
		{name: "one that thinks when asked", provider: "alibaba", model: "qwen-plus"},
		{name: "one that is asked", provider: "alibaba", model: "qwen-plus", members: `"enable_thinking":true`, want: "unless the upstream's cap_field is max_completion_tokens"},
		{name: "one that is asked under a cap of both", provider: "alibaba", model: "qwen-plus", members: `"enable_thinking":true,"thinking_budget":9`, capField: both},
		{name: "one that always thinks", provider: "alibaba", model: "QwQ-plus", want: line},
		{name: "under a cap of both", provider: "alibaba", model: "qwq-plus", capField: both},
		{name: "under the other cap", provider: "alibaba", model: "qwq-plus", capField: openai.FieldMaxTokens, want: "cap_field is max_completion_tokens"},
		{name: "an image's tokens are no thoughts", provider: "alibaba", model: "qwen-plus", members: `"vl_high_resolution_images":true`, capField: both, want: "vl_high"},
		{name: "one that thinks by default", provider: "dashscope", model: "qwen3.5-plus", want: "unless enable_thinking is false"},
		{name: "and must not", provider: "dashscope", model: "qwen3.5-plus", members: off},
		{name: "told by null", provider: "dashscope", model: "qwen3.5-plus", members: `"enable_thinking":null`, want: "thinks"},
		{name: "told by a text", provider: "dashscope", model: "qwen3.5-plus", members: `"enable_thinking":"false"`, want: "thinks"},
		{name: "told twice", provider: "dashscope", model: "qwen3.5-plus", members: off + `,"extra_body":{"enable_thinking":true}`, want: "thinks"},
		{name: "told by another member", provider: "dashscope", model: "qwen3.5-plus", members: disabled, want: "thinks"},
		{name: "an open model", provider: "qwen", model: "qwen3-235b-a22b", want: "thinks"},
		{name: "an open model that never thinks", provider: "qwen", model: "qwen3-235b-a22b-instruct-2507"},
		{name: "the operator knows", provider: "alibaba", model: "qwq-plus", allow: allowing(call.ExtraMember, "enable_thinking")},

		{name: "any", provider: "SiliconFlow", model: "Qwen/Qwen3-8B", want: "thinks"},
		{name: "any under the other cap", provider: "siliconflow", model: "Qwen/Qwen3-8B", capField: both, want: "thinks"},
		{name: "any that must not", provider: "siliconflow", model: "Qwen/Qwen3-8B", members: off},
		{name: "one that never does", provider: "siliconflow", model: "Qwen/Qwen2.5-7B-Instruct"},

		{name: "ByteDance's", provider: "volcengine", model: "ep-1", capField: openai.FieldMaxTokens, want: `allow: {members: ["thinking.type"]}`},
		{name: "ByteDance's that must not", provider: "byteplus", model: "ep-1", members: disabled},
		{name: "ByteDance's that may", provider: "byteplus", model: "ep-1", members: `"thinking":{"type":"auto"}`, want: "thinks"},
		{name: "ByteDance's told in another case", provider: "byteplus", model: "ep-1", members: `"thinking":{"Type":"disabled"}`, want: "thinks"},
		{name: "ByteDance's told something more", provider: "byteplus", model: "ep-1", members: `"thinking":{"type":"disabled","foo":1}`, want: "thinking.foo"},
		{name: "ByteDance's told by null", provider: "byteplus", model: "ep-1", members: `"thinking":null`, want: "thinks"},
		{name: "ByteDance's told twice", provider: "byteplus", model: "ep-1", members: disabled + `,"extra_body":{"thinking":{"type":"enabled"}}`, want: "thinks"},
		{name: "ByteDance's under a cap of both", provider: "ark", model: "ep-1", capField: both},

		{name: "where the cap covers all", provider: "vllm", model: "qwq", members: `"enable_thinking":true,"extra_body":{"enable_thinking":true,"thinking":{"type":"enabled"}}`},
		{name: "thinking that is no object", provider: "vllm", model: "m", members: `"thinking":[{"a":1}]`, want: "thinking.a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			members := tt.members
			if members != "" {
				members += ","
			}
			r := mustParse(t, openai.ChatCompletions, `{"model":"`+tt.model+`",`+members+hello+`}`)
			at := providers.Terms{Provider: tt.provider, Allow: tt.allow}
			at.Obeys.CapField = tt.capField
			got := noBound(r, at)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
		})
	}

	r := mustParse(t, openai.Embeddings, `{"model":"qwen3-embedding-8b","input":"a"}`)
	if got := noBound(r, providers.Terms{Provider: "siliconflow"}); got != "" {
		t.Errorf("embeddings do not think, but got %q", got)
	}
}
