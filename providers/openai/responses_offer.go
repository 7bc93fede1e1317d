package openai

import (
	"crypto/sha256"
	"fmt"
	"iter"
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

// boundEarlier bounds what a response goes on from: all that an earlier one has read and
// written, and items that are named and not there. Where nobody knows how much that was
// the model's context is the bound: what another model has counted, or one that was to read
// it otherwise, says nothing. It may be images, audio, and writes to a cache that live
// longer, as the earlier request had them.
func (o *offer) boundEarlier() *providers.Unbounded {
	if no := o.request.refuseEarlier(&o.terms); no != nil {
		return no
	}
	unknown, own := "", slices.Contains(ownCaches, o.terms.Provider)
	for member, id := range o.request.earlier() {
		known := o.terms.EarlierOf(id)
		if known.Own {
			o.longWrites = o.longWrites || own && known.Kinds.Has(call.CacheWrite12h)
		} else {
			known.Kinds = anyKinds(own)
		}
		o.bound.Input.Kinds |= known.Kinds
		if known.Tokens == 0 || known.Reader != o.request.reader() {
			unknown, known.Tokens = member, 0
		}
		o.bound.Input.Fixed += known.Tokens
	}
	return o.boundContext(unknown)
}

// anyKinds are what a token of an input can be of which nothing is known, beside those that
// every request's are.
func anyKinds(ownCache bool) call.Kinds {
	kinds := imageKinds | audioKinds
	if ownCache {
		kinds |= call.Of(call.CacheWrite12h)
	}
	return kinds
}

// Kinds of input that not every model has.
var (
	imageKinds = call.Of(call.ImageInput, call.CachedImageInput)
	audioKinds = call.Of(call.AudioInput, call.CachedAudioInput, call.AudioCacheWrite)
)

// asked is what the meter of an answer knows of its request.
func (o *offer) asked() responseAsked {
	r, kinds := o.request, o.bound.Input.Kinds
	if r.Images {
		kinds |= imageKinds
	}
	return responseAsked{
		reader: r.reader(), kinds: kinds, longWrites: r.longWrites || o.longWrites, stored: !r.unstored && !r.truncated,
		searches: r.callsAt(&o.terms), stopCode: stopCode(r.head),
	}
}

// earlier are the ids of what the provider keeps that a request brings, each with the
// member that names it.
func (r *Request) earlier() iter.Seq2[string, string] {
	return func(yield func(member, id string) bool) {
		if r.Previous != "" && !yield(previousResponse, r.Previous) {
			return
		}
		for _, id := range r.references {
			if !yield(itemReference, id) {
				return
			}
		}
	}
}

// refuseEarlier refuses to go on from what is another tenant's, or may be.
func (r *Request) refuseEarlier(t *providers.Terms) *providers.Unbounded {
	for member, id := range r.earlier() {
		if no := refuseID(t, member, id, t.DenyUnknown); no != nil {
			return no
		}
	}
	for _, item := range r.ranThere {
		if no := refuseID(t, itemReference, item.id, item.empty && t.DenyUnknown); no != nil {
			return no
		}
	}
	return nil
}

// refuseID refuses an id that is another tenant's, or that nobody knows where it is to be
// known.
func refuseID(t *providers.Terms, member, id string, toBeKnown bool) *providers.Unbounded {
	known := t.EarlierOf(id)
	switch {
	case known.Foreign:
		return providers.NoBound(member, "it is not this tenant's")
	case toBeKnown && !known.Own:
		return providers.NoBound(member, "nothing is known of it here, and the policy denies that; send what it stands for",
			providers.Line{Text: "when_response_unknown: hold", At: providers.AtTenant})
	}
	return nil
}

// reader is who counts what a request brings: the model, and how it is to read what went
// before, where the request says so.
func (r *Request) reader() string {
	if r.rendering == "" {
		return r.Model
	}
	return fmt.Sprintf("%s %x", r.Model, sha256.Sum256([]byte(r.rendering)))
}

// boundFiles bounds files, whose pages become text and images, by what the policy says of
// one, or else by the model's context.
func (o *offer) boundFiles() *providers.Unbounded {
	files, each := o.request.load.files, o.terms.MaxDocument
	switch {
	case files == 0:
		return nil
	case each > 0 && each <= providers.MaxCap/files:
		o.bound.Input.Fixed += files * each
		return nil
	}
	member := filePlace
	if o.request.Endpoint.isResponse() {
		member = "input.content.input_file"
	}
	return o.boundContext(member)
}

// boundContext bounds the input by the model's context, for the sake of a member that
// brings more than the body shows: the API then answers with an error, or cuts it.
func (o *offer) boundContext(beyond string) *providers.Unbounded {
	if beyond == "" {
		return nil
	}
	if o.terms.Context == 0 {
		return providers.NoBound(beyond, "only the model's context bounds that input, and nobody knows it", providers.Bounds("context_tokens")...)
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
		kinds |= audioKinds
	}
	return kinds
}

// boundCompactions bounds what an input that is to be made shorter on the way adds: each time
// it is one more run of the model over all that is there, whose output no cap is known to
// cover, and which is read after that. Where it is done as needed that is before the
// model answers, or after any of its rounds: a recorded answer was made shorter once it was
// there.
func (o *offer) boundCompactions() *providers.Unbounded {
	asked, calls, most := o.request.load.compactions, o.request.callsAt(&o.terms), o.terms.MaxOutput
	asNeeded := int64(0)
	if o.request.load.managed {
		asNeeded = calls + 2
	}
	n := asked + asNeeded
	reads := asked*(calls+n) + asNeeded*(asNeeded-1) // of what they write
	switch {
	case n == 0:
		return nil
	case asNeeded > 0 && asSent(&o.terms):
		return providers.NoBound(UnboundedCompaction, "nothing limits how much of it is read again, where the upstream takes no output cap (cap_field: none)")
	case asNeeded > 0 && !slices.Contains(compacting, o.terms.Provider):
		return providers.NoBound(UnboundedCompaction, "what the provider does of it is not known")
	case most == 0:
		return providers.NoBound(UnboundedTrigger, "the model runs once more, and nobody knows how much it writes at most", providers.Bounds("max_output_tokens")...)
	case n > maxCompactions || most > providers.MaxCap/max(n, reads):
		return providers.NoBound(UnboundedTrigger, "the model runs once more for each, and there are too many")
	}
	found := o.terms.Tools[call.WebSearch].Tokens * calls
	o.bound.Input.Fixed += n * compactTokens
	o.bound.Input.Rereads += n
	o.bound.Output.Fixed += n * most
	o.bound.Output.Rereads += asNeeded
	o.bound.Beside = append(o.bound.Beside, call.Line{Usage: call.Usage{call.Input: most*reads + asNeeded*found}})
	return nil
}

// compacting are the providers that are known to make an input shorter as OpenAI does
// (https://developers.openai.com/api/docs/guides/compaction, and OpenRouter's page of the
// same name, for Azure).
var compacting = []string{"openai", "azure"}

// maxCompactions bounds how often an input is to be made shorter in one response.
const maxCompactions = 100

// compaction is the output of a compaction, which no member caps.
func (r *Request) compaction(t *providers.Terms) providers.Output {
	return providers.Output{Part: call.Part{Fixed: t.MaxOutput, Kinds: call.Of(call.Output, call.Reasoning)}, Choices: 1}
}

// countOn is a count of the tokens of an input, at an upstream where it costs nothing.
func (r *Request) countOn(t providers.Terms) (providers.Offer, error) {
	if len(r.Unbounded) > 0 && r.Unbounded[0] == UnboundedConversation {
		return nil, providers.NoBound(UnboundedConversation, reasons[UnboundedConversation])
	}
	if no := r.refuseEarlier(&t); no != nil {
		return nil, no
	}
	if !slices.Contains(freeAt, t.Provider) {
		return nil, providers.Bills("a count of tokens", t.Provider)
	}
	return r.freeOn(t), nil
}
