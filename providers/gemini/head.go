package gemini

import (
	"net/url"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// withheld would have the call billed to another account than the upstream's key, or may hold a key.
var withheld = []string{"X-Goog-User-Project", "X-Goog-Iam-Authorization-Token", keyHeader, "Authorization"}

// pricedHeaders choose a tier of Vertex AI, which has a price of its own.
var pricedHeaders = []string{"X-Vertex-Ai-Llm-Request-Type", "X-Vertex-Ai-Llm-Shared-Request-Type"}

// ownHosts are the providers that serve the models themselves. Any other may be a gateway, which takes
// orders from headers: it gets those alone that are known to order nothing.
var ownHosts = []string{"google"}

// plainHeaders are those, by what their names begin with.
var plainHeaders = []string{
	"Accept", "Baggage", "Content-Length", "Content-Type", "Traceparent", "Tracestate", "User-Agent", "X-Goog-Api-Client",
	"X-Request-Id", "X-Server-Timeout",
}

// seeHead reads what the head of a request asks for.
func (r *request) seeHead() {
	for _, name := range pricedHeaders {
		if len(r.head.Header[name]) > 0 {
			r.costs(call.ExtraHeader, strings.ToLower(name), "it chooses a tier, whose price is not known here")
		}
	}
	for pair := range strings.SplitSeq(r.head.Query, "&") {
		if p := parameterOf(pair); p.kind == strange {
			r.unknown(call.ExtraQuery, p.name, false)
		}
	}
	r.events = asksForEvents(r.head.Query)
}

// A parameter of the query.
type parameter struct {
	name string
	kind uint8
}

// Kinds of parameters.
const (
	strange uint8 = iota // nobody knows it
	kept                 // it is sent on
	dropped              // it may hold a key, or changes what of the answer is shown: it goes nowhere
)

// parameterOf is what a pair of a query is.
func parameterOf(pair string) parameter {
	raw, value, _ := strings.Cut(pair, "=")
	name, err := url.QueryUnescape(raw)
	if err != nil || strings.Contains(pair, ";") {
		return parameter{}
	}
	switch {
	case name == "":
		return parameter{name, dropped}
	case name == "alt" && (value == "sse" || value == "json"), name == "prettyPrint":
		return parameter{name, kept}
	case wire.Squeezed(name) == "alt": // another form of the answer than those that are read
		return parameter{name + "=" + value, strange}
	case wire.Secret(name) || wire.HidesUsage(name):
		return parameter{name, dropped}
	}
	return parameter{name, strange}
}

// query is what is sent of the query.
func (r *request) query() string {
	var pairs []string
	for pair := range strings.SplitSeq(r.head.Query, "&") {
		if parameterOf(pair).kind != dropped { // what is strange was admitted
			pairs = append(pairs, pair)
		}
	}
	return strings.Join(pairs, "&")
}

// header is what an upstream gets of the header.
func (r *request) header(t *providers.Terms) map[string][]string {
	header := providers.Forwarded(r.head.Header, withheld)
	for name := range header {
		plain := providers.Plain(name)
		if wire.Secret(name) || wire.HidesUsage(name) || !slices.Contains(ownHosts, t.Provider) && !isPlain(plain) && !t.Allow.Has(call.ExtraHeader, strings.ToLower(plain)) {
			delete(header, name)
		}
	}
	header["Content-Type"] = []string{"application/json"} // as what it was parsed
	return header
}

func isPlain(name string) bool {
	return slices.ContainsFunc(plainHeaders, func(begin string) bool { return strings.HasPrefix(name, begin) })
}
