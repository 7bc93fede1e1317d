package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// admit bounds a request under the given rules and asks leave for it.
func (p *Proxy) admit(r *http.Request, rules *gate.Rules, t *target, credential string, load *payload) (*exchange, error) {
	key, err := identify(rules.Policy, credential)
	if err != nil {
		return nil, err
	}
	from, err := originOf(key.Tenant, r.Header, t)
	if err != nil {
		return nil, err
	}
	calls, offers, denial := bound(rules, key, t, factsOf(key, t, from, load.request), load.request)
	if denial != nil {
		return nil, p.gate.Refuse(r.Context(), calls[0], denial)
	}
	p.countInTurns(r, calls, sizeOf(offers[0].Bound().Input.Texts))
	grant, err := p.gate.Begin(r.Context(), calls[0])
	if err != nil {
		return nil, err
	}
	calls[0].Input.Tighten = nil // it has leave, and lets go of the texts
	load.offers = offers
	return &exchange{payload: load, calls: calls, grant: grant, target: t}, nil
}

// countInTurns has the gate wait for a turn before it counts long texts.
func (p *Proxy) countInTurns(r *http.Request, calls []gate.Bid, size int64) {
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
func (p *Proxy) parse(w http.ResponseWriter, r *http.Request, t *target, load *payload) error {
	body, err := load.room.read(w, r, p.bodyLimit)
	if err != nil {
		return err
	}
	done, err := p.intake.turns.take(r.Context(), body.size())
	if err != nil {
		return errBody // its client has left
	}
	defer done()
	if load.request, err = t.dialect.Parse(t.operation, t.head, body.join()); err != nil {
		return err
	}
	return load.room.take(load.request.Copied())
}

func factsOf(key *policy.Key, t *target, from origin, r providers.Request) policy.Facts {
	seen := r.Facts()
	facts := policy.Facts{
		Run:          t.run,
		Endpoint:     t.operation.Operation,
		Model:        seen.Model,
		Stream:       seen.Stream,
		Capabilities: append([]string{call.NeedOf(t.operation.Operation)}, seen.Needs...),
		Tools:        seen.Tools,
		Depth:        from.depth,
		Nonce:        from.nonce,
		Attempt:      from.attempt,
	}
	if key.Tenant.CountsTools() {
		facts.ToolResults = toolResults(seen.ToolResults, r.Digest)
	}
	if field := key.Tenant.UserField; field != "" && key.Trusted {
		facts.User, _ = r.Field(field)
	}
	return facts
}

// toolResults are the results of tools that a request brings. Those that have no id are
// told apart by the request's content and their place.
func toolResults(results []providers.ToolResult, digest func() string) []policy.ToolResult {
	var list []policy.ToolResult
	digest = sync.OnceValue(digest)
	for i, result := range results {
		id := result.CallID
		if id == "" {
			id = fmt.Sprintf("%s/%d", digest(), i)
		}
		list = policy.AddToolResult(list, id, result.Name)
	}
	return list
}
