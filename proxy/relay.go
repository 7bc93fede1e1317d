package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// exchange is one admitted request on its way. Its attempts follow each other:
// each has a call and a grant of its own.
type exchange struct {
	target    *target
	chains    *admission.Chains
	payload   *payload
	grant     *gate.Grant                            // the current attempt's
	fallbacks []gate.Bid                             // for which leave may be asked after it
	newMeter  func(providers.Answer) providers.Meter // the current attempt's, once it was sent
	removed   providers.Removed                      // of what it sent
	// authorization is the current attempt's, if its upstream gets one.
	authorization string

	client context.Context    // the client's: done when it hangs up
	ctx    context.Context    // the current attempt's upstream request's
	cancel context.CancelFunc // closes the connection
	cut    *cutter            // ends the attempt in order
	flush  func() error       // sends the client what was written so far
	hangUp func()             // the client is gone
	sent   *wireWatch
	body   *meteredBody           // nil before the response's header
	again  bool                   // the attempt failed and the next one has leave
	failed error                  // the attempt failed and there is no next
	killed atomic.Pointer[string] // the kill switch that cut the attempt
}

type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange {
	return r.Context().Value(exchangeKey{}).(*exchange)
}

// relay forwards an admitted request, and again to each fallback while the
// upstreams fail before they answer. Every grant is ended here at the latest,
// also when the copy panics.
func (p *Proxy) relay(w http.ResponseWriter, r *http.Request, x *exchange) error {
	x.client, x.sent = r.Context(), new(wireWatch)
	// Also the grant of an attempt that was asked leave for and never began.
	defer func() { x.grant.End(x.lost()) }()
	for {
		p.attempt(w, r, x)
		if !x.again {
			return x.failed
		}
	}
}

func (p *Proxy) attempt(w http.ResponseWriter, r *http.Request, x *exchange) {
	x.again, x.failed, x.body = false, nil, nil
	out := newClientWriter(w, x.grant.Upstream().IdleLimit)
	x.flush = out.FlushError
	grant := x.grant
	defer func() { grant.End(x.lost()) }()
	defer x.closeBody()

	cancel := x.outlive(out)
	defer cancel()
	defer context.AfterFunc(p.stopping, x.cut.cut)()
	if x.authorization, x.failed = admission.Authorization(grant); x.failed != nil {
		return
	}
	cut := x.cut
	grant.OnKill(func(name string) { x.killed.Store(&name); cut.cut() })
	ctx := context.WithValue(x.ctx, exchangeKey{}, x)
	p.reverse.ServeHTTP(out, r.WithContext(ctx))
	out.release()
}

// outlive makes the context of the upstream request, which does not end with
// the client's.
func (x *exchange) outlive(out *clientWriter) context.CancelFunc {
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.client))
	if x.client.Err() != nil {
		cancel() // nobody waits for it: send nothing
	}
	tenant := x.grant.Bid().Key.Tenant
	cut := &cutter{cancel: cancel, sent: x.sent, client: out, stops: x.cancelStops()}
	x.ctx, x.cancel, x.cut = ctx, cancel, cut
	x.hangUp = func() { hangUp(ctx, cut, tenant) }
	stop := context.AfterFunc(x.client, x.hangUp)
	return func() { stop(); cut.end() }
}

// cancelStops reports whether the upstream stops billing when its connection is closed.
func (x *exchange) cancelStops() bool {
	return x.grant.Upstream().In(x.target.dialect.Name()).CancelStops
}

// hangUp ends the upstream request of a client that is gone: at once, or after
// the time to drain, as the policy says.
func hangUp(ctx context.Context, cut *cutter, tenant *policy.Tenant) {
	if tenant.Disconnect == policy.Cancel {
		cut.cut()
		return
	}
	timer := time.AfterFunc(tenant.DrainLimit, cut.cut)
	context.AfterFunc(ctx, func() { timer.Stop() })
}

// closeBody lets go of a response whose copy ended in a panic. By then the
// upstream request is cancelled.
func (x *exchange) closeBody() {
	if x.body != nil {
		x.body.Close()
	}
}

// lost is the outcome of an attempt that nothing else has ended: its cost is
// not known, unless nothing of it was written.
func (x *exchange) lost() gate.Outcome {
	return gate.Outcome{Sent: x.sent.wrote(), Basis: lostBasis(x.sent.wrote())}
}

func lostBasis(sent bool) string {
	if sent {
		return audit.BasisUnknown
	}
	return audit.BasisUnbilled
}

// newReverse builds the one ReverseProxy; what differs by request is in the
// exchange of its context.
func (p *Proxy) newReverse() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      &p.transports,
		BufferPool:     buffers{},
		ErrorLog:       log.New(io.Discard, "", 0),
		ModifyResponse: p.respond,
		ErrorHandler:   p.fail,
	}
}

// rewrite turns the client's request into the upstream's.
func rewrite(pr *httputil.ProxyRequest) {
	x, out := exchangeOf(pr.In), pr.Out
	upstream := x.grant.Upstream()
	sent, body, size := x.payload.send(x.grant.CapToSend())
	admission.Adopt(out.Header, x.target.head.Header, sent.Header, x.authorization)
	out.URL = upstreamURL(upstream.In(x.target.dialect.Name()).BaseURL, sent.Path, sent.Query)
	out.Host = ""
	out.Body, out.ContentLength = body, size
	out.TransferEncoding = nil
	x.newMeter, x.removed = sent.Meter, sent.Removed
	if len(x.fallbacks) == 0 {
		x.settleFor()
	}
}

// upstreamURL appends a path to an upstream's base URL, which the policy has checked.
func upstreamURL(base, path, query string) *url.URL {
	u, err := url.Parse(base + path)
	if err != nil {
		return &url.URL{}
	}
	u.RawQuery = query
	return u
}

// respond meters a response and marks it as the upstream's, or turns to the
// next attempt where this one has failed.
func (p *Proxy) respond(resp *http.Response) error {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return errSwitched
	}
	x := exchangeOf(resp.Request)
	p.judge(x.grant.Upstream(), resp.StatusCode)
	x.body = x.meter(resp)
	// A fallback is decided before the client sees a byte.
	if fallbackStatus(resp.StatusCode) && len(x.fallbacks) > 0 && x.body.buffer() && p.next(x) {
		return errNextAttempt
	}
	x.settleFor()
	admission.Mark(resp.Header, x.grant, &x.removed)
	admission.ShowGauge(resp.Header, x.target.head, x.grant)
	x.target.page.share(resp.Header)
	admission.DropOurs(resp.Trailer) // those that are announced
	return nil
}

var (
	errNextAttempt = errors.New("next attempt")
	errSwitched    = errors.New("the upstream switched protocols without being asked")
)

// fallbackStatus reports whether another upstream may do better.
func fallbackStatus(status int) bool {
	return status == http.StatusTooManyRequests || status >= 500
}

// settleFor makes the current attempt, whose body has begun to leave, the last. The fallbacks go, since they can
// count the body's texts.
func (x *exchange) settleFor() {
	clear(x.fallbacks)
	x.fallbacks = nil
	x.payload.finally()
}

// next asks leave for the next attempt. This one's grant has ended.
func (p *Proxy) next(x *exchange) bool {
	if len(x.fallbacks) == 0 || x.killed.Load() != nil || x.client.Err() != nil || p.stopping.Err() != nil {
		return false
	}
	// What was sent counts in rates and has spent its nonce, once.
	x.fallbacks[0].Facts.Counted = x.grant.Bid().Facts.Counted || x.sent.wrote()
	grant, err := p.gate.Begin(x.client, x.fallbacks[0])
	if err != nil {
		return false
	}
	clear(x.fallbacks[:1]) // it has leave, and lets go of the texts
	x.fallbacks, x.grant, x.again = x.fallbacks[1:], grant, true
	x.payload.next()
	x.sent = new(wireWatch)
	return true
}

// fail is called when the upstream gave no response: the attempt's grant is
// ended, and the client is told unless there is another attempt.
func (p *Proxy) fail(_ http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errNextAttempt) {
		return
	}
	x := exchangeOf(r)
	p.logger.Log(r.Context(), x.levelOfFailure(), "upstream gave no response", "upstream", x.grant.Upstream().Name, "sent", x.sent.wrote(), "err", err)
	if x.client.Err() == nil && x.killed.Load() == nil && p.stopping.Err() == nil {
		p.judge(x.grant.Upstream(), http.StatusBadGateway)
	}
	receipt := x.grant.Receipt
	x.grant.End(x.lost())
	if p.next(x) {
		return
	}
	x.failed = upstreamFailed(x, receipt, err)
}

// levelOfFailure is Debug where the client hung up: its own doing, and no upstream's
// fault.
func (x *exchange) levelOfFailure() slog.Level {
	if x.client.Err() != nil {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func upstreamFailed(x *exchange, receipt string, err error) *call.Denial {
	if name := x.killed.Load(); name != nil {
		return admission.FailedAfter(receipt, policy.KilledBy(*name))
	}
	name := x.grant.Upstream().Name
	class, again := call.Unanswered, call.RetryUnsaid
	what := fmt.Sprintf("the upstream %q cannot be reached: %s", name, unreached(err))
	if errors.Is(err, policy.ErrNoKey) {
		again = call.RetryNever
		what = fmt.Sprintf("the proxy has no key for the upstream %q; nothing was sent. Whoever runs the proxy has to set it: its log says where", name)
	}
	if x.sent.wrote() {
		what = fmt.Sprintf("the upstream %q closed the connection without an answer", name)
	}
	if isTimeout(err) {
		class, what = call.Late, fmt.Sprintf("the upstream %q did not answer in time", name)
	}
	return admission.FailedAfter(receipt, admission.Deny(class, "upstream_failed", again, "%s", what))
}

// unreached says why a connection was not made, without the address, which is the operator's
// to know: the log has it.
func unreached(err error) string {
	if _, unknown := errors.AsType[*net.DNSError](err); unknown {
		return "its host's name is not known"
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case untrusted:
		return "its certificate is not trusted"
	case noTLS, errors.Is(err, http.ErrSchemeMismatch):
		return "what answers there speaks no TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at its address"
	}
	return "the proxy's log says why"
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}

// buffers lends the copy its buffers.
type buffers struct{}

// copyBytes is the size of one copy buffer: what io.Copy uses.
const copyBytes = 32 << 10

var bufferPool = sync.Pool{New: func() any { return new([copyBytes]byte) }}

func (buffers) Get() []byte  { return bufferPool.Get().(*[copyBytes]byte)[:] }
func (buffers) Put(b []byte) { bufferPool.Put((*[copyBytes]byte)(b)) }
