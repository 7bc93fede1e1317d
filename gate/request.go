package gate

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
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

// Request is an LLM call that no dialect reads: the program that makes it says itself what
// the call is and what bounds its cost. Tenant is required.
type Request struct {
	Tenant string // whose budgets, as the policy names it
	Key    string // the id of one of its keys; "": the tenant itself, whom no limit of a key concerns
	Run    string // whose budgets concern the call too; "": none
	User   string // end user, alike; "": none
	Nonce  string // spent once, where the policy says so; "": none

	// Facts are the call's, as a dialect would tell them, less what Request and the gate
	// fill in: Tenant, Key, Run, User, Nonce, Cost. Model and the bounds are required:
	//
	//   - InputTokens, of all that is sent and billed as input: messages with what the API
	//     puts around each, tool schemas, images. Package tokenizer bounds and counts text.
	//   - OutputCap, in tokens of one choice; 0 only for what writes nothing, as
	//     embeddings. Send the Grant's, which can be lower, in the field that the upstream
	//     obeys.
	//
	// Endpoint "" is call.ChatCompletions, Upstream "" the first of the policy's for
	// this model and tenant, Dialect "" any, InputBound "" "caller", Choices 0 one, Kinds 0
	// call.Writes, which some providers bill by default. Needs are those that
	// do not follow from Endpoint, Stream, Tools and Choices. The ID of a tool's result is
	// the call.HashName of its call's id, which counts once; one without counts each time.
	Facts call.Facts
}

// Bidder says what a call can cost under some rules. A Request is one; package client has
// one that reads what an SDK sends.
type Bidder interface {
	// Bid is asked again where newer rules come meanwhile. The denial, if any, says what
	// keeps the call from a bound; the bid then says what is known. With an error nobody
	// decides about it.
	Bid(*Rules) (Bid, *call.Denial, error)
}

// A Downgrader is a Bidder that can ask for another model where a budget is exhausted.
type Downgrader interface {
	Bidder
	// Instead is Bid for the model that the policy has in the place of that of a bid which was refused; ok is
	// false where it has none, or none for this error.
	Instead(refused Bid, err error) (bid Bid, denial *call.Denial, ok bool)
}

// ask asks leave for a call under the rules in force, and again if newer ones come meanwhile.
func (g *Gate) ask(ctx context.Context, b Bidder) (*Grant, error) {
	return UnderNewest(g.Rules(), g.Rules, func(rules *Rules) (*Grant, error) { return g.askUnder(ctx, rules, b) })
}

// UnderNewest asks something under rules, and once more under the newest if it is refused
// because another call of its tenant came with newer ones meanwhile.
func UnderNewest[T any](rules *Rules, newest func() *Rules, ask func(*Rules) (T, error)) (T, error) {
	answer, err := ask(rules)
	if !isStale(err) {
		return answer, err
	}
	if newer := newest(); newer != rules {
		return ask(newer)
	}
	return answer, err
}

// isStale reports whether a request was refused because another one of its
// tenant came with a newer policy.
func isStale(err error) bool {
	refusal, ok := errors.AsType[*call.Denial](err)
	return ok && refusal.Reason == policy.StalePolicy
}

// valid refuses, with ErrInvalid, what no receipt can tell.
func (r *Request) valid() error {
	f := &r.Facts
	for _, n := range [...]struct {
		name         string
		number, most int64
	}{
		{"Depth", f.Depth, policy.MaxDepthFact},
		{"Attempt", f.Attempt, policy.BadAttempt},
		{"InputTokens", f.InputTokens, pricing.MaxTokens},
		{"OutputCap", f.OutputCap, pricing.MaxTokens},
		{"LeastCap", f.LeastCap, pricing.MaxTokens},
		{"Choices", f.Choices, pricing.MaxTokens},
		{"ExtraOutput", f.ExtraOutput, pricing.MaxTokens},
		{"InputRereads", f.InputRereads, call.MaxRereads},
		{"OutputRereads", f.OutputRereads, call.MaxRereads},
		{"the number of Needs", int64(len(f.Needs)), maxNeeds},
	} {
		if n.number < 0 || n.number > n.most {
			return fmt.Errorf("%w: %s is %d, not 0 to %d", ErrInvalid, n.name, n.number, n.most)
		}
	}
	if f.Free && !call.FreeSomewhere(f.Endpoint) {
		return fmt.Errorf("%w: Free is set, and endpoint %q costs something everywhere", ErrInvalid, f.Endpoint)
	}
	if f.Action() != "" {
		return fmt.Errorf("gate: endpoint %q is one of actions: see Authorize", f.Endpoint)
	}
	for _, name := range append([]string{f.Model, f.Upstream, f.Dialect, f.Endpoint, f.InputBound}, f.Needs...) {
		if !isNamed(name) {
			return fmt.Errorf("%w: a name is not at most %d bytes of UTF-8: %.64q", ErrInvalid, maxNameBytes, name)
		}
	}
	if !countsBeside(f.Beside) {
		return fmt.Errorf("%w: Beside has more than %d lines, a name of more than %d bytes, or a number that is not 0 to %d", ErrInvalid, maxLines, maxNameBytes, int64(pricing.MaxTokens))
	}
	for _, result := range f.ToolResults {
		if n := len(result.ID); n != 0 && n != call.NameBytes {
			return fmt.Errorf("%w: the ID of a tool's result is none of call.HashName", ErrInvalid)
		}
	}
	return nil
}

// isNamed reports whether a receipt can tell names.
func isNamed(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return len(name) > maxNameBytes || !utf8.ValidString(name) })
}

func (g *Gate) askUnder(ctx context.Context, rules *Rules, b Bidder) (*Grant, error) {
	bid, denial, err := b.Bid(rules)
	if err != nil {
		return nil, err
	}
	if denial != nil {
		return nil, g.Refuse(ctx, bid, denial)
	}
	grant, err := g.Begin(ctx, bid)
	if d, can := b.(Downgrader); can && err != nil {
		return g.askInstead(ctx, d, bid, err)
	}
	return grant, err
}

// askInstead asks for another model in the place of a bid that was refused.
func (g *Gate) askInstead(ctx context.Context, d Downgrader, refused Bid, first error) (*Grant, error) {
	bid, denial, ok := d.Instead(refused, first)
	if !ok {
		return nil, first
	}
	if denial != nil {
		return nil, policy.DeniedTwice(first, g.Refuse(ctx, bid, denial))
	}
	grant, err := g.Begin(ctx, bid)
	return grant, policy.DeniedTwice(first, err)
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
func (r Request) Bid(rules *Rules) (Bid, *call.Denial, error) {
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

// bid finds where the request goes. A denial says what is missing.
func (r *Request) bid(rules *Rules, key *policy.Key) (Bid, *call.Denial) {
	b := Bid{Rules: rules, Key: key, Facts: r.facts()}
	routes := rules.Policy.For(b.Endpoint)
	if b.Upstream = r.route(routes, key.Tenant); b.Upstream == nil {
		return b, routes.Unrouted(key.Tenant, &b.Facts)
	}
	b.Facts.Upstream = b.Upstream.Name
	if b.MostOutput() == 0 && b.Endpoint != call.Embeddings && !b.Free {
		return b, &call.Denial{Reason: policy.NoBound, Message: "the request has no output cap; set Facts.OutputCap"}
	}
	return b, nil
}

// route finds the upstream that the request names, or the first.
func (r *Request) route(p *policy.Policy, t *policy.Tenant) *policy.Upstream {
	_, upstreams := p.Route(t, r.Facts.Model)
	for _, u := range upstreams {
		if (r.Facts.Upstream == "" || r.Facts.Upstream == u.Name) && (r.Facts.Dialect == "" || u.In(r.Facts.Dialect) != nil) {
			return u
		}
	}
	return nil
}

// facts are the caller's, completed, and without those that are never a caller's.
func (r *Request) facts() call.Facts {
	f := r.Facts
	f.Counted, f.Uncapped, f.InsteadOf, f.ActionID, f.Target, f.Tool = false, false, "", "", "", ""
	f.Endpoint, f.InputBound = cmp.Or(f.Endpoint, call.ChatCompletions), cmp.Or(f.InputBound, boundByCaller)
	f.Choices, f.Kinds = max(1, f.Choices), cmp.Or(f.Kinds, call.Writes)
	f.AddImplied()
	f.ToolResults = slices.Clone(f.ToolResults)
	for i := range f.ToolResults {
		f.ToolResults[i].ID = cmp.Or(f.ToolResults[i].ID, call.HashName(rand.Text()))
	}
	f.SetNames(r.Run, r.User, r.Nonce)
	return f
}
