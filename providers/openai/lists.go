package openai

import (
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// list are names of one kind. One that ends in .* stands for all that lies under it.
type list struct {
	whole map[string]bool
	under map[string]bool
}

// listOf returns the list of the names in some texts, between blanks.
func listOf(texts ...string) list {
	l := list{map[string]bool{}, map[string]bool{}}
	for _, text := range texts {
		for name := range strings.FieldsSeq(text) {
			if above, all := strings.CutSuffix(name, ".*"); all {
				l.under[above] = true
			}
			l.whole[strings.TrimSuffix(name, ".*")] = true
		}
	}
	return l
}

// has reports whether a name is listed, by itself or by what it lies under.
func (l *list) has(name string) bool {
	if l.whole[name] {
		return true
	}
	for i := range len(name) {
		if name[i] == '.' && l.under[name[:i]] {
			return true
		}
	}
	return false
}

// begins reports whether a name that is listed lies under this one.
func (l *list) begins(above string) bool {
	for name := range l.whole {
		if strings.HasPrefix(name, above) && len(name) > len(above) && name[len(above)] == '.' {
			return true
		}
	}
	return false
}

// everywhere are members that cost nothing at any server: they choose among the tokens
// of an output that the cap bounds, or they are text in the body, which is counted. Who
// does not know one refuses or ignores it.
var everywhere = [call.ExtraKinds]list{
	call.ExtraMember: listOf(
		// Which token comes next, and when the output ends, within the cap.
		`top_k top_a min_p typical_p repetition_penalty min_tokens ignore_eos stop_token_ids bad_words
		skip_special_tokens spaces_between_special_tokens include_stop_str_in_output`,
		// Whether the model reasons, and whether that is shown. Reasoning is output.
		`include_reasoning reasoning_format reasoning_split enable_thinking thinking.type
		reasoning.effort reasoning.enabled reasoning.exclude reasoning.summary
		chat_template_kwargs.enable_thinking chat_template_kwargs.thinking chat_template_kwargs.reasoning_effort`,
		// Google's, which gateways take too. A budget of thoughts is inside the cap.
		`google.thinking_config.* google.thought_tag_marker google.safety_settings.* tools.function.response.*`,
		// The shape of the output: a grammar, which is in the body.
		`response_format.grammar response_format.structures.* response_format.triggers response_format.format.* response_format.value.*
		response_format.pattern`,
		// Parts of an answer that come back in the history.
		`messages.annotations.* messages.reasoning.* messages.reasoning_content messages.reasoning_details.* messages.thinking
		messages.thinking_blocks.* messages.parsed.* messages.prefix messages.partial messages.weight messages.finish_reason
		messages.extra_content.* messages.tool_calls.extra_content.* messages.tool_calls.parsed_arguments.*`,
		// A function as the Responses API has it, and other text that describes one.
		`tools.name tools.description tools.parameters.* tools.input_schema.* tools.strict tools.defer_loading
		tools.function.defer_loading tools.function.examples.*`,
		`session_id request_id moderation.model moderation.policy.*`,
		// Embeddings: their kind, size and form, and that long inputs are cut.
		`input_type output_dimension output_dtype truncate truncation normalize`,
	),
	// Parts that are text, all of which is in the body.
	call.ExtraPart:  listOf(`thinking redacted_thinking reasoning input_text output_text summary_text`),
	call.ExtraTier:  listOf(`auto default flex`), // flex is nowhere dearer than the plain tier
	call.ExtraQuery: listOf(`api-version`),
	// They change routes that are not governed.
	call.ExtraBeta: listOf(`assistants=v1 assistants=v2 realtime=v1`),
}

// costlyAnywhere are the members that cost at some provider alone.
var costlyAnywhere = func() map[string]bool {
	all := map[string]bool{}
	for _, h := range hosts {
		for name := range h.costly[call.ExtraMember] {
			all[name] = true
		}
	}
	return all
}()

// settled reports whether a member is free at every provider.
func settled(path string) bool {
	return everywhere[call.ExtraMember].has(path) && !costlyAnywhere[path]
}

// costly say of members, parts and tools why nothing bounds what they cost.
var costly = map[call.ExtraKind]map[string]string{
	call.ExtraMember: {
		"web_search_options":       "each search has a fee, and its results are input",
		"search_parameters":        "each source that is searched has a fee",
		"search_settings":          "searches have a fee, and their results are input",
		"search_options":           "searches have a fee, and their results are input",
		"enable_search":            "searches have a fee, and their results are input",
		"enable_code_interpreter":  "what runs at the provider is billed, and its results are input",
		"compound_custom":          "it makes other models and tools run",
		"data_sources":             "what is found there is input, and the model runs several times",
		"dataSources":              "what is found there is input, and the model runs several times",
		"plugins":                  "plugins have fees, and their results are input",
		"guardrails":               "they may have other models read the texts",
		"safety_model":             "another model reads the output",
		"models":                   "another model may answer, at another price",
		"fallbacks":                "another model may answer, at another price, and each try is billed",
		"context_window_fallbacks": "another model may answer, at another price, and each try is billed",
		"content_policy_fallbacks": "another model may answer, at another price, and each try is billed",
		"num_retries":              "each try is billed",
		"max_retries":              "each try is billed",
		"route":                    "another model may answer, at another price",
		"provider":                 "it chooses who serves the model, and so the price",
		"providerOptions":          "it chooses who serves the model, and so the price",
		"preset":                   "what is stored under that name is not in the body",
		"prompt_id":                "what is stored under that name is not in the body",
		"previous_response_id":     "what is stored under that name is input",
		"conversation":             "what is stored under that name is input",
		"context_id":               "what is stored under that name is input",
		"cached_content":           "what is stored under that name is input",
		"cachedContent":            "what is stored under that name is input",
		"google.cached_content":    "what is stored under that name is input",
		"google.cachedContent":     "what is stored under that name is input",
		"google.tools":             "tools that run at the provider have fees, and their results are input",
		"kv_transfer_params":       "input may come from elsewhere",
		"ec_transfer_params":       "input may come from elsewhere",
		"prompt_embeds":            "how many tokens it is does not show",
		"input_ids":                "they take the place of the texts",
		"images":                   "the tokens of images do not show",
		"messages.images":          "the tokens of images do not show",
		"image_config":             "it sets the size of images that are made",
		"mm_processor_kwargs":      "it sets how many tokens an image has",
		"media_io_kwargs":          "it sets how many pictures a video has",
		"chat_template":            "a template may write more than the texts show",
		"speculation":              "what is predicted may be billed as output",
		"prompt_cache_options.ttl": "what is kept longer costs more to write",
		"input.content.file_id":    notWhose,
		filePlace + ".file_id":     notWhose,
	},
	call.ExtraPart: {
		"input_audio":  "the tokens of audio do not show",
		"file":         "pages become text and images",
		"video_url":    "the tokens of a video do not show",
		"input_video":  "the tokens of a video do not show",
		"video":        "the tokens of a video do not show",
		"audio_url":    "the tokens of audio do not show",
		"document_url": "pages become text and images",
		"document":     "pages become text and images",
		"file_url":     "pages become text and images",
		"input_file":   "pages become text and images",
		"input_image":  "the tokens of an image do not show",
		"image":        "the tokens of an image do not show",
	},
	call.ExtraTool: {
		"web_search":                    searchesCost,
		"web_search_2025_08_26":         searchesCost,
		"web_search_preview":            searchesCost,
		"web_search_preview_2025_03_11": searchesCost,
		"x_search":                      searchesCost,
		"file_search":                   searchesCost,
		"code_interpreter":              "its container has a fee for as long as it stays, and what it gives is input",
		"shell":                         "its container has a fee for as long as it stays, and what it gives is input; one whose environment is local runs at the client",
		"image_generation":              "another model makes images, at its own price",
		"mcp":                           "what its server gives is input, and the model runs again with it",
		"tool_search":                   "the model runs again with what is found; one whose execution is client runs there",
		"programmatic_tool_calling":     "a program calls tools as often as it likes",
	},
}

const notWhose = "all tenants share the upstream's key, and nobody knows whose file it is"

const searchesCost = "searches have a fee, and the model runs again with their results"

// idle say of members that are known to cost when they ask for nothing that does.
var idle = map[string]func(value gjson.Result) bool{
	// https://docs.x.ai/docs/guides/live-search.
	"search_parameters": func(v gjson.Result) bool { return wire.Get(v, "mode").Str == "off" },
	// Package openrouter 1.3.84, components: the plugins that look at the answer's form, or
	// that drop text, have no fee, and none has that is not enabled.
	"plugins": func(v gjson.Result) bool {
		return v.IsArray() && !slices.ContainsFunc(v.Array(), func(plugin gjson.Result) bool {
			id := wire.Get(plugin, "id").Str
			return id != "response-healing" && id != "context-compression" && wire.Get(plugin, "enabled").Type != gjson.False
		})
	},
}

// reasons say why what is in Request.Unbounded has no bound anywhere.
var reasons = map[string]string{
	UnboundedAudioID:   "it is earlier audio, of which the body has the id alone, and it may be another tenant's",
	UnboundedCacheRole: "what is stored under that name is input",
	UnboundedModality:  "it asks for output that is neither text nor audio",
	UnboundedExtras:    "there are more than can be judged",

	UnboundedImageFormat: "it is no picture: another model writes an SVG, and nothing published tells what the frames of a GIF cost",
	UnboundedWebSearch:   "each search has a fee, its results are input, and nothing caps how many; a response can search where hosted_tools of the tenant prices that",

	UnboundedConversation: "what is stored under that name is input, and other calls add to it",
	UnboundedPrompt:       "what is stored under that name can have tools, a cap and images",
	UnboundedMultiAgent:   "agents start others, and nothing says how many",
	UnboundedReasoning:    "several runs of the model are billed together, and nothing says how many",
	UnboundedCompaction:   "what it asks for, beside a compaction, is not known",
}

// never are members that no allowance admits, and why.
var never = map[string]string{
	"n_predict":       "it overrides the output cap; send max_tokens",
	"n_cmpl":          "it overrides the number of choices; send n",
	"prompt":          anothersInput,
	"input":           anothersInput,
	"inputs":          anothersInput,
	"messages":        anothersInput,
	"background":      "the answer would come elsewhere, past the meter",
	"deferred":        "the answer would come elsewhere, past the meter",
	"extra_headers":   "headers belong in the header",
	"extra_query":     "a query belongs in the URL",
	"api_base":        "it names another server",
	"base_url":        "it names another server",
	"response_fields": hidesUsage,
	"fields":          hidesUsage,
}

const (
	hidesUsage    = "it can hide the usage"
	anothersInput = "it is another endpoint's input"
)

// costlyNames are the members of a body that are known to cost, or not to be sent.
func costlyNames() []string {
	all := maps.Clone(never)
	maps.Copy(all, costly[call.ExtraMember])
	for _, h := range hosts {
		maps.Copy(all, h.costly[call.ExtraMember])
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(name string) bool { return strings.Contains(name, ".") })
}
