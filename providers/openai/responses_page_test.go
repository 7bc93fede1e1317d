package openai

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

const dialectsPage = "../../docs/dialects.md"

// Ways in which several names are bounded.
const (
	isNothing = "nothing: it is no input, and makes nothing dearer"
	isText    = "its text, a token for each that the tokenizer finds, or a byte"
	isJSON    = "its strings as text, its names and numbers by their bytes"
	isSchema  = "its JSON as any template may write it, at most a token a byte"
	isContext = "the model's context"
	isHosted  = "denied or taken out, as `hosted_tools` say of "
)

// explanations are the tables of the page.
func explanations() []providertest.Explained {
	body := map[string]string{
		"model": "it names the price. One that ends in `-pro` is bounded as any other: recorded answers of gpt-5-pro count the input once, and the cap is told to cover all that is generated", "input": "text or items, below", "instructions": "text or items, below",
		"previous_response_id": "the input and output that the answer reports which it names, where this process has seen it (the last 65,536 answers and items of them) and both were to be read alike: the same `model`, `reasoning.context`, `image.context_compression`, and both with `context_management` or without; else " + isContext + ", or denied (`when_response_unknown`). Images, audio and writes for twelve hours in it are held at their prices; of one that nobody knows all may be. Another tenant's is denied, where it was seen",
		FieldMaxOutputTokens:   "the output, thoughts and arguments of tools among it: held, inserted (`default_output_cap`, else the model's maximum; at least 16), and lowered by a clamp, never below 16",
		fieldMaxToolCalls:      "the calls of tools at the provider: lowered or inserted where `hosted_tools` price a search that is offered. 0 is denied with a 400, as at OpenAI",
		"tools":                "by their types, below", "tool_choice": isSchema + "; a tool at the provider that is not offered is denied",
		"text": "a `json_schema` as JSON and 32 tokens", "reasoning": "its output by `max_output_tokens`; a `mode` but `standard` is denied: several runs are billed together",
		"stream": isNothing, "stream_options": isNothing + "; usage is in the last event, and nobody asks for it",
		"service_tier": "at `openai` absent, null and `auto` become `default`; `flex` as the list price; another only where the upstream's `allow` names it, at that tier's price. An answer at a tier without a price is cost unknown",
		"store":        "nothing. What is stored is remembered, as `previous_response_id` says", "include": isNothing, "truncation": "either way the input is at most " + isContext + ". A response that may leave out a part of it is not remembered",
		"prompt_cache_options": "every input token may be a write to the cache: of half an hour, or where any `ttl` says `12h` of twelve hours. `prewarm` costs no more than that",
		"moderation":           "nothing: moderation is free",
		"multi_agent":          "denied where `enabled` is true: agents start agents, and nothing says how many",
		"conversation":         "denied: other calls add to what is stored under that name", "prompt": "denied: what is stored under that name can have tools, a cap and images",
		"context_management": "of one `compaction`, at `openai` and `azure`: in c+1 rounds with c searches at most c+2 runs of the model more, each over all that is there, of which each writes the model's maximum (`max_output_tokens` of the model in the policy lowers it) and the later ones read it; without a maximum it is denied. All else in it is denied",
		"background":         "denied where true: the answer would come elsewhere, past the meter",
		"access_programs":    isNothing, "image": "nothing: it makes images fewer tokens", "personality": "of a count of tokens alone",
		"extra_body": "members that this page does not know; those that it knows are denied there", "google": "as `extra_body`", "cache_control": "it marks what may be written to a cache; its JSON",
	}
	for _, name := range []string{
		"temperature", "top_p", "top_logprobs", "logprobs", "user", "safety_identifier", "metadata", "client_metadata", "prompt_cache_key", "prompt_cache_retention", "stop",
		"logit_bias", "reasoning_effort", "parallel_tool_calls", "frequency_penalty", "presence_penalty", "seed", "verbosity", "echo", "suffix", "encoding_format", "dimensions",
	} {
		body[name] = isNothing
	}
	items := map[string]string{
		"message": "its text and parts; 5 tokens, as any item", "item_reference": "with a `type`, or any item without one that has an `id` and is no message with a `role` of the API's and `content`: the output that the answer reports which it is of, where this process has seen it, and its input too where a search found something; else " + isContext + ", or denied, as `previous_response_id`. Another tenant's is denied, where it was seen", "additional_tools": "its `tools`, as those of the body",
		"tool_search_output": "its `tools`, as those of the body", "mcp_list_tools": "its JSON; nothing in it is offered",
		"reasoning": "`encrypted_content` a token a byte, the rest as text; with an `id` and without that as an `item_reference`", "compaction": "a token a byte", "compaction_summary": "a token a byte",
		"context_compaction":    "a token a byte",
		"compaction_trigger":    "one run of the model more over all of the input, which writes the model's maximum, and that as input; without a maximum it is denied",
		"web_search_call":       "its text; with an `id`, under which the provider may have kept what was found, also the `tokens` that `hosted_tools` say of `web_search` where they price it",
		"image_generation_call": "its `result` as an image. Without that, and of any item of what ran at the provider: another tenant's `id` is denied, where it was seen", "configuration_update": "its JSON; the cap stays",
	}
	for name := range itemKinds.whole {
		if items[name] == "" {
			items[name] = isText
		}
	}
	parts := map[string]string{
		"input_image": "by its `detail`, as in a chat: the most that OpenAI publishes for the model, else `max_image_tokens`, or denied", "computer_screenshot": "as `input_image`", "image": "as `input_image`",
		"input_file":        "`max_document_tokens` each, else " + isContext + ". One by `file_id` is denied: all tenants share the upstream's key, and nobody knows whose it is",
		"encrypted_content": "a token a byte",
		"input_audio":       isContext + ", any token of it audio",
	}
	for name := range partKinds.whole {
		if parts[name] == "" {
			parts[name] = isText
		}
	}
	tools := map[string]string{
		"function": isSchema, "custom": isSchema, "namespace": "its tools", "apply_patch": "2,048 tokens, for what the provider says of it", "local_shell": "2,048 tokens",
		"computer": "2,048 tokens", "computer_use_preview": "2,048 tokens",
	}
	hosted := map[string]string{
		"shell":       isHosted + "`code_execution`; one whose `environment` is `local` is the client's: 2,048 tokens",
		"tool_search": isHosted + "`tool_search`; one whose `execution` is `client` is the client's: 2,048 tokens",
	}
	for name, kind := range hostedKinds {
		switch {
		case hosted[name] != "":
		case slices.Contains(priced, name):
			hosted[name] = "as `hosted_tools` say of `web_search`. Priced, at `openai` and `azure`: `max_tool_calls` c; c fees; the input, what is written and what is found read again in c rounds. Counted by `tool_usage`, or by the items of the output that searched"
		default:
			hosted[name] = isHosted + "`" + kind + "`"
		}
	}
	return []providertest.Explained{
		{Title: "Members of a response's body", Known: bodyNames(), How: body},
		{Title: "Items of the input, by `type`", Known: slices.Sorted(maps.Keys(itemKinds.whole)), How: items},
		{Title: "Parts of an item, by `type`", Known: slices.Sorted(maps.Keys(partKinds.whole)), How: parts},
		{Title: "Tools that the client runs, by `type`", Known: slices.Sorted(maps.Keys(clientTools)), How: tools},
		{Title: "Tools of Responses that run at the provider, by `type`", Known: slices.Sorted(maps.Keys(hostedKinds)), How: hosted},
	}
}

// bodyNames are the members of a body that are read.
func bodyNames() (names []string) {
	all := map[string]wire.Reader[*parser]{}
	maps.Copy(all, commonMembers)
	for _, name := range plain {
		all[name] = nil
	}
	maps.Copy(all, responsesMembers)
	all["background"], all["moderation"] = nil, nil
	for _, chats := range []string{FieldMaxTokens, FieldMaxCompletionTokens, "n", "best_of", "messages"} {
		delete(all, chats)
	}
	return slices.Sorted(maps.Keys(all))
}

// responsesSection is what the page says of Responses.
func responsesSection(t *testing.T) string {
	var b strings.Builder
	b.WriteString(providertest.Explain(t, explanations()))
	return b.String() + "\n"
}

// TestDialectPage: docs/dialects.md says of every name of Responses that is read how it is
// bounded.
func TestDialectPage(t *testing.T) {
	if responsesCap != 16 || builtinTokens != 2048 || formatTokens != 32 || messageTokens != 5 {
		t.Error("the page has other numbers")
	}
	providertest.Page(t, dialectsPage, "<!-- responses: go test ./providers/openai -run TestDialectPage -update -->\n", "<!-- end of responses -->", responsesSection(t))
}
