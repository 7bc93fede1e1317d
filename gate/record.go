package gate

import (
	"context"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// record makes the decision to allow durable and returns the grant.
func (g *Gate) record(ctx context.Context, q *quote, leave budget.Grant) (*Grant, error) {
	decision := q.allowed(leave)
	ref, err := g.recordDecision(ctx, decision)
	if err != nil {
		return nil, err
	}
	tenant := q.Key.Tenant.Name
	g.ledger.Acknowledge(tenant, leave.Number)
	g.telemetry.Decided(tenant, audit.Allow, "")
	g.telemetry.Held(tenant, q.Cost, 1)
	return &Grant{
		Receipt:   ref.ID,
		OutputCap: q.OutputCap,
		Uncapped:  q.Uncapped,
		Clamped:   q.clamped,
		Warnings:  q.plan.Warnings(leave.Observed),
		gate:      g,
		quote:     q,
		decision:  decision,
		observed:  leave.Observed,
	}, nil
}

// Refuse denies a call for a reason that its maker has found, such as a cost
// without a bound, and writes the receipt. Of the bid only Rules, Key and Facts
// need be known.
func (g *Gate) Refuse(ctx context.Context, b Bid, denial *call.Denial) *call.Denial {
	return g.refuse(ctx, newQuote(b), budget.Grant{}, denial)
}

// refuse tells the client and the log of a denial. That it could not be recorded
// changes nothing for the client.
func (g *Gate) refuse(ctx context.Context, q *quote, seen budget.Grant, denial *call.Denial) *call.Denial {
	if q.now.IsZero() { // it was not looked at before
		q.now = g.ledger.Now()
	}
	g.telemetry.Decided(q.Key.Tenant.Name, audit.Deny, string(denial.Reason))
	denial.Receipt = g.recordDenial(ctx, q, seen, denial.Reason)
	return denial
}

// recordDecision makes the receipt of a decision durable, also where the client has
// hung up meanwhile.
func (g *Gate) recordDecision(ctx context.Context, d *audit.Decision) (audit.Ref, error) {
	within := limit(ctx, recordLimit)
	defer within.stop()
	ref, err := g.append(within, d)
	if err != nil {
		g.doubts.note(d.Facts.Tenant)
	}
	return ref, err
}

func (g *Gate) append(ctx context.Context, body audit.Body) (audit.Ref, error) {
	start := time.Now()
	ref, err := g.log.Append(ctx, body)
	g.telemetry.Log(time.Since(start))
	return ref, err
}

// allowed is the receipt of a quote that was granted.
func (q *quote) allowed(leave budget.Grant) *audit.Decision {
	decision := q.decision(leave)
	decision.Verdict = audit.Allow
	decision.Reasons = q.broken
	decision.Lease = q.lease
	decision.Expires = leave.Expires
	return decision
}

// decision is the receipt of a quote, without its verdict.
func (q *quote) decision(seen budget.Grant) *audit.Decision {
	q.OutputTokens = q.MostOutput()
	d := &audit.Decision{
		At:         atOf(q, seen),
		Facts:      q.Facts,
		Claims:     q.claims(seen.Observed),
		Epoch:      seen.Epoch,
		Event:      seen.Number,
		Policy:     q.Rules.Policy.Version.Hash,
		Generation: q.Rules.Policy.Version.Generation,
		Prices:     q.Rules.Prices.Version(),
	}
	if q.extends() {
		d.Lease = q.lease // also where it is denied
	}
	if !q.pricedAt.IsZero() {
		d.PricedAt = q.pricedAt.UnixMilli()
	}
	return d
}

// atOf is the ledger's time of a decision; the last known one where the
// ledger was not asked.
func atOf(q *quote, seen budget.Grant) int64 {
	if seen.At != 0 {
		return seen.At
	}
	return q.now.UnixMilli()
}

// claims pairs the plan with what was observed. Without an observation the
// ledger was not asked, and there are none.
func (q *quote) claims(observed []budget.Observed) []audit.Claim {
	if len(observed) == 0 {
		return nil
	}
	list := make([]audit.Claim, len(q.plan.Claims))
	for i, c := range q.plan.Claims {
		c.Amount = q.plan.Needs(i, observed[i])
		list[i] = auditClaim(budget.Placed{Claim: c, Observed: observed[i]})
		list[i].Rule = q.plan.Rule(i)
		if q.reasons != nil {
			list[i].Reason = string(q.reasons[i])
		}
	}
	return list
}

func auditClaim(p budget.Placed) audit.Claim {
	return audit.Claim{
		Key:      p.Key,
		Amount:   p.Amount,
		Limit:    p.Limit,
		AtEnd:    string(p.AtEnd),
		Window:   string(p.Window.Kind),
		LengthMS: p.Window.Length.Milliseconds(),
		Start:    p.Span.Start,
		End:      p.Span.End,
		Group:    p.Group,
		GroupMax: p.GroupMax,
		Spent:    p.Spent,
		Held:     p.Held,
		Marks:    strings.Join(p.Marks, " "),
	}
}
