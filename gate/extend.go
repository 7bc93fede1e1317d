package gate

import (
	"context"
	"errors"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Extend raises what an action's lease holds to a total in nano-USD. A total
// at or below the hold changes nothing. The error, if any, is a *Refusal,
// ErrUnknownLease or ErrLeaseEnded.
func (g *Gate) Extend(ctx context.Context, c LeaseCall, total int64) (*Leave, error) {
	before, err := g.extend(ctx, c, 0)
	if err != nil {
		return nil, leaseError(err)
	}
	q := c.quote(total)
	if denial, _ := q.decide(g.ledger.Now()); denial != nil {
		return nil, g.refuse(ctx, q, budget.Grant{}, denial)
	}
	more := q.Facts
	more.Cost = max(0, total-before.Hold)
	q.plan, _ = policy.Decide(c.Key, more)
	granted, err := g.extend(ctx, c, total)
	var refused *budget.Denied
	if errors.As(err, &refused) {
		return nil, g.refuseMore(ctx, q, refused)
	}
	if err != nil {
		return nil, leaseError(err)
	}
	if granted.Hold == total && total > before.Hold {
		g.postExtension(c, granted)
	}
	granted.Repeated, granted.Observed = true, nil // the lease was there
	return g.recordLeave(ctx, q, granted)
}

// quote asks leave for an action's new total. Its id's claim makes the plan as
// long as that of the lease.
func (c *LeaseCall) quote(total int64) *quote {
	a := &Action{Rules: c.Rules, Key: c.Key, Run: c.Run, Kind: policy.Extension, Amount: total}
	q := a.quote()
	q.lease = c.Lease
	q.Facts.Endpoint = actionEndpoint + "extend"
	q.Facts.ActionID = c.Lease[len(leasePrefix):]
	return q
}

func (g *Gate) extend(ctx context.Context, c LeaseCall, total int64) (budget.Grant, error) {
	if !c.ofAction() {
		return budget.Grant{}, ErrUnknownLease
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reserveLimit)
	defer cancel()
	start := time.Now()
	defer func() { g.telemetry.Ledger("extend", time.Since(start)) }()
	return g.ledger.Extend(ctx, c.ref(), total)
}

// refuseMore explains why a total does not fit. The lease may have been granted
// under another policy or run than is known here; then no budget is named.
func (g *Gate) refuseMore(ctx context.Context, q *quote, refused *budget.Denied) *Refusal {
	seen := budget.Grant{Epoch: refused.Epoch, Number: refused.Number, At: refused.At}
	if len(refused.Observed) == len(q.plan.Claims) {
		seen.Observed = refused.Observed
		q.exhaust(refused)
		return g.refuse(ctx, q, seen, q.plan.Explain(refused))
	}
	denial := &policy.Denial{Reason: policy.BudgetHeld, Message: "a budget of this lease is held by requests in flight"}
	for _, reason := range refused.Reasons {
		if reason == budget.Exhausted {
			denial = &policy.Denial{Reason: policy.BudgetExhausted, Message: "a budget of this lease has too little left for this total"}
		}
	}
	return g.refuse(ctx, q, seen, denial)
}

// exhaust corrects the reasons of an extension: a total that does not fit even
// alone is held by its own lease, so waiting does not help.
func (q *quote) exhaust(refused *budget.Denied) {
	for i, c := range q.plan.Claims {
		if refused.Reasons[i] == budget.Held && refused.Observed[i].Spent+q.action.Amount > c.Limit {
			refused.Reasons[i] = budget.Exhausted
		}
	}
}

// postExtension has the receipt of the ledger's event written soon. An event
// of two equal requests may get two.
func (g *Gate) postExtension(c LeaseCall, granted budget.Grant) {
	tenant := c.Key.Tenant.Name
	event := budget.Event{
		Tenant: tenant, Epoch: granted.Epoch, Number: granted.Number, Kind: budget.Extended,
		At: granted.At, Lease: c.Lease, Amount: granted.Hold,
	}
	g.log.Post(eventReceipt(event), func(_ audit.Ref, err error) {
		if err != nil {
			g.logger.Warn("receipt of an extension not written, it is left to the sweep", "tenant", tenant, "err", err)
			return
		}
		g.ledger.Acknowledge(tenant, granted.Number)
	})
}
