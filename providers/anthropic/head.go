package anthropic

import (
	"net/url"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// withheld are the client's credentials, what would have the call billed to another
// account of the upstream's key, and what is set anew.
var withheld = []string{
	"Authorization", "X-Api-Key", "Api-Key", "Cookie", betaHeader,
	"Anthropic-Workspace-Id", "Anthropic-Organization-Id", "Anthropic-User-Profile-Id", "Anthropic-Billing-Policy",
}

// betaHeader asks for betas, by a list with commas.
const betaHeader = "Anthropic-Beta"

// seeHead reads what the head of a request asks for.
func (r *request) seeHead() {
	for _, value := range r.head.Header[betaHeader] {
		for beta := range strings.SplitSeq(value, ",") {
			if beta = strings.TrimSpace(beta); beta != "" && !slices.Contains(r.betas, beta) {
				r.betas = append(r.betas, beta)
			}
		}
	}
	for pair := range strings.SplitSeq(r.head.Query, "&") {
		if name, ok := parameter(pair); !ok {
			r.unknown(call.ExtraQuery, name, false)
		}
	}
}

// parameter returns the name of a pair of a query, and whether it is one that the
// dialect knows: beta, which is sent on, or one that may hold a key, which is not.
func parameter(pair string) (name string, known bool) {
	raw, _, _ := strings.Cut(pair, "=")
	name, err := url.QueryUnescape(raw)
	if err != nil {
		return "", false
	}
	switch name {
	case "", betaParameter, "key", "api_key", "access_token":
		return name, true
	}
	return name, false
}

// betaParameter is in the query of every call that an SDK makes through its beta
// resources. It changes nothing.
const betaParameter = "beta"

// query is what is sent of the query.
func (r *request) query() string {
	for pair := range strings.SplitSeq(r.head.Query, "&") {
		if name, _ := parameter(pair); name == betaParameter {
			return betaParameter + "=true"
		}
	}
	return ""
}

// betas are those that cost nothing by themselves: what they let a request have is in
// its members, which are read by lists of their own. So it matters little that one is
// here; one that is not may change what known members cost.
var betas = map[string]bool{
	"claude-code-20250219":                     true,
	"oauth-2025-04-20":                         true,
	"interleaved-thinking-2025-05-14":          true, // thinking stays in max_tokens
	"dev-full-thinking-2025-05-14":             true,
	"redact-thinking-2026-02-12":               true,
	"adaptive-thinking-2026-01-28":             true,
	"thinking-token-count-2026-05-13":          true,
	"thinking-display-updates-2026-08-18":      true,
	"effort-2025-11-24":                        true,
	"task-budgets-2026-03-13":                  true,
	"output-128k-2025-02-19":                   true, // max_tokens bounds it
	"max-tokens-3-5-sonnet-2024-07-15":         true,
	"prompt-caching-2024-07-31":                true,
	"extended-cache-ttl-2025-04-11":            true,
	"prompt-caching-scope-2026-01-05":          true,
	"token-counting-2024-11-01":                true,
	"token-efficient-tools-2025-02-19":         true,
	"fine-grained-tool-streaming-2025-05-14":   true,
	"tool-examples-2025-10-29":                 true,
	"advanced-tool-use-2025-11-20":             true,
	"structured-outputs-2025-11-13":            true,
	"context-management-2025-06-27":            true,
	"model-context-window-exceeded-2025-08-26": true,
	"computer-use-2024-10-22":                  true,
	"computer-use-2025-01-24":                  true,
	"computer-use-2025-11-24":                  true,
	contextBeta:                                true,
}

// contextBeta makes the context larger, of models that have it.
const (
	contextBeta   = "context-1m-2025-08-07"
	contextTokens = 1_000_000
)

// askedBetas parts the betas asked for into those that are sent and those that are
// taken out. A larger context than the one that is known is no bound.
func (r *request) askedBetas(t *providers.Terms) (sent, taken []string) {
	for _, beta := range r.betas {
		if !betas[beta] || beta == contextBeta && 0 < t.Context && t.Context < contextTokens {
			taken = append(taken, beta)
			continue
		}
		sent = append(sent, beta)
	}
	return sent, taken
}
