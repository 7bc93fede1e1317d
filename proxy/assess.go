package proxy

import (
	"net/http"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Assess reads a request of a key as ServeHTTP would and returns the call that
// it would ask leave for, without asking. The denial, if any, says why the
// call's cost has no bound; an error is one of the request itself. The
// request's own credentials are not looked at.
func Assess(dialects providers.Registry, rules *gate.Rules, key *policy.Key, r *http.Request, body []byte) (gate.Bid, *call.Denial, error) {
	t, err := locate(dialects, r)
	if err != nil {
		return gate.Bid{}, nil, err
	}
	request, err := t.dialect.Parse(t.operation, t.head, body)
	if err != nil {
		return gate.Bid{}, nil, err
	}
	known, err := admission.NewBid(rules, key, request, t.origin, r.Header)
	if err != nil {
		return gate.Bid{}, nil, err
	}
	bids, _, denial := admission.Door{ClientPays: true}.Bound(known, request)
	return bids[0], denial, nil
}
