package openai

import (
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// ownCaches are the providers whose lifetimes of cache entries are cacheLife and longLife.
var ownCaches = []string{"openai", "azure"}

// boundInput bounds the input of the response by the model's context where its body does
// not show all of it: the API then answers with an error, or cuts it.
func (o *offer) boundContext() error {
	beyond := o.request.load.beyond
	if beyond == "" {
		return nil
	}
	if o.terms.Context == 0 {
		return &providers.Unbounded{Member: beyond, Message: fmt.Sprintf("what this request costs has no bound, because of %s: only the model's context bounds that input, and nobody knows it; context_tokens of the model in the policy says it", beyond)}
	}
	o.bound.Input.Fixed, o.bound.Input.Texts = o.terms.Context+1, nil // so that it is told as the context
	return nil
}

// responseKinds are what a token of the input of a response can be.
func (r *Request) responseKinds(provider string) call.Kinds {
	kinds := call.Of(call.Input, call.CachedInput, call.CacheWrite)
	switch {
	case !slices.Contains(ownCaches, provider):
		kinds |= call.Writes // for how long, nobody tells
	case r.longWrites:
		kinds |= call.Of(call.CacheWrite12h)
	}
	if r.audioInput {
		kinds |= call.Of(call.AudioInput, call.CachedAudioInput, call.AudioCacheWrite)
	}
	return kinds
}

// compaction is the output of a compaction, which no member caps.
func (r *Request) compaction(t *providers.Terms) providers.Output {
	return providers.Output{Fixed: t.MaxOutput, Choices: 1, Kinds: call.Of(call.Output, call.Reasoning)}
}

// countOn is a count of the tokens of an input, at an upstream where it costs nothing.
func (r *Request) countOn(t providers.Terms) (providers.Offer, error) {
	if len(r.Unbounded) > 0 && r.Unbounded[0] == UnboundedConversation {
		return nil, unbounded(UnboundedConversation, because(UnboundedConversation))
	}
	if !call.Free(call.CountResponses, t.Provider) {
		return nil, &providers.Unbounded{Message: fmt.Sprintf("a count of tokens is not known to cost nothing at the provider %q, and nothing here bounds what it costs", t.Provider)}
	}
	return &offer{request: r, terms: t}, nil
}
