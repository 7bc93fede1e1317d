// Package proxy is the HTTP side of aegis: it finds the dialect that a request speaks
// and the tenant whose it is, bounds what it may cost, asks the gate for leave, relays
// the request and meters the answer on its way to the client. What is different from
// one API to another it leaves to the dialect, and names no vendor.
//
// It is transparent: what the upstream sends is what the client gets. Each
// change it makes to a request or a response is listed in docs/transparency.md.
package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// DefaultBodyLimit bounds a request's body, in bytes: room for a few images in
// base64, and as much as any API was found to take for one request with images.
const DefaultBodyLimit = 50 << 20

// Config is what a proxy is built from. Gate, Rules and Dialects are required.
type Config struct {
	Gate      *gate.Gate
	Dialects  providers.Registry // that it speaks
	Rules     func() *gate.Rules // the newest, read once per request
	Logger    *slog.Logger
	Metrics   Metrics
	BodyLimit int64 // bytes; 0: DefaultBodyLimit
	// BodyMemory bounds the bodies of all requests together, in bytes. 0: DefaultBodyMemory,
	// or LeastBodyMemory if that is more.
	BodyMemory int64
}

// Metrics is told what the gate does not see. Its methods must not block.
type Metrics interface {
	// Added is told how long a request was here before it left.
	Added(time.Duration)
	// Rejected is told the error code of a request that never reached the gate.
	Rejected(code string)
}

type noMetrics struct{}

func (noMetrics) Added(time.Duration) {}
func (noMetrics) Rejected(string)     {}

// Proxy is an http.Handler for the routes that its dialects govern or pass for nothing, for
// lists of models, and for actions. Any other is denied.
type Proxy struct {
	gate       *gate.Gate
	dialects   providers.Registry
	rules      func() *gate.Rules
	logger     *slog.Logger
	metrics    Metrics
	bodyLimit  int64
	reverse    *httputil.ReverseProxy
	transports transports
	intake     *intake
	chains     admission.Chains
	health     health
	rota       rota

	stopping context.Context // done when requests in flight are to be cut
	stop     context.CancelFunc
	entrance sync.RWMutex // orders the last entry before the stop
	running  sync.WaitGroup
}

// New returns a proxy.
func New(c Config) *Proxy {
	p := &Proxy{gate: c.Gate, dialects: c.Dialects, rules: c.Rules, logger: c.Logger, metrics: c.Metrics, bodyLimit: c.BodyLimit}
	p.stopping, p.stop = context.WithCancel(context.Background())
	if p.metrics == nil {
		p.metrics = noMetrics{}
	}
	if p.logger == nil {
		p.logger = slog.New(slog.DiscardHandler)
	}
	if p.bodyLimit == 0 {
		p.bodyLimit = DefaultBodyLimit
	}
	if c.BodyMemory == 0 {
		c.BodyMemory = max(DefaultBodyMemory, LeastBodyMemory(p.bodyLimit))
	}
	p.intake = newIntake(c.BodyMemory)
	p.reverse = p.newReverse()
	return p
}

// ServeHTTP governs one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rules := p.rules()
	target, err := locate(p.dialects, r)
	target.page = pageOf(rules.Policy.CORS, r.Header)
	if target.page.preflight(w, r) {
		return
	}
	if !p.enter() {
		p.reject(w, target, errStopping)
		return
	}
	defer p.running.Done()
	switch {
	case err == nil:
		err = p.serve(w, r, rules, target)
	case target.fromTenant(rules.Policy, r.Header):
		p.intake.linger(w, r, false, p.bodyLimit)
	}
	if err != nil {
		p.reject(w, target, err)
	}
}

// enter counts a request as running, unless the proxy is closed.
func (p *Proxy) enter() bool {
	p.entrance.RLock()
	defer p.entrance.RUnlock()
	if p.stopping.Err() != nil {
		return false
	}
	p.running.Add(1)
	return true
}

// serve is the way of one request. An error means that nothing of it is left
// to do but to tell the client.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, rules *gate.Rules, t *target) error {
	arrived := time.Now()
	if t.operation.Kind == providers.Probed {
		return nil // there is a server: 200
	}
	if err := t.identify(r.Header); err != nil {
		return err
	}
	key, err := t.caller.Key(rules.Policy)
	if err != nil {
		return err
	}
	switch {
	case t.action != nil:
		return p.act(w, r, rules, key, t)
	case t.operation.Kind == providers.Listed:
		return p.listModels(w, r, rules, key, t)
	}
	load := &payload{room: p.intake.open(key.Tenant.Name)}
	defer load.end()
	if err := p.parse(w, r, t, load); err != nil {
		return err
	}
	x, err := gate.UnderNewest(rules, p.rules, func(rules *gate.Rules) (*exchange, error) {
		return p.admit(r, rules, t, load)
	})
	if err != nil {
		return err
	}
	p.metrics.Added(time.Since(arrived))
	return p.relay(w, r, x)
}

// listModels answers from the policy.
func (p *Proxy) listModels(w http.ResponseWriter, r *http.Request, rules *gate.Rules, key *policy.Key, t *target) error {
	listing := admission.Listing{
		Rules: rules, Key: key, Dialect: t.dialect, Operation: t.operation, Origin: t.origin, Header: r.Header,
	}
	reply, err := listing.Answer(r.Context(), p.gate, w.Header())
	if err != nil {
		return err
	}
	t.write(w, reply)
	return nil
}

// Close cuts the requests that still run, waits until each is settled, and
// frees the upstream connections. Stop the server that calls ServeHTTP first.
func (p *Proxy) Close() {
	p.entrance.Lock()
	p.stop()
	p.entrance.Unlock()
	p.running.Wait()
	p.transports.close()
}
