package client

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// locate finds the upstreams that the program's URL reaches, and which dialect it speaks
// to them, for which operation. The error is what to tell the program.
func (x *exchange) locate(p *policy.Policy) error {
	x.head = providers.Head{
		Method: x.in.Method, Path: x.in.URL.EscapedPath(), Query: x.in.URL.RawQuery, Header: admission.ForDialect(x.header),
	}
	all := x.transport.dialects()
	x.dialect, x.operation, _ = admission.Find(all, x.head) // to answer in
	base, rest := reached(p, x.in.URL)
	if base == "" {
		return admission.Deny(call.Forbidden, "no_upstream", call.RetryNever,
			"no upstream of the policy has a base URL that %s begins with; it names %s",
			admission.Clip(x.in.URL.Scheme+"://"+x.in.URL.Host+x.in.URL.Path), strings.Join(bases(p), ", "))
	}
	x.baseURL, x.head.Path = base, rest
	spoken := slices.DeleteFunc(slices.Clone(all), func(d providers.Dialect) bool { return !speaks(p, base, d.Name()) })
	if len(spoken) == 0 {
		spoken = all
	}
	var err error
	x.dialect, x.operation, err = admission.Find(spoken, x.head)
	return err
}

// canonical is a header by the names that HTTP has: a server knows no other, and a program
// may write them in any case.
func canonical(header http.Header) http.Header {
	out := make(http.Header, len(header))
	for _, name := range slices.Sorted(maps.Keys(header)) {
		plain := http.CanonicalHeaderKey(name)
		out[plain] = append(out[plain], header[name]...)
	}
	return out
}

// reached is the longest base URL of an upstream that a URL begins with, and the rest of
// the path; "" without one.
func reached(p *policy.Policy, u *url.URL) (base, rest string) {
	for _, candidate := range bases(p) {
		b, err := url.Parse(candidate)
		if err != nil || len(candidate) <= len(base) || origin(b) != origin(u) {
			continue
		}
		tail, ok := strings.CutPrefix(u.EscapedPath(), b.EscapedPath())
		if ok && strings.HasPrefix(tail, "/") {
			base, rest = candidate, tail
		}
	}
	return base, rest
}

// bases are the base URLs of all upstreams, sorted.
func bases(p *policy.Policy) (list []string) {
	for _, u := range p.Upstreams {
		for i := range u.Speaks {
			list = append(list, u.Speaks[i].BaseURL)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// speaks reports whether an upstream of that base URL speaks a dialect there.
func speaks(p *policy.Policy, base, dialect string) bool {
	for _, u := range p.Upstreams {
		if speech := u.In(dialect); speech != nil && speech.BaseURL == base {
			return true
		}
	}
	return false
}

// origin is the server of a URL, in one spelling.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// read reads the body, whole and bounded, and what is asked in it.
func (x *exchange) read() error {
	var err error
	if x.origin.Run, err = admission.RunOf(x.header, ""); err != nil {
		return err
	}
	r := *x.in // its length is set anew, and the program's own must stay
	r.Header = x.header
	if r.Body == nil {
		r.Body = http.NoBody
	}
	plain, err := admission.DecodeBody(nil, &r, MaxBodyBytes)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(plain)
	if err != nil {
		return admission.BodyError(err)
	}
	x.request, err = x.dialect.Parse(x.operation, x.head, body)
	return err
}
