package policy

import (
	"slices"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// Plan is what a tenant's rules demand of the ledger for one request.
type Plan struct {
	Claims []budget.Claim // in the order of decision

	tenant   *Tenant
	counters []*counter // of each claim
}

// verdicts are the stateless rules in the order of decision: first what stops
// a caller altogether. The first denial wins. They ask no ledger, so they go
// before all claims, which have an order of their own: nonce or id, slots, tool
// calls, money, requests.
var verdicts = [...]struct {
	module string
	rule   func(*Tenant, *call.Facts) *call.Denial
}{
	{"models", allowModel},
	{"capabilities", allowCapabilities},
	{"action_kinds", allowAction},
	{"endpoints", allowEndpoint},
	{"tools", allowTools},
	{"hosted_tools", capHosted},
	{"run_required", requireRun},
	{"user_required", requireUser},
	{"replay", checkNonce},
	{"max_depth", capDepth},
	{"tool_calls", capToolResults},
	{"per_request_usd", capRequest},
}

// Decide applies the rules of a key's tenant to the facts, at an instant of the
// ledger's clock. Under Observe it returns the plan beside the denial, whose claims
// then only count.
func Decide(k *Key, f *call.Facts, now time.Time) (Plan, *call.Denial) {
	t := k.Tenant
	denial := judge(t, f)
	if denial != nil && t.Mode != Observe {
		return Plan{}, denial
	}
	return plan(k, f, now), denial
}

func judge(t *Tenant, f *call.Facts) *call.Denial {
	for i := range verdicts {
		if d := verdicts[i].rule(t, f); d != nil {
			d.Redact = t.Redact
			return d
		}
	}
	return nil
}

func plan(k *Key, f *call.Facts, now time.Time) Plan {
	t := k.Tenant
	p := newPlan(t, f)
	who := &caller{key: k, now: now}
	who.names(f)
	who.keys.Grow(t.keyBytes(k))
	if r := t.Replay; r != nil {
		p.add(&r.counter, r.claim(p.next(), who, f))
	}
	if f.ActionID != "" {
		p.useOnce(f)
	}
	for _, c := range t.counters {
		if c.unit == toolCalls && len(f.ToolResults) == 0 || c.unit == usd && f.Free {
			continue
		}
		claim := p.next()
		applies := c.claim(claim, who, f)
		if applies && c.unit == toolCalls {
			applies = c.countCalls(claim, t, f)
		}
		p.add(c, applies)
	}
	return p
}

// From someClaims to mostClaims, a plan takes one piece of memory with its
// counters: of one of each module, and two more budgets. For fewer claims that
// would be too large.
const (
	someClaims = 4
	mostClaims = 7
)

func newPlan(t *Tenant, f *call.Facts) Plan {
	most := len(t.counters)
	if t.Replay != nil {
		most++
	}
	if f.ActionID != "" {
		most++
	}
	if most < someClaims || most > mostClaims {
		return Plan{Claims: make([]budget.Claim, 0, most), counters: make([]*counter, 0, most), tenant: t}
	}
	both := new(struct {
		claims   [mostClaims]budget.Claim
		counters [mostClaims]*counter
	})
	return Plan{Claims: both.claims[:0], counters: both.counters[:0], tenant: t}
}

// keyBytes is room for the keys of a request's claims.
func (t *Tenant) keyBytes(k *Key) int {
	n := 0
	if t.Replay != nil {
		n = nonceBytes
	}
	for _, c := range t.counters {
		n += c.keyBytes(k)
	}
	return n
}

// next is where a claim that add adds is written.
func (p *Plan) next() *budget.Claim { return &p.Claims[:len(p.Claims)+1][len(p.Claims)] }

// add adds the next claim if it applies.
func (p *Plan) add(c *counter, applies bool) {
	if !applies {
		*p.next() = budget.Claim{}
		return
	}
	p.Claims = p.Claims[:len(p.Claims)+1]
	p.counters = append(p.counters, c)
}

// Rule returns the name of the limit that claim i enforces, for receipts.
func (p Plan) Rule(i int) string { return p.counters[i].rule }

// Limit returns what claim i may reach by the policy, also where the ledger
// only counts.
func (p Plan) Limit(i int) int64 { return p.counters[i].limit }

// Amount writes an amount of claim i: as USD, or as a plain count.
func (p Plan) Amount(i int, n int64) string { return p.counters[i].unit.write(n) }

// Needs is the amount of claim i: of one with marks, how many of them the ledger
// did not know.
func (p Plan) Needs(i int, seen budget.Observed) int64 {
	if len(p.Claims[i].Marks) > 0 {
		return seen.New
	}
	return p.Claims[i].Amount
}

// Broken returns why a grant that was made without the policy's limits would
// have been denied with them: the reasons under Observe.
func (p Plan) Broken(observed []budget.Observed) []call.Reason {
	var reasons []call.Reason
	for i := range p.Claims {
		if r := budget.Judge(p.Needs(i, observed[i]), p.Limit(i), observed[i]); r != budget.Fits {
			reasons = append(reasons, p.counters[i].unit.reason(r))
		}
	}
	return reasons
}

// RefusesAnyCost reports whether a claim that is not of money does not fit what was
// observed, so that the request is denied whatever it costs.
func (p Plan) RefusesAnyCost(observed []budget.Observed) bool {
	for i, c := range p.Claims {
		if c.AtEnd != budget.Adjust && budget.Judge(p.Needs(i, observed[i]), c.Limit, observed[i]) != budget.Fits {
			return true
		}
	}
	return false
}

// Explain turns the ledger's refusal into the denial that the client reads.
func (p Plan) Explain(d *budget.Denied) *call.Denial {
	i := p.first(d.Reasons)
	return p.deny(i, d.Reasons[i], refusal{p.Claims[i], d.Observed[i], d.At})
}

// deny is the denial for claim i alone.
func (p Plan) deny(i int, why budget.Reason, r refusal) *call.Denial {
	u := p.counters[i].unit
	denial := &refused{unit: u, Denial: &call.Denial{
		Reason:   u.reason(why),
		Budget:   p.Rule(i),
		Limit:    r.claim.Limit,
		Spent:    r.seen.Spent,
		Held:     r.seen.Held,
		Needed:   p.Needs(i, r.seen),
		ResetsAt: r.seen.Span.End,
		Redact:   p.tenant.Redact,
		Format:   u.write,
	}}
	if why == budget.Crowded {
		denial.Reason, denial.Message = TooManyNames, denial.crowded(r.claim.Window)
		return denial.Denial
	}
	denial.Message = u.describe(denial, r.claim.Window)
	if u.retry != nil {
		denial.After, denial.Retry = u.retry(r)
	}
	return denial.Denial
}

// first returns the index of the refused claim that is told. What cannot be
// waited for goes before what can, so that nobody waits in vain; among equals
// the order of decision holds.
func (p Plan) first(reasons []budget.Reason) int {
	final, crowded, passing := -1, -1, -1
	for i, r := range slices.Backward(reasons) {
		switch {
		case r == budget.Fits:
		case r == budget.Crowded:
			crowded = i
		case p.counters[i].unit.final(r):
			final = i
		default:
			passing = i
		}
	}
	for _, i := range []int{final, crowded, passing} {
		if i >= 0 {
			return i
		}
	}
	return 0
}

// Room is the nano-USD that could still be held in every money claim of the plan, given
// what was observed, and that could be if nothing else were held; negative when a budget
// is overrun.
func (p Plan) Room(observed []budget.Observed) (room, rest int64) {
	room, rest = budget.MaxAmount, budget.MaxAmount
	for i, c := range p.Claims {
		if c.AtEnd == budget.Adjust {
			room = min(room, c.Limit-observed[i].Spent-observed[i].Held)
			rest = min(rest, c.Limit-observed[i].Spent)
		}
	}
	if most := p.tenant.PerRequest; most > 0 {
		room, rest = min(room, most), min(rest, most)
	}
	return room, rest
}
