package gate

import (
	"context"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// free reports whether the call costs nothing, whatever is in it.
func (q *quote) free() bool { return q.action == nil && isFree(&q.Facts) }

// isFree reports whether a call costs nothing: what the policy alone answers, and what its dialect
// says so of where such an operation can be free.
func isFree(f *call.Facts) bool { return listed(f) || f.Free && call.FreeSomewhere(f.Endpoint) }

// listed reports whether a call is one that the policy alone answers.
func listed(f *call.Facts) bool { return f.Upstream == "" && call.Listed(f.Endpoint) }

// List asks leave for a call that the policy alone answers, call.Listed, for which of the
// bid only Rules, Key and Facts need be known, and ends it: rules, rates, slots and kill
// switches hold for it as for any other, and nothing else is asked of anybody. The receipt
// is "" where nothing counted it. The error is a *call.Denial or ErrClosed.
func (g *Gate) List(ctx context.Context, b Bid) (receipt string, err error) {
	if !g.visits.enter() {
		return "", ErrClosed
	}
	defer g.visits.leave()
	grant, err := g.Begin(ctx, b)
	if err != nil {
		return "", err
	}
	grant.End(Outcome{Sent: true, Basis: audit.BasisUnbilled})
	return grant.Receipt, nil
}

// holdsNothing reports whether the call, once decided, needs no lease and no receipt: it
// is free, no rate or slot counts it, no rule would have denied it, and its upstream
// wants no authorization, which names a receipt. Whatever a limit counts is an event of
// the ledger, and every event has its receipt.
func (q *quote) holdsNothing() bool {
	authorized := q.Upstream != nil && q.Upstream.Authorized
	return q.free() && len(q.plan.Claims) == 0 && len(q.broken) == 0 && !authorized
}

// look asks the ledger for nothing but whether a kill switch stops the call, and so
// whether it answers at all.
func (g *Gate) look(ctx context.Context, q *quote) (budget.Grant, error) {
	q.lease = ""
	seen, err := g.ledger.Balances(ctx, q.Key.Tenant.Name, nil)
	if err != nil {
		return budget.Grant{}, err
	}
	for _, s := range seen.Switches {
		if slices.Contains(q.switches, s.Name) {
			return budget.Grant{}, &budget.Killed{Switch: s, Epoch: seen.Epoch, Number: seen.Number, At: seen.At}
		}
	}
	return budget.Grant{Epoch: seen.Epoch, Number: seen.Number, At: seen.At}, nil
}

// pass is the grant of a call that holds nothing. It has no lease and no receipt.
func (g *Gate) pass(q *quote) *Grant {
	tenant := q.Key.Tenant.Name
	g.telemetry.Decided(tenant, audit.Allow, "")
	g.telemetry.Held(tenant, 0, 1)
	return &Grant{gate: g, quote: q}
}

// land ends a call that held nothing.
func (gr *Grant) land() { gr.gate.telemetry.Held(gr.quote.Key.Tenant.Name, 0, -1) }

// redecideFree makes the decision about a free call again.
func (q *quote) redecideFree(d *audit.Decision) (told bool, f *fault) {
	switch {
	case d.PricedAt != 0 || d.Facts.Cost != 0:
		return false, faultf(WrongPrice, "it has a cost or a price, but the operation costs nothing at %q", q.Upstream.Provider)
	case !listed(&q.Facts) && q.unrouted() != nil:
		return false, faultf(wrong(d), "the policy does not send model %q of this tenant to upstream %q", d.Facts.Model, d.Facts.Upstream)
	case denies(d, policy.NoCredential):
		return q.unpaid(d)
	case denies(d, policy.NoBound):
		return true, nil
	case d.Verdict == audit.Deny && len(d.Claims) == 0 && denies(d, policy.BudgetHeld):
		return true, q.queued(d)
	}
	return q.redecide(d)
}
