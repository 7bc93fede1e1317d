package gate

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Extend raises what an action's lease holds to a total in nano-USD, if the
// rules allow it that are in force now: the newest policy, its limits and the
// kill switches. A total at or below the hold changes nothing. The error, if
// any, is a *call.Denial, ErrUnknownLease, ErrLeaseEnded, or ErrInvalid where the key
// is not of the rules: what an older policy's key may do the newest need not allow.
func (g *Gate) Extend(ctx context.Context, c LeaseCall, total int64) (*Leave, error) {
	if !c.Rules.have(c.Key) {
		return nil, errOtherRules
	}
	if _, err := g.lookUp(ctx, c); err != nil {
		return nil, leaseError(err)
	}
	q := c.quote(total)
	if denial, _ := q.decide(g.ledger.Now()); denial != nil {
		return nil, g.refuse(ctx, q, budget.Grant{}, denial)
	}
	x := q.extension()
	granted, err := g.extend(ctx, x)
	if err != nil {
		return nil, g.refuseMore(ctx, q, err)
	}
	first := !granted.Repeated
	granted.Repeated = true // the lease was there
	leave, err := g.recordLeave(ctx, q, granted)
	if first && err == nil { // else it is left to the sweep, and so tells that this leave has no receipt
		g.postExtension(q, x, granted)
	}
	return leave, err
}

// quote asks leave for an action's new total, as one of the run that the lease
// is of.
func (c *LeaseCall) quote(total int64) *quote {
	a := &Action{Rules: c.Rules, Key: c.Key, Kind: policy.Extension, Amount: total}
	q := a.quote()
	q.lease = c.Lease
	q.Run, _ = runOfLease(c.Lease)
	q.ActionID = "" // the lease claims it already
	q.switches = c.Key.Switches(nil, &q.Facts)
	return q
}

func (q *quote) extends() bool { return q.action != nil && q.action.Kind == policy.Extension }

// extension is what the ledger is asked, by the plan that was decided.
func (q *quote) extension() budget.Extension {
	return budget.Extension{
		Lease:    budget.LeaseRef{Tenant: q.Key.Tenant.Name, Lease: q.lease},
		Total:    q.action.Amount,
		Policy:   q.Rules.Policy.Version,
		Limits:   q.plan.Limits(),
		Switches: q.switches,
	}
}

// lookUp finds an open lease, and changes nothing.
func (g *Gate) lookUp(ctx context.Context, c LeaseCall) (budget.Grant, error) {
	if !c.ofAction() {
		return budget.Grant{}, ErrUnknownLease
	}
	return g.extend(ctx, budget.Extension{Lease: c.ref(), Policy: c.Rules.Policy.Version})
}

func (g *Gate) extend(ctx context.Context, x budget.Extension) (budget.Grant, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reserveLimit)
	defer cancel()
	start := time.Now()
	defer func() { g.telemetry.Ledger("extend", time.Since(start)) }()
	return g.ledger.Extend(ctx, x)
}

// refuseMore is the error of an extension that the ledger refused.
func (g *Gate) refuseMore(ctx context.Context, q *quote, err error) error {
	if errors.Is(err, budget.ErrUnknownLease) || errors.Is(err, budget.ErrEnded) {
		return leaseError(err)
	}
	if refused, ok := errors.AsType[*budget.Denied](err); ok {
		seen, denial := q.explainMore(refused)
		return g.refuse(ctx, q, seen, denial)
	}
	seen, m := g.refused(q, err)
	return g.refuse(ctx, q, seen, m.Denial)
}

// explainMore says why a total does not fit, and what was observed. The plan
// becomes one for what is lacking above the hold, without the claims that the
// lease does not have.
func (q *quote) explainMore(refused *budget.Denied) (budget.Grant, *call.Denial) {
	more := q.Facts
	more.Cost -= refused.Hold
	plan, _ := policy.Decide(q.Key, &more, q.now)
	q.plan = plan.Among(refused.Keys)
	known := &budget.Denied{Epoch: refused.Epoch, Number: refused.Number, At: refused.At}
	for _, c := range q.plan.Claims {
		i := slices.Index(refused.Keys, c.Key)
		known.Observed = append(known.Observed, refused.Observed[i])
		known.Reasons = append(known.Reasons, q.reasonOf(c, refused.Reasons[i], refused.Observed[i]))
	}
	q.reasons = known.Reasons
	seen := budget.Grant{Epoch: known.Epoch, Number: known.Number, At: known.At, Observed: known.Observed}
	if q.lacks(refused) {
		return seen, &call.Denial{
			Reason: policy.BudgetExhausted,
			Message: "a budget of this lease is not in the policy any more, or is another key's; " +
				"settle the lease, and ask for a new one",
		}
	}
	return seen, q.plan.Explain(known)
}

// reasonOf corrects the reason of an extension: a total that does not fit even
// alone is held by its own lease, so waiting does not help.
func (q *quote) reasonOf(c budget.Claim, why budget.Reason, seen budget.Observed) budget.Reason {
	if why == budget.Held && seen.Spent+q.action.Amount > c.Limit {
		return budget.Exhausted
	}
	return why
}

// lacks reports whether a claim was refused that the plan does not have.
func (q *quote) lacks(refused *budget.Denied) bool {
	for i, key := range refused.Keys {
		named := slices.ContainsFunc(q.plan.Claims, func(c budget.Claim) bool { return c.Key == key })
		if refused.Reasons[i] != budget.Fits && !named {
			return true
		}
	}
	return false
}

// postExtension has the receipt of the ledger's event written soon. The leave that
// caused the event has its receipt by now, before this one in the same chain, and
// this one tells whose leave that was: the ledger does not know.
func (g *Gate) postExtension(q *quote, x budget.Extension, granted budget.Grant) {
	tenant := x.Lease.Tenant
	event := budget.Event{
		Tenant: tenant, Epoch: granted.Epoch, Number: granted.Number, Kind: budget.Extended,
		At: granted.At, Lease: x.Lease.Lease, Amount: x.Total, Policy: x.Policy, Limits: x.Limits,
	}
	receipt := eventReceipt(event)
	receipt.Recovered, receipt.Key = false, q.Key.ID
	g.postReceipt(receipt, func(_ audit.Ref, err error) {
		if err != nil {
			g.doubts.note(tenant)
			g.logger.Warn("receipt of an extension not written, it is left to the sweep", "tenant", tenant, "err", err)
			return
		}
		g.ledger.Acknowledge(tenant, granted.Number)
	})
}
