package openai

import (
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
)

// explicitCaches are the providers that write to a prompt cache only where the
// request says so. Others may do it by default.
var explicitCaches = []string{"anthropic"}

// exactProviders serve a model of OpenAI's name with OpenAI's tokenizer.
var exactProviders = []string{"openai", "azure"}

// leastOutput is held for each choice of a completion that asks for no output, in
// tokens: servers that only echo the prompt may run the model for one.
const leastOutput = 1

// Facts are what the rules see of the request.
func (r *Request) Facts() call.Facts {
	return call.Facts{
		Dialect: Name, Endpoint: r.Endpoint.String(), Model: r.asked, Stream: r.Stream, Needs: r.needs(), Tools: r.Tools,
		ToolResults: providers.Results(r.ToolResults, r.body),
	}
}

func (r *Request) needs() (list []string) {
	for _, need := range [...]struct {
		used bool
		name string
	}{
		{r.Stream, call.NeedStream},
		{len(r.Tools) > 0, call.NeedTools},
		{r.Images, call.NeedImages},
		{r.JSONSchema, call.NeedJSONSchema},
		{r.Logprobs, call.NeedLogprobs},
		{r.PredictedOutput, call.NeedPredictedOutput},
		{r.MultipleChoices, call.NeedMultipleChoices},
	} {
		if need.used {
			list = append(list, need.name)
		}
	}
	return list
}

// offer is a request on one upstream.
type offer struct {
	request *Request
	terms   providers.Terms
	bound   providers.Bound
	// longWrites says that what a response goes on from asks for cache entries that stay for
	// longLife.
	longWrites bool
}

// On bounds the request on one upstream.
func (r *Request) On(t providers.Terms) (providers.Offer, error) {
	switch r.Endpoint {
	case Moderations:
		return r.moderationOn(t)
	case CountResponses:
		return r.countOn(t)
	}
	if r.Endpoint.isMedia() {
		return r.mediaOn(t)
	}
	o := &offer{request: r, terms: t}
	if no := r.NoBound(&t).Join(o.boundInput()).Join(o.boundOutput()); no != nil {
		return nil, no
	}
	return o, nil
}

// boundInput bounds what the model reads.
func (o *offer) boundInput() (no *providers.Unbounded) {
	r, t := o.request, &o.terms
	overhead, err := r.Overhead(r.Model, t.MaxImage)
	if err != nil {
		no = providers.NoBound(r.imageMember(), err.Error(), providers.Bounds("max_image_tokens")...)
	}
	o.bound.Input = providers.Input{
		Part:  call.Part{Fixed: overhead, Texts: r.Texts, Kinds: r.inputKinds(t.Provider)},
		Exact: slices.Contains(exactProviders, t.Provider), Contexts: r.Prompts(),
	}
	o.bound.Service, o.bound.Services = r.tierAt(t), r.Services(t)
	return no.Join(o.boundEarlier()).Join(o.boundFiles()).Join(o.boundContext(r.load.beyond))
}

// boundOutput bounds what it writes, and what runs at the provider.
func (o *offer) boundOutput() (no *providers.Unbounded) {
	r, t := o.request, &o.terms
	if r.Endpoint == Embeddings {
		return nil
	}
	if r.ZeroCap && r.ImpliedCap(t.Provider) == 0 {
		return providers.NoBound(UnboundedZeroCap, "not every server takes 0 for no output; send a cap above 0")
	}
	o.bound.Output = r.output(t)
	if o.bound.Output.Cap == 0 && !o.uncapped() && asSent(t) {
		return providers.NoBound("", "the upstream takes no output cap (cap_field: none), and nobody knows how much the model writes at most", providers.Bounds("max_output_tokens")...)
	}
	if o.bound.Output.Cap == 0 && !o.uncapped() {
		return providers.NoBound("", "the request has no output cap, and neither the policy nor the model's own maximum gives one", providers.Bounds("default_output_cap")...)
	}
	no = o.boundCompactions()
	o.boundHosted()
	return no
}

func (r *Request) imageMember() string {
	if r.Endpoint.isResponse() {
		return "input.content.input_image"
	}
	return "messages.content.image_url"
}

func (r *Request) inputKinds(provider string) call.Kinds {
	if r.Endpoint.isResponse() {
		return r.responseKinds(provider)
	}
	kinds := call.Of(call.Input, call.CachedInput)
	if r.CacheControl || !slices.Contains(explicitCaches, provider) {
		kinds |= call.Writes // for how long, nobody tells
	}
	if r.AudioOutput || r.audioInput {
		kinds |= audioKinds
	}
	return kinds
}

// output bounds what the model writes.
func (r *Request) output(t *providers.Terms) providers.Output {
	if r.Endpoint == CompactResponses {
		return r.compaction(t)
	}
	out := providers.Output{Part: call.Part{Texts: r.Prediction, Kinds: call.Of(call.Output, call.Reasoning)}, Choices: r.Choices}
	if r.AudioOutput {
		out.Kinds |= call.Of(call.AudioOutput)
	}
	if asSent(t) {
		out.Fixed = t.MaxOutput
		return out
	}
	out.Least = r.leastCap()
	asked, given := r.AskedCap(t.Obeys.CapField)
	switch {
	case given && asked == 0:
		out.Fixed = leastOutput // the cap that is sent is 0
	case given:
		out.Cap = t.OutputCap(asked)
	default:
		out.Cap, out.Fit = r.impliedCap(t)
	}
	return out
}

// responsesCap is the least max_output_tokens that OpenAI takes in a Responses call
// (openai-python, types/responses/response_create_params.py).
const responsesCap = 16

// leastCap is the least output cap with which the request can be sent; 0: any.
func (r *Request) leastCap() int64 {
	if r.Endpoint == Responses {
		return responsesCap
	}
	return 0
}

// echoes reports whether the request asks for no output.
func (o *offer) echoes() bool {
	return o.request.Endpoint == Completions && o.uncapped() && !asSent(&o.terms)
}

// uncapped reports whether the output is bounded by something else than a cap.
func (o *offer) uncapped() bool { return o.bound.Output.Fixed > 0 }

// impliedCap is the most that one choice may write where the client says nothing: the
// policy's default, else what the model can write at most; 0 if nothing is known. A
// completion has no more than the absence of a cap means, which is sent as if the policy
// had said so.
func (r *Request) impliedCap(t *providers.Terms) (int64, providers.Fit) {
	least, fit := t.DefaultOutput, providers.Guessed
	if slices.Contains(likeOpenAI, t.Provider) {
		fit = providers.Enforced
	}
	if implied := r.ImpliedCap(t.Provider); implied > 0 {
		fit = providers.Implied
		if least == 0 || least > implied {
			least = implied
		}
	}
	if r.Prompts() > 1 || r.load.beyond != "" || r.load.files > 0 || len(r.references) > 0 || r.Previous != "" { // nobody knows how long the input is
		fit = providers.Kept
	}
	if least > 0 {
		least = max(least, r.leastCap())
	}
	return t.OutputCap(least), fit
}

// Bound is the most that the request can use.
func (o *offer) Bound() *providers.Bound { return &o.bound }

// Send makes the least change to the body that makes its bound true and its usage
// visible.
func (o *offer) Send(outputCap int64) providers.Sent {
	r := o.request
	if o.echoes() {
		outputCap = leastOutput // which leaves a cap of 0 as it is, and lowers any other
	}
	asks := r.Stream && !r.IncludeUsage && r.Endpoint.asksForUsage() && o.terms.Obeys.StreamUsage
	header, betas := forward(&o.terms, r.head.Header)
	header["Content-Type"] = []string{"application/json"} // as what it was parsed
	endpoint, silent, amounts := r.Endpoint, r.Silent(), bill.Of(o.terms.Provider)
	var asked responseAsked
	if endpoint.isResponse() {
		asked = o.asked()
	}
	return providers.Sent{
		Path:    "/" + r.Endpoint.String(),
		Query:   r.query,
		Header:  header,
		Removed: providers.Removed{Betas: betas, Tools: o.bound.Stripped},
		Body:    r.Rewrite(Edit{CapField: o.terms.Obeys.CapField, OutputCap: outputCap, IncludeUsage: asks, Tier: r.PinnedTier(&o.terms), More: r.hostedSplices(&o.terms)}),
		Meter: func(a providers.Answer) providers.Meter {
			if endpoint.isResponse() {
				return newResponseMeter(asked, amounts, a)
			}
			m := NewMeter(endpoint, a, asks, silent)
			m.found.bill = amounts
			return m
		},
	}
}
