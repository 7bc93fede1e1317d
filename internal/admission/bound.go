package admission

import (
	"fmt"
	"maps"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

// Bound makes a bid out of the one that is known, and an offer of what is sent, for each
// upstream that may serve the request and speaks its dialect, the primary first. A fallback
// on which the cost has no bound is left out. Without a bound at all there is a denial, and
// one bid that says what is known.
func (d Door) Bound(known gate.Bid, r providers.Request) ([]gate.Bid, []providers.Offer, *call.Denial) {
	routes := known.Rules.Policy.For(known.Endpoint)
	model, upstreams := routes.Route(known.Key.Tenant, known.Model)
	if denial := routes.Unrouted(known.Key.Tenant, &known.Facts); denial != nil {
		return []gate.Bid{known}, nil, denial
	}
	upstreams = d.reached(policy.Speaking(upstreams, known.Dialect), known.Dialect)
	if len(upstreams) == 0 {
		known.Facts.Upstream = d.called(known.Rules.Policy)
		return []gate.Bid{known}, nil, d.unreached(routes, &known)
	}
	if upstreams[0].ClientPays && !d.ClientPays {
		known.Upstream, known.Facts.Upstream = upstreams[0], upstreams[0].Name
		return []gate.Bid{known}, nil, denied(policy.NoCredential, "upstream "+upstreams[0].Name+" takes the client's own credential, and the request has none, or two: "+
			"send the provider's where its API takes it, and the tenant's key in "+KeyHeader+" or as /key/KEY in front of the path")
	}
	upstreams, _ = policy.PaidAlike(upstreams, known.Dialect)
	var bids []gate.Bid
	var offers []providers.Offer
	for i, upstream := range upstreams {
		b := known
		b.Upstream, b.Facts.Upstream = upstream, upstream.Name
		offer, denial := d.boundOn(&b, r, model)
		if denial == nil {
			bids, offers = append(bids, b), append(offers, offer)
		} else if i == 0 {
			return []gate.Bid{b}, nil, denial
		}
	}
	return bids, offers, nil
}

// called is the name of an upstream that the request's URL reaches, so that the receipt
// tells which one does not serve it; "" if the policy has none any more.
func (d *Door) called(p *policy.Policy) string {
	for _, name := range slices.Sorted(maps.Keys(p.Upstreams)) {
		if slices.ContainsFunc(p.Upstreams[name].Speaks, func(s policy.Speech) bool { return s.BaseURL == d.BaseURL }) {
			return name
		}
	}
	return ""
}

// reached are those of some upstreams that the request's URL reaches in its dialect.
func (d *Door) reached(upstreams []*policy.Upstream, dialect string) []*policy.Upstream {
	return slices.DeleteFunc(upstreams, func(u *policy.Upstream) bool {
		return d.BaseURL != "" && u.In(dialect).BaseURL != d.BaseURL
	})
}

// unreached denies a call that no upstream of its model has the base URL for.
func (d *Door) unreached(routes *policy.Policy, b *gate.Bid) *call.Denial {
	reason := policy.NoRoute
	if why := routes.Unrouted(b.Key.Tenant, &b.Facts); why != nil {
		reason = why.Reason
	}
	return denied(reason, "no upstream of this model has the base URL that was called, "+d.BaseURL+"; call one that the policy names for it")
}

// boundOn bounds the request on one upstream.
func (d *Door) boundOn(b *gate.Bid, r providers.Request, model *policy.Model) (providers.Offer, *call.Denial) {
	limits := b.Rules.Limits(b.Upstream.Provider, model, b.Model)
	offer, err := r.On(d.terms(b, model, limits))
	if err != nil {
		return nil, denied(policy.NoBound, err.Error())
	}
	bound := offer.Bound()
	if denial := unroutedInside(b, bound.Beside); denial != nil {
		return nil, denial
	}
	boundInput(b, &bound.Input, limits.ContextTokens*bound.Input.Contexts)
	tell(&b.Facts, bound)
	b.Fit = fitOf(&bound.Output, model, limits)
	b.LeastCap, b.LeastFor = bound.Output.Least, bound.Output.LeastFor
	return offer, nil
}

// terms are what holds for a model of those limits on a bid's upstream.
func (d *Door) terms(b *gate.Bid, model *policy.Model, limits pricing.Limits) providers.Terms {
	speech := b.Upstream.In(b.Dialect)
	terms := providers.Terms{
		Provider:      b.Upstream.Provider,
		Obeys:         providers.Obeys{CapField: speech.CapField, StreamUsage: speech.StreamUsage},
		DefaultOutput: model.DefaultOutputCap,
		MaxOutput:     limits.MaxOutputTokens,
		Context:       limits.ContextTokens,
		MaxImage:      model.MaxImageTokens,
		MaxDocument:   model.MaxDocTokens,
		Allow:         &speech.Allow,
		Priced:        model.Price != nil,
		Tools:         b.Key.Tenant.HostedTools,
		DenyUnknown:   b.Key.Tenant.WhenUnknown == policy.DenyUnknown,
	}
	if d.Chains != nil {
		terms.Earlier = d.Chains.Earlier(b.Key.Tenant.Name)
	}
	return terms
}

// tell writes a bound into the facts of its call, all but the tokens of the input.
func tell(f *call.Facts, b *providers.Bound) {
	in, out := &b.Input, &b.Output
	f.Service, f.Services, f.Region = b.Service, b.Services, b.Region
	f.InputRereads, f.OutputRereads, f.Beside = in.Rereads, out.Rereads, b.Beside
	f.Free = b.Free
	f.Kinds = (in.Kinds | out.Kinds) &^ call.Plain
	f.OutputCap, f.Choices = out.Cap, max(1, out.Choices)
	f.ExtraOutput = out.Fixed * f.Choices
	for _, text := range out.Texts {
		f.ExtraOutput += tokenizer.UpperBound(text) * f.Choices
	}
	f.Withdraw(b.Stripped)
}

// fitOf is how an output cap that the client did not ask for fits the context; nil of any
// other.
func fitOf(out *providers.Output, model *policy.Model, limits pricing.Limits) *gate.Fit {
	fit := &gate.Fit{Cap: out.Cap, Context: limits.ContextTokens}
	switch {
	case fit.Cap == 0 || fit.Context == 0:
		return nil
	case out.Fit == providers.Implied:
		fit.Preset = true
	case out.Fit == providers.Guessed:
		fit.Preset = model.DefaultOutputCap > 0 || model.MaxOutputTokens > 0
	case out.Fit == providers.Enforced:
		fit.Preset = model.DefaultOutputCap > 0
	default:
		return nil
	}
	return fit
}

// unroutedInside denies a call inside which another model may run that the policy does not
// send to this upstream.
func unroutedInside(b *gate.Bid, beside []call.Line) *call.Denial {
	for i := range beside {
		other := beside[i].Model
		if other == "" || other == b.Model {
			continue
		}
		if _, upstreams := b.Rules.Policy.Route(b.Key.Tenant, other); !slices.Contains(upstreams, b.Upstream) {
			return denied(policy.NoBound, fmt.Sprintf("model %.100q may run inside this call, and the policy does not send it to upstream %s: add it to the models", other, b.Upstream.Name))
		}
	}
	return nil
}

func denied(reason call.Reason, message string) *call.Denial {
	return &call.Denial{Reason: reason, Message: message}
}

// boundInput bounds the input tokens by bytes, and has them counted when asked to,
// where the provider counts as the model's tokenizer does. Neither reads on where the
// context is full.
func boundInput(b *gate.Bid, in *providers.Input, context int64) {
	b.InputTokens, b.InputBound = within(looseBound(in, context), "bytes", context)
	encoding, known := tokenizer.ForModel(b.Model)
	if !known || !in.Exact {
		return
	}
	b.Long = in.Bytes() >= longText
	loose, how := b.InputTokens, b.InputBound
	b.Tighten = func() (int64, string) {
		tokens, exact, err := count(encoding, in.Texts, in.Fixed, context)
		switch {
		case err != nil:
			return loose, how
		case exact:
			return within(tokens, gate.InputExact, context)
		}
		return within(tokens, "bytes", context)
	}
}

// longText is how many bytes of text take longer to count than the ledger takes to
// answer: from a third of a millisecond for prose to fifteen.
const longText = 64 << 10

// looseBound bounds the tokens of an input without counting them.
func looseBound(b *providers.Input, context int64) int64 {
	// No text has a lower bound than its bytes.
	if least := b.Fixed + b.Bytes(); context > 0 && least > context {
		return least
	}
	loose := b.Fixed
	for _, text := range b.Texts {
		loose += tokenizer.UpperBound(text)
	}
	return loose
}

// count counts the tokens of texts up to the context, as far as that is worth it;
// where it is not, they are bounded by bytes.
func count(e tokenizer.Encoding, texts []string, overhead, context int64) (tokens int64, exact bool, err error) {
	room := int64(-1)
	if context > 0 {
		room = max(0, context-overhead)
	}
	counter, err := e.Counter(room)
	if err != nil {
		return 0, false, err
	}
	for _, text := range texts {
		if !counter.Add(text) {
			break
		}
	}
	tokens, exact = counter.Tokens()
	return overhead + tokens, exact, nil
}

// within lowers a bound to the contexts that the request can fill, which the
// provider enforces.
func within(tokens int64, how string, context int64) (most int64, found string) {
	if context > 0 && tokens > context {
		return context, "context"
	}
	return tokens, how
}
