package proxy

import (
	"net/http"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

const (
	// runHeader names the run that a request belongs to.
	runHeader = "X-Aegis-Run"
	// maxRunBytes bounds a run's name.
	maxRunBytes = 256
)

// identify returns the key that the request's bearer token is.
func identify(p *policy.Policy, r *http.Request) (*policy.Key, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(r.Header["Authorization"]) != 1 {
		return nil, errNoKey
	}
	key, ok := p.Identify(strings.TrimSpace(secret))
	if !ok {
		return nil, errBadKey
	}
	return key, nil
}

// target is what a request's path names.
type target struct {
	endpoint providers.Endpoint
	run      string // "" without a run
}

// locate reads endpoint and run. The run comes from the path, as in
// /run/RUN/v1/chat/completions, or from the header.
func locate(r *http.Request) (target, error) {
	path, run := r.URL.Path, ""
	if rest, ok := strings.CutPrefix(path, "/run/"); ok {
		name, tail, _ := strings.Cut(rest, "/")
		run, path = name, "/"+tail
		if run == "" {
			return target{}, errNoRun
		}
	}
	if headers := r.Header[runHeader]; len(headers) > 0 {
		if len(headers) > 1 || (run != "" && run != headers[0]) {
			return target{}, errTwoRuns
		}
		run = headers[0]
	}
	if len(run) > maxRunBytes {
		return target{}, errLongRun
	}
	endpoint, ok := providers.Route(r.Method, path)
	if !ok {
		return target{}, noRoute(r)
	}
	return target{endpoint, run}, nil
}
