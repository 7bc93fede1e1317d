package gate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// quote is one call with the bounds that are being tried for it.
type quote struct {
	Bid
	price    pricing.Price   // of the standard service
	served   []pricing.Price // of the other services that it may be served at
	others   []run           // of models inside the call
	parts    [4]call.Part    // room for its bound
	pricedAt time.Time       // zero before the price was looked up
	now      time.Time       // of the latest decision, or before it
	lease    string
	plan     policy.Plan
	action   *Action  // nil for an LLM call
	place    place    // in line
	clamped  bool     // the output cap was lowered to fit a budget
	asked    asked    // the cap before that
	limit    *limited // for the first try to reserve; nil: it needs its own
	// switches are the kill switches that stop it.
	switches   []string
	switchRoom [fewSwitches]string
	// reasons are why the ledger refused each claim, if it did.
	reasons []budget.Reason
	// broken are the reasons for which Observe would have denied.
	broken []string
}

// newQuote is a call's quote, in one piece of memory with the limit that it needs. Its
// facts say who asks, and of tools what the tenant's rules look at.
func newQuote(b Bid) *quote {
	both := new(struct {
		quote quote
		limit limited
	})
	both.quote.Bid, both.quote.limit = b, &both.limit
	f, key := &both.quote.Facts, b.Key
	f.Tenant, f.Key = key.Tenant.Name, key.ID
	key.Tenant.Tell(f)
	return &both.quote
}

// fewSwitches is how many kill switches concern a call: the global one, those of
// its tenant, its key and its run.
const fewSwitches = 4

// Begin asks leave for a call. The error, if any, is a *call.Denial: nothing is
// held, and the call must not run.
func (g *Gate) Begin(ctx context.Context, b Bid) (*Grant, error) {
	q := newQuote(b)
	leave, denial := g.admit(ctx, q)
	if denial != nil {
		return nil, g.refuse(ctx, q, leave, denial)
	}
	q.Tighten = nil // what it could count need not live as long as the grant
	if q.lease == "" {
		return g.pass(q), nil
	}
	grant, err := g.record(ctx, q, leave)
	if err != nil {
		g.abandon(q)
		g.complain("receipt not written, request denied", "tenant", b.Key.Tenant.Name, "err", err)
		return nil, g.refuse(ctx, q, leave, &call.Denial{
			Reason:  policy.ReceiptsUnavailable,
			Message: "the receipt log cannot be written; nothing was sent",
		})
	}
	grant.keepAlive()
	return grant, nil
}

// admit prices the call and asks the ledger, with ever tighter bounds while a
// looser one does not fit. What the ledger observed is returned either way.
func (g *Gate) admit(ctx context.Context, q *quote) (budget.Grant, *call.Denial) {
	if g.outbox.full() {
		return budget.Grant{}, &call.Denial{
			Reason:  policy.LedgerUnavailable,
			Message: "too many calls have ended that the ledger does not know of yet",
		}
	}
	q.switches = q.Key.Switches(q.switchRoom[:0], &q.Facts)
	now := g.ledger.Now()
	if denial := q.open(now); denial != nil {
		return budget.Grant{}, denial
	}
	q.refit()
	if denial := g.count(ctx, q, now); denial != nil {
		return budget.Grant{}, denial
	}
	q.place = place{line: g.line, tenant: q.Key.Tenant}
	defer q.place.leave()
	if err := q.place.queueIfBusy(ctx); err != nil {
		q.Cost = 0 // what count planned with was no decision
		return budget.Grant{}, lineDenial(err)
	}
	for {
		leave, denial := g.attempt(ctx, q)
		switch {
		case denial == nil:
			return leave, nil
		case denial.mayFit() && (q.tighten() || q.clamp(denial)): // ask again at once
		case policy.Passes(denial.Denial) && q.place.wait(ctx) == nil:
			q.unclamp() // what was held may have come back
		default:
			denial.LargestCap = q.largestCap(denial.room)
			q.sayLeast(denial.Denial)
			return leave, denial.Denial
		}
	}
}

// misfit is a denial with the room that was left when it was made, and that would be
// left if nothing were held, in nano-USD; below zero where room is of no use.
type misfit struct {
	*call.Denial
	room, rest int64
}

// noRoom is a denial for which room is of no use.
func noRoom(d *call.Denial) *misfit { return &misfit{d, -1, -1} }

// stateless is the denial of a rule that asks no ledger.
func stateless(d *call.Denial) *misfit {
	if d.Reason == policy.RequestCapExceeded {
		return &misfit{d, d.Limit, d.Limit}
	}
	return noRoom(d)
}

// atLedger is the denial of a plan's claims by what was observed of them.
func (q *quote) atLedger(d *call.Denial, seen []budget.Observed) *misfit {
	if !policy.OfMoney(d) {
		return noRoom(d)
	}
	room, rest := q.plan.Room(seen)
	return &misfit{d, room, rest}
}

// mayFit reports whether tighter bounds could make the call fit.
func (m *misfit) mayFit() bool { return policy.OfMoney(m.Denial) || m.Reason == policy.NoBound }

// attempt decides and reserves with the bounds at hand.
func (g *Gate) attempt(ctx context.Context, q *quote) (budget.Grant, *misfit) {
	denial, err := q.decide(g.ledger.Now())
	if err != nil {
		return budget.Grant{}, noRoom(&call.Denial{Reason: policy.NoBound, Message: err.Error()})
	}
	if denial != nil {
		return budget.Grant{}, stateless(denial)
	}
	leave, err := g.reserve(ctx, q)
	if err != nil {
		return g.refused(q, err)
	}
	if !q.repeats(leave) && !q.free() { // else what it observed need not fit the plan
		g.rooms.note(q, leave.Observed)
		q.observe(leave.Observed)
	}
	return leave, nil
}

// refused is what the ledger observed where it granted nothing, and why.
func (g *Gate) refused(q *quote, err error) (budget.Grant, *misfit) {
	var refused *budget.Denied
	var killed *budget.Killed
	switch {
	case errors.As(err, &refused):
		g.rooms.note(q, refused.Observed)
		q.reasons = refused.Reasons
		seen := budget.Grant{Epoch: refused.Epoch, Number: refused.Number, At: refused.At, Observed: refused.Observed}
		return seen, q.atLedger(q.plan.Explain(refused), refused.Observed)
	case errors.As(err, &killed):
		seen := budget.Grant{Epoch: killed.Epoch, Number: killed.Number, At: killed.At}
		return seen, noRoom(policy.KilledBy(killed.Switch.Name))
	case errors.Is(err, errClientGone):
		return budget.Grant{}, noRoom(clientGone())
	case q.action != nil && errors.Is(err, budget.ErrEnded):
		return budget.Grant{}, noRoom(policy.ActionReplayed("the action of this id has ended"))
	default:
		g.complain("ledger refused to answer, request denied", "tenant", q.Key.Tenant.Name, "err", err)
		return budget.Grant{}, noRoom(ledgerDenial(err))
	}
}

// errClientGone: the context of the caller ended before the ledger was asked.
var errClientGone = errors.New("the client closed the request")

func clientGone() *call.Denial {
	return &call.Denial{Reason: policy.ClientClosedRequest, Message: "the client closed the request before it had leave; nothing was sent"}
}

// reserve asks the ledger, once more if the window has turned meanwhile. It
// does not begin for a client that has left, nor stop for one that leaves: then
// nobody would know the answer.
func (g *Gate) reserve(ctx context.Context, q *quote) (budget.Grant, error) {
	if ctx.Err() != nil {
		return budget.Grant{}, errClientGone
	}
	within := q.within(ctx)
	defer within.stop()
	if q.holdsNothing() {
		return g.look(within, q)
	}
	leave, err := g.reserveOnce(within, q)
	if !errors.Is(err, budget.ErrWindow) {
		return leave, err
	}
	if _, err := q.decide(g.ledger.Now()); err != nil {
		return budget.Grant{}, err
	}
	return g.reserveOnce(within, q)
}

// within limits how long the ledger is asked.
func (q *quote) within(ctx context.Context) *limited {
	first := q.limit
	if first == nil {
		return limit(ctx, reserveLimit)
	}
	q.limit = nil // somebody may hold it still at the next try
	first.start(ctx, reserveLimit)
	return first
}

func (g *Gate) reserveOnce(ctx context.Context, q *quote) (budget.Grant, error) {
	q.lease = q.newLease()
	start := time.Now()
	leave, err := g.ledger.Reserve(ctx, budget.Reservation{
		Tenant: q.Key.Tenant.Name,
		Lease:  q.lease,
		Claims: q.plan.Claims,
		Policy: q.Rules.Policy.Version,
		TTL:    q.ttl(),

		Switches: q.switches,
	})
	g.telemetry.Ledger("reserve", time.Since(start))
	if unsafe, ok := errors.AsType[*budget.Unreplicated](err); ok {
		g.receiptUnsafe(ctx, q, unsafe.Grant)
	}
	if q.action == nil && errors.Is(err, budget.ErrUnavailable) && !errors.Is(err, budget.ErrUnreachable) {
		g.abandon(q) // it may have been granted: see that it is given back
	}
	return leave, err
}

// receiptUnsafe writes the receipt of a grant that is not used, because too few
// replicas of the ledger have it. Whoever knows of the event writes it, now: after
// a failover the ledger may know nothing of it, and without its receipt the
// history that a rebuild needs would have a gap. The same call may have made events that
// nobody owns, which a sweep tells: expiries, and that the policy was seen.
func (g *Gate) receiptUnsafe(ctx context.Context, q *quote, leave budget.Grant) {
	if leave.Repeated {
		return // the event is another call's
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordLimit)
	defer cancel()
	tenant := q.Key.Tenant.Name
	if _, err := g.append(ctx, eventReceipt(q.event(leave))); err != nil {
		g.complain("receipt of a grant that is not used not written, it is left to the sweep", "tenant", tenant, "err", err)
		return
	}
	g.ledger.Acknowledge(tenant, leave.Number)
	if err := g.Sweep(ctx, tenant); err != nil {
		g.complain("events that came with a grant that is not used are left to the next sweep", "tenant", tenant, "err", err)
	}
}

// event is the ledger's, as it would tell it.
func (q *quote) event(leave budget.Grant) budget.Event {
	e := budget.Event{
		Tenant: q.Key.Tenant.Name, Epoch: leave.Epoch, Number: leave.Number, Kind: budget.Granted,
		At: leave.At, Lease: q.lease, Expires: leave.Expires, Policy: q.Rules.Policy.Version,
	}
	for i, c := range q.plan.Claims {
		c.Amount = q.plan.Needs(i, leave.Observed[i])
		e.Claims = append(e.Claims, budget.Placed{Claim: c, Observed: leave.Observed[i]})
	}
	return e
}

// abandon gives back a lease that is not used, however long it takes.
func (g *Gate) abandon(q *quote) {
	g.doubts.note(q.Key.Tenant.Name)
	g.outbox.put(pending{Verb: verbRelease, Settlement: audit.Settlement{
		Tenant: q.Key.Tenant.Name,
		Lease:  q.lease,
		Basis:  audit.BasisUnbilled,
		Hold:   q.Cost,
		Prices: q.Rules.Prices.Version(),
	}})
}

func ledgerDenial(err error) *call.Denial {
	if errors.Is(err, budget.ErrStalePolicy) {
		return &call.Denial{
			Reason:  policy.StalePolicy,
			Message: "this replica's policy is older than one that the ledger has seen; it must load the newest",
		}
	}
	reason := "the ledger cannot be asked; nothing was sent"
	if _, unsafe := errors.AsType[*budget.Unreplicated](err); unsafe {
		reason = "too few replicas of the ledger have the grant in time; nothing was sent"
	}
	switch {
	case errors.Is(err, budget.ErrLost):
		reason = "the ledger has lost state of this tenant; an operator must rebuild it from receipts"
	case errors.Is(err, budget.ErrClock):
		reason = "the ledger's clock and the proxy's are more than a minute apart; nothing is granted until an operator has set the wrong one"
	}
	return &call.Denial{Reason: policy.LedgerUnavailable, Message: reason}
}

// open finds the price that holds now.
func (q *quote) open(now time.Time) *call.Denial {
	q.now = now
	if q.action != nil || listed(&q.Facts) && q.Upstream == nil {
		return nil
	}
	q.Facts.Upstream = q.Upstream.Name
	if q.free() {
		return nil
	}
	if !q.bounded() {
		return &call.Denial{Reason: policy.NoBound, Message: "the request's token bounds are not ones that can be priced"}
	}
	q.pricedAt = now
	price, err := q.lookup(q.Facts.Model)
	if err != nil {
		return &call.Denial{Reason: policy.NoPrice, Message: err.Error()}
	}
	if lacking := q.lacking(price); lacking != "" {
		return &call.Denial{Reason: policy.NoPrice, Message: lacking}
	}
	q.price = price
	if err := q.serve(); err != nil {
		return &call.Denial{Reason: policy.NoPrice, Message: err.Error()}
	}
	return nil
}

// decide prices the bounds at hand and applies the policy.
func (q *quote) decide(now time.Time) (*call.Denial, error) {
	if err := q.cost(now); err != nil {
		return nil, err
	}
	plan, denial := policy.Decide(q.Key, &q.Facts, q.now)
	q.plan, q.broken, q.reasons = plan, nil, nil
	if denial != nil && q.Key.Tenant.Mode == policy.Observe {
		q.broken = []string{string(denial.Reason)}
		denial = nil
	}
	return denial, nil
}

// cost prices the bounds at hand.
func (q *quote) cost(now time.Time) error {
	cost, err := q.worst()
	if err != nil {
		return fmt.Errorf("the request's worst case cannot be priced: %w", err)
	}
	q.Cost, q.now, q.Free = cost, now, q.free()
	return nil
}

// observe notes what an enforcing policy would have denied.
func (q *quote) observe(seen []budget.Observed) {
	if q.Key.Tenant.Mode != policy.Observe {
		return
	}
	for _, reason := range q.plan.Broken(seen) {
		q.broken = append(q.broken, string(reason))
	}
}

// tighten replaces a loose input bound by the exact one. It reports whether
// that lowered what the call can cost.
func (q *quote) tighten() bool {
	tighten := q.Tighten
	if tighten == nil {
		return false
	}
	q.Tighten = nil
	input, cap := q.InputTokens, q.OutputCap
	tokens, how := tighten()
	if tokens < 0 || tokens > input {
		return false
	}
	q.InputTokens, q.InputBound = tokens, how
	q.refit()
	return tokens < input || q.OutputCap < cap
}
