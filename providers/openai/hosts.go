package openai

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// host is what one provider's servers take beyond everywhere, and what costs there
// alone.
type host struct {
	free   [call.ExtraKinds]list
	costly map[call.ExtraKind]map[string]string
	// agents are patterns of the names of models that run others, or tools, by
	// themselves.
	agents []string
	// thoughts are what models think beyond the output cap; nil where it covers all.
	thoughts *thoughts
	// gateway says that it sends requests on to others, so that a header that is in no
	// list may mean something there.
	gateway bool
}

// hostOf returns what is known of a provider, by the name that the policy gives it.
// Nobody knows what others are: they are taken for gateways.
func hostOf(provider string) *host {
	plain := wire.Squeezed(provider)
	if h := hosts[plain]; h != nil {
		return h
	}
	if strings.HasPrefix(plain, "huggingface") { // huggingface_groq and others share its router
		return hosts["huggingface"]
	}
	return unknownHost
}

// members returns a host that takes these members for nothing.
func members(texts ...string) *host {
	return &host{free: [call.ExtraKinds]list{call.ExtraMember: listOf(texts...)}}
}

// with adds free extras of another kind.
func (h *host) with(kind call.ExtraKind, names string) *host {
	h.free[kind] = listOf(names)
	return h
}

// but says what costs at this host alone.
func (h *host) but(kind call.ExtraKind, reasons map[string]string) *host {
	if h.costly == nil {
		h.costly = map[call.ExtraKind]map[string]string{}
	}
	h.costly[kind] = reasons
	return h
}

// runsAgents says which models run others or tools by themselves.
func (h *host) runsAgents(patterns ...string) *host {
	h.agents = patterns
	return h
}

func (h *host) asGateway() *host {
	h.gateway = true
	return h
}

// templateMembers are variables that chat templates of open models read.
const templateMembers = `chat_template_kwargs.thinking_budget chat_template_kwargs.clear_thinking chat_template_kwargs.preserve_thinking
		chat_template_kwargs.model_identity chat_template_kwargs.add_generation_prompt chat_template_kwargs.date_string
		chat_template_kwargs.tools_in_user_message chat_template_kwargs.add_vision_id`

var unknownHost = members(templateMembers).asGateway()

// hosts are the providers by their plain names. Each list was read in November 2026 in
// what its comment names: the provider's own client, server or reference.
var hosts = func() map[string]*host {
	all := map[string]*host{}
	for names, h := range map[string]*host{
		// OpenAI's own members are in members.go and chat.go, from its OpenAPI document.
		"openai": members(),
		// Azure: the OpenAPI documents of Azure OpenAI, chat completions.
		"azure azureopenai azureai": members(`user_security_context.*`),
		// Groq: package groq 1.7.0, types/chat/completion_create_params.py, and
		// https://console.groq.com/docs/service-tiers. on_demand is its plain tier, performance
		// is capacity that was bought before. Compound models call others, and search.
		"groq": members(`citation_options disable_tool_validation documents.*`).
			with(call.ExtraTier, `on_demand performance`).
			but(call.ExtraMember, map[string]string{
				"exclude_domains": "searches have a fee, and their results are input",
				"include_domains": "searches have a fee, and their results are input",
			}).runsAgents("compound*", "groq/compound*"),
		// Mistral: package mistralai 3.7.0, client/models/chatcompletionrequest.py and the
		// chunks beside it, requestedservicetier.py.
		"mistral mistralai": members(`random_seed safe_prompt prompt_logprobs top_prompt_logprobs prompt_mode`).
			with(call.ExtraPart, `reference`).
			with(call.ExtraTier, `standard_only`),
		// DeepSeek: https://api-docs.deepseek.com/api/create-chat-completion.
		"deepseek": members(`user_id thinking.reasoning_effort`),
		// xAI: https://docs.x.ai/developers/rest-api-reference/inference/chat-completions.
		// max_turns limits the rounds of tools that run there, which are denied.
		"xai grok": members(`max_turns`),
		// OpenRouter: package openrouter 1.3.84, components/chatrequest.py and
		// operations/createembeddings.py; https://openrouter.ai/docs/api-reference/overview.
		// transforms has one value, middle-out, which drops text. A budget of reasoning is
		// inside the output cap, and max_price lowers the price.
		"openrouter": members(`trace.* debug.* usage.include verbosity transforms structured_outputs
			reasoning.max_tokens reasoning.context reasoning.mode
			provider.allow_fallbacks provider.max_price.* tools.eager_input_streaming messages.model stop_server_tools_when.*`).
			with(call.ExtraBeta, `fine-grained-tool-streaming-2025-05-14 interleaved-thinking-2025-05-14 structured-outputs-2025-11-13`).
			runsAgents("*:online", "openrouter/auto*", "*@preset/*").asGateway(),
		// Together: package together 3.1.1, types/chat/completion_create_params.py.
		"together togetherai": members(`compliance context_length_exceeded_behavior`, templateMembers),
		// Fireworks: package fireworks_ai 1.2.30, types/chat/completion_create_params.py and
		// types/completion_create_params.py. Any tier but priority is the plain one there.
		"fireworks fireworksai": members(`context_length_exceeded_behavior echo_last mirostat_lr mirostat_target
			perf_metrics_in_response prompt_cache_isolation_key prompt_cache_max_len prompt_truncate_len raw_output reasoning_history
			return_logits.* return_token_ids safe_tokenization thinking.budget_tokens`),
		// Cerebras: package cerebras_cloud_sdk 1.91.0, types/chat/completion_create_params.py,
		// and https://inference-docs.cerebras.ai/capabilities/service-tiers: auto is the
		// highest tier that there is, and priority is there on endpoints of one's own alone.
		"cerebras": members(`clear_thinking disable_reasoning min_completion_tokens grammar_root return_raw_tokens`),
		// Perplexity: https://docs.perplexity.ai/api-reference/chat-completions-post. The
		// fee of a request depends on what is not listed.
		"perplexity": members(`search_domain_filter search_recency_filter search_mode search_after_date_filter
			search_before_date_filter last_updated_after_filter last_updated_before_filter return_images
			return_related_questions return_citations disable_search enable_search_classifier language_preference
			image_domain_filter image_format_filter`).
			but(call.ExtraMember, map[string]string{"search_type": "it sets the fee of the request"}).
			runsAgents("sonar-deep-research*"),
		// Moonshot: https://platform.moonshot.ai/docs/api/chat.
		"moonshot moonshotai kimi": members(`thinking.keep`),
		// Z.ai: https://docs.z.ai/api-reference/llm/chat-completion.
		"zai zhipu zhipuai bigmodel": members(`do_sample thinking.clear_thinking tool_stream user_id`),
		// Alibaba: https://www.alibabacloud.com/help/en/model-studio/qwen-api-reference.
		// max_tokens leaves thoughts out with models before qwen4, and
		// max_completion_tokens never does: .../model-studio/api-compatibility-upgrade-notice.
		// Which think by default: https://docs.qwencloud.com/developer-guides/text-generation/thinking,
		// and with the open models it is the template that does.
		"alibaba dashscope qwen modelstudio": members(`result_format incremental_output translation_options.* tool_stream`).
			but(call.ExtraMember, map[string]string{
				enableThinking:              whyThoughts,
				"thinking_budget":           whyThoughts,
				"vl_high_resolution_images": "it sets how many tokens an image has",
			}).
			thinks(&thoughts{
				covering: FieldMaxCompletionTokens,
				models: []string{"qwq*", "qvq*", "*thinking*", "qwen3.*", "qwen3-*b", "qwen3-*b-a*b", "deepseek-r*", "deepseek-v4*",
					"glm-*", "kimi-*", "minimax-*"},
				silent: []string{"*instruct*"},
				off:    enableThinking, value: "false",
			}),
		// SiliconFlow: https://docs.siliconflow.com/en/userguide/capabilities/reasoning and
		// https://docs.siliconflow.cn/docs/api/chat-completions-post: max_tokens is that of
		// the answer alone.
		"siliconflow siliconflowcn": members().
			but(call.ExtraMember, map[string]string{enableThinking: whyThoughts, "thinking_budget": whyThoughts}).
			thinks(&thoughts{models: []string{"*"}, silent: []string{"*instruct*"}, off: enableThinking, value: "false"}),
		// ByteDance: https://docs.byteplus.com/en/docs/Byteplus_LAS/Chat_API: models think
		// by default, and max_tokens leaves that out.
		"bytedance byteplus volcengine volcano doubao modelark ark": members().
			thinks(&thoughts{covering: FieldMaxCompletionTokens, models: []string{"*"}, off: thinkingType, value: "disabled"}),
		// Google: https://ai.google.dev/gemini-api/docs/openai. Its members are everywhere's,
		// and standard is its plain tier.
		"google gemini vertex googlevertex googleai": members().with(call.ExtraTier, `standard`),
		// vLLM: vllm/entrypoints/openai/chat_completion/protocol.py, completion/protocol.py
		// and pooling/base/protocol.py on its main branch, and what they had before. A beam search
		// has n beams. vllm_xargs and logits_processors reach what chooses the next token alone.
		"vllm": members(`use_beam_search length_penalty watermarking thinking_token_budget truncate_prompt_tokens truncation_side
			prompt_logprobs logprob_token_ids allowed_token_ids add_generation_prompt continue_final_message add_special_tokens
			documents.* structured_outputs.* guided_json.* guided_regex guided_choice guided_grammar guided_decoding_backend
			guided_whitespace_pattern priority return_tokens_as_token_ids return_token_ids routed_experts_prompt_start
			return_token_offsets return_prompt_text return_mm_kwargs cache_salt repetition_detection.* stream_interval
			use_activation activation softmax embed_dtype endianness vllm_xargs.* logits_processors.* enable_response_messages`, templateMembers),
		// SGLang: python/sglang/srt/entrypoints/openai/protocol.py on its main branch. A
		// session keeps what was asked before.
		"sglang": members(`regex ebnf stop_regex no_stop_trim lora_path separate_reasoning stream_reasoning continue_final_message
			return_hidden_states return_routed_experts routed_experts_start_len return_cached_tokens_details
			return_prompt_token_ids return_token_ids return_meta_info rid extra_key cache_salt priority
			routed_dp_rank data_parallel_rank`, templateMembers).
			but(call.ExtraMember, map[string]string{
				"session_id":     "what is stored under that name is input",
				"session_params": "what is stored under that name is input",
			}),
		// Ollama: openai/openai.go on its main branch, and https://docs.ollama.com/api: how long a
		// model stays in memory.
		"ollama": members(`think keep_alive _debug_render_only`),
		// llama.cpp: tools/server/server-schema.cpp and tools/server/README.md on its main
		// branch. Both numbers of thoughts are inside the cap.
		"llamacpp llamaserver": members(`verbose timings_per_token cache_prompt return_tokens return_progress sse_ping_interval n_indent
			n_keep n_discard n_cache_reuse t_max_predict_ms top_n_sigma xtc_probability xtc_threshold dynatemp_range
			dynatemp_exponent repeat_last_n repeat_penalty dry_multiplier dry_base dry_allowed_length dry_penalty_last_n
			dry_sequence_breakers mirostat mirostat_tau mirostat_eta adaptive_target adaptive_decay n_probs min_keep
			post_sampling_probs backend_sampling lora.* samplers id_slot grammar json_schema.* grammar_lazy
			grammar_triggers.* preserved_tokens parse_tool_calls continue_final_message add_generation_prompt
			reasoning_control reasoning_budget_tokens reasoning_budget_message thinking_budget_tokens thinking_forced_open
			reasoning_in_content speculative.* embd_normalize`, templateMembers),
		// LM Studio: https://lmstudio.ai/docs/developer/openai-compat.
		"lmstudio": members(`repeat_penalty ttl draft_model`),
		// LiteLLM: https://docs.litellm.ai/docs/proxy/user_keys.
		"litellm": members(`drop_params litellm_session_id litellm_trace_id timeout stream_timeout`, templateMembers).asGateway(),

		// Gateways of whose own members none is listed.
		"portkey helicone cloudflare vercel bifrost kong envoy requesty huggingface pydanticgateway gpustack": members(templateMembers).asGateway(),
		// Vendors that have none, or whose are all among everywhere.
		"aws bedrock anthropic cohere minimax voyageai snowflake writer heroku crusoe novita deepinfra avian nebius sambanova ovhcloud baseten modal doubleword": members(),
	} {
		for name := range strings.FieldsSeq(names) {
			all[name] = h
		}
	}
	return all
}()
