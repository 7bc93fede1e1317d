package proxy

import (
	"maps"
	"net/http"
	"strconv"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

var (
	errNoKey    = admission.Deny(call.Unidentified, "no_key", call.RetryNever, "the key in the path is empty, or escaped wrongly")
	errNoRun    = admission.Deny(call.Malformed, "invalid_run", call.RetryNever, "the run's name in the path is empty")
	errStopping = admission.Deny(call.Unavailable, "shutting_down", call.RetrySoon, "this replica is shutting down")
)

// reject answers in the shape of the API that was called.
func (p *Proxy) reject(w http.ResponseWriter, t *target, err error) {
	d := admission.DenialOf(err)
	if d.Receipt == "" {
		p.metrics.Rejected(d.Code)
	}
	h := w.Header()
	delete(h, "Date") // the server's
	admission.MarkDenied(h, d)
	t.write(w, t.dialect.Deny(t.operation, t.head, d))
}

// write answers with what its dialect has made.
func (t *target) write(w http.ResponseWriter, reply providers.Reply) {
	h := w.Header()
	maps.Copy(h, reply.Header)
	t.page.share(h)
	h.Set("Content-Length", strconv.Itoa(len(reply.Body)))
	w.WriteHeader(reply.Status)
	w.Write(reply.Body)
}
