package anthropic

import (
	"net/url"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// withheld would have the call billed to another account than the upstream's key, or of it.
var withheld = []string{
	"Anthropic-Workspace-Id", "Anthropic-Organization-Id", "Anthropic-User-Profile-Id", "Anthropic-Billing-Policy",
	"X-Goog-User-Project",
}

// betaHeader asks for betas, by a list with commas.
const betaHeader = "Anthropic-Beta"

// ownHosts are the providers that serve the models themselves. Any other may be a
// gateway, which takes orders from headers: it gets those alone that are known to order
// nothing.
var ownHosts = []string{"anthropic", "aws", "azure", "google"}

// plainHeaders are those, by what their names begin with.
var plainHeaders = []string{
	"Accept", "Anthropic-Version", betaHeader, "Anthropic-Dangerous-Direct-Browser-Access", "Baggage", "Content-Length", "Content-Type",
	"Traceparent", "Tracestate", "User-Agent", "X-App", "X-Claude-Code-", "X-Request-Id", "X-Stainless-",
}

// seeHead reads what the head of a request asks for.
func (r *request) seeHead() {
	for name, values := range r.head.Header {
		if providers.Plain(name) != betaHeader {
			continue
		}
		for beta := range strings.SplitSeq(strings.Join(values, ","), ",") {
			r.asksFor(strings.TrimSpace(beta))
		}
	}
	for pair := range strings.SplitSeq(r.head.Query, "&") {
		if name, known := parameter(pair); !known {
			r.doubts.Unknown(call.ExtraQuery, name, false)
		}
	}
}

// maxBetas is how many betas one request may ask for: twice as many as there are.
const maxBetas = 128

// asksFor notes a beta, each once.
func (r *request) asksFor(beta string) {
	switch {
	case beta == "" || slices.Contains(r.betas, beta):
	case len(r.betas) < maxBetas:
		r.betas = append(r.betas, beta)
	default:
		r.doubts.Costs(call.ExtraHeader, "anthropic-beta", "it asks for too many betas")
	}
}

// parameter returns the name of a pair of a query, and whether it is one that the
// dialect knows: beta, or one that may hold a key or hide the usage, which goes nowhere.
func parameter(pair string) (name string, known bool) {
	raw, _, _ := strings.Cut(pair, "=")
	name, err := url.QueryUnescape(raw)
	if err != nil || strings.Contains(pair, ";") {
		return "", false
	}
	switch name {
	case "", betaParameter:
		return name, true
	}
	return name, wire.Secret(name) || wire.HidesUsage(name)
}

// betaParameter is in the query of every call that an SDK makes through its beta
// resources. It changes nothing.
const betaParameter = "beta"

// query is what is sent of the query: beta, and what the policy admits.
func (r *request) query() string {
	var kept []string
	for pair := range strings.SplitSeq(r.head.Query, "&") {
		name, known := parameter(pair)
		if name == betaParameter && slices.Contains(kept, betaPair) || known && name != betaParameter {
			continue
		}
		if name == betaParameter {
			pair = betaPair
		}
		kept = append(kept, pair)
	}
	return strings.Join(kept, "&")
}

const betaPair = betaParameter + "=true"

// takes reports whether an upstream gets a beta. A larger context than the one that is
// known is no bound.
func takes(t *providers.Terms, beta string) bool {
	if beta == contextBeta && 0 < t.Context && t.Context < contextTokens {
		return false
	}
	return betas[beta] || t.Allow.Has(call.ExtraBeta, beta) || t.Allow != nil && t.Allow.Betas == call.PassBetas
}

// refusesBetas says which betas have the request denied where the policy wants that.
func (r *request) refusesBetas(t *providers.Terms) (no *providers.Unbounded) {
	if t.Allow == nil || t.Allow.Betas != call.DenyBetas {
		return nil
	}
	for _, beta := range r.betas {
		if !takes(t, beta) {
			no = no.And((&providers.Doubt{Extra: call.Extra{Kind: call.ExtraBeta, Name: beta}}).Cause(partNoun))
		}
	}
	return no
}

// header is what an upstream gets of the header, and which betas were taken out.
func (r *request) header(t *providers.Terms) (header map[string][]string, taken []string) {
	header = providers.Forwarded(r.head.Header, withheld)
	var kept []string
	for _, beta := range r.betas {
		if takes(t, beta) {
			kept = append(kept, beta)
		} else {
			taken = append(taken, beta)
		}
	}
	for name := range header {
		plain := providers.Plain(name)
		if wire.Secret(name) || wire.HidesUsage(name) || plain == betaHeader && len(taken) > 0 || !slices.Contains(ownHosts, t.Provider) && !isPlain(plain) && !t.Allow.Has(call.ExtraHeader, strings.ToLower(plain)) {
			delete(header, name)
		}
	}
	if len(taken) > 0 && len(kept) > 0 {
		header[betaHeader] = []string{strings.Join(kept, ",")}
	}
	header["Content-Type"] = []string{"application/json"} // as what it was parsed
	return header, taken
}

func isPlain(name string) bool {
	return slices.ContainsFunc(plainHeaders, func(begin string) bool { return strings.HasPrefix(name, begin) })
}
