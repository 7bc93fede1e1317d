package gate

import (
	"errors"
	"slices"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// reextend makes the decision about an extension again, as far as it does not
// depend on the ledger. What was raised its event tells.
func (q *quote) reextend(d *audit.Decision) (told bool, f *fault) {
	if !ofAction(d.Lease) || q.Facts.Run != d.Facts.Run {
		return false, faultf(WrongSum, "lease %q of run %q is not one of an action in run %q", d.Lease, q.Facts.Run, d.Facts.Run)
	}
	denial, err := q.decide(time.UnixMilli(d.At))
	switch {
	case err != nil:
		return false, sameDenial(d, policy.NoBound)
	case d.Verdict == audit.Allow && denial != nil:
		return false, faultf(WrongAllow, "the policy denies it: %s", denial.Reason)
	case d.Verdict == audit.Allow && (!d.Existing || len(d.Claims) > 0 || !slices.Equal(d.Reasons, q.broken)):
		return false, faultf(WrongAllow, "an extension grants nothing itself; its reasons are %q, want %q", d.Reasons, q.broken)
	case d.Verdict == audit.Allow:
		return false, nil
	case denial != nil:
		return false, q.checkStateless(d, denial)
	case len(d.Claims) > 0 || denies(d, policy.Killed): // the fold judges them
		return false, nil
	case len(d.Reasons) == 1 && slices.Contains(outside, call.Reason(d.Reasons[0])), denies(d, policy.BudgetExhausted):
		return true, nil
	}
	return false, faultf(WrongDenial, "reasons %q, but the policy does not deny it and no claim was refused", d.Reasons)
}

// judgeExtension makes the ledger's denial of an extension again.
func (l *life) judgeExtension(q *quote, d *audit.Decision) *fault {
	x := q.extension()
	x.Switches = q.Key.Switches(nil, &q.Facts)
	_, event, err := l.state.Extend(&x, d.At)
	denied, refused := errors.AsType[*budget.Denied](err)
	switch {
	case err != nil && !refused:
		return faultf(WrongDenial, "it could not be asked for: %v", err)
	case event.Kind == budget.PolicySeen:
		return faultf(WrongDenial, "event %d is not there that tells of its policy", event.Number)
	case !refused:
		return faultf(WrongDenial, "its total fits")
	}
	seen, denial := q.explainMore(denied)
	if f := checkToldClaims(d.Claims, q.claims(seen.Observed)); f != nil {
		return f
	}
	if !denies(d, denial.Reason) {
		return faultf(WrongDenial, "reasons %q, want %s", d.Reasons, denial.Reason)
	}
	return nil
}

// checkToldClaims compares the claims of a denied extension with those of the
// policy and what the events give of them.
func checkToldClaims(told, want []audit.Claim) *fault {
	if len(told) != len(want) {
		return faultf(WrongClaims, "%d claims, policy and lease have %d in common", len(told), len(want))
	}
	for i := range told {
		switch got := &told[i]; {
		case got.Spent != want[i].Spent || got.Held != want[i].Held:
			return faultf(WrongSeen, "claim %q: spent %d and held %d where the events give %d and %d",
				got.Key, got.Spent, got.Held, want[i].Spent, want[i].Held)
		case *got != want[i]:
			return faultf(WrongClaims, "claim %d is %s, the policy gives %s", i, describe(got), describe(&want[i]))
		}
	}
	return nil
}

// keep notes a claim that an extension of the lease would raise.
func (h *heldLease) keep(key string) {
	if ofAction(h.id) {
		h.money = append(h.money, key)
	}
}

// extension holds what an extension was judged by against the policy that it
// names. That it fitted the fold checks.
func (r *Replayer) extension(e *entry, held *heldLease) {
	if e.told.Kind != budget.Extended || held == nil { // the fold knows whether that can be
		return
	}
	book := r.known[e.told.Policy]
	switch {
	case book == nil:
		r.report.lackPolicy(e.told.Policy)
	case held.quote == nil && held.receipt == (position{}): // a copy tells of its grant, but not who asked
		r.report.Told++
	case held.quote == nil:
		r.report.Unchecked[lacksDecision]++
	case e.asker() == "":
		r.find(e, book.checkExtension(&e.told, held))
		if !e.copy { // checkAsker counts the others
			r.report.Told++
		}
	default:
		r.find(e, book.checkAskedExtension(&e.told, e.asker()))
	}
}

// asker is the id of the key that an extension was asked for by, where its receipt
// tells.
func (e *entry) asker() string {
	event, _ := e.body.(audit.Event)
	return event.Key
}

// checkAskedExtension checks the extension that a key has asked for.
func (b *rulesBook) checkAskedExtension(event *budget.Event, id string) *fault {
	key := b.key(&call.Facts{Tenant: event.Tenant, Key: id})
	if key == nil {
		return faultf(WrongAllow, "the policy has no key %q of the tenant", id)
	}
	q, f := b.allowExtension(event, key)
	if f == nil && !slices.Equal(event.Limits, q.plan.Limits()) {
		f = faultf(WrongClaims, "its limits are %v, the policy gives the key %q %v", event.Limits, id, q.plan.Limits())
	}
	return f
}

// checkExtension checks one of which nobody told who asked.
func (b *rulesBook) checkExtension(event *budget.Event, held *heldLease) *fault {
	key := b.key(&call.Facts{Tenant: event.Tenant, Key: held.quote.Key.ID})
	if key == nil { // another key asked: those of the tenant alone can be checked
		key = b.key(&call.Facts{Tenant: event.Tenant})
	}
	if key == nil {
		return faultf(WrongAllow, "the policy has no such tenant")
	}
	q, f := b.allowExtension(event, key)
	if f != nil {
		return f
	}
	limits := q.plan.Limits()
	for _, told := range event.Limits {
		if slices.Contains(held.money, told.Key) && !slices.Contains(limits, told) {
			return faultf(WrongClaims, "its limit of %q is %d, the policy gives %v", told.Key, told.Limit, limits)
		}
	}
	return nil
}

// allowExtension decides on an extension as for this key, without the ledger.
func (b *rulesBook) allowExtension(event *budget.Event, key *policy.Key) (*quote, *fault) {
	c := LeaseCall{Rules: b.Rules, Key: key, Lease: event.Lease}
	q := c.quote(event.Amount)
	if denial, err := q.decide(time.UnixMilli(event.At)); denial != nil || err != nil {
		return nil, faultf(WrongAllow, "the policy denies a total of %d", event.Amount)
	}
	return q, nil
}
