package proxy

import (
	"net/http"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// Assess reads a request of a key as ServeHTTP would and returns the call that
// it would ask leave for, without asking. The denial, if any, says why the
// call's cost has no bound; an error is one of the request itself. The
// request's own credentials are not looked at.
func Assess(rules *gate.Rules, key *policy.Key, r *http.Request, body []byte) (gate.Bid, *policy.Denial, error) {
	t, err := locate(r)
	if err != nil {
		return gate.Bid{}, nil, err
	}
	request, err := openai.Parse(t.endpoint, body)
	if err != nil {
		return gate.Bid{}, nil, err
	}
	request.SeeHeaders(r.Header)
	from, err := originOf(key.Tenant, r.Header, t)
	if err != nil {
		return gate.Bid{}, nil, err
	}
	calls, known, denial := bound(rules, key, factsOf(key, t, from, request), request)
	if denial != nil {
		return known, denial, nil
	}
	return calls[0], nil, nil
}
