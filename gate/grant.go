package gate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Grant is leave to run one call. End it exactly once; more Ends do nothing.
type Grant struct {
	Receipt   string // the decision receipt's id
	OutputCap int64  // tokens of one choice: the cap to send, at most the one asked for
	Uncapped  bool   // no cap that nobody asked for fits: send none, if the upstream enforces its context
	Clamped   bool   // the cap was lowered to fit a budget
	Warnings  []policy.Warning

	gate     *Gate
	quote    *quote
	decision *audit.Decision
	observed []budget.Observed // before the grant
	once     sync.Once
	mu       sync.Mutex // guards what follows
	timer    *time.Timer
	ended    bool

	charged int64  // nano-USD, once basis is set
	basis   string // of the charge; "" before the end
}

// Outcome is what became of a call. Where it is returned to Call, the zero value
// means that nobody knows, and Used, Seen, Unbilled and NotSent make the others.
type Outcome struct {
	Status int    // the upstream's HTTP status; 0: no response, or not told
	Basis  string // one of audit's bases
	Sent   bool   // any byte of the request was written upstream

	// Lines are what the response reports: of the run that was asked for first, with the
	// model, service and region that the response names, then of others.
	Lines []call.Line
}

// Hold is what the grant holds, in nano-USD.
func (gr *Grant) Hold() int64 { return gr.quote.Cost }

// Bid is what it gives leave for, with the bounds that it holds. It must not be changed.
func (gr *Grant) Bid() *Bid { return &gr.quote.Bid }

// CapToSend is the output cap to send, in tokens of one choice; 0: send none.
func (gr *Grant) CapToSend() int64 {
	if gr.Uncapped {
		return 0
	}
	return gr.OutputCap
}

// InputTokens is the bound on the call's input that the hold covers.
func (gr *Grant) InputTokens() int64 { return gr.quote.InputTokens }

// Upstream is where the call goes. Its policy says what that obeys.
func (gr *Grant) Upstream() *policy.Upstream { return gr.quote.Upstream }

// Remaining is what is left of each budget that concerns the call, as the ledger
// saw it in the step that granted: with what the call holds, or after End with
// what it was charged. Calls beside it may have changed that since.
func (gr *Grant) Remaining() []policy.Remaining {
	list := gr.quote.plan.Remaining(gr.observed)
	gr.mu.Lock()
	defer gr.mu.Unlock()
	if gr.basis == "" {
		return list
	}
	for i := range list {
		r := &list[i]
		r.Held -= gr.Hold()
		r.Spent += gr.charged
		r.Left = max(0, r.Limit-r.Spent-r.Held)
	}
	return list
}

// Gauge is how far the fullest hard budget of the call was used up when it was granted; ok
// is false where its client is not to know.
func (gr *Grant) Gauge() (g call.Gauge, ok bool) { return gr.quote.plan.Gauge(gr.observed) }

// End settles the call. It returns when the ledger has the settlement, or the
// outbox does, and it does not depend on any context of the request. It waits
// for the ledger no longer than 3 s. The receipt follows without it: until
// that is durable the ledger keeps the event.
func (gr *Grant) End(o Outcome) {
	gr.once.Do(func() { gr.end(o) })
}

func (gr *Grant) end(o Outcome) {
	gr.stop()
	gr.gate.flights.land(gr)
	g, q := gr.gate, gr.quote
	if q.lease == "" {
		gr.land()
		return
	}
	pending := gr.pending(o)
	tenant := q.Key.Tenant.Name
	g.telemetry.Held(tenant, -q.Cost, -1)
	ctx := limit(context.Background(), endLimit)
	defer ctx.stop()
	err := g.finish(ctx, &pending)
	gr.tell(pending.Settlement)
	g.telemetry.Charged(tenant, q.Facts.Model, pending.Settlement.Charge, o.usage())
	g.line.poke(tenant)
	if err != nil {
		g.keep(pending, err)
	} else if pending.Settlement.Event != 0 {
		g.post(&pending)
	}
}

// tell notes what the call was charged.
func (gr *Grant) tell(s audit.Settlement) {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	gr.charged, gr.basis = s.Charge, s.Basis
}

// pending is the settlement that an outcome calls for.
func (gr *Grant) pending(o Outcome) pending {
	q := gr.quote
	o = o.writable()
	charge, basis := gr.charge(o)
	o.Lines = chargedBy(o.Lines, basis)
	p := pending{Verb: verbSettle, Settlement: audit.Settlement{
		Tenant:   q.Key.Tenant.Name,
		Lease:    q.lease,
		Decision: gr.Receipt,
		Status:   o.Status,
		Basis:    basis,
		Lines:    o.Lines,
		Hold:     q.Cost,
		Charge:   charge,
		Overrun:  max(0, charge-q.Cost),
		Prices:   q.Rules.Prices.Version(),
	}}
	if !o.Sent {
		p.Verb = verbRelease
	}
	return p
}

// charge is what an outcome costs, in nano-USD, and on what basis. A cost that
// is not told, or cannot be counted, is unknown: it is the hold, or what the answer says
// that it cost, if that is more.
func (gr *Grant) charge(o Outcome) (nano int64, basis string) {
	switch {
	case !o.Sent, gr.quote.free(), o.Basis == audit.BasisUnbilled && gr.quote.mayBeUnbilled(o.Status):
		return 0, audit.BasisUnbilled
	case o.Basis == audit.BasisFloor && gr.quote.hidden(): // nobody saw what ran inside
	case o.Basis == audit.BasisReported || o.Basis == audit.BasisFloor:
		if cost, err := gr.quote.charge(o.Lines); err == nil {
			return cost, o.Basis
		}
	}
	return max(gr.Hold(), billed(o.Lines)), audit.BasisUnknown
}

// hidden reports whether more may run inside the call than its output shows.
func (q *quote) hidden() bool { return q.InputRereads > 0 || len(q.Beside) > 0 }

// mayBeUnbilled reports whether the call can have cost nothing, by the status of
// its answer.
func (q *quote) mayBeUnbilled(status int) bool {
	return q.free() || q.Upstream != nil && q.Upstream.MayBeUnbilled(status, q.Facts.Stream)
}

// keepAlive renews the lease until End.
func (gr *Grant) keepAlive() {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	gr.timer = time.AfterFunc(renewEvery, gr.renew)
}

func (gr *Grant) renew() {
	q := gr.quote
	ctx, cancel := context.WithTimeout(context.Background(), reserveLimit)
	defer cancel()
	_, err := gr.gate.ledger.Renew(ctx, budget.LeaseRef{Tenant: q.Key.Tenant.Name, Lease: q.lease}, LeaseTTL)
	if errors.Is(err, budget.ErrEnded) || errors.Is(err, budget.ErrUnknownLease) {
		return // it expired; End corrects the charge
	}
	next := renewEvery
	if err != nil {
		next = renewRetry
	}
	gr.mu.Lock()
	defer gr.mu.Unlock()
	if !gr.ended {
		gr.timer.Reset(next)
	}
}

func (gr *Grant) stop() {
	gr.mu.Lock()
	defer gr.mu.Unlock()
	gr.ended = true
	if gr.timer != nil { // it has a lease
		gr.timer.Stop()
	}
}
