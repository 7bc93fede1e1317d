package gate

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// asked is an output cap before it was clamped.
type asked struct {
	cap      int64
	uncapped bool
}

// clamp lowers the output cap to what fits the room, if the tenant wants that, but not
// below its floor. Where the floor does not fit for what others hold, it is asked for all
// the same, so that the call is held, not exhausted: it is told to come back, or waits
// in line. What is only held with the cap at hand fits again without.
func (q *quote) clamp(m *misfit) bool {
	if !q.Key.Tenant.Clamp || m.Reason == policy.BudgetHeld {
		return false
	}
	floor := max(call.LeastCap(q.Endpoint), q.Key.Tenant.MinOutput)
	lower := q.largestCap(m.room)
	if lower < floor && q.largestCap(m.rest) >= floor {
		lower = floor
	}
	if lower < floor {
		return false
	}
	if !q.clamped {
		q.asked = asked{q.OutputCap, q.Uncapped}
	}
	q.OutputCap, q.Uncapped, q.clamped = lower, false, true
	return true
}

// unclamp puts back what was asked for.
func (q *quote) unclamp() {
	if q.clamped {
		q.OutputCap, q.Uncapped, q.clamped = q.asked.cap, q.asked.uncapped, false
	}
}
