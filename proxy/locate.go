package proxy

import (
	"net/http"
	"net/url"
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

// target is what the head of a request says of where it goes. It has a dialect in any
// case, so that its client can be answered.
type target struct {
	head      providers.Head
	dialect   providers.Dialect
	operation providers.Operation
	action    *actionRoute // in place of an operation: what is no LLM call
	run       string       // "" without a run
	depth     int64
}

// locate reads run, depth, dialect and operation. The run comes from the path, as in
// /run/RUN/v1/chat/completions, or from the header. Behind a run the path may
// name a depth, as in /run/RUN/depth/2/v1/chat/completions.
func locate(dialects providers.Registry, r *http.Request) (*target, error) {
	t := &target{dialect: dialects.Default(), head: providers.Head{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: forDialect(r.Header),
	}}
	if route, ok := actionOf(r); ok {
		t.action = &route
		return t, nil
	}
	wrong := t.cutRun()
	if wrong == nil {
		wrong = t.nameRun(r.Header[runHeader])
	}
	var known bool
	t.dialect, t.operation, known = dialects.Match(t.head)
	if wrong != nil {
		return t, wrong
	}
	if !known {
		return t, noRoute(dialects, r)
	}
	return t, nil
}

// cutRun takes run and depth off the front of the path.
func (t *target) cutRun() error {
	rest, ok := strings.CutPrefix(t.head.Path, "/run/")
	if !ok {
		return nil
	}
	name, tail, _ := strings.Cut(rest, "/")
	t.head.Path = "/" + tail
	var err error
	if t.run, err = url.PathUnescape(name); err != nil || t.run == "" {
		return errNoRun
	}
	if t.head.Path, t.depth, ok = cutDepth(t.head.Path); !ok {
		return errDepth
	}
	return nil
}

// nameRun takes in the run of the header.
func (t *target) nameRun(headers []string) error {
	if len(headers) > 0 {
		if len(headers) > 1 || (t.run != "" && t.run != headers[0]) {
			return errTwoRuns
		}
		t.run = headers[0]
	}
	if len(t.run) > maxRunBytes {
		return errLongRun
	}
	return nil
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

// noRoute denies what no dialect knows, and names what they do.
func noRoute(dialects providers.Registry, r *http.Request) error {
	var governed []string
	for _, d := range dialects {
		for _, route := range d.Routes() {
			switch route.Kind {
			case providers.Governed:
				governed = append(governed, route.Operation)
			case providers.Listed:
				governed = append(governed, route.Method+" "+route.Operation)
			}
		}
	}
	last := len(governed) - 1
	return deny(providers.Forbidden, "unknown_route", providers.RetryNever,
		"%s %s is not a governed route, and what it costs is not bounded; governed are %s and %s",
		r.Method, clip(r.URL.Path), strings.Join(governed[:last], ", "), governed[last])
}

// identify returns the key that a credential is.
func identify(p *policy.Policy, credential string) (*policy.Key, error) {
	key, ok := p.Identify(credential)
	if !ok {
		return nil, errBadKey
	}
	return key, nil
}
