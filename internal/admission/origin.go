package admission

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/agents"
)

// Headers by which a caller says where its request comes from.
const (
	// RunHeader names the run that a request belongs to.
	RunHeader = "X-Aegis-Run"

	nonceHeader   = "X-Aegis-Nonce"
	idemHeader    = "Idempotency-Key"
	attemptHeader = "X-Stainless-Retry-Count" // of the official SDKs
	depthHeader   = "X-Aegis-Depth"
	baggageHeader = "Baggage"
	baggageDepth  = "aegis.depth" // the member of W3C baggage
)

// MaxRunBytes bounds a run's name.
const MaxRunBytes = 256

// MaxUserBytes bounds an end user's name in a header.
const MaxUserBytes = 256

// What is wrong with what a caller says of where its request comes from.
var (
	ErrDepth     = Deny(call.Malformed, "invalid_depth", call.RetryNever, "a depth is a whole number from 0 to %d", policy.MaxDepthFact)
	errTwoRuns   = Deny(call.Malformed, "invalid_run", call.RetryNever, "the request names two runs; name one, in the path or in %s", RunHeader)
	errLongRun   = Deny(call.Malformed, "invalid_run", call.RetryNever, "a run's name has at most %d bytes", MaxRunBytes)
	errTwoUsers  = Deny(call.Malformed, "invalid_user", call.RetryNever, "the request names two end users; name one")
	errLongUser  = Deny(call.Malformed, "invalid_user", call.RetryNever, "an end user's name has at most %d bytes", MaxUserBytes)
	errTwoNonces = Deny(call.Malformed, "invalid_nonce", call.RetryNever, "the request names two nonces; name one, in %s or %s", idemHeader, nonceHeader)
	errLongNonce = Deny(call.Malformed, "invalid_nonce", call.RetryNever, "a nonce has 1 to %d bytes", policy.MaxNonceBytes)
)

// Origin is what a caller says of where its request comes from.
type Origin struct {
	Run     string // "" without
	Nonce   string // "" without
	Attempt int64
	Depth   int64 // of the recursion
}

// read completes what is known already with what the tenant's rules need of the request and its
// headers. Those that no rule of the tenant looks at may hold anything. The error is a
// *call.Denial.
func (o Origin) read(t *policy.Tenant, r providers.Request, h http.Header) (Origin, error) {
	var err error
	if o.Run, err = runFrom(t, placesOf(r, h), o.Run); err != nil {
		return Origin{}, err
	}
	if o.Depth, err = DepthOf(t, h, o.Depth); err != nil {
		return Origin{}, err
	}
	if t.Replay == nil {
		return o, nil
	}
	if o.Nonce, err = nonceOf(h); err != nil {
		return Origin{}, err
	}
	o.Attempt = attemptOf(h)
	return o, nil
}

// RunOf returns the run that a request belongs to: the one that is named elsewhere, "" for
// none, or that of its header. The error is a *call.Denial.
func RunOf(h http.Header, named string) (string, error) {
	run := named
	if headers := h[RunHeader]; len(headers) > 0 {
		if len(headers) > 1 || (run != "" && run != headers[0]) {
			return "", errTwoRuns
		}
		run = headers[0]
	}
	if len(run) > MaxRunBytes {
		return "", errLongRun
	}
	return run, nil
}

// places are where a run may be looked for: the headers, and the fields of a body, if there
// is one.
type places struct {
	header http.Header
	field  func(path string) (string, bool)
}

func placesOf(r providers.Request, h http.Header) places { return places{h, r.Field} }

// bare are the places of a request without a body.
func bare(h http.Header) places {
	return places{h, func(string) (string, bool) { return "", false }}
}

// runFrom returns the run that a request belongs to: the one that it names outright, or else
// the first of those in the places where the tenant has them looked for. The error is a
// *call.Denial.
func runFrom(t *policy.Tenant, in places, named string) (string, error) {
	for _, place := range t.RunsFrom {
		if named != "" {
			break
		}
		var err error
		if named, err = in.named(place); err != nil {
			return "", err
		}
	}
	return named, nil
}

// named is the run that one of the places of a policy's runs_from names; "" for none.
func (in places) named(place string) (string, error) {
	if path, inBody := strings.CutPrefix(place, policy.RunsOfBodies); inBody {
		name, _ := in.field(path)
		if len(name) > MaxRunBytes {
			return "", errLongRun
		}
		return name, nil
	}
	headers := []string{place}
	if place == policy.RunsOfAgents {
		headers = agents.SessionHeaders(providers.Head{Header: in.header})
	}
	return firstOf(in.header, headers)
}

// firstOf is the name in the first of the headers that has one; "" for none.
func firstOf(h http.Header, headers []string) (string, error) {
	for _, header := range headers {
		name, differ := oneOf(h[header])
		switch {
		case differ:
			return "", Deny(call.Malformed, "invalid_run", call.RetryNever, "the request names two runs in %s; name one", header)
		case len(name) > MaxRunBytes:
			return "", errLongRun
		case name != "":
			return name, nil
		}
	}
	return "", nil
}

// oneOf is what all values of a header say, and whether they differ.
func oneOf(values []string) (value string, differ bool) {
	for i, v := range values {
		if i > 0 && v != value {
			return "", true
		}
		value = v
	}
	return value, false
}

// userOf returns the end user of a request: what the tenant's header says of it, or else its
// field, if the key is trusted to say so. The error is a *call.Denial.
func userOf(key *policy.Key, r providers.Request, h http.Header) (string, error) {
	if !key.Trusted {
		return "", nil
	}
	t := key.Tenant
	if t.UserHeader != "" {
		user, differ := oneOf(h[t.UserHeader])
		switch {
		case differ:
			return "", errTwoUsers
		case len(user) > MaxUserBytes:
			return "", errLongUser
		case user != "":
			return user, nil
		}
	}
	if t.UserField == "" {
		return "", nil
	}
	user, _ := r.Field(t.UserField)
	return user, nil
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
	attempt, ok := Number(values[0])
	if len(values) > 1 || !ok {
		return policy.BadAttempt
	}
	return attempt
}

// DepthOf is how deep a caller says it is: as far as is known already, or deeper by its
// headers where a rule of the tenant limits that. The error is a *call.Denial.
func DepthOf(t *policy.Tenant, h http.Header, known int64) (int64, error) {
	if !t.LimitsDepth() {
		return known, nil
	}
	return deepest(h, known)
}

// deepest returns the largest of the depths that path, header and baggage
// state.
func deepest(h http.Header, depth int64) (int64, error) {
	for _, value := range h[depthHeader] {
		stated, ok := Number(value)
		if !ok {
			return 0, ErrDepth
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
			return 0, ErrDepth
		}
		stated, ok := Number(text)
		if !ok {
			return 0, ErrDepth
		}
		depth = max(depth, stated)
	}
	return depth, nil
}

// Number reads a whole number from 0 to policy.MaxDepthFact, in digits alone.
func Number(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return int64(n), err == nil && n <= policy.MaxDepthFact
}
