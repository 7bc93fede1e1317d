package gate

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

var (
	// ErrUnknownTenant: the policy in force has no tenant of that name.
	ErrUnknownTenant = errors.New("unknown tenant")
	// ErrUnknownKey: the tenant has no key of that id.
	ErrUnknownKey = errors.New("unknown key")
	// ErrInvalid: a number of the request is negative or too large, or a name too
	// long, so that no receipt could tell of it. Nobody decides about it.
	ErrInvalid = errors.New("invalid request")
)

const (
	// maxNameBytes bounds a model, an upstream, an endpoint and the like.
	maxNameBytes = 256
	// maxNeeds bounds the capabilities that a request names.
	maxNeeds = 64
)

// boundByCaller is how an input was bounded where the caller does not say.
const boundByCaller = "caller"

// Request is an LLM call as the program that makes it knows it. Tenant, Model
// and Input are required.
type Request struct {
	Tenant string // whose budgets, as the policy names it
	Key    string // the id of one of its keys; "": the tenant itself, whom no limit of a key concerns
	Run    string // whose budgets concern the call too; "": none
	User   string // end user, alike; "": none

	Model    string
	Upstream string   // of the policy's for this model and tenant; "": the first
	Dialect  string   // the API that is called, as the policy names it: "openai"; "": not told, any upstream will do
	Endpoint string   // "": call.ChatCompletions; what it needs is call.NeedOf
	Stream   bool     // the answer is streamed
	Tools    []string // names of the tools offered to the model
	Needs    []string // of call.Needs, beside endpoint, Stream and Tools
	Depth    int64    // of the recursion that the call comes from
	Nonce    string   // spent once, where the policy says so
	Attempt  int64    // of the call with that nonce; 0: the first

	// ToolResults are the results of tools that the call brings: those after the
	// last message of the assistant. The policy can limit them.
	ToolResults []ToolResult

	// Input bounds the tokens of all that is sent and billed as input: messages
	// with what the API puts around each, tool schemas, images. Package
	// tokenizer bounds and counts text.
	Input Input

	// OutputCap is the cap asked for on each choice, in tokens; 0: the policy's
	// default for the model, else what the model can write. Send the Grant's,
	// which can be lower, in the field that the upstream obeys.
	OutputCap   int64
	Choices     int64 // n or best_of; 0: 1
	ExtraOutput int64 // tokens billed beside the caps, of all choices together
	Audio       bool  // audio rates may apply
}

// Input bounds a call's input tokens.
type Input struct {
	Tokens int64  // at most
	How    string // "exact", "bytes", "context" or "caller", for the receipt

	// Tighten and Long are those of a Bid.
	Tighten func() (tokens int64, how string)
	Long    bool
}

// ToolResult is the result of a tool that a call brings.
type ToolResult struct {
	CallID string // as the model gave it, counted once; "": counted each time
	Tool   string // "" if not known: then limits that name a tool do not count it
}

// Bidder says what a call can cost under some rules. A Request is one; package client has
// one that reads what an SDK sends.
type Bidder interface {
	// Bid is asked again where newer rules come meanwhile. The denial, if any, says what
	// keeps the call from a bound; the bid then says what is known. With an error nobody
	// decides about it.
	Bid(*Rules) (Bid, *policy.Denial, error)
}

// ask asks leave for a call under the rules in force, and again while newer ones come
// meanwhile.
func (g *Gate) ask(ctx context.Context, b Bidder) (*Grant, error) {
	for rules := g.Rules(); ; {
		grant, err := g.askUnder(ctx, rules, b)
		newer := g.Rules()
		if !isStale(err) || newer == rules {
			return grant, err
		}
		rules = newer
	}
}

// isStale reports whether a request was refused because another one of its
// tenant came with a newer policy.
func isStale(err error) bool {
	refusal, ok := errors.AsType[*Refusal](err)
	return ok && refusal.Reason == policy.StalePolicy
}

// valid refuses, with ErrInvalid, what no receipt can tell.
func (r *Request) valid() error {
	for _, n := range [...]struct {
		name         string
		number, most int64
	}{
		{"Depth", r.Depth, policy.MaxDepthFact},
		{"Attempt", r.Attempt, policy.BadAttempt},
		{"Input.Tokens", r.Input.Tokens, pricing.MaxTokens},
		{"OutputCap", r.OutputCap, pricing.MaxTokens},
		{"Choices", r.Choices, pricing.MaxTokens},
		{"ExtraOutput", r.ExtraOutput, pricing.MaxTokens},
	} {
		if n.number < 0 || n.number > n.most {
			return fmt.Errorf("%w: %s is %d, not 0 to %d", ErrInvalid, n.name, n.number, n.most)
		}
	}
	if strings.HasPrefix(r.Endpoint, call.ActionEndpoint) {
		return fmt.Errorf("gate: endpoint %q is one of actions: see Authorize", r.Endpoint)
	}
	if len(r.Needs) > maxNeeds {
		return fmt.Errorf("%w: %d Needs, at most %d", ErrInvalid, len(r.Needs), maxNeeds)
	}
	for _, name := range append([]string{r.Model, r.Upstream, r.Dialect, r.Endpoint, r.Input.How}, r.Needs...) {
		if len(name) > maxNameBytes || !utf8.ValidString(name) {
			return fmt.Errorf("%w: a name is not at most %d bytes of UTF-8: %.64q", ErrInvalid, maxNameBytes, name)
		}
	}
	return nil
}

func (g *Gate) askUnder(ctx context.Context, rules *Rules, b Bidder) (*Grant, error) {
	bid, denial, err := b.Bid(rules)
	if err != nil {
		return nil, err
	}
	if denial != nil {
		return nil, g.Refuse(ctx, bid, denial)
	}
	return g.Begin(ctx, bid)
}

// Key finds a tenant's key by its id; "" is for the tenant itself. It fails with
// ErrUnknownTenant or ErrUnknownKey.
func (r *Rules) Key(tenant, id string) (*policy.Key, error) {
	t := r.Policy.Tenant(tenant)
	if t == nil {
		return nil, fmt.Errorf("%w %q", ErrUnknownTenant, tenant)
	}
	key := t.KeyOf(id)
	if key == nil {
		return nil, fmt.Errorf("%w %q of tenant %q", ErrUnknownKey, id, tenant)
	}
	return key, nil
}

// Bid finds where the request goes and what bounds it there.
func (r Request) Bid(rules *Rules) (Bid, *policy.Denial, error) {
	if err := r.valid(); err != nil {
		return Bid{}, nil, err
	}
	key, err := rules.Key(r.Tenant, r.Key)
	if err != nil {
		return Bid{}, nil, err
	}
	bid, denial := r.bid(rules, key)
	return bid, denial, nil
}

// bid finds where the request goes and what bounds it there. A denial says what
// is missing.
func (r *Request) bid(rules *Rules, key *policy.Key) (Bid, *policy.Denial) {
	b := Bid{
		Rules: rules, Key: key, Facts: r.facts(), Tighten: r.Input.Tighten, Long: r.Input.Long,
	}
	routes := rules.Policy.For(b.Facts.Endpoint)
	model, upstream := r.route(routes, key.Tenant)
	if upstream == nil {
		b.Facts.Upstream = r.Upstream // else the receipt would not tell why there is none
		return b, routes.Unrouted(key.Tenant, &b.Facts)
	}
	b.Upstream, b.Facts.Upstream = upstream, upstream.Name
	if b.Facts.Endpoint == call.Embeddings || call.Free(b.Facts.Endpoint, upstream.Provider) {
		return b, nil
	}
	limits := rules.Limits(upstream.Provider, model, r.Model)
	b.OutputCap = limits.OutputCap(r.OutputCap)
	if r.OutputCap == 0 {
		b.OutputCap = limits.OutputCap(model.DefaultOutputCap)
		b.Fit = NewFit(b.OutputCap, model, limits)
	}
	if b.OutputCap == 0 {
		return b, &policy.Denial{Reason: policy.NoBound, Message: "the request has no output cap, and neither the policy (default_output_cap) nor the model's own maximum gives one"}
	}
	return b, nil
}

// route finds the upstream that the request names, or the first.
func (r *Request) route(p *policy.Policy, t *policy.Tenant) (*policy.Model, *policy.Upstream) {
	model, upstreams := p.Route(t, r.Model)
	for _, u := range upstreams {
		if (r.Upstream == "" || r.Upstream == u.Name) && (r.Dialect == "" || u.In(r.Dialect) != nil) {
			return model, u
		}
	}
	return model, nil
}

func (r *Request) toolResults() []call.ToolResult {
	var list []call.ToolResult
	for _, result := range r.ToolResults {
		id := cmp.Or(result.CallID, rand.Text())
		list = append(list, call.ToolResult{ID: call.HashName(id), Tool: result.Tool})
	}
	return list
}

func (r *Request) facts() call.Facts {
	f := call.Facts{
		Dialect: r.Dialect, Endpoint: cmp.Or(r.Endpoint, call.ChatCompletions), Model: r.Model, Stream: r.Stream, Needs: r.needs(),
		Tools: r.Tools, ToolResults: r.toolResults(), Depth: r.Depth, Attempt: r.Attempt,
		InputTokens: r.Input.Tokens, InputBound: cmp.Or(r.Input.How, boundByCaller),
		Choices: max(1, r.Choices), ExtraOutput: r.ExtraOutput,
		Kinds: call.Writes, // some provider's default
	}
	if r.Audio {
		f.Kinds |= call.Of(call.AudioInput, call.CachedAudioInput, call.AudioCacheWrite, call.AudioOutput)
	}
	f.SetNames(r.Run, r.User, r.Nonce)
	return f
}

func (r *Request) needs() []string {
	list := []string{call.NeedOf(r.Endpoint)}
	if r.Stream {
		list = append(list, call.NeedStream)
	}
	if len(r.Tools) > 0 {
		list = append(list, call.NeedTools)
	}
	if r.Choices > 1 {
		list = append(list, call.NeedMultipleChoices)
	}
	return append(list, r.Needs...)
}
