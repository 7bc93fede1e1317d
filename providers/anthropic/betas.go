package anthropic

import "strings"

// knownBetas are those that cost nothing by themselves, by why. They are the betas of the
// official SDK for Python, version 2.14.0
// (https://github.com/anthropics/anthropic-sdk-python), and those that Claude Code 2.1.332
// (https://www.npmjs.com/package/@anthropic-ai/claude-code) sends or names, as far as it is
// known what they do. One that is not here may change what known members cost.
var knownBetas = map[string]string{
	"what it lets a request have are members, blocks and tools, which are judged by themselves": `
		advanced-tool-use-2025-11-20 advisor-tool-2026-03-01 cache-diagnosis-2026-04-07 code-execution-2025-05-22
		code-execution-2025-08-25 compact-2026-01-12 compact-2026-09-04 computer-use-2024-10-22 computer-use-2025-01-24
		computer-use-2025-11-24 context-management-2025-06-27 effort-2025-11-24 extended-cache-ttl-2025-04-11
		fallback-credit-2026-06-01 fallback-credit-2026-07-01 fast-mode-2026-02-01 files-api-2025-04-14
		inline-tools-2026-09-15 mcp-client-2025-04-04 mcp-client-2025-11-20 mcp-client-2026-09-15 mcp-servers-2025-12-04
		message-threads-2026-08-12 mid-conversation-output-config-2026-07-01 mid-conversation-system-2026-04-07
		mid-conversation-system-clear-at-2026-08-21 mid-conversation-tool-changes-2026-07-01 pdfs-2024-09-25
		per-turn-control-2026-07-01 prompt-caching-2024-07-31 prompt-caching-evict-2026-05-12
		prompt-caching-scope-2026-01-05 server-side-fallback-2026-06-01 server-side-fallback-2026-07-01 skills-2025-10-02
		structured-outputs-2025-11-13 structured-outputs-2025-12-15 task-budgets-2026-03-13
		tool-examples-2025-10-29 tool-search-tool-2025-10-19 web-fetch-2025-09-10 web-search-2025-03-05
	`,
	"what the model thinks stays in max_tokens": `
		adaptive-thinking-2026-01-28 dev-full-thinking-2025-05-14 interleaved-thinking-2025-05-14
		redact-thinking-2026-02-12 thinking-binding-controls-2026-08-01 thinking-display-updates-2026-08-18
		thinking-token-count-2026-05-13
	`,
	"max_tokens bounds it": `
		fine-grained-tool-streaming-2025-05-14 max-tokens-3-5-sonnet-2024-07-15 model-context-window-exceeded-2025-08-26
		output-128k-2025-02-19 output-300k-2026-03-24 token-efficient-tools-2025-02-19
	`,
	"it says who asks and what for, or which operation is called": `
		afk-mode-2026-01-31 auto-mode-classifier-2026-07-16 claude-code-20250219 claude-code-side-query-2026-09-29
		oauth-2025-04-20 subagent-review-2026-11-17 token-counting-2024-11-01
	`,
	"the checks that it lets a request ask for cost nothing": "dangerous-tool-use-2026-09-03",
	"the context that is known has it":                       contextBeta,
}

var betas = func() map[string]bool {
	all := map[string]bool{}
	for _, list := range knownBetas {
		for beta := range strings.FieldsSeq(list) {
			all[beta] = true
		}
	}
	return all
}()

// contextBeta makes the context larger, of models that have it.
const (
	contextBeta   = "context-1m-2025-08-07"
	contextTokens = 1_000_000
)
