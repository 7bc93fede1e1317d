package openai

import (
	"bytes"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// billedHeaders are request headers by which a server or a gateway takes more into
// a request than its body shows, or makes another one or several of it: stored
// input, other models, dearer tiers, retries and fallbacks. A * at the end stands
// for any text.
var billedHeaders = headersOf(
	"x-msh-context-cache*",                            // Moonshot: stored input
	"x-dashscope-plugin", "x-dashscope-session-cache", // Alibaba
	"x-vertex-ai-llm-*",                                                // Google: tiers
	"x-amzn-bedrock-service-tier", "x-amzn-bedrock-performanceconfig*", // AWS: tiers
	"azureml-model-deployment", "x-ms-oai-image-generation-deployment", "x-ms-spillover-deployment", // Azure: other models
	"x-portkey-config", "x-portkey-provider", "x-portkey-virtual-key", "x-portkey-custom-host", // Portkey
	"helicone-fallbacks", "helicone-retry-*", "helicone-target-*", "helicone-openai-api-base", // Helicone
	"cf-aig-max-attempts", "cf-aig-retry-*", "cf-aig-backoff", "cf-aig-request-timeout", "cf-aig-byok-alias", // Cloudflare
	"x-litellm-num-retries", "x-litellm-tags", "x-litellm-fallback*", // LiteLLM
)

// withheld are the client's credentials, and what would have the call billed to
// another account of the upstream's key.
var withheld = headersOf("authorization", "api-key", "x-api-key", "openai-organization", "openai-project", "chatgpt-account-id")

// betaHeaders are those by which betas are asked for, one or several in a value.
var betaHeaders = headersOf("openai-beta", "anthropic-beta", "x-anthropic-beta")

// gatewayHeaders are what a gateway gets of the headers that mean nothing to a cost.
var gatewayHeaders = headersOf(
	"accept", "accept-*", "content-type", "content-length", "user-agent", "te", "date",
	"x-stainless-*", "idempotency-key", "x-request-id", "x-client-request-id", "x-correlation-id",
	"traceparent", "tracestate", "baggage",
	"referer", "http-referer", "x-title", "x-openrouter-title", "x-openrouter-categories", "x-session-id", // OpenRouter
)

// headers are names, and beginnings of names.
type headers struct {
	whole  map[string]bool
	begins []string
}

func headersOf(list ...string) headers {
	h := headers{whole: map[string]bool{}}
	for _, name := range list {
		if begin, ok := strings.CutSuffix(name, "*"); ok {
			h.begins = append(h.begins, begin)
		} else {
			h.whole[name] = true
		}
	}
	return h
}

func (h *headers) have(name []byte) bool {
	return h.whole[string(name)] || slices.ContainsFunc(h.begins, func(begin string) bool { return bytes.HasPrefix(name, []byte(begin)) })
}

// maxHeaderBytes is more than the longest name of a header that is looked for.
const maxHeaderBytes = 64

// plainHeader appends the name of a header in lower case, with a - where a server
// behind CGI or WSGI would not see that a _ is none, cut at maxHeaderBytes.
func plainHeader(room []byte, name string) []byte {
	plain := names.AppendFold(room, name[:min(len(name), maxHeaderBytes)])
	for i, c := range plain {
		if c == '_' {
			plain[i] = '-'
		}
	}
	return plain
}

// SeeHeaders notes those of the request's headers whose cost the body does not show,
// and the betas that they ask for.
func (r *Request) SeeHeaders(header map[string][]string) {
	var found, betas []string
	for name, values := range header {
		var room [maxHeaderBytes]byte
		switch plain := plainHeader(room[:0], name); {
		case billedHeaders.have(plain):
			found = append(found, string(plain))
		case betaHeaders.have(plain):
			betas = append(betas, values...)
		}
	}
	slices.Sort(found) // a map has no order, and the first is told
	for _, name := range found {
		r.extra(call.ExtraHeader, name, false)
	}
	slices.Sort(betas)
	for _, value := range betas {
		for beta := range betasOf(value) {
			r.extra(call.ExtraBeta, beta, false)
		}
	}
}

// betasOf yields the betas in the value of a header.
func betasOf(value string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for beta := range strings.SplitSeq(value, ",") {
			if beta = strings.TrimSpace(beta); beta != "" && !yield(beta) {
				return
			}
		}
	}
}

// forward is what an upstream gets of the header of a request: without whatever may hold a
// credential of the client's, hide the usage or have another account billed, without betas that
// are in no list, which it returns, and at a gateway without every header that is in none.
func forward(t *providers.Terms, header map[string][]string) (sent map[string][]string, betas []string) {
	h := hostOf(t.Provider)
	sent = make(map[string][]string, len(header)+1)
	for name, values := range header {
		var room [maxHeaderBytes]byte
		plain := plainHeader(room[:0], name)
		switch {
		case withheld.have(plain), wire.Secret(name), wire.HidesUsage(name):
		case betaHeaders.have(plain):
			kept, out := sift(t, h, values)
			betas = append(betas, out...)
			if len(kept) > 0 {
				sent[name] = kept
			}
		case !h.gateway, gatewayHeaders.have(plain), t.Allow.Has(call.ExtraHeader, string(plain)):
			sent[name] = values
		}
	}
	slices.Sort(betas)
	return sent, slices.Compact(betas)
}

// sift parts the values of a beta header. A value of which nothing is taken out stays
// as it is.
func sift(t *providers.Terms, h *host, values []string) (kept, out []string) {
	for _, value := range values {
		var pass, stop []string
		for beta := range betasOf(value) {
			if t.Allow != nil && t.Allow.Betas == call.PassBetas || h.refuses(call.Extra{Kind: call.ExtraBeta, Name: beta}, t) == nil {
				pass = append(pass, beta)
			} else {
				stop = append(stop, beta)
			}
		}
		switch {
		case len(stop) == 0:
			kept = append(kept, value)
		case len(pass) > 0:
			kept = append(kept, strings.Join(pass, ", "))
		}
		out = append(out, stop...)
	}
	return kept, out
}
