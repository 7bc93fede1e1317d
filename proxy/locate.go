package proxy

import (
	"cmp"
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
	page      page         // whose it is
	origin    admission.Origin
	named     string            // the tenant's key, as the path names it; "": it names none
	caller    *admission.Caller // nil until identify
}

// locate reads run, depth, dialect and operation. The run comes from the path, as in
// /run/RUN/v1/chat/completions, or from the header. Behind a run the path may
// name a depth, as in /run/RUN/depth/2/v1/chat/completions. In front of both, or behind, it may
// name the tenant's key, as in /key/KEY/v1/chat/completions.
func locate(dialects providers.Registry, r *http.Request) (*target, error) {
	t := &target{dialect: dialects.Default(), head: providers.Head{
		Method: r.Method, Path: oneSlash(r.URL.EscapedPath()), Query: r.URL.RawQuery, Header: admission.ForDialect(r.Header),
	}}
	if route, ok := actionOf(r); ok {
		found := route
		t.action = &found
		return t, nil
	}
	wrong := cmp.Or(t.cutKey(), t.cutRun(), t.cutKey())
	if wrong == nil {
		t.origin.Run, wrong = admission.RunOf(r.Header, t.origin.Run)
	}
	var unknown error
	t.dialect, t.operation, unknown = admission.Find(dialects, t.head)
	return t, cmp.Or(wrong, unknown)
}

// oneSlash is a path with one slash in front.
func oneSlash(path string) string {
	rest := strings.TrimLeft(path, "/")
	if len(path) > len(rest) {
		return path[len(path)-len(rest)-1:]
	}
	return "/" + rest
}

// cutKey takes the tenant's key off the front of the path.
func (t *target) cutKey() error {
	rest, ok := strings.CutPrefix(t.head.Path, "/key/")
	if !ok {
		return nil
	}
	escaped, tail, _ := strings.Cut(rest, "/")
	t.head.Path = admission.PlainPath("/" + tail)
	key, err := url.PathUnescape(escaped)
	switch {
	case err != nil || key == "":
		return errNoKey
	case t.named != "" && t.named != key:
		return admission.ErrTwoKeys
	}
	t.named = key
	return nil
}

// cutRun takes run and depth off the front of the path.
func (t *target) cutRun() error {
	rest, ok := strings.CutPrefix(t.head.Path, "/run/")
	if !ok {
		return nil
	}
	name, tail, _ := strings.Cut(rest, "/")
	t.head.Path = admission.PlainPath("/" + tail)
	var err error
	if t.origin.Run, err = url.PathUnescape(name); err != nil || t.origin.Run == "" {
		return errNoRun
	}
	if t.head.Path, t.origin.Depth, ok = cutDepth(t.head.Path); !ok {
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

// identify reads who sends the request.
func (t *target) identify(h http.Header) (err error) {
	t.caller, err = admission.CallerOf(t.dialect, &t.head, h, t.named)
	return err
}

// fromTenant reports whether the request has a tenant's key. Nobody else's body is read where
// there is nothing to be done with it.
func (t *target) fromTenant(p *policy.Policy, h http.Header) bool {
	if err := t.identify(h); err != nil {
		return false
	}
	_, err := t.caller.Key(p)
	return err == nil
}
