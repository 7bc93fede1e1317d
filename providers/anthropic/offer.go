package anthropic

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// silentProviders take a cap of 0 for no output.
var silentProviders = []string{"anthropic"}

// offer is a request on one upstream.
type offer struct {
	request *request
	terms   providers.Terms
	bound   providers.Bound

	searching *hostedTool // that is priced; nil: none
	searches  int64       // how often it may be called
	stripped  []int       // places of the tools that are taken out
	dropped   []string    // members that are taken out
}

// On bounds the request on one upstream.
func (r *request) On(t providers.Terms) (providers.Offer, error) {
	o := &offer{request: r, terms: t}
	no := r.noBound(&t)
	if r.operation == call.CountTokens {
		no = no.Join(o.free())
	} else {
		no = no.Join(o.bind())
	}
	if no != nil {
		return nil, no
	}
	return o, nil
}

// bind bounds what a message costs.
func (o *offer) bind() (no *providers.Unbounded) {
	r, t := o.request, &o.terms
	o.bound.Service, o.bound.Services = strings.Clone(r.tier.word), r.services(t)
	o.bound.Region = regionOf(r.region)
	if r.region == "" { // the account says it
		o.bound.Region = call.AnyRegion
	}
	o.bound.Input, no = r.input(t)
	switch {
	case r.maxTokens > 0:
		o.bound.Output = providers.Output{
			Part: call.Part{Kinds: call.Of(call.Output, call.Reasoning)}, Cap: t.OutputCap(r.maxTokens), Choices: 1, Fit: providers.Asked,
		}
	case !slices.Contains(silentProviders, t.Provider):
		no = no.Join(providers.NoBound("max_tokens", "not every server takes 0 for no output; send a cap above 0"))
	}
	for _, more := range [...]func() *providers.Unbounded{o.aboveThinking, o.sumUp, o.fallBack, o.host} {
		no = no.Join(more())
	}
	o.unguard()
	return no
}

// aboveThinking keeps the cap above the budget of thinking, as the API wants it. A budget
// that was not below it needs interleaved thinking, and may be above any cap.
func (o *offer) aboveThinking() *providers.Unbounded {
	out, budget := &o.bound.Output, o.request.thinking
	if 0 < budget && budget < o.request.maxTokens {
		out.Least, out.LeastFor = budget+1, budgetMember
	}
	if out.Cap < out.Least {
		return providers.NoBound(budgetMember, "it must be below max_tokens, and this model writes "+strconv.FormatInt(out.Cap, 10)+" tokens at most")
	}
	return nil
}

// budgetMember is how much of the output may be thinking.
const budgetMember = "thinking.budget_tokens"

// sumUp adds a run that sums the conversation up: it reads all of it, writes at most what
// the model can, and what follows reads that too.
func (o *offer) sumUp() *providers.Unbounded {
	r, t := o.request, &o.terms
	if r.summaries == 0 {
		return nil
	}
	if t.MaxOutput <= 0 {
		return providers.NoBound("compaction", "the length of the summary is not known", providers.Bounds("max_output_tokens")...)
	}
	in := &o.bound.Input
	if r.onlySums { // nothing follows
		in.Fixed += summaryTokens
		o.bound.Output.Fixed += t.MaxOutput
		return nil
	}
	o.bound.Beside = append(o.bound.Beside, call.Line{Key: call.Key{Model: r.model}, Usage: call.Usage{
		call.Input: in.Fixed + in.Bytes() + summaryTokens, call.Output: t.MaxOutput,
	}})
	in.Fixed += t.MaxOutput
	return nil
}

// input bounds the input. Where the body does not show all of it, that is what the policy
// says of a document, or all that the model reads.
func (r *request) input(t *providers.Terms) (in providers.Input, no *providers.Unbounded) {
	in = providers.Input{Part: call.Part{Fixed: r.load.tokens(), Texts: r.texts, Kinds: r.inputKinds(t.Provider)}, Contexts: 1}
	if r.load.images > 0 {
		each := imageTokens(r.model, t)
		if each <= 0 || each > providers.MaxCap/r.load.images {
			no = providers.NoBound("a content block of type image", "the tokens of an image are not known for this model", providers.Bounds("max_image_tokens")...)
		}
		in.Fixed += r.load.images * each
	}
	switch pages := r.load.pages; {
	case pages == 0:
	case t.MaxDocument > 0 && t.MaxDocument <= providers.MaxCap/pages:
		in.Fixed += pages * t.MaxDocument
	case t.Context > 0:
		in.Fixed = max(in.Fixed, t.Context)
	default:
		no = no.Join(providers.NoBound(r.hidden, "the body does not show its tokens, and what the model reads at most is not known",
			append(providers.Bounds("max_document_tokens"), providers.Bounds("context_tokens")...)...))
	}
	return in, no
}

// freeAt are the providers at which a count of tokens costs nothing
// (https://platform.claude.com/docs/en/build-with-claude/token-counting).
var freeAt = []string{"anthropic"}

// free is nil for a count of tokens where it costs nothing.
func (o *offer) free() *providers.Unbounded {
	o.bound.Free = true
	if provider := o.terms.Provider; !slices.Contains(freeAt, provider) {
		return providers.Bills("a count of tokens", provider)
	}
	return nil
}

// services are the tiers, beside the standard one, that the request may be served at: the
// one that it asks for, or where it leaves that to the provider's account, those that the
// policy allows there.
func (r *request) services(t *providers.Terms) (list []string) {
	tiers := []string{r.tier.word}
	if r.tier.word == "" || r.tier.word == "auto" {
		tiers = t.Allow.Tiers()
	}
	for _, tier := range tiers {
		if tier != standardOnly {
			list = append(list, tier)
		}
	}
	if r.fast {
		list = append(list, fastSpeed)
	}
	return list
}

// standardOnly asks for the tier of list prices.
const standardOnly = "standard_only"

// inputKinds are what a token of the input can be. What is written to the cache may be
// all of it, for the longest time that was asked for. Servers of other makers may write to
// theirs without being asked.
func (r *request) inputKinds(provider string) call.Kinds {
	kinds := call.Of(call.Input, call.CachedInput)
	if r.cache.short || !slices.Contains(ownHosts, provider) {
		kinds |= call.Of(call.CacheWrite)
	}
	if r.cache.long {
		kinds |= call.Of(call.CacheWrite1h)
	}
	return kinds
}

// Bound is the most that the request can use.
func (o *offer) Bound() *providers.Bound { return &o.bound }

// Send makes what leaves.
func (o *offer) Send(outputCap int64) providers.Sent {
	r := o.request
	header, taken := r.header(&o.terms)
	limit := r.maxTokens
	if outputCap > 0 {
		limit = min(limit, outputCap)
	}
	asked := asked{
		silent: r.maxTokens == 0, limit: limit, long: r.cache.long, fast: r.fast, region: r.region,
		sums: r.summaries > 0, model: r.model, others: r.fallbacks, amounts: bill.Of(o.terms.Provider),
	}
	return providers.Sent{
		Path:    "/" + r.operation,
		Query:   r.query(),
		Header:  header,
		Removed: providers.Removed{Betas: taken, Tools: o.removed()},
		Body:    wire.Apply(r.body, o.splices(limit)),
		Meter:   func(a providers.Answer) providers.Meter { return newMeter(asked, a) },
	}
}
