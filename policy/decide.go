package policy

import "github.com/aegis-proxy/aegis-proxy/budget"

// Plan is what a tenant's rules demand of the ledger for one request.
type Plan struct {
	Claims []budget.Claim

	tenant *Tenant
	rules  [][]*Budget // of each claim: the budgets that it stands for
}

// verdicts are the stateless rules in their fixed order. The first denial
// wins.
var verdicts = [...]func(*Tenant, Facts) *Denial{
	allowModel,
	allowCapabilities,
	allowAction,
	capRequest,
}

// Decide applies the rules of a key's tenant to the facts. Under Observe it
// returns the plan beside the denial, whose claims then only count.
func Decide(k *Key, f Facts) (Plan, *Denial) {
	t := k.Tenant
	denial := judge(t, f)
	if denial != nil && t.Mode != Observe {
		return Plan{}, denial
	}
	return plan(k, f), denial
}

func judge(t *Tenant, f Facts) *Denial {
	for _, rule := range verdicts {
		if d := rule(t, f); d != nil {
			d.Redact = t.Redact
			return d
		}
	}
	return nil
}

func plan(k *Key, f Facts) Plan {
	t := k.Tenant
	p := Plan{
		Claims: make([]budget.Claim, 0, len(t.counters)),
		tenant: t,
		rules:  make([][]*Budget, 0, len(t.counters)),
	}
	who := newCaller(k, f)
	for _, c := range t.counters {
		claim, applies := c.claim(who, f)
		if !applies {
			continue
		}
		p.Claims = append(p.Claims, claim)
		p.rules = append(p.rules, c.budgets)
	}
	if f.ActionID != "" {
		p.useOnce(f)
	}
	return p
}

// Rule returns the name of the budget that claim i enforces, for receipts.
func (p Plan) Rule(i int) string { return p.rules[i][0].Name }

// Limit returns what claim i may reach by the policy, also where the ledger
// only counts.
func (p Plan) Limit(i int) int64 { return hardLimit(p.rules[i]) }

// Warnings names the soft budgets that this grant takes over their limit.
func (p Plan) Warnings(observed []budget.Observed) []string {
	var names []string
	for i, budgets := range p.rules {
		total := observed[i].Spent + observed[i].Held + p.Claims[i].Amount
		for _, b := range budgets {
			if b.Kind == Soft && total > b.Limit {
				names = append(names, b.Name)
			}
		}
	}
	return names
}

// Broken returns what the policy's limits say of a grant that was made
// without them: the reasons under Observe.
func (p Plan) Broken(observed []budget.Observed) []budget.Reason {
	reasons := make([]budget.Reason, len(p.Claims))
	for i, c := range p.Claims {
		reasons[i] = budget.Judge(c.Amount, p.Limit(i), observed[i])
	}
	return reasons
}

// Explain turns the ledger's refusal into the denial that the client reads:
// the exhausted budget if there is one, else the one that is held.
func (p Plan) Explain(d *budget.Denied) *Denial {
	i := worst(d.Reasons)
	if p.rules[i][0] == idBudgets[0] {
		return explainID(d.Reasons[i])
	}
	b, seen, claim := p.rules[i][0], d.Observed[i], p.Claims[i]
	denial := &Denial{
		Reason:   reasonOf[d.Reasons[i]],
		Budget:   b.Name,
		Limit:    claim.Limit,
		Spent:    seen.Spent,
		Held:     seen.Held,
		Needed:   claim.Amount,
		ResetsAt: seen.Span.End,
		Redact:   p.tenant.Redact,
	}
	denial.Message = denial.describe()
	return denial
}

var reasonOf = map[budget.Reason]Reason{
	budget.Exhausted: BudgetExhausted,
	budget.Held:      BudgetHeld,
	budget.Crowded:   TooManyNames,
}

// worst returns the index of the reason that helps the caller most: an
// exhausted budget cannot be waited for, so it comes first.
func worst(reasons []budget.Reason) int {
	for _, want := range []budget.Reason{budget.Exhausted, budget.Crowded, budget.Held} {
		for i, r := range reasons {
			if r == want {
				return i
			}
		}
	}
	return 0
}

// Room is the nano-USD that could still be held in every money claim of the
// plan, given what was observed; negative when a budget is overrun.
func (p Plan) Room(observed []budget.Observed) int64 {
	room := int64(budget.MaxAmount)
	for i, c := range p.Claims {
		if c.AtEnd == budget.Adjust {
			room = min(room, c.Limit-observed[i].Spent-observed[i].Held)
		}
	}
	if p.tenant.PerRequest > 0 {
		room = min(room, p.tenant.PerRequest)
	}
	return room
}
