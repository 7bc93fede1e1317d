package gemini

import (
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// pricedTools are the tools that run at the provider whose fees the API's price list tells: searches, and pages that
// have no fee (https://ai.google.dev/gemini-api/docs/pricing).
var pricedTools = []string{"googleSearch", "googleSearchRetrieval", "urlContext"}

const atProvider = "it runs at the provider, and nothing caps how often"

// host bounds the tools that run at the provider, as the policy has it, and keeps what becomes of them.
func (o *offer) host() (no *providers.Unbounded) {
	r := o.request
	for i := range r.hosted {
		no = no.Join(o.hostOne(i))
	}
	no = no.Join(o.rounds())
	if n := len(o.stripped); n > 0 && r.forced && n == len(r.tools) {
		no = no.Join(providers.NoBound("the tool "+r.hosted[0].name, "it is to be taken out, but toolConfig wants a tool, and there is no other"))
	}
	return no
}

func (o *offer) hostOne(i int) *providers.Unbounded {
	h := &o.request.hosted[i]
	rule := o.terms.Tools[h.of]
	switch {
	case h.of != "" && rule.When == call.StripHosted:
		return o.strip(i)
	case rule.When == call.PriceHosted && slices.Contains(pricedTools, h.name):
		return o.price(h, rule)
	}
	return providers.NoBound("the tool "+h.name, atProvider, linesFor(h)...)
}

// linesFor are those of the policy by which a tool passes.
func linesFor(h *hostedTool) (lines []providers.Line) {
	if h.of != "" {
		lines = append(lines, providers.Strips(h.of))
	}
	if _, can := call.HostedFee(h.of); can && slices.Contains(pricedTools, h.name) {
		lines = append(lines, providers.Prices(h.of))
	}
	return lines
}

// strip takes a tool out, unless the conversation has calls of it.
func (o *offer) strip(i int) *providers.Unbounded {
	h := &o.request.hosted[i]
	if o.request.past[h.of] {
		return providers.NoBound("the tool "+h.name, "it is to be taken out, but the request's history has calls of it")
	}
	o.bound.Stripped = append(o.bound.Stripped, h.name)
	o.stripped = append(o.stripped, i)
	return nil
}

// queried is the first major version that is billed by the searches it makes. Those before are billed once for a prompt
// that was answered with any (https://ai.google.dev/gemini-api/docs/pricing).
const queried = 3

// searchedOnce reports whether all searches for an answer have one fee.
func (r *request) searchedOnce() bool {
	major := majorOf(r.model)
	return 0 < major && major < queried
}

// price prices calls of a tool. The API has no cap of them: what the policy says is the operator's word.
func (o *offer) price(h *hostedTool, rule call.HostedTool) *providers.Unbounded {
	switch {
	case slices.Contains(o.priced, h.of):
		return providers.NoBound("the tool "+h.name, "another one is offered beside it", providers.Strips(h.of))
	case o.request.candidates > 1:
		return providers.NoBound("the tool "+h.name, "each of several candidates may call it; ask for one", providers.Strips(h.of))
	}
	o.priced = append(o.priced, h.of)
	o.calls += rule.Calls
	o.results += rule.Calls * rule.Tokens
	if h.of == call.WebSearch {
		o.searches = rule.Calls
		if o.request.searchedOnce() {
			o.searches = 1
		}
	}
	return nil
}

// rounds bounds what calls of priced tools come to: each may let the model run once more, which reads all that was
// before again and may write as much as its cap.
func (o *offer) rounds() *providers.Unbounded {
	if o.calls == 0 {
		return nil
	}
	rounds := o.calls + 1
	o.bound.Input.Rereads = rounds - 1
	o.bound.Output.Rereads = rounds * (rounds - 1) / 2
	o.bound.Output.Choices = rounds
	if o.bound.Output.Rereads > call.MaxRereads {
		return providers.NoBound("tools", "the tenant's hosted_tools price more calls in one request than can be bounded")
	}
	o.bound.Beside = append(o.bound.Beside, call.Line{Usage: call.Usage{call.Searches: o.searches, call.Input: o.results * o.calls}})
	return nil
}
