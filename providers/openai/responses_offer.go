package openai

import (
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// ownCaches are the providers whose lifetimes of cache entries are cacheLife and longLife.
var ownCaches = []string{"openai", "azure"}

// previousResponse is the member that names the response that another goes on from.
const previousResponse = "previous_response_id"

// itemReference is an item that names another, which is not in the body.
const itemReference = "input.item_reference"

const notOurs = previousResponse + ": it is not a response of this tenant's"

// boundEarlier bounds what a response goes on from: all that an earlier one has read and
// written. Where nobody knows how much that was the model's context is the bound.
func (o *offer) boundEarlier() error {
	id := o.request.Previous
	if id == "" {
		return nil
	}
	earlier := o.earlier(id)
	switch {
	case earlier.Foreign:
		return unbounded(previousResponse, notOurs)
	case earlier.Tokens == 0:
		return o.boundContext(previousResponse)
	}
	o.bound.Input.Fixed += earlier.Tokens
	return nil
}

// earlier is what is known of an answer or a part of one. What another model counted says
// nothing of this one's tokens.
func (o *offer) earlier(id string) (e providers.Earlier) {
	if o.terms.Earlier != nil {
		e = o.terms.Earlier(id)
	}
	if e.Model != o.request.Model {
		e.Tokens = 0
	}
	return e
}

// boundReferences bounds items that are named and not there, in the same way.
func (o *offer) boundReferences() error {
	unknown := ""
	for _, id := range o.request.references {
		earlier := o.earlier(id)
		switch {
		case earlier.Foreign:
			return unbounded(itemReference, itemReference+": it is not an item of this tenant's")
		case earlier.Tokens == 0:
			unknown = itemReference
		}
		o.bound.Input.Fixed += earlier.Tokens
	}
	return o.boundContext(unknown)
}

// boundFiles bounds files, whose pages become text and images, by what the policy says of
// one, or else by the model's context.
func (o *offer) boundFiles() error {
	files, each := o.request.load.files, o.terms.MaxDocument
	switch {
	case files == 0:
		return nil
	case each > 0 && each <= providers.MaxCap/files:
		o.bound.Input.Fixed += files * each
		return nil
	}
	return o.boundContext("input.content.input_file")
}

// boundContext bounds the input by the model's context, for the sake of a member that
// brings more than the body shows: the API then answers with an error, or cuts it.
func (o *offer) boundContext(beyond string) error {
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

// boundCompactions bounds what an input asks for that is to be made shorter on the way: each
// is one more run of the model over all of it, whose output no cap is known to cover, and
// is read after that.
func (o *offer) boundCompactions() error {
	n, most := o.request.load.compactions, o.terms.MaxOutput
	if n == 0 {
		return nil
	}
	if most == 0 || most > providers.MaxCap/n {
		return unbounded(UnboundedTrigger, because(UnboundedTrigger))
	}
	rounds := 1 + o.request.callsAt(&o.terms)
	o.bound.Input.Fixed += n * compactTokens
	o.bound.Input.Rereads += n
	o.bound.Output.Fixed += n * most
	o.bound.Beside = append(o.bound.Beside, call.Line{Usage: call.Usage{call.Input: n * most * rounds}})
	return nil
}

// compaction is the output of a compaction, which no member caps.
func (r *Request) compaction(t *providers.Terms) providers.Output {
	return providers.Output{Part: call.Part{Fixed: t.MaxOutput, Kinds: call.Of(call.Output, call.Reasoning)}, Choices: 1}
}

// countOn is a count of the tokens of an input, at an upstream where it costs nothing.
func (r *Request) countOn(t providers.Terms) (providers.Offer, error) {
	if len(r.Unbounded) > 0 && r.Unbounded[0] == UnboundedConversation {
		return nil, unbounded(UnboundedConversation, because(UnboundedConversation))
	}
	for _, id := range slices.Concat(r.references, []string{r.Previous}) {
		if t.Earlier != nil && t.Earlier(id).Foreign {
			return nil, unbounded(previousResponse, notOurs)
		}
	}
	if !call.Free(call.CountResponses, t.Provider) {
		return nil, &providers.Unbounded{Message: fmt.Sprintf("a count of tokens is not known to cost nothing at the provider %q, and nothing here bounds what it costs", t.Provider)}
	}
	return &offer{request: r, terms: t}, nil
}
