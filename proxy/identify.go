package proxy

import (
	"net/http"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
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
	endpoint openai.Endpoint
	run      string // "" without a run
	depth    int64
}

// locate reads endpoint, run and depth. The run comes from the path, as in
// /run/RUN/v1/chat/completions, or from the header. Behind a run the path may
// name a depth, as in /run/RUN/depth/2/v1/chat/completions.
func locate(r *http.Request) (target, error) {
	path, t := r.URL.Path, target{}
	if rest, ok := strings.CutPrefix(path, "/run/"); ok {
		name, tail, _ := strings.Cut(rest, "/")
		if t.run, path = name, "/"+tail; t.run == "" {
			return target{}, errNoRun
		}
		if path, t.depth, ok = cutDepth(path); !ok {
			return target{}, errDepth
		}
	}
	if headers := r.Header[runHeader]; len(headers) > 0 {
		if len(headers) > 1 || (t.run != "" && t.run != headers[0]) {
			return target{}, errTwoRuns
		}
		t.run = headers[0]
	}
	if len(t.run) > maxRunBytes {
		return target{}, errLongRun
	}
	endpoint, ok := openai.Route(r.Method, path)
	if !ok {
		return target{}, noRoute(r)
	}
	t.endpoint = endpoint
	return t, nil
}

// cutDepth takes /depth/N off the front of a path, if it is there.
func cutDepth(path string) (rest string, depth int64, ok bool) {
	tail, found := strings.CutPrefix(path, "/depth/")
	if !found {
		return path, 0, true
	}
	text, tail, _ := strings.Cut(tail, "/")
	depth, ok = number(text)
	return "/" + tail, depth, ok
}
