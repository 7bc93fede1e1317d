package proxy

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Headers by which a caller says where its request comes from.
const (
	nonceHeader   = "X-Aegis-Nonce"
	idemHeader    = "Idempotency-Key"
	attemptHeader = "X-Stainless-Retry-Count" // of the official SDKs
	depthHeader   = "X-Aegis-Depth"
	baggageHeader = "Baggage"
	baggageDepth  = "aegis.depth" // the member of W3C baggage
)

var (
	errTwoNonces = deny(providers.Malformed, "invalid_nonce", providers.RetryNever, "the request names two nonces; name one, in %s or %s", idemHeader, nonceHeader)
	errLongNonce = deny(providers.Malformed, "invalid_nonce", providers.RetryNever, "a nonce has 1 to %d bytes", policy.MaxNonceBytes)
	errDepth     = deny(providers.Malformed, "invalid_depth", providers.RetryNever, "a depth is a whole number from 0 to %d", policy.MaxDepthFact)
)

// origin is what a caller says of where its request comes from.
type origin struct {
	nonce   string // "" without
	attempt int64
	depth   int64
}

// originOf reads what the tenant's rules need of it. Headers that no rule of
// the tenant looks at may hold anything.
func originOf(t *policy.Tenant, h http.Header, path *target) (o origin, err error) {
	o.depth = path.depth
	if t.LimitsDepth() {
		if o.depth, err = deepest(h, path.depth); err != nil {
			return origin{}, err
		}
	}
	if t.Replay == nil {
		return o, nil
	}
	if o.nonce, err = nonceOf(h); err != nil {
		return origin{}, err
	}
	o.attempt = attemptOf(h)
	return o, nil
}

// nonceOf returns the one nonce that the headers name.
func nonceOf(h http.Header) (string, error) {
	nonce, given := "", false
	for _, name := range [...]string{idemHeader, nonceHeader} {
		for _, value := range h[name] {
			if given && value != nonce {
				return "", errTwoNonces
			}
			nonce, given = value, true
		}
	}
	if given && nonce == "" || len(nonce) > policy.MaxNonceBytes {
		return "", errLongNonce
	}
	return nonce, nil
}

// attemptOf returns which attempt at the same request an SDK says this is.
func attemptOf(h http.Header) int64 {
	values := h[attemptHeader]
	if len(values) == 0 {
		return 0
	}
	attempt, ok := number(values[0])
	if len(values) > 1 || !ok {
		return policy.BadAttempt
	}
	return attempt
}

// deepest returns the largest of the depths that path, header and baggage
// state.
func deepest(h http.Header, depth int64) (int64, error) {
	for _, value := range h[depthHeader] {
		stated, ok := number(value)
		if !ok {
			return 0, errDepth
		}
		depth = max(depth, stated)
	}
	for _, list := range h[baggageHeader] {
		stated, err := depthInBaggage(list)
		if err != nil {
			return 0, err
		}
		depth = max(depth, stated)
	}
	return depth, nil
}

// depthInBaggage returns the largest depth in a list of W3C baggage: members
// of key=value;properties, set apart by commas, with values percent-encoded.
func depthInBaggage(list string) (depth int64, err error) {
	for member := range strings.SplitSeq(list, ",") {
		member, _, _ = strings.Cut(member, ";")
		key, value, _ := strings.Cut(member, "=")
		if strings.Trim(key, " \t") != baggageDepth {
			continue
		}
		text, err := url.PathUnescape(strings.Trim(value, " \t"))
		if err != nil {
			return 0, errDepth
		}
		stated, ok := number(text)
		if !ok {
			return 0, errDepth
		}
		depth = max(depth, stated)
	}
	return depth, nil
}

// number reads a whole number from 0 to MaxDepthFact, in digits alone.
func number(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return int64(n), err == nil && n <= policy.MaxDepthFact
}
