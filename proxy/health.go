package proxy

import (
	"net/http"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

// health is which upstreams have failed lately, as far as this process has seen: they are tried after
// the others of their model until they have had time to recover. It orders attempts, and decides
// nothing else. Only upstreams that fail are kept.
type health struct {
	mu  sync.Mutex
	bad map[string]*illness
	now func() time.Time // monotonic; nil: time.Now
}

// illness is how an upstream has failed.
type illness struct {
	failures int // in a row
	until    time.Time
}

const (
	// coolAfter is how many failures in a row put an upstream last.
	coolAfter = 3
	// coolFor is for how long.
	coolFor = 30 * time.Second
)

// statusOverloaded is what Anthropic's API answers while it is overloaded.
const statusOverloaded = 529

// failed notes a failure, and reports whether it puts the upstream last.
func (h *health) failed(upstream string) (last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bad == nil {
		h.bad = map[string]*illness{}
	}
	i := h.bad[upstream]
	if i == nil {
		i = &illness{}
		h.bad[upstream] = i
	}
	i.failures++
	if i.failures < coolAfter {
		return false
	}
	now := h.time()
	last = now.After(i.until)
	i.until = now.Add(coolFor)
	return last
}

// answered notes that an upstream is well.
func (h *health) answered(upstream string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.bad, upstream)
}

// cools reports whether an upstream is tried after the others.
func (h *health) cools(upstream string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.bad[upstream]
	return i != nil && h.time().Before(i.until)
}

func (h *health) time() time.Time {
	if h.now != nil {
		return h.now()
	}
	return time.Now()
}

// unwell reports whether a status says that its upstream cannot answer now, whoever asks whatever. A 500 or a 429 may be
// the request's own doing, or its account's.
func unwell(status int) bool {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, statusOverloaded:
		return true
	}
	return false
}

// judge notes what an attempt's status tells of its upstream. That it refuses a request tells nothing.
func (p *Proxy) judge(u *policy.Upstream, status int) {
	switch {
	case status < http.StatusBadRequest:
		p.health.answered(u.Name)
	case unwell(status) && p.health.failed(u.Name):
		p.logger.Warn("upstream is tried after the others of its models for a while", "upstream", u.Name, "status", status, "for", coolFor.String())
	}
}
