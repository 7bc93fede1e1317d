package proxy

import (
	"net/http"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// admit bounds a request under the given rules and asks leave for it.
func (p *Proxy) admit(r *http.Request, rules *gate.Rules, t *target, load *payload) (*exchange, error) {
	key, err := t.caller.Key(rules.Policy)
	if err != nil {
		return nil, err
	}
	known, err := admission.NewBid(rules, key, load.request, t.origin, r.Header)
	if err != nil {
		return nil, err
	}
	x, err := p.ask(r, known, t, load)
	if other, ok := admission.Instead(known, load.request, err); ok {
		x, second := p.ask(r, other, t, load)
		return x, policy.DeniedTwice(err, second)
	}
	return x, err
}

// ask bounds a request and asks leave for it.
func (p *Proxy) ask(r *http.Request, known gate.Bid, t *target, load *payload) (*exchange, error) {
	bids, offers, denial := admission.Door{Chains: &p.chains, ClientPays: t.caller.Pays()}.Bound(known, load.request)
	if denial != nil {
		return nil, p.gate.Refuse(r.Context(), bids[0], denial)
	}
	p.countInTurns(r, bids, offers[0].Bound().Input.Bytes())
	grant, bids, offers, err := p.begin(r.Context(), bids, offers)
	if err != nil {
		return nil, err
	}
	clear(bids[:1]) // it has leave, and lets go of the texts
	load.offers = offers
	return &exchange{payload: load, grant: grant, fallbacks: bids[1:], target: t, chains: &p.chains}, nil
}

// countInTurns has the gate wait for a turn before it counts long texts.
func (p *Proxy) countInTurns(r *http.Request, bids []gate.Bid, size int64) {
	for i := range bids {
		b := &bids[i]
		count, loose, how := b.Tighten, b.InputTokens, b.InputBound
		if count == nil || size < longWork {
			continue
		}
		b.Tighten = func() (int64, string) {
			done, err := p.intake.turns.take(r.Context(), size)
			if err != nil {
				return loose, how // its client has left
			}
			defer done()
			return count()
		}
	}
}

// parse reads the body, whole and bounded, and the facts in it.
func (p *Proxy) parse(w http.ResponseWriter, r *http.Request, t *target, load *payload) error {
	body, err := load.room.read(w, r, p.bodyLimit)
	if err != nil {
		load.room.end()
		p.intake.linger(w, r, len(body) > 0, p.bodyLimit)
		return err
	}
	done, err := p.intake.turns.take(r.Context(), body.size())
	if err != nil {
		return admission.ErrBody // its client has left
	}
	defer done()
	if load.request, err = t.dialect.Parse(t.operation, t.head, body.join()); err != nil {
		return err
	}
	return load.room.take(load.request.Copied())
}
