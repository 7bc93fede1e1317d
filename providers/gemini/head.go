package gemini

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// withheld would have the call billed to another account than the upstream's key, or may hold a key.
var withheld = []string{"X-Goog-User-Project", "X-Goog-Iam-Authorization-Token", keyHeader, "Authorization"}

// pricedHeaders begins the headers that choose a tier of Vertex AI, which has a price of its own.
const pricedHeaders = "X-Vertex-Ai-Llm-"

// ownHosts are the providers that serve the models themselves. Any other may be a gateway, which takes
// orders from headers: it gets those alone that are known to order nothing.
var ownHosts = []string{"google"}

// plainHeaders are those, by what their names begin with.
var plainHeaders = []string{
	"Accept", "Baggage", "Content-Length", "Content-Type", "Traceparent", "Tracestate", "User-Agent", "X-Goog-Api-Client",
	"X-Request-Id", "X-Server-Timeout",
}

// seeHead reads what the head of a request asks for. The error is a *ParseError.
func (r *request) seeHead() error {
	for _, name := range slices.Sorted(maps.Keys(r.head.Header)) {
		if plain := providers.Plain(name); strings.HasPrefix(plain, pricedHeaders) {
			r.doubts.Costs(call.ExtraHeader, strings.ToLower(plain), "it chooses a tier, whose price is not known here")
		}
	}
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(r.head.Query, "&") {
		p := parameterOf(pair)
		plain := wire.Squeezed(p.name)
		if p.kind == kept && seen[plain] {
			return wire.Errorf("", "the query has %s twice, of which servers read either; send one", plain)
		}
		seen[plain] = true
		if p.kind == strange {
			r.doubts.Unknown(call.ExtraQuery, p.name, false)
		}
	}
	r.events = asksForEvents(r.head.Query)
	return nil
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
	case (name == "alt" || name == "$alt") && (value == "sse" || value == "json"), name == "prettyPrint":
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
		if plain == routingHeader || wire.Secret(name) || wire.HidesUsage(name) || !slices.Contains(ownHosts, t.Provider) && !isPlain(plain) && !t.Allow.Has(call.ExtraHeader, strings.ToLower(plain)) {
			delete(header, name)
		}
	}
	header["Content-Type"] = []string{"application/json"} // as what it was parsed
	return header
}

// routingHeader names the model beside the path, for servers in front of the API.
const routingHeader = "X-Goog-Request-Params"

func isPlain(name string) bool {
	return slices.ContainsFunc(plainHeaders, func(begin string) bool { return strings.HasPrefix(name, begin) })
}
