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

	stripped []int // places of the elements of tools that are taken out
	hops     bool  // the client's cap is that of several answers, of which this is one
}

// On bounds the request on one upstream.
func (r *request) On(t providers.Terms) (providers.Offer, error) {
	o := &offer{request: r, terms: t}
	no := r.noBound(&t)
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
	o.bound.Service = strings.Clone(r.tier)
	if r.tier != "" {
		o.bound.Services = []string{o.bound.Service}
	}
	in := providers.Input{Part: call.Part{Fixed: r.load.tokens(), Texts: r.texts, Kinds: r.inputKinds()}, Contexts: r.prompts}
	if r.load.images > 0 {
		each := imageTokens(t)
		if each > providers.MaxCap/r.load.images {
			return providers.NoBound("a part of type image", "it brings more tokens than can be priced", providers.Bounds("max_image_tokens")...)
		}
		in.Fixed += r.load.images * each
	}
	if r.hidden != "" {
		if t.Context <= 0 {
			no = providers.NoBound(r.hidden, "the body does not show its tokens, and what the model reads at most is not known", providers.Bounds("context_tokens")...)
		}
		in.Fixed = max(in.Fixed, t.Context*r.prompts)
	}
	o.bound.Input = in
	return no
}

// someImage is the most that one image was seen to be, in tokens: 2,240 at an ultra-high resolution of Gemini 3, and of
// Gemini 2 258 for each of 16 tiles (https://ai.google.dev/gemini-api/docs/media-resolution, .../docs/tokens).
const someImage = 16 * 258

func imageTokens(t *providers.Terms) int64 {
	if t.MaxImage > 0 {
		return t.MaxImage
	}
	return someImage
}

// inputKinds are what a token of the input can be.
func (r *request) inputKinds() call.Kinds {
	kinds := call.Of(call.Input, call.CachedInput)
	if r.load.images > 0 || r.load.document || r.hidden != "" {
		kinds |= call.Of(call.ImageInput, call.CachedImageInput)
	}
	if r.load.audio || r.load.video || r.hidden != "" {
		kinds |= call.Of(call.AudioInput, call.CachedAudioInput)
	}
	if r.load.video || r.hidden != "" {
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

// longModels are those whose answers do.
const longModels = "gemini-4"

// bindOutput bounds the output: each candidate has the whole cap.
func (o *offer) bindOutput() *providers.Unbounded {
	r, t := o.request, &o.terms
	limit := t.OutputCap(r.maxOutput)
	if r.maxOutput == 0 && t.DefaultOutput > 0 {
		limit = t.OutputCap(t.DefaultOutput)
	}
	if strings.HasPrefix(r.model, longModels) {
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

// host takes out the tools that run at the provider where the policy says so, and denies the others: nothing caps how
// often they are called.
func (o *offer) host() (no *providers.Unbounded) {
	r := o.request
	for _, h := range r.hosted {
		if h.of != "" && o.terms.Tools[h.of].When == call.StripHosted && o.alone(h) {
			o.stripped = append(o.stripped, h.at)
			o.bound.Stripped = append(o.bound.Stripped, h.name)
			continue
		}
		var lines []providers.Line
		if h.of != "" {
			lines = append(lines, providers.Strips(h.of))
		}
		no = no.Join(providers.NoBound("the tool "+h.name, "it runs at the provider, and nothing caps how often", lines...))
	}
	return no
}

// alone reports whether an element of tools has no other tool, so that it can be taken out as a whole.
func (o *offer) alone(h hostedTool) bool {
	entry := o.request.body[o.request.toolsAt[h.at].Start:o.request.toolsAt[h.at].End]
	members := 0
	w := wire.Walk{Text: entry}
	w.Members(func(wire.Span) {
		members++
		w.Value()
	})
	return members == 1
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
	asked := asked{amounts: bill.Of(o.terms.Provider), embeds: len(bodiesOfEmbeddings[r.operation]) > 0, array: r.operation == stream && !r.events}
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

// splices are the edits of the body: the output cap, where it has to be another, and tools that are taken out.
func (o *offer) splices(outputCap int64) (splices []wire.Splice) {
	r := o.request
	if n := len(o.stripped); n > 0 && n == len(r.toolsAt) {
		splices = append(splices, r.members.Drop("tools")...)
	} else if n > 0 {
		splices = append(splices, wire.Drop(r.toolsAt, o.stripped)...)
	}
	limit := o.bound.Output.Cap
	if outputCap > 0 {
		limit = min(limit, outputCap)
	}
	if limit == 0 || limit == r.maxOutput || o.hops && limit == o.bound.Output.Cap {
		return splices
	}
	number := strconv.FormatInt(limit, 10)
	switch {
	case r.capAt.End > r.capAt.Start:
		splices = append(splices, wire.Replace(r.capAt, number))
	case r.configured:
		splices = append(splices, wire.Insert(r.configAt.End-1, `,"maxOutputTokens":`+number))
	case r.configAt.End > r.configAt.Start:
		splices = append(splices, wire.Replace(r.configAt, `{"maxOutputTokens":`+number+`}`))
	default:
		splices = append(splices, r.setConfig(`{"maxOutputTokens":`+number+`}`))
	}
	return splices
}

// setConfig gives generationConfig a value where it has none, in the spelling that is there.
func (r *request) setConfig(value string) wire.Splice {
	name := "generationConfig"
	if _, ok := r.members.Find(snake(name)); ok {
		name = snake(name)
	}
	return r.members.Set(name, value)
}
