package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
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
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: admission.ForDialect(r.Header),
	}}
	if route, ok := actionOf(r); ok {
		t.action = &route
		return t, nil
	}
	wrong := t.cutRun()
	if wrong == nil {
		t.run, wrong = admission.RunOf(r.Header, t.run)
	}
	var known bool
	t.dialect, t.operation, known = dialects.Match(t.head)
	if wrong != nil {
		return t, wrong
	}
	switch {
	case !known:
		return t, noOperation(dialects, t)
	case t.operation.Kind == providers.Denied:
		return t, notAllowed(&t.operation)
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
		return admission.ErrDepth
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
	depth, ok = admission.Number(text)
	return "/" + tail, depth, ok
}

// noOperation denies what no dialect has, and says what helps: the methods that its path
// takes, or what is served.
func noOperation(dialects providers.Registry, t *target) error {
	helps := "it serves " + strings.Join(served(dialects), ", ")
	if methods := methodsOf(dialects, t.head); len(methods) > 0 {
		helps = "that path takes " + strings.Join(methods, ", ")
	}
	return admission.Deny(providers.NotFound, "unknown_route", providers.RetryNever,
		"%s %s is no operation of an API that this proxy speaks; %s", admission.Clip(t.head.Method), admission.Clip(t.head.Path), helps)
}

// served are the operations that are not denied, by method and path.
func served(dialects providers.Registry) (list []string) {
	for _, d := range dialects {
		for _, route := range d.Routes() {
			if route.Kind != providers.Denied {
				list = append(list, route.Method+" "+route.Path)
			}
		}
	}
	return list
}

// methodsOf are the methods that a path takes.
func methodsOf(dialects providers.Registry, h providers.Head) (list []string) {
	for _, method := range [...]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		h.Method = method
		if _, _, known := dialects.Match(h); known {
			list = append(list, method)
		}
	}
	return list
}

// notAllowed denies an operation that the API has, by its name.
func notAllowed(op *providers.Operation) error {
	return admission.Deny(providers.Forbidden, "route_not_allowed", providers.RetryNever, "%s %s is denied: %s", op.Method, op.Path, op.Why)
}

// identify returns the key that a credential is.
func identify(p *policy.Policy, credential string) (*policy.Key, error) {
	key, ok := p.Identify(credential)
	if !ok {
		return nil, errBadKey
	}
	return key, nil
}
