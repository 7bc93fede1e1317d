package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// rota is whose turn it is among upstreams that share a model by weights, as far as this process has served
// it. It orders attempts, and decides nothing else: any upstream of a model may serve it.
type rota struct {
	mu    sync.Mutex
	turns map[string]map[string]int64 // how far each upstream is behind its share, by the model's pattern
}

// maxRotas bounds the models that are kept; beyond them all begin anew.
const maxRotas = 10_000

// pick returns the place of the upstream whose turn it is, of some that are well, by smooth weighted round robin:
// each is as far from its neighbours as its weight allows. It is the first where none has a weight.
func (r *rota) pick(m *policy.Model, upstreams []*policy.Upstream, well func(string) bool) (place int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turns == nil || len(r.turns) > maxRotas {
		r.turns = map[string]map[string]int64{}
	}
	behind := r.turns[m.Match]
	if behind == nil {
		behind = map[string]int64{}
		r.turns[m.Match] = behind
	}
	total, best := int64(0), int64(0)
	place = -1
	for i, u := range upstreams {
		weight := m.Weight(u)
		if weight == 0 || !well(u.Name) {
			continue
		}
		total += weight
		behind[u.Name] += weight
		if place < 0 || behind[u.Name] > best {
			place, best = i, behind[u.Name]
		}
	}
	if place < 0 {
		return max(0, slices.IndexFunc(upstreams, func(u *policy.Upstream) bool { return well(u.Name) }))
	}
	behind[upstreams[place].Name] -= total
	return place
}

// first is the place of the bid that is tried first: the policy's own first one, unless its upstream cools, or
// another has the turn.
func (p *Proxy) first(bids []gate.Bid) int {
	if len(bids) == 1 {
		return 0
	}
	upstreams := make([]*policy.Upstream, len(bids))
	for i := range bids {
		upstreams[i] = bids[i].Upstream
	}
	well := func(upstream string) bool { return !p.health.cools(upstream) }
	model := bids[0].Rules.Policy.ModelFor(bids[0].Model)
	if model != nil && model.Weights != nil {
		return p.rota.pick(model, upstreams, well)
	}
	return max(0, slices.IndexFunc(upstreams, func(u *policy.Upstream) bool { return well(u.Name) }))
}

// begin asks leave for the bid that is tried first. Where that is not the policy's own first one, and is denied for what
// it costs there, the latter is asked for too: an order by what the proxy has seen denies nobody. The rest are the fallbacks, in the
// policy's order.
func (p *Proxy) begin(ctx context.Context, bids []gate.Bid, offers []providers.Offer) (*gate.Grant, []gate.Bid, []providers.Offer, error) {
	place := p.first(bids)
	grant, err := p.gate.Begin(ctx, bids[place])
	if place > 0 && dearThere(err) {
		bids, offers, place = slices.Delete(bids, place, place+1), slices.Delete(offers, place, place+1), 0
		grant, err = p.gate.Begin(ctx, bids[0])
	}
	if err != nil {
		return nil, nil, nil, err
	}
	chosen, offer := bids[place], offers[place]
	bids = slices.Insert(slices.Delete(bids, place, place+1), 0, chosen)
	offers = slices.Insert(slices.Delete(offers, place, place+1), 0, offer)
	return grant, bids, offers, nil
}

// dearThere reports whether a call was denied for what it costs at its upstream: another one may have another price.
func dearThere(err error) bool {
	d, denied := errors.AsType[*call.Denial](err)
	return denied && (policy.OfMoney(d) || d.Reason == policy.NoPrice || d.Reason == policy.NoBound)
}
