package gemini

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// offer is a request on one upstream.
type offer struct {
	request *request
	terms   providers.Terms
	bound   providers.Bound

	stripped []int    // of the tools that run at the provider, those that are taken out
	priced   []string // kinds of those that are priced
	calls    int64    // of them, in one request
	results  int64    // tokens that their results are, at most
	searches int64    // that are billed
	hops     bool     // the client's cap is that of several answers, of which this is one
}

// On bounds the request on one upstream.
func (r *request) On(t providers.Terms) (providers.Offer, error) {
	o := &offer{request: r, terms: t}
	no := r.doubts.NoBound(&t, partNoun)
	switch r.operation {
	case call.CountContents:
		no = no.Join(o.free())
	case call.EmbedContent, call.BatchEmbedContents:
		no = no.Join(o.bindInput())
	default:
		no = no.Join(o.bindInput()).Join(o.bindOutput()).Join(o.host())
	}
	if no != nil {
		return nil, no
	}
	return o, nil
}

// freeAt are the providers at which a count of tokens costs nothing
// (https://ai.google.dev/gemini-api/docs/tokens).
var freeAt = []string{"google"}

// free is nil for a count of tokens where it costs nothing.
func (o *offer) free() *providers.Unbounded {
	o.bound.Free = true
	if provider := o.terms.Provider; !slices.Contains(freeAt, provider) {
		return providers.Bills("a count of tokens", provider)
	}
	return nil
}

// bindInput bounds the input. Where the body does not show all of it, that is all that the model reads.
func (o *offer) bindInput() (no *providers.Unbounded) {
	r, t := o.request, &o.terms
	no = o.serve()
	in := providers.Input{Part: call.Part{Fixed: r.load.tokens() + (r.prompts-1)*promptTokens, Texts: r.texts, Kinds: r.inputKinds()}, Contexts: r.prompts}
	no = no.Join(r.bindImages(&in, t))
	switch {
	case r.hidden == "":
	case !r.load.stored && t.MaxDocument > 0 && t.MaxDocument <= providers.MaxCap/r.load.hidden:
		in.Fixed += r.load.hidden * t.MaxDocument
	case t.Context > 0:
		in.Fixed = max(in.Fixed, t.Context*r.prompts)
	default:
		no = no.Join(providers.NoBound(r.hidden, "the body does not show its tokens, and what the model reads at most is not known", providers.Bounds("context_tokens")...))
	}
	o.bound.Input = in
	return no
}

// pricedTiers are the tiers that Google's price list has
// (https://ai.google.dev/gemini-api/docs/pricing).
var pricedTiers = []string{"flex", "priority"}

// serve keeps which tier is asked for. One that is in no price list the policy must admit; flex is nowhere dearer than
// the standard one.
func (o *offer) serve() *providers.Unbounded {
	tier := o.request.tier
	if tier == "" {
		return nil
	}
	o.bound.Service = tier
	if tier != "flex" {
		o.bound.Services = []string{tier}
	}
	extra := call.Extra{Kind: call.ExtraTier, Name: tier}
	if slices.Contains(ownHosts, o.terms.Provider) && slices.Contains(pricedTiers, tier) || o.terms.Allow.Has(extra.Kind, extra.Name) {
		return nil
	}
	return providers.NoBound(providers.Naming(extra, partNoun), "it is in no list of what has a price", providers.Admits(extra)...)
}

// What one image is at most since Gemini 3, in tokens: 2,240 at an ultra-high resolution, whatever its size
// (https://ai.google.dev/gemini-api/docs/media-resolution).
const (
	scaled      = 3 // the major version
	scaledImage = 2240 + 64
)

// bindImages adds the images: by what the policy says of one, or by the rule of their model. Before Gemini 3 that goes
// by their sizes; one whose size cannot be read may fill the context.
func (r *request) bindImages(in *providers.Input, t *providers.Terms) *providers.Unbounded {
	n := r.load.images
	switch {
	case n == 0:
	case t.MaxImage > providers.MaxCap/n:
		return providers.NoBound("a part of type image", "it brings more tokens than can be priced", providers.Bounds("max_image_tokens")...)
	case t.MaxImage > 0:
		in.Fixed += n * t.MaxImage
	case majorOf(r.model) >= scaled:
		in.Fixed += n * scaledImage
	case r.load.sizeless == 0 && majorOf(r.model) > 0:
		in.Fixed += r.load.tiled
	case r.load.sizeless == 0: // a name that tells no version may count by either rule
		in.Fixed += r.load.tiled + n*scaledImage
	case t.Context > 0:
		in.Fixed = max(in.Fixed, t.Context*r.prompts)
	default:
		return providers.NoBound("a part of type image", "its size cannot be read, by which this model counts it", providers.Bounds("max_image_tokens")...)
	}
	return nil
}

// majorOf is the major version in a model's name, as 2 in "gemini-2.5-flash"; 0 where it tells none.
func majorOf(model string) int {
	rest, ok := strings.CutPrefix(model, "gemini-")
	if !ok {
		return 0
	}
	number, _, _ := strings.Cut(rest, "-")
	major, _, _ := strings.Cut(number, ".")
	n, err := strconv.Atoi(major)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// inputKinds are what a token of the input can be.
func (r *request) inputKinds() call.Kinds {
	kinds := call.Of(call.Input, call.CachedInput)
	if r.load.images > 0 || r.load.document || r.load.other {
		kinds |= call.Of(call.ImageInput, call.CachedImageInput)
	}
	if r.load.audio || r.load.video || r.load.other {
		kinds |= call.Of(call.AudioInput, call.CachedAudioInput)
	}
	if r.load.video || r.load.other {
		kinds |= call.Of(call.VideoInput, call.CachedVideoInput)
	}
	return kinds
}

// Long answers come in hops: one request writes so many tokens at most, whatever its cap, which is that of all hops
// together (https://ai.google.dev/gemini-api/docs/generate-content/long-decode).
const (
	unaryTokens  = 32768
	streamTokens = 65536
)

// long is the first major version whose answers do.
const long = 4

// bindOutput bounds the output: each candidate has the whole cap.
func (o *offer) bindOutput() *providers.Unbounded {
	r, t := o.request, &o.terms
	limit := t.OutputCap(r.maxOutput)
	if r.maxOutput == 0 && t.DefaultOutput > 0 {
		limit = t.OutputCap(t.DefaultOutput)
	}
	if majorOf(r.model) >= long && slices.Contains(ownHosts, t.Provider) {
		most := int64(unaryTokens)
		if r.operation == stream {
			most = streamTokens
		}
		o.hops = r.maxOutput > most && t.OutputCap(r.maxOutput) == r.maxOutput
		limit = min(limit, most)
	}
	if limit <= 0 {
		return providers.NoBound("generationConfig.maxOutputTokens", "it is absent, and what the model writes at most is not known", providers.Bounds("max_output_tokens")...)
	}
	o.bound.Output = providers.Output{Part: call.Part{Kinds: r.outputKinds()}, Cap: limit, Choices: r.candidates, Fit: providers.Asked}
	return nil
}

// outputKinds are what a token of the output can be: what is asked for, and what the model's name says.
func (r *request) outputKinds() call.Kinds {
	kinds := call.Of(call.Output, call.Reasoning)
	if slices.Contains(r.modalities, "IMAGE") || strings.Contains(r.model, "image") {
		kinds |= call.Of(call.ImageOutput)
	}
	if slices.Contains(r.modalities, "AUDIO") || strings.Contains(r.model, "tts") || strings.Contains(r.model, "audio") {
		kinds |= call.Of(call.AudioOutput)
	}
	return kinds
}

// Bound is the most that the request can use.
func (o *offer) Bound() *providers.Bound { return &o.bound }

// Send makes what leaves.
func (o *offer) Send(outputCap int64) providers.Sent {
	r := o.request
	version, _ := versioned(r.head.Path)
	if version == "" {
		version = defaultVersion
	}
	asked := asked{candidates: r.candidates, kinds: o.bound.Input.Kinds | o.bound.Output.Kinds, searches: o.searches, once: r.searchedOnce(), amounts: bill.Of(o.terms.Provider), embeds: len(bodiesOfEmbeddings[r.operation]) > 0, array: r.operation == stream && !r.events}
	return providers.Sent{
		Path:    "/" + version + pathOf(r.model, r.operation),
		Query:   r.query(),
		Header:  r.header(&o.terms),
		Removed: providers.Removed{Tools: o.bound.Stripped},
		Body:    wire.Apply(r.body, o.splices(outputCap)),
		Meter:   func(a providers.Answer) providers.Meter { return newMeter(asked, a) },
	}
}

// bodiesOfEmbeddings are the operations that write nothing, and what their answers hold.
var bodiesOfEmbeddings = map[string]string{call.EmbedContent: "embedding", call.BatchEmbedContents: "embeddings"}
