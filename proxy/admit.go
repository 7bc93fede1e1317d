package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

// admit bounds a request under the given rules and asks leave for it.
func (p *Proxy) admit(r *http.Request, rules *gate.Rules, t target, load *payload) (*exchange, error) {
	key, err := identify(rules.Policy, r)
	if err != nil {
		return nil, err
	}
	from, err := originOf(key.Tenant, r.Header, t)
	if err != nil {
		return nil, err
	}
	request := load.request
	calls, known, denial := bound(rules, key, factsOf(key, t, from, request), request)
	if denial != nil {
		return nil, p.gate.Refuse(r.Context(), known, denial)
	}
	p.countInTurns(r, calls, request)
	grant, err := p.gate.Begin(r.Context(), calls[0])
	if err != nil {
		return nil, err
	}
	calls[0].Input.Tighten = nil // it has leave, and lets go of the texts
	return &exchange{
		endpoint:  request.Endpoint,
		wantUsage: request.Stream && !request.IncludeUsage,
		wantEcho:  request.Silent(),
		query:     request.Query(),
		payload:   load,
		calls:     calls,
		grant:     grant,
	}, nil
}

// countInTurns has the gate wait for a turn before it counts long texts.
func (p *Proxy) countInTurns(r *http.Request, calls []gate.Bid, request *openai.Request) {
	size := sizeOf(request.Texts)
	for i := range calls {
		in := &calls[i].Input
		count, loose, how := in.Tighten, in.Tokens, in.How
		if count == nil || size < longWork {
			continue
		}
		in.Tighten = func() (int64, string) {
			done, err := p.intake.turns.take(r.Context(), size)
			if err != nil {
				return loose, how // its client has left
			}
			defer done()
			return count()
		}
	}
}

// isStale reports whether a request was refused because another one of its
// tenant came with a newer policy.
func isStale(err error) bool {
	refusal, ok := errors.AsType[*gate.Refusal](err)
	return ok && refusal.Reason == policy.StalePolicy
}

// parse reads the body, whole and bounded, and the facts in it.
func (p *Proxy) parse(w http.ResponseWriter, r *http.Request, t target, load *payload) error {
	body, err := load.room.read(w, r, p.bodyLimit)
	if err != nil {
		return err
	}
	done, err := p.intake.turns.take(r.Context(), body.size())
	if err != nil {
		return errBody // its client has left
	}
	defer done()
	if load.request, err = openai.Parse(t.endpoint, body.join()); err != nil {
		return err
	}
	if err := load.request.SeeQuery(r.URL.RawQuery); err != nil {
		return err
	}
	load.request.SeeHeaders(r.Header)
	return load.room.take(load.request.Copied())
}

// bound makes one call for each upstream that may serve the request, the
// primary first. A fallback on which the cost has no bound is left out. Without
// a bound at all there is a denial, and the call says what is known.
func bound(rules *gate.Rules, key *policy.Key, facts policy.Facts, r *openai.Request) ([]gate.Bid, gate.Bid, *policy.Denial) {
	call := gate.Bid{Rules: rules, Key: key, Facts: facts, Choices: max(1, r.Choices)}
	model, upstreams := rules.Policy.Route(key.Tenant, r.Model)
	if len(upstreams) == 0 {
		return nil, call, rules.Policy.Unrouted(key.Tenant, r.Model, "")
	}
	var calls []gate.Bid
	for i, upstream := range upstreams {
		c := call
		c.Upstream, c.Facts.Upstream = upstream, upstream.Name
		denial := boundOn(&c, model, r)
		if denial == nil {
			calls = append(calls, c)
		} else if i == 0 {
			return nil, c, denial
		}
	}
	return calls, call, nil
}

// taker is an upstream as the dialect's lists know it.
func taker(u *policy.Upstream, priced bool) openai.Taker {
	return openai.Taker{Provider: u.Provider, Allow: &u.Allow, Priced: priced}
}

func factsOf(key *policy.Key, t target, from origin, r *openai.Request) policy.Facts {
	facts := policy.Facts{
		Run:          t.run,
		Endpoint:     r.Endpoint.String(),
		Model:        r.Model,
		Stream:       r.Stream,
		Capabilities: capabilities(r),
		Tools:        r.Tools,
		Depth:        from.depth,
		Nonce:        from.nonce,
		Attempt:      from.attempt,
	}
	if key.Tenant.CountsTools() {
		facts.ToolResults = toolResults(r)
	}
	if field := key.Tenant.UserField; field != "" && key.Trusted {
		facts.User, _ = r.Field(field)
	}
	return facts
}

// toolResults are the results of tools that a request brings. Those of the older
// form, function_call, have no id: each has the request's content and its place.
func toolResults(r *openai.Request) []policy.ToolResult {
	var list []policy.ToolResult
	digest := sync.OnceValue(r.Digest)
	for i, result := range r.ToolResults {
		id := result.CallID
		if id == "" {
			id = fmt.Sprintf("%s/%d", digest(), i)
		}
		list = policy.AddToolResult(list, id, result.Name)
	}
	return list
}

// boundOn bounds the request's tokens on one upstream.
func boundOn(c *gate.Bid, model *policy.Model, r *openai.Request) *policy.Denial {
	if no := r.NoBound(taker(c.Upstream, model.Price != nil)); no != nil {
		return denied(policy.NoBound, no.Message)
	}
	limits := c.Rules.Limits(c.Upstream.Provider, model, c.Facts.Model)
	overhead, err := r.Overhead(r.Model, model.MaxImageTokens)
	if err != nil {
		return denied(policy.NoBound, err.Error())
	}
	c.Input = inputOf(c.Upstream, r, overhead, limits.ContextTokens*r.Prompts())
	c.CacheWrite = r.CacheControl || !slices.Contains(explicitCaches, c.Upstream.Provider)
	c.Audio = r.AudioOutput
	if r.Endpoint == openai.Embeddings {
		return nil
	}
	if r.ZeroCap && r.ImpliedCap(c.Upstream.Provider) == 0 {
		return denied(policy.NoBound, "what this request costs has no bound, because of "+openai.UnboundedZeroCap+": not every server takes 0 for no output")
	}
	if denial := boundOutput(c, model, r, limits); denial != nil {
		return denial
	}
	for _, text := range r.Prediction {
		c.ExtraOutput += tokenizer.UpperBound(text) * c.Choices
	}
	return nil
}

// explicitCaches are the providers that write to a prompt cache only where the
// request says so. Others may do it by default.
var explicitCaches = []string{"anthropic"}

// leastOutput is held for each choice of a completion that asks for no output, in
// tokens: servers that only echo the prompt may run the model for one.
const leastOutput = 1

// boundOutput finds the most that one choice may write: the client's own cap in the
// field that the upstream obeys, else the policy's default, else what the model can
// write at most.
func boundOutput(c *gate.Bid, model *policy.Model, r *openai.Request, limits pricing.Limits) *policy.Denial {
	cap, given := r.AskedCap(c.Upstream.In("openai").CapField)
	if given && cap == 0 {
		c.ExtraOutput = leastOutput * c.Choices // the cap that is sent is 0
		return nil
	}
	if !given {
		cap = impliedCap(c.Upstream, model, r)
	}
	c.OutputCap = limits.OutputCap(cap)
	if !given {
		c.Fit = fitOf(c, model, r, limits)
	}
	if c.OutputCap == 0 {
		return denied(policy.NoBound, "the request has no output cap, and neither the policy (default_output_cap) nor the model's own maximum gives one")
	}
	return nil
}

// impliedCap is the cap of a request without one, but for the model's own: the
// policy's default. A completion has no more than the absence of a cap means.
func impliedCap(u *policy.Upstream, model *policy.Model, r *openai.Request) int64 {
	cap := model.DefaultOutputCap
	if implied := r.ImpliedCap(u.Provider); implied > 0 && (cap == 0 || cap > implied) {
		return implied
	}
	return cap
}

// fitOf is how a cap that the client did not give fits beside the input. Of several
// prompts each has a context to itself, and nobody knows which is how long. What the
// absence of a cap means is sent as if the policy had said so.
func fitOf(c *gate.Bid, model *policy.Model, r *openai.Request, limits pricing.Limits) *gate.Fit {
	if r.Prompts() > 1 {
		return nil
	}
	fit := gate.NewFit(c.OutputCap, model, limits)
	if fit != nil && r.ImpliedCap(c.Upstream.Provider) > 0 {
		fit.Preset = true
	}
	return fit
}

// inputOf bounds the input tokens by bytes, and counts them when asked to,
// where the provider's tokenizer is known. Neither reads on where the context is
// full.
func inputOf(u *policy.Upstream, r *openai.Request, overhead, context int64) gate.Input {
	in := within(looseBound(r.Texts, overhead, context), "bytes", context)
	encoding, known := tokenizer.ForModel(r.Model)
	if !known || !slices.Contains(exactProviders, u.Provider) {
		return in
	}
	in.Long = sizeOf(r.Texts) >= longText
	in.Tighten = func() (int64, string) {
		tokens, how := count(encoding, r.Texts, in, overhead, context)
		tight := within(tokens, how, context)
		return tight.Tokens, tight.How
	}
	return in
}

// longText is how many bytes of text take longer to count than the ledger takes to
// answer: from a third of a millisecond for prose to fifteen.
const longText = 64 << 10

func sizeOf(texts []string) (size int64) {
	for _, text := range texts {
		size += int64(len(text))
	}
	return size
}

// looseBound bounds the tokens of texts without counting them.
func looseBound(texts []string, overhead, context int64) int64 {
	// No text has a lower bound than its bytes.
	if least := overhead + sizeOf(texts); context > 0 && least > context {
		return least
	}
	loose := overhead
	for _, text := range texts {
		loose += tokenizer.UpperBound(text)
	}
	return loose
}

// count counts the tokens of texts up to the context, as far as that is worth it;
// where it is not, they are bounded by bytes.
func count(e tokenizer.Encoding, texts []string, loose gate.Input, overhead, context int64) (tokens int64, how string) {
	room := int64(-1)
	if context > 0 {
		room = max(0, context-overhead)
	}
	counter, err := e.Counter(room)
	if err != nil {
		return loose.Tokens, loose.How
	}
	for _, text := range texts {
		if !counter.Add(text) {
			break
		}
	}
	tokens, exact := counter.Tokens()
	if !exact {
		return overhead + tokens, "bytes"
	}
	return overhead + tokens, gate.InputExact
}

// exactProviders serve a model of OpenAI's name with OpenAI's tokenizer.
var exactProviders = []string{"openai", "azure"}

// within lowers a bound to the contexts that the request can fill, which the
// provider enforces.
func within(tokens int64, how string, context int64) gate.Input {
	if context > 0 && tokens > context {
		return gate.Input{Tokens: context, How: "context"}
	}
	return gate.Input{Tokens: tokens, How: how}
}

// endpointCapability is what using an endpoint needs.
var endpointCapability = map[openai.Endpoint]string{
	openai.ChatCompletions: call.NeedChat,
	openai.Completions:     call.NeedCompletions,
	openai.Embeddings:      call.NeedEmbeddings,
}

// capabilities are what a request needs of a tenant's allowance.
func capabilities(r *openai.Request) []string {
	list := []string{endpointCapability[r.Endpoint]}
	for _, need := range [...]struct {
		used       bool
		capability string
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
			list = append(list, need.capability)
		}
	}
	return list
}

func denied(reason policy.Reason, message string) *policy.Denial {
	return &policy.Denial{Reason: reason, Message: message}
}
