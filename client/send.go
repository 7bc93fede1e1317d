package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

var errSwitched = errors.New("the upstream switched protocols without being asked")

// send sends the call and meters its answer until that is complete. ctx ends with the
// call's leave, by a kill switch; the request has the exchange's, since the rest of the
// answer is read when the leave has ended.
func (x *exchange) send(ctx context.Context, grant *gate.Grant) (*answer, gate.Outcome, error) {
	defer context.AfterFunc(ctx, func() { x.cancel(context.Cause(ctx)) })()
	x.tenant.Store(x.key.Tenant)
	sent := x.offer.Send(grant.CapToSend())
	var conn watch
	out, err := x.outgoing(conn.watched(x.life), grant, &sent)
	if err != nil {
		return nil, gate.NotSent(), err
	}
	resp, err := x.transport.base().RoundTrip(out)
	if err != nil {
		outcome := gate.Outcome{}
		if conn.unused(x.transport.base(), err) {
			outcome = gate.NotSent()
		}
		return nil, outcome, x.reasonOf(grant, err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, gate.Outcome{}, errors.Join(errSwitched, resp.Body.Close())
	}
	a := x.receive(grant, resp, &sent)
	a.meterOn()
	return a, a.outcome(), nil
}

// outgoing is the request that leaves: the program's, edited as it is by the proxy. It
// can be sent once: nothing gives its body anew.
func (x *exchange) outgoing(ctx context.Context, grant *gate.Grant, sent *providers.Sent) (*http.Request, error) {
	to, err := url.Parse(x.baseURL + sent.Path)
	if err != nil {
		return nil, err
	}
	to.RawQuery = sent.Query
	out := x.in.Clone(ctx)
	out.Header = x.header.Clone()
	authorization, err := admission.Authorization(grant)
	if err != nil {
		return nil, err
	}
	admission.Adopt(out.Header, x.head.Header, sent.Header, authorization)
	out.URL, out.Host, out.Trailer, out.TransferEncoding = to, "", nil, nil
	out.Body, out.GetBody, out.ContentLength = io.NopCloser(bytes.NewReader(sent.Body.Join())), nil, sent.Body.Size()
	return out, x.sign(out.Header, grant.Upstream())
}

// sign puts in the upstream's key: the policy's, or else the program's own, where its SDK
// has put it.
func (x *exchange) sign(h http.Header, u *policy.Upstream) error {
	if u.ClientPays {
		return u.Sign(h, x.payer)
	}
	if secret, err := u.Secret(); err != nil || secret != "" {
		return errors.Join(err, u.Sign(h, nil))
	}
	own, err := x.dialect.Credential(x.head)
	if err != nil {
		return nil // it sends none that we could know
	}
	for name, values := range x.head.Header {
		if _, passed := h[name]; !passed && len(values) == 1 && strings.HasSuffix(values[0], own) {
			h[name] = values
		}
	}
	return nil
}

// reasonOf is why an answer ended: a kill switch has words of its own.
func (x *exchange) reasonOf(grant *gate.Grant, err error) error {
	d, killed := errors.AsType[*call.Denial](context.Cause(x.life))
	if !killed {
		return err
	}
	return admission.FailedAfter(grant.Receipt, d)
}

// watch tells whether a request got a connection, on which it may have been written.
type watch struct{ got atomic.Bool }

func (w *watch) watched(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { w.got.Store(true) },
	})
}

// unused reports whether nothing can have been sent: the standard transport tells of each
// connection, and any other is believed where none could be made.
func (w *watch) unused(base http.RoundTripper, err error) bool {
	_, standard := base.(*http.Transport)
	dial, ok := errors.AsType[*net.OpError](err)
	return !w.got.Load() && (standard || ok && dial.Op == "dial")
}
