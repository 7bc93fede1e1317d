package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// pricedWithin is how far apart the look-up of a price and the decision can
// be, beside the time that a request stands in line.
const pricedWithin = time.Minute

// rulesID names the rules by which a receipt says it was decided.
type rulesID struct {
	policy budget.PolicyVersion
	prices string
}

// rulesBook is rules with their keys at hand.
type rulesBook struct {
	*Rules
	keys map[string]*policy.Key // ids are unique in a policy
}

// key is who asked by a decision's facts, or nil.
func (b *rulesBook) key(f *call.Facts) *policy.Key {
	if f.Key == "" {
		if t := b.Policy.Tenant(f.Tenant); t != nil {
			return t.KeyOf("")
		}
		return nil
	}
	key := b.keys[f.Key]
	if key == nil || key.Tenant.Name != f.Tenant {
		return nil
	}
	return key
}

func bookOf(rules *Rules) *rulesBook {
	b := &rulesBook{rules, map[string]*policy.Key{}}
	for _, t := range rules.Policy.Tenants {
		for _, k := range t.Keys {
			b.keys[k.ID] = k
		}
	}
	return b
}

// outside are the reasons that no facts and no policy give: what failed. A receipt
// is believed about them.
var outside = []call.Reason{
	policy.LedgerUnavailable, policy.ReceiptsUnavailable, policy.StalePolicy, policy.ClientClosedRequest,
}

// recompute makes the decision again, as far as it does not depend on the
// ledger, by the functions that made it first. told is true if the receipt
// had to be believed.
func (b *rulesBook) recompute(d *audit.Decision) (q *quote, told bool, f *fault) {
	key := b.key(&d.Facts)
	if key == nil {
		return nil, false, faultf(wrong(d), "the policy has no key %q of this tenant", d.Facts.Key)
	}
	q = b.quote(key, d)
	if denies(d, policy.Killed) && len(d.Claims) > 0 {
		return q, false, faultf(WrongClaims, "a request that a kill switch stops has no claims")
	}
	if q.extends() {
		told, f = q.reextend(d)
		return q, told, f
	}
	if f := q.checkInstead(); f != nil {
		return q, false, f
	}
	if q.hidesTools(d) {
		return q, false, faultf(WrongSum, "the policy looks at its tools, and it does not tell which they are")
	}
	if d.Existing {
		return q, false, q.recheckRepeat(d)
	}
	if q.action != nil {
		told, f = q.redecideAction(d)
		return q, told, f
	}
	if f := q.checkOutput(); f != nil {
		return q, false, f
	}
	if q.free() {
		told, f = q.redecideFree(d)
		return q, told, f
	}
	if d.PricedAt == 0 {
		told, f = q.neverPriced(d)
		return q, told, f
	}
	if f := q.checkPricedAt(d); f != nil {
		return q, false, f
	}
	if denial := q.open(time.UnixMilli(d.PricedAt)); denial != nil {
		return q, false, sameDenial(d, denial.Reason)
	}
	if d.Verdict == audit.Deny && len(d.Claims) == 0 && denies(d, policy.BudgetHeld) {
		return q, true, q.queued(d)
	}
	told, f = q.redecide(d)
	return q, told, f
}

// checkInstead compares the model that is called in the place of another with the policy's.
func (q *quote) checkInstead() *fault {
	if q.InsteadOf == "" {
		return nil
	}
	asked := call.Facts{Model: q.InsteadOf}
	if model, ok := q.Key.Tenant.Instead(&asked); !ok || names.Fold(model) != names.Fold(q.Model) {
		return faultf(WrongSum, "model %q is called in the place of %q, and the policy does not say so", q.Model, q.InsteadOf)
	}
	return nil
}

// checkOutput compares what a receipt says of the output with what follows from it and
// from the policy.
func (q *quote) checkOutput() *fault {
	switch {
	case !q.bounded():
		return nil
	case q.OutputTokens != q.MostOutput():
		return faultf(WrongSum, "output tokens %d, but cap, choices and extra output give %d", q.OutputTokens, q.MostOutput())
	case q.Uncapped && q.Upstream != nil && q.OutputCap != q.context():
		return faultf(WrongSum, "no cap was sent, and the output is bounded by %d tokens, not by the model's context of %d", q.OutputCap, q.context())
	}
	return nil
}

// context is the context of the call's model at its upstream, in tokens; 0 if nobody
// says.
func (q *quote) context() int64 {
	model := q.Rules.Policy.ModelFor(q.Model)
	if model == nil {
		return 0
	}
	return q.Rules.Limits(q.Upstream.Provider, model, q.Model).ContextTokens
}

// redecideAction makes the decision about an action again. Which id it used only
// its claims tell.
func (q *quote) redecideAction(d *audit.Decision) (told bool, f *fault) {
	if q.Facts.ActionID == "" && (d.Verdict == audit.Allow || len(d.Claims) > 0) {
		return false, faultf(WrongClaims, "it has no claim on its id, as every action has")
	}
	return q.redecide(d)
}

// hidesTools reports whether a receipt lacks the names of tools that were offered
// or used, where the policy has a rule for them.
func (q *quote) hidesTools(d *audit.Decision) bool {
	switch {
	case !q.Key.Tenant.LimitsTools():
		return false
	case q.action != nil:
		return !tellsTool(&d.Facts)
	}
	return slices.Contains(d.Facts.Needs, call.NeedTools) && len(d.Facts.Tools) == 0
}

// tellsTool reports whether an action's receipt names the tool whose hash it has,
// or a name that no receipt can tell as it is, which the rule denies.
func tellsTool(f *call.Facts) bool {
	if f.Tool == "" {
		return len(f.Tools) == 0
	}
	return len(f.Tools) == 1 && (call.HashName(f.Tools[0]) == f.Tool || strings.Contains(f.Tools[0], "?"))
}

// wrong is the fault of a verdict that the policy does not give.
func wrong(d *audit.Decision) Fault {
	if d.Verdict == audit.Allow {
		return WrongAllow
	}
	return WrongDenial
}

func denies(d *audit.Decision, reason call.Reason) bool {
	return d.Verdict == audit.Deny && len(d.Reasons) == 1 && d.Reasons[0] == string(reason)
}

// quote is the call that a receipt tells of.
func (b *rulesBook) quote(key *policy.Key, d *audit.Decision) *quote {
	if d.Facts.Action() == policy.Extension {
		c := LeaseCall{Rules: b.Rules, Key: key, Lease: d.Lease}
		return c.quote(d.Facts.Cost)
	}
	q := &quote{Bid: Bid{Rules: b.Rules, Key: key, Upstream: b.Policy.Upstreams[d.Facts.Upstream], Facts: d.Facts}}
	if d.Facts.Action() != "" {
		q.action, q.ActionID = b.action(key, d), actionID(d)
	}
	return q
}

// action is the action that a receipt tells of. How long its lease was to last is
// not in the receipt of a denial.
func (b *rulesBook) action(key *policy.Key, d *audit.Decision) *Action {
	return &Action{
		Rules: b.Rules, Key: key, Kind: d.Facts.Action(), Amount: d.Facts.Cost,
		TTL: time.Duration(d.Expires-d.At) * time.Millisecond,
	}
}

// actionID is the hashed id of an action, which its lease is named after. A
// denial has no lease, but the claim that would have used the id.
func actionID(d *audit.Decision) call.Name {
	for i := range d.Claims {
		if id, ok := policy.ActionIDOf(d.Claims[i].Key); ok {
			return call.Name(id)
		}
	}
	return ""
}

// neverPriced checks a decision that was made before a price was looked up.
func (q *quote) neverPriced(d *audit.Decision) (told bool, f *fault) {
	switch {
	case denies(d, policy.NoRoute), denies(d, policy.UpstreamNotAllowed):
		denial := q.unrouted()
		if denial == nil {
			return false, faultf(WrongDenial, "the policy has an upstream for model %q", d.Facts.Model)
		}
		return false, sameDenial(d, denial.Reason)
	case denies(d, policy.NoCredential):
		return q.unpaid(d)
	case denies(d, policy.NoBound), denies(d, policy.LedgerUnavailable):
		return true, nil
	}
	return false, faultf(wrong(d), "reasons %q, but no price was looked up", d.Reasons)
}

// unpaid checks a denial of a call whose upstream takes the client's own credential. That the
// call had none is believed.
func (q *quote) unpaid(d *audit.Decision) (told bool, f *fault) {
	if q.Upstream == nil || !q.Upstream.ClientPays {
		return false, faultf(WrongDenial, "upstream %q takes no credential of its client's", d.Facts.Upstream)
	}
	return true, sameDenial(d, policy.NoCredential)
}

// unrouted is why the policy does not have the call's upstream for it; any where it names
// none.
func (q *quote) unrouted() *call.Denial {
	return q.Rules.Policy.For(q.Endpoint).Unrouted(q.Key.Tenant, &q.Facts)
}

func (q *quote) checkPricedAt(d *audit.Decision) *fault {
	if q.Upstream == nil {
		return faultf(wrong(d), "the policy has no upstream %q", d.Facts.Upstream)
	}
	if denial := q.unrouted(); denial != nil {
		return faultf(wrong(d), "the policy does not send it to upstream %q: %s", d.Facts.Upstream, denial.Message)
	}
	apart := time.Duration(max(d.At-d.PricedAt, d.PricedAt-d.At)) * time.Millisecond
	if apart > pricedWithin+q.Key.Tenant.WaitLimit {
		return faultf(WrongPrice, "the price was looked up %v from the decision", apart)
	}
	return nil
}

// sameDenial compares a receipt with the denial that follows from its facts
// before they are priced.
func sameDenial(d *audit.Decision, want call.Reason) *fault {
	switch {
	case d.Verdict == audit.Allow:
		return faultf(WrongAllow, "the request is to be denied: %s", want)
	case !denies(d, want):
		return faultf(WrongDenial, "reasons %q, want %s", d.Reasons, want)
	case d.Facts.Cost != 0 || len(d.Claims) != 0:
		return faultf(WrongSum, "it has a cost or claims, but could not be priced")
	}
	return nil
}

// queued checks a denial of a request that stood in line and never came to
// its first decision.
func (q *quote) queued(d *audit.Decision) *fault {
	if q.Key.Tenant.WaitLimit == 0 {
		return faultf(WrongDenial, "%s without a claim, and the tenant has no line to wait in", policy.BudgetHeld)
	}
	if d.Facts.Cost != 0 {
		return faultf(WrongSum, "it has a cost of %d, but was not decided", d.Facts.Cost)
	}
	return nil
}

// redecide prices the bounds and applies the policy.
func (q *quote) redecide(d *audit.Decision) (told bool, f *fault) {
	denial, err := q.decide(time.UnixMilli(d.At))
	if err != nil {
		return false, sameDenial(d, policy.NoBound)
	}
	if denies(d, policy.NoPrice) || denies(d, policy.NoBound) {
		return false, faultf(WrongDenial, "reasons %q, but it can be priced: %d", d.Reasons, q.Cost)
	}
	if d.Facts.Cost != q.Cost {
		return false, faultf(WrongPrice, "cost %d, but the bounds times the price give %d", d.Facts.Cost, q.Cost)
	}
	switch {
	case d.Verdict == audit.Allow:
		return false, q.checkAllow(d, denial)
	case d.Verdict != audit.Deny:
		return false, faultf(WrongSum, "verdict %q", d.Verdict)
	case denial != nil:
		return false, q.checkStateless(d, denial)
	case len(d.Claims) > 0:
		return denies(d, policy.ReceiptsUnavailable), q.checkClaims(d)
	case denies(d, policy.Killed): // the fold knows what is thrown
		return false, nil
	case q.action != nil && denies(d, policy.ActionIDUsed): // nothing tells which id
		return true, nil
	case len(d.Reasons) == 1 && slices.Contains(outside, call.Reason(d.Reasons[0])):
		return true, nil
	}
	return false, faultf(WrongDenial, "reasons %q, but the policy does not deny it and no claim was refused", d.Reasons)
}

func (q *quote) checkAllow(d *audit.Decision, denial *call.Denial) *fault {
	if denial != nil {
		return faultf(WrongAllow, "the policy denies it: %s", denial.Reason)
	}
	if f := q.checkClaims(d); f != nil {
		return f
	}
	if q.Key.Tenant.Mode == policy.Observe {
		q.observe(observedOf(d.Claims))
	}
	if !slices.Equal(d.Reasons, q.broken) {
		return faultf(WrongAllow, "reasons %q, want %q", d.Reasons, q.broken)
	}
	if want := d.At + q.ttl().Milliseconds(); d.Expires != want || q.ttl() > MaxActionTTL {
		return faultf(WrongSum, "the lease expires at %d, want %d", d.Expires, want)
	}
	return nil
}

// checkStateless compares a denial with that of the policy's stateless rules.
func (q *quote) checkStateless(d *audit.Decision, denial *call.Denial) *fault {
	if !denies(d, denial.Reason) {
		return faultf(WrongDenial, "reasons %q, want %s", d.Reasons, denial.Reason)
	}
	if len(d.Claims) > 0 {
		return faultf(WrongClaims, "a request that a stateless rule denies has no claims")
	}
	return q.checkUnclamped(stateless(denial))
}

// checkUnclamped finds a denial where the policy wants the cap lowered, and a lower one
// would have fitted, or did not for what others held alone. One for another reason than
// money stands, whatever a lower cap would have cost.
func (q *quote) checkUnclamped(m *misfit) *fault {
	if !q.clamps(m) {
		return nil
	}
	if lower := q.largestCap(m.rest); lower >= q.floor() {
		return faultf(WrongDenial, "the policy clamps, and an output cap of %d would have fitted", lower)
	}
	return nil
}

// checkClaims compares the claims with those of the policy, all but what was
// observed of them.
func (q *quote) checkClaims(d *audit.Decision) *fault {
	if len(d.Claims) != len(q.plan.Claims) {
		return faultf(WrongClaims, "%d claims, the policy gives %d", len(d.Claims), len(q.plan.Claims))
	}
	for i := range d.Claims {
		got := &d.Claims[i]
		want := q.wantedClaim(i, got)
		if d.Verdict == audit.Deny {
			want.Reason = got.Reason // by the ledger's answer
		}
		if *got != want {
			return faultf(WrongClaims, "claim %d is %s, the policy gives %s", i, describe(got), describe(&want))
		}
	}
	return nil
}

// wantedClaim is a claim of the plan with what the receipt observed of it.
func (q *quote) wantedClaim(i int, told *audit.Claim) audit.Claim {
	c := &q.plan.Claims[i]
	placed := budget.Placed{Claim: *c, Observed: budget.Observed{Spent: told.Spent, Held: told.Held}}
	placed.Amount = q.plan.Needs(i, budget.Observed{New: newOf(told)})
	if c.Window.Kind == budget.Fixed {
		placed.Span = c.Window.Current
	}
	want := auditClaim(placed)
	want.Rule = q.plan.Rule(i)
	return want
}

func describe(c *audit.Claim) string {
	return fmt.Sprintf("%q of %s: amount %d, limit %d, %s window %d to %d (%d ms), at end %s, group %q of %d, marks %q, reason %q",
		c.Key, c.Rule, c.Amount, c.Limit, c.Window, c.Start, c.End, c.LengthMS, c.AtEnd, c.Group, c.GroupMax, c.Marks, c.Reason)
}

func observedOf(claims []audit.Claim) []budget.Observed {
	list := make([]budget.Observed, len(claims))
	for i, c := range claims {
		list[i] = budget.Observed{Span: budget.Span{Start: c.Start, End: c.End}, Spent: c.Spent, Held: c.Held, New: newOf(&c)}
	}
	return list
}
