package openai_test

import (
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// TestServedTier: the last tier that an answer tells is the one that it is charged at.
func TestServedTier(t *testing.T) {
	const usage = `"usage":{"prompt_tokens":4,"completion_tokens":1}`
	for _, row := range []struct {
		name, body, want string
		stream           bool
	}{
		{"priority", `{"service_tier":"priority",` + usage + `}`, "priority", false},
		{"fast is served as priority", `{"service_tier":"fast",` + usage + `}`, "priority", false},
		{"the standard one by any name", `{"service_tier":"Default",` + usage + `}`, call.Standard, false},
		{"groq's name for it", `{"service_tier":"on_demand",` + usage + `}`, call.Standard, false},
		{"auto does not tell", `{"service_tier":"auto",` + usage + `}`, "", false},
		{"null neither", `{"service_tier":null,` + usage + `}`, "", false},
		{"a stream", "data: {\"service_tier\":\"flex\",\"choices\":[]}\n\ndata: {\"service_tier\":null,\"choices\":[]," + usage + "}\n\ndata: [DONE]\n\n", "flex", true},
		{"a stream that is told later", "data: {\"service_tier\":\"auto\",\"choices\":[]}\n\ndata: {\"service_tier\":\"priority\",\"choices\":[]," + usage + "}\n\ndata: [DONE]\n\n", "priority", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, r := meter(openai.ChatCompletions, row.stream, false, []byte(row.body))
			if !r.HasUsage || r.Lines[0].Service != row.want {
				t.Errorf("served at %q, want %q: %+v", r.Lines[0].Service, row.want, r)
			}
		})
	}
}

// TestCachedMedia: what was read from a cache is divided by what it was, where it fits what else is
// told, and else charged as if nothing had told. The first objects are recorded ones of realtime
// sessions, which a gateway may hand on in an answer.
func TestCachedMedia(t *testing.T) {
	type u = call.Usage
	for _, row := range []struct {
		name, usage string
		want        u
	}{
		{"recorded: text is cached, beside audio", `{"total_tokens":219,"input_tokens":122,"output_tokens":97,"input_token_details":{"text_tokens":96,"audio_tokens":26,"image_tokens":0,"cached_tokens":64,"cached_tokens_details":{"text_tokens":64,"audio_tokens":0,"image_tokens":0}},"output_token_details":{"text_tokens":28,"audio_tokens":69}}`,
			u{call.Input: 32, call.CachedInput: 64, call.AudioInput: 26, call.Output: 28, call.AudioOutput: 69}},
		{"recorded: text alone", `{"total_tokens":115,"input_tokens":102,"output_tokens":13,"input_token_details":{"text_tokens":102,"audio_tokens":0,"image_tokens":0,"cached_tokens":64,"cached_tokens_details":{"text_tokens":64,"audio_tokens":0,"image_tokens":0}},"output_token_details":{"text_tokens":13,"audio_tokens":0}}`,
			u{call.Input: 38, call.CachedInput: 64, call.Output: 13}},
		{"recorded: nothing is cached", `{"total_tokens":143,"input_tokens":44,"output_tokens":99,"input_token_details":{"cached_tokens":0,"text_tokens":14,"audio_tokens":30,"image_tokens":0,"cached_tokens_details":{"text_tokens":0,"audio_tokens":0,"image_tokens":0}},"output_token_details":{"text_tokens":27,"audio_tokens":72,"reasoning_tokens":0}}`,
			u{call.Input: 14, call.AudioInput: 30, call.Output: 27, call.AudioOutput: 72}},
		{"audio is cached", `{"prompt_tokens":122,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":26,"cached_tokens":84,"cached_tokens_details":{"text_tokens":64,"audio_tokens":20}}}`,
			u{call.Input: 32, call.CachedInput: 64, call.AudioInput: 6, call.CachedAudioInput: 20, call.Output: 5}},
		{"images are", `{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"image_tokens":50,"cached_tokens":60,"cached_tokens_details":{"text_tokens":30,"image_tokens":30}}}`,
			u{call.Input: 20, call.CachedInput: 30, call.ImageInput: 20, call.CachedImageInput: 30, call.Output: 5}},
		{"more cached audio than audio", `{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":20,"cached_tokens":60,"cached_tokens_details":{"audio_tokens":30}}}`,
			u{call.Input: 20, call.CachedInput: 60, call.AudioInput: 20, call.Output: 5}},
		{"more parts than the whole", `{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":40,"cached_tokens":20,"cached_tokens_details":{"audio_tokens":30}}}`,
			u{call.Input: 40, call.CachedInput: 20, call.AudioInput: 40, call.Output: 5}},
		{"parts without a whole", `{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":40,"cached_tokens_details":{"audio_tokens":30}}}`,
			u{call.Input: 60, call.AudioInput: 40, call.Output: 5}},
		{"no count", `{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":40,"cached_tokens":30,"cached_tokens_details":{"audio_tokens":-1,"image_tokens":"x"}}}`,
			u{call.Input: 30, call.CachedInput: 30, call.AudioInput: 40, call.Output: 5}},
		{"SGLang's, by where it lies", `{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":30,"cached_tokens_details":{"device":30,"host":0}}}`,
			u{call.Input: 70, call.CachedInput: 30, call.Output: 5}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, r := meter(openai.ChatCompletions, false, false, []byte(`{"choices":[],"usage":`+row.usage+`}`))
			if !r.HasUsage || r.Lines[0].Usage != row.want {
				t.Errorf("%s, want %s", r.Lines[0].Usage, row.want)
			}
		})
	}
}

// TestCacheUnderEveryName: reads and writes are found under all names that vendors have
// for them, by their lifetime, within prompt_tokens or beside it.
func TestCacheUnderEveryName(t *testing.T) {
	type u = call.Usage
	for _, row := range []struct {
		name, usage string
		want        u
	}{
		{"OpenAI: within", `{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":30}}`,
			u{call.Input: 10, call.CachedInput: 60, call.CacheWrite: 30, call.Output: 5}},
		{"OpenAI: writes for twelve hours", `{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"cache_write_tokens":30,"cache_write_tokens_details":{"ttl_30m_tokens":10,"ttl_12h_tokens":20}}}`,
			u{call.Input: 70, call.CacheWrite: 10, call.CacheWrite12h: 20, call.Output: 5}},
		{"DeepSeek", `{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_cache_hit_tokens":60,"prompt_cache_miss_tokens":40}`,
			u{call.Input: 40, call.CachedInput: 60, call.Output: 5}},
		{"DeepSeek, whose miss is more than is left", `{"prompt_tokens":100,"completion_tokens":5,"prompt_cache_hit_tokens":60,"prompt_cache_miss_tokens":50}`,
			u{call.Input: 50, call.CachedInput: 60, call.Output: 5}},
		{"Moonshot", `{"prompt_tokens":100,"completion_tokens":5,"cached_tokens":60}`, u{call.Input: 40, call.CachedInput: 60, call.Output: 5}},
		{"Mistral", `{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"num_cached_tokens":60}`, u{call.Input: 40, call.CachedInput: 60, call.Output: 5}},
		{"names that differ: the lesser discount", `{"prompt_tokens":100,"completion_tokens":5,"cached_tokens":60,"prompt_tokens_details":{"cached_tokens":20}}`,
			u{call.Input: 80, call.CachedInput: 20, call.Output: 5}},
		{"a zero beside another name says nothing", `{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"cache_read_input_tokens":60,"prompt_tokens_details":{"cached_tokens":0}}`,
			u{call.Input: 40, call.CachedInput: 60, call.Output: 5}},

		{"Anthropic's names, within by the total", `{"prompt_tokens":17111,"completion_tokens":10,"total_tokens":17121,"cache_creation_input_tokens":17102,"cache_read_input_tokens":0,"prompt_tokens_details":{"cached_tokens":0,"cache_creation_tokens":17102}}`,
			u{call.Input: 9, call.CacheWrite: 17102, call.Output: 10}},
		{"for an hour", `{"prompt_tokens":17111,"completion_tokens":10,"total_tokens":17121,"cache_creation_input_tokens":17102,"cache_creation":{"ephemeral_1h_input_tokens":17102,"ephemeral_5m_input_tokens":0}}`,
			u{call.Input: 9, call.CacheWrite1h: 17102, call.Output: 10}},
		{"of both lifetimes, in the details", `{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_tokens_details":{"cache_creation_tokens":50,"cache_creation_token_details":{"ephemeral_1h_input_tokens":20,"ephemeral_5m_input_tokens":30}}}`,
			u{call.Input: 50, call.CacheWrite: 30, call.CacheWrite1h: 20, call.Output: 5}},
		{"a total that has outgrown its lifetimes", `{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"cache_creation_input_tokens":50,"cache_creation":{"ephemeral_1h_input_tokens":20,"ephemeral_5m_input_tokens":10}}`,
			u{call.Input: 50, call.CacheWrite: 10, call.CacheWrite1h: 40, call.Output: 5}},
		{"lifetimes without their total", `{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"cache_creation":{"ephemeral_1h_input_tokens":20}}`,
			u{call.Input: 80, call.CacheWrite1h: 20, call.Output: 5}},
		{"beside, by the total", `{"prompt_tokens":500,"completion_tokens":10,"total_tokens":650,"cache_creation_input_tokens":100,"cache_read_input_tokens":40}`,
			u{call.Input: 500, call.CachedInput: 40, call.CacheWrite: 100, call.Output: 10}},
		{"writes beside and reads within, by the total", `{"prompt_tokens":500,"completion_tokens":10,"total_tokens":610,"cache_creation_input_tokens":100,"cache_read_input_tokens":40}`,
			u{call.Input: 460, call.CachedInput: 40, call.CacheWrite: 100, call.Output: 10}},
		{"beside, since it is more", `{"prompt_tokens":9,"completion_tokens":10,"cache_read_input_tokens":40}`, u{call.Input: 9, call.CachedInput: 40, call.Output: 10}},
		{"without a total it may lie beside", `{"prompt_tokens":500,"completion_tokens":10,"cache_read_input_tokens":40}`, u{call.Input: 500, call.CachedInput: 40, call.Output: 10}},
		{"Anthropic's own usage", `{"input_tokens":500,"output_tokens":10,"cache_creation_input_tokens":100,"cache_read_input_tokens":40,"cache_creation":{"ephemeral_5m_input_tokens":100}}`,
			u{call.Input: 500, call.CachedInput: 40, call.CacheWrite: 100, call.Output: 10}},
		{"input_tokens as OpenAI has it", `{"input_tokens":500,"output_tokens":10,"total_tokens":510,"input_tokens_details":{"cached_tokens":40},"output_tokens_details":{"reasoning_tokens":4}}`,
			u{call.Input: 460, call.CachedInput: 40, call.Output: 6, call.Reasoning: 4}},
		{"both names of the input", `{"prompt_tokens":500,"input_tokens":500,"completion_tokens":10,"output_tokens":10,"total_tokens":510}`, u{call.Input: 500, call.Output: 10}},
		{"audio beside, by the total", `{"prompt_tokens":400,"completion_tokens":10,"total_tokens":785,"prompt_tokens_details":{"audio_tokens":375}}`,
			u{call.Input: 400, call.AudioInput: 375, call.Output: 10}},
		{"images within", `{"prompt_tokens":400,"completion_tokens":10,"total_tokens":410,"prompt_tokens_details":{"image_tokens":300,"cached_tokens":200}}`,
			u{call.ImageInput: 300, call.CachedInput: 100, call.Output: 10}},
		{"reasoning beside, though the cache is as much", `{"prompt_tokens":400,"completion_tokens":10,"total_tokens":510,"prompt_tokens_details":{"cached_tokens":100},"completion_tokens_details":{"reasoning_tokens":100}}`,
			u{call.Input: 300, call.CachedInput: 100, call.Output: 10, call.Reasoning: 100}},
		{"what nobody explains is output", `{"prompt_tokens":400,"completion_tokens":10,"total_tokens":499,"prompt_tokens_details":{"cached_tokens":100}}`,
			u{call.Input: 300, call.CachedInput: 100, call.Output: 99}},
		{"web searches", `{"prompt_tokens":4,"completion_tokens":1,"server_tool_use":{"web_search_requests":2}}`, u{call.Input: 4, call.Output: 1, call.Searches: 2}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for stream, body := range map[bool]string{
				false: `{"choices":[{"message":{"content":"x"}}],"usage":` + row.usage + `}`,
				true:  `data: {"choices":[],"usage":` + row.usage + "}\n\ndata: [DONE]\n\n",
			} {
				_, r := meter(openai.ChatCompletions, stream, false, []byte(body))
				if !r.HasUsage || r.Lines[0].Usage != row.want {
					t.Errorf("stream %v: %v, want %v", stream, r.Lines[0].Usage, row.want)
				}
			}
		})
	}
}
