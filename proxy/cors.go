package proxy

import (
	"net/http"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	corsHead    = "Access-Control-" // begins the names of its headers
	allowOrigin = corsHead + "Allow-Origin"

	// allowedMethods are those that a page may use. What they do is decided when they are used:
	// also a denial must be one that it can read.
	allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	// exposedHeaders are those of an answer that a page may read: all. Ours are named for
	// browsers that do not know the *.
	exposedHeaders = admission.OurHeaders + ", Retry-After, X-Should-Retry, *"
	// preflightAge is how long a browser may remember a preflight, in seconds. Chromium
	// remembers none longer than two hours.
	preflightAge = "600"
)

// page is the web page that a request comes from, as far as the policy looks at them. The
// zero page is none that it looks at.
type page struct {
	cors   *policy.CORS // nil: as if there were no pages
	origin string       // "" where the policy does not allow it
}

// pageOf reads where a request comes from.
func pageOf(cors *policy.CORS, h http.Header) page {
	from := page{cors: cors}
	if given := h["Origin"]; cors != nil && len(given) == 1 && cors.Allows(given[0]) {
		from.origin = given[0]
	}
	return from
}

// preflight answers a browser that asks whether a page may make a request. It needs no
// key, since the browser has none to send, and tells nothing of anybody.
func (f page) preflight(w http.ResponseWriter, r *http.Request) (answered bool) {
	if f.origin == "" || r.Method != http.MethodOptions || r.Header.Get(corsHead+"Request-Method") == "" {
		return false
	}
	h := w.Header()
	f.share(h)
	delete(h, corsHead+"Expose-Headers")
	h.Add("Vary", corsHead+"Request-Headers")
	h.Set(corsHead+"Allow-Methods", allowedMethods)
	if asked := r.Header[corsHead+"Request-Headers"]; len(asked) > 0 {
		h.Set(corsHead+"Allow-Headers", strings.Join(asked, ", "))
	}
	h.Set(corsHead+"Max-Age", preflightAge)
	h.Set(admission.DecisionHeader, admission.Allowed)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// share lets the page read an answer. Where the policy names origins it alone says which
// may: what an upstream says of that does not pass.
func (f page) share(h http.Header) {
	if f.cors == nil {
		return
	}
	for name := range h {
		if strings.HasPrefix(name, corsHead) {
			delete(h, name)
		}
	}
	value := "*"
	if !f.cors.Any() {
		value = f.origin
		h.Add("Vary", "Origin") // also where it is not allowed: a cache may keep the answer
	}
	if f.origin != "" {
		h.Set(allowOrigin, value)
		h.Set(corsHead+"Expose-Headers", exposedHeaders)
	}
}
