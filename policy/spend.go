package policy

import (
	"cmp"
	"fmt"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// usd is the unit of money, in nano-USD. The rule: what a request may cost at
// most must fit into every budget that concerns it; what it did cost takes the
// place of that once it has ended.
var usd = &unit{
	name:     "usd",
	noun:     "budget",
	atEnd:    budget.Adjust,
	amount:   func(f *call.Facts) int64 { return f.Cost },
	write:    USD,
	reason:   spendReason,
	final:    func(r budget.Reason) bool { return r == budget.Exhausted },
	describe: describeSpend,
}

func spendReason(r budget.Reason) call.Reason {
	if r == budget.Held {
		return BudgetHeld
	}
	return BudgetExhausted
}

func describeSpend(d *refused, w budget.Window) string {
	if d.Reason == BudgetHeld {
		return fmt.Sprintf("spend limit held: what is left of %s is held by requests in flight%s; what they do not use comes back when they end",
			d.subject(), d.amounts())
	}
	return fmt.Sprintf("spend limit reached: %s has too little left for this request%s; %s", d.subject(), d.amounts(), d.reset(w, "charges"))
}

// capRequest denies a request that alone may cost more than the tenant's
// per-request cap.
func capRequest(t *Tenant, f *call.Facts) *call.Denial {
	if t.PerRequest == 0 || f.Cost <= t.PerRequest {
		return nil
	}
	d := &call.Denial{
		Reason: RequestCapExceeded,
		Budget: "per_request",
		Limit:  t.PerRequest,
		Format: USD,
		Needed: f.Cost,
	}
	d.Message = "spend limit of one request: it may cost more than the per-request cap"
	if !t.Redact {
		d.Message = fmt.Sprintf("spend limit of one request: it may cost %s, more than the per-request cap of %s",
			USD(f.Cost), USD(t.PerRequest))
	}
	return d
}

func tightestHardFirst(a, b *Budget) int {
	if a.Kind != b.Kind {
		if a.Kind == Hard {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.Limit, b.Limit)
}

func hardLimit(budgets []*Budget) int64 {
	limit := int64(budget.NoLimit)
	for _, b := range budgets {
		if b.Kind == Hard {
			limit = min(limit, b.Limit)
		}
	}
	return limit
}
