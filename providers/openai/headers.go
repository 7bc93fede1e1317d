package openai

import (
	"bytes"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
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

// SeeHeaders notes in Unbounded those of the request's headers whose cost the
// body does not show, in lower case, with a - where a server behind CGI or WSGI
// would not see that a _ is none.
func (r *Request) SeeHeaders(header map[string][]string) {
	var found []string
	for name := range header {
		var room [maxHeaderBytes]byte
		plain := names.AppendFold(room[:0], name[:min(len(name), maxHeaderBytes)])
		for i, c := range plain {
			if c == '_' {
				plain[i] = '-'
			}
		}
		if billedHeaders.have(plain) {
			found = append(found, string(plain))
		}
	}
	slices.Sort(found) // a map has no order, and the first is told
	for _, name := range found {
		r.unbounded(name)
	}
}
