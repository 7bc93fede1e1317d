package gate

import (
	"fmt"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// asked is an output cap before it was clamped.
type asked struct {
	cap      int64
	uncapped bool
}

// clamp lowers the output cap to what fits the room, if the tenant wants that, but not
// below its floor. Where the floor does not fit, it is asked for all the same: where others
// hold what it lacks the call is then held, not exhausted, and is told to come back, or waits
// in line; else its denial tells the least that would have passed. What is only held with
// the cap at hand fits again without.
func (q *quote) clamp(m *misfit) bool {
	if !q.clamps(m) {
		return false
	}
	lower := max(q.floor(), q.largestCap(m.room))
	if lower >= q.OutputCap {
		return false
	}
	if !q.clamped {
		q.asked = asked{q.OutputCap, q.Uncapped}
	}
	q.OutputCap, q.Uncapped, q.clamped = lower, false, true
	return true
}

// clamps reports whether the tenant wants the cap lowered for a denial.
func (q *quote) clamps(m *misfit) bool {
	return q.Key.Tenant.Clamps(&q.Facts) && policy.OfMoney(m.Denial) && m.Reason != policy.BudgetHeld
}

// floor is the least output cap that the call may be sent with.
func (q *quote) floor() int64 {
	return max(1, q.LeastCap, q.Key.Tenant.MinOutput)
}

// sayLeast says in a denial that the floor was another one than the tenant's.
func (q *quote) sayLeast(d *call.Denial) {
	if q.clamped && policy.OfMoney(d) && q.LeastFor != "" && q.OutputCap == q.LeastCap {
		d.Message += fmt.Sprintf("; its output cap cannot be lowered below %d, because of %s", q.LeastCap, q.LeastFor)
	}
}

// unclamp puts back what was asked for.
func (q *quote) unclamp() {
	if q.clamped {
		q.OutputCap, q.Uncapped, q.clamped = q.asked.cap, q.asked.uncapped, false
	}
}
