package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	// maxIdlePerUpstream bounds the connections kept for later, one upstream's.
	maxIdlePerUpstream = 1024
	// writeBufferBytes holds a request of usual size whole, header and body, so
	// that it leaves in one write: with 4 KiB, a proxy of 40 KB requests took a
	// tenth more CPU. Each connection to an upstream has one.
	writeBufferBytes = 64 << 10
	// maxHeaderBytes bounds a response's header.
	maxHeaderBytes = 1 << 20
)

// transports keeps one HTTP/1.1 transport for each upstream, with its limits.
type transports struct{ byLimits sync.Map } // limits -> *http.Transport

// limits are what sets two upstreams' transports apart.
type limits struct {
	name                       string
	connect, keepalive, header time.Duration
}

// RoundTrip sends a request to its exchange's upstream, with that upstream's
// key, or the client's own, and transport.
func (t *transports) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r)
	upstream := x.grant.Upstream()
	if err := upstream.Sign(r.Header, x.target.caller.Payer()); err != nil { // the last to touch what leaves
		return nil, errors.Join(err, r.Body.Close())
	}
	return t.of(upstream).RoundTrip(r.WithContext(x.sent.trace(r.Context(), x.payload.sent())))
}

func (t *transports) of(u *policy.Upstream) *http.Transport {
	id := limits{u.Name, u.ConnectLimit, u.Keepalive, u.HeaderLimit}
	if kept, ok := t.byLimits.Load(id); ok {
		return kept.(*http.Transport)
	}
	kept, _ := t.byLimits.LoadOrStore(id, newTransport(u))
	return kept.(*http.Transport)
}

func newTransport(u *policy.Upstream) *http.Transport {
	d := &dialer{net.Dialer{Timeout: u.ConnectLimit}, nil}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            d.plain,
		DialTLSContext:         d.secure,
		DisableCompression:     true,
		TLSHandshakeTimeout:    u.ConnectLimit, // behind an HTTP proxy
		ResponseHeaderTimeout:  u.HeaderLimit,
		WriteBufferSize:        writeBufferBytes,
		MaxIdleConnsPerHost:    maxIdlePerUpstream,
		IdleConnTimeout:        u.Keepalive,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// dialer connects to one upstream.
type dialer struct {
	net   net.Dialer
	roots *x509.CertPool // nil: the system's
}

func (d *dialer) plain(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	counted := &countedConn{Conn: conn}
	return &endingConn{Conn: counted, wire: counted}, nil
}

// secure connects by TLS. Behind an HTTP proxy the transport does that itself, above a
// plain connection.
func (d *dialer) secure(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	conn, err := d.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	counted := &countedConn{Conn: conn}
	client := tls.Client(counted, &tls.Config{ServerName: host, RootCAs: d.roots})
	ctx, cancel := context.WithTimeout(ctx, d.net.Timeout)
	defer cancel()
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &endingConn{Conn: client, wire: counted}, nil
}

func (t *transports) close() {
	t.byLimits.Range(func(_, kept any) bool {
		kept.(*http.Transport).CloseIdleConnections()
		return true
	})
}

// countedConn counts what is written to a connection.
type countedConn struct {
	net.Conn
	written atomic.Int64
	owner   atomic.Pointer[wireWatch] // whose request it carries, or nil
	last    atomic.Bool               // nothing more is written: its request or its answer was given up
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.written.Add(int64(len(b))) // before it can have any effect
	if c.last.Load() {
		c.written.Add(int64(-len(b)))
		return 0, errCut
	}
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n - len(b)))
	return n, err
}

// wireWatch tells whether any byte of a request was written upstream: what was
// not sent costs nothing.
type wireWatch struct {
	mu     sync.Mutex
	conn   *countedConn
	before int64
	sure   bool // bytes were written, or cannot be counted
}

// trace has the transport tell the watch which connection a request gets, and call
// sent when it writes nothing more of it.
func (w *wireWatch) trace(ctx context.Context, sent func()) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      w.got,
		PutIdleConn:  func(error) { w.gaveBack() },
		WroteRequest: func(httptrace.WroteRequestInfo) { sent() },
	})
}

func (w *wireWatch) got(info httptrace.GotConnInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sure = w.sure || w.moved()
	conn := info.Conn
	if secure, ok := conn.(*tls.Conn); ok { // by the transport
		conn = secure.NetConn()
	}
	ending, ok := conn.(*endingConn)
	if !ok {
		w.sure = true
		return
	}
	counted := ending.wire
	w.conn, w.before = counted, counted.written.Load()
	counted.owner.Store(w)
}

// gaveBack says that the connection may serve others.
func (w *wireWatch) gaveBack() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		w.conn.owner.CompareAndSwap(w, nil)
		w.sure, w.conn = w.sure || w.moved(), nil // what others write is not ours
	}
}

func (w *wireWatch) moved() bool {
	return w.conn != nil && w.conn.written.Load() > w.before
}

// wrote is asked once the attempt is over. Of a request that was not written nothing is
// from then on: what is released must not leave a moment later.
func (w *wireWatch) wrote() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sure = w.sure || w.moved(); w.sure || w.conn == nil {
		return w.sure
	}
	w.conn.last.Store(true)
	w.sure = w.moved() // by a write that began meanwhile
	return w.sure
}
