package anthropic

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

var _ = flag.Bool("update", false, "write the section of docs/dialects.md anew")

const dialectsPage = "../../docs/dialects.md"

// Ways in which what a name brings is bounded.
const (
	asText    = "text: at most a token a byte"
	asJSON    = "its JSON as any template may write it, at most a token a byte"
	noInput   = "nothing: it is no input, and makes nothing dearer"
	asPieces  = "by what lies in it, below"
	asSealed  = "its own bytes: what it stands for is no longer"
	asLabel   = "its bytes"
	atContext = "`max_document_tokens` of the model, or else its whole context"
	framed    = "its members, and what frames it"
)

// how says of every name that the dialect reads how what it brings is bounded. A test holds
// it against the levels.
var how = []providertest.Explained{
	{Title: "Members of the body", Known: namesOf(bodyLevel.Members), How: map[string]string{
		"model": "it names the price", "messages": asPieces, "system": asPieces, "tools": asPieces,
		"max_tokens":    "the output, thinking too: held, and lowered by a clamp. 0 at Anthropic alone, for no output",
		"stream":        noInput,
		"tool_choice":   asJSON,
		"thinking":      "its output by `max_tokens`; 64 tokens of input. `max_tokens` is not lowered to its budget or below",
		"output_config": "a schema as JSON and 1,024 tokens; effort stays in `max_tokens`",
		"output_format": "as a schema of `output_config`",
		"cache_control": "every input token may be a write to the cache: for 5 minutes, or an hour where any `ttl` anywhere says so",
		"service_tier":  "`standard_only` as the list price; absent or `auto` also at the tiers that the upstream's `allow` names. An answer that names a tier without a price is cost unknown",
		"speed":         "`fast` at the model's price of that service, else denied; what the answer says was served is charged",
		"inference_geo": "`global` at the list price, `us` at that region's; absent: at the dearest region of the price; any other is denied",
		"safeguards":    "nothing: Anthropic checks the answer's calls of tools (`dangerous_tool_use`) for nothing. Other checks are denied; at servers of other makers they are taken out",
		"compaction":    "one run more, whose output is at most `max_output_tokens`",
		"fallbacks":     "a run for each, at its own price, with its own `max_tokens`, which reads the request and what those before it wrote. `\"default\"` is denied; so are fallbacks with input that the body does not show",
		"mcp_servers":   "denied, or taken out, as `hosted_tools` say of `mcp`",
		"temperature":   noInput, "top_p": noInput, "top_k": noInput, "stop_sequences": noInput, "metadata": noInput, "diagnostics": noInput,
		"fallback_credit_token": "nothing: it makes a call cheaper, and what it saves is charged",
		"context_management":    "edits that clear cost nothing; `compact_20260112` is one run more, as `compaction`; any other edit is denied",
	} /* and those that are denied, below */},
	{Title: "Members of a message", Known: namesOf(messageLevel.Members), How: map[string]string{
		"role": asLabel, "content": "text, or blocks, below", "clear_at": noInput, "output_config": "as that of the body",
	}},
	{Title: "Content blocks, in `system`, `messages`, results of tools and documents, by `type`", Known: slices.Sorted(maps.Keys(blockTypes)), How: map[string]string{
		"text": framed, "thinking": framed, "redacted_thinking": framed, "tool_use": framed + "; one that code called is denied", "tool_result": framed,
		"image":         "1,664 tokens for models before 4.7, 4,848 for all later ones of Claude's and at Anthropic; else `max_image_tokens`, or denied. Any source. It needs the capability `images`, and so do pages",
		"document":      "text and blocks by their bytes; pages (base64, URL, file) by " + atContext,
		"search_result": framed, "tool_reference": "the definition of the tool, once more", "tool_addition": "a definition by its bytes, a reference as that; tools of MCP servers are denied",
		"tool_removal": "as a reference", "compaction": "its summary's bytes, and those of what is sealed", "fallback": noInput,
		"mcp_tool_use": framed, "mcp_tool_result": framed,
		"server_tool_use":        "its bytes where its result follows; else it is one more search, or denied",
		"web_search_tool_result": framed, "web_fetch_tool_result": framed, "code_execution_tool_result": framed, "bash_code_execution_tool_result": framed,
		"text_editor_code_execution_tool_result": framed, "tool_search_tool_result": "references to tools", "advisor_tool_result": framed,
		"web_search_result": asSealed, "web_search_tool_result_error": framed, "web_fetch_result": "its document", "web_fetch_tool_result_error": framed,
		"code_execution_result": framed, "encrypted_code_execution_result": asSealed, "code_execution_tool_result_error": framed, "code_execution_output": framed,
		"bash_code_execution_result": framed, "bash_code_execution_tool_result_error": framed, "bash_code_execution_output": framed,
		"text_editor_code_execution_view_result": framed, "text_editor_code_execution_create_result": framed,
		"text_editor_code_execution_str_replace_result": framed, "text_editor_code_execution_tool_result_error": framed,
		"tool_search_tool_search_result": "references to tools", "tool_search_tool_result_error": framed,
		"advisor_result": framed, "advisor_redacted_result": asSealed, "advisor_tool_result_error": framed,
	}},
	{Title: "Members of a block", Known: namesOf(blockMembers), How: map[string]string{
		"type": noInput, "text": asText, "title": asText, "context": asText, "thinking": asText, "signature": asSealed, "data": asSealed,
		"id": asLabel, "tool_use_id": asLabel, "name": asLabel, "tool_name": asLabel, "input": asJSON, "content": "text, or blocks", "source": "see images and documents; a text",
		"citations": asJSON + "; where they are enabled 16 tokens a sentence or block, and 1,024", "is_error": noInput, "safeguards": asJSON, "cache_control": "as that of the body",
		"caller": asJSON, "tool": "see changes of tools", "tool_references": "references to tools", "tool_changes": "see changes of tools",
		"encrypted_content": asSealed, "encrypted_stdout": asSealed,
		"server_name": asJSON, "url": asJSON, "page_age": asJSON, "retrieved_at": asJSON, "stdout": asJSON, "stderr": asJSON, "return_code": asJSON,
		"error_code": asJSON, "error_message": asJSON, "stop_reason": asJSON, "file_id": asJSON, "file_type": asJSON, "lines": asJSON, "num_lines": asJSON,
		"start_line": asJSON, "total_lines": asJSON, "old_start": asJSON, "old_lines": asJSON, "new_start": asJSON, "new_lines": asJSON, "is_file_update": asJSON,
		"from": noInput, "to": noInput, "trigger": noInput,
	}},
	{Title: "Tools that the client runs, by their `type`", Known: slices.Sorted(maps.Keys(clientTools)), How: map[string]string{
		"bash_20241022": "512 tokens", "bash_20250124": "512 tokens", "text_editor_20241022": "1,536 tokens", "text_editor_20250124": "1,536 tokens",
		"text_editor_20250429": "1,536 tokens", "text_editor_20250728": "1,536 tokens", "computer_20241022": "2,560 tokens",
		"computer_20250124": "2,560 tokens", "computer_20251124": "2,560 tokens", "memory_20250818": "3,072 tokens",
	}},
	{Title: "Tools that run at the provider, by what their `type` begins with", Known: slices.Sorted(maps.Keys(hostedTypes)), How: map[string]string{
		"web_search_":       "as `hosted_tools` say of `web_search`. Priced, in the versions 20250305, 20260209 and 20260318: `max_uses` is lowered or inserted; ten rounds, each with the whole `max_tokens`, which read the request, what was written and the results again; the fee by `server_tool_use.web_search_requests`. Not with fallbacks or compaction",
		"web_fetch_":        "denied or taken out, as `hosted_tools` say of `web_fetch`",
		"code_execution_":   "denied or taken out, as `hosted_tools` say of `code_execution`",
		"tool_search_tool_": "denied or taken out, as `hosted_tools` say of `tool_search`",
		"advisor_":          "denied or taken out, as `hosted_tools` say of `advisor`",
		"mcp_toolset":       "denied or taken out, as `hosted_tools` say of `mcp`",
	}},
	{Title: "Members of a tool", Known: namesOf(toolLevel.Members), How: map[string]string{
		"type": "see above", "name": asJSON, "description": asJSON, "input_schema": asJSON, "input_examples": asJSON, "strict": noInput,
		"defer_loading": "nothing less: its definition is counted", "eager_input_streaming": noInput, "cache_control": "as that of the body",
		"allowed_callers": "code that may call a tool of the client's is denied", "max_uses": "the cap of searches",
		"max_characters": noInput, "display_width_px": noInput, "display_height_px": noInput, "display_number": noInput, "enable_zoom": noInput,
		"allowed_domains": asJSON, "blocked_domains": asJSON, "user_location": asJSON, "response_inclusion": noInput,
	}},
	{Title: "Members of a fallback", Known: namesOf(fallbackLevel.Members), How: map[string]string{
		"model": "it names the price, and must be one that the policy sends to the same upstream and allows the tenant", "max_tokens": "its output; absent: the request's",
		"speed": "as that of the body", "thinking": "by its cap", "output_config": "as that of the body",
	}},
}

func namesOf(members map[string]wire.Reader[*parser]) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if costly[name] == "" {
			names = append(names, name)
		}
	}
	return names
}

// section is what the page says of the dialect.
func section(t *testing.T) string {
	var b strings.Builder
	b.WriteString(providertest.Explain(t, how))
	b.WriteString("\n### Denied by name\n\n| name | why |\n|---|---|\n")
	for _, list := range []map[string]string{costly, costlyBlocks} {
		for _, name := range slices.Sorted(maps.Keys(list)) {
			fmt.Fprintf(&b, "| `%s` | %s |\n", name, list[name])
		}
	}
	b.WriteString("\n### Betas that pass\n\n| betas | why they cost nothing by themselves |\n|---|---|\n")
	for _, why := range slices.Sorted(maps.Keys(knownBetas)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.Join(slices.Sorted(strings.FieldsSeq(knownBetas[why])), "` `"), why)
	}
	return b.String() + "\n"
}

// TestDialectPage: docs/dialects.md says of every name that is read how it is bounded.
func TestDialectPage(t *testing.T) {
	providertest.Page(t, dialectsPage, "<!-- anthropic: go test ./providers/anthropic -run TestDialectPage -update -->\n", "<!-- end of anthropic -->", section(t))
}
