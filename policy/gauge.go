package policy

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// leastGauge is the shortest window that a gauge tells of: what is full in a minute is empty
// in the next.
const leastGauge = time.Hour

// Gauge is that of the hard budget of which most is spent, without what is held. There is none
// where the client may not know, and where nothing is denied.
func (p Plan) Gauge(observed []budget.Observed) (fullest call.Gauge, ok bool) {
	if p.tenant.Redact || p.tenant.Mode == Observe {
		return call.Gauge{}, false
	}
	for i, c := range p.Claims {
		if c.AtEnd != budget.Adjust {
			continue
		}
		length, short := gaugeLength(c.Window, observed[i].Span)
		for _, b := range p.counters[i].budgets {
			percent := 100 * min(observed[i].Spent, b.Limit) / max(b.Limit, 1)
			if b.Kind == Hard && !short && (!ok || percent > fullest.Percent) {
				fullest, ok = call.Gauge{Percent: percent, Window: length, ResetsAt: observed[i].Span.End}, true
			}
		}
	}
	return fullest, ok
}

// gaugeLength is how long a window is, 0 for one that never ends.
func gaugeLength(w budget.Window, now budget.Span) (length time.Duration, short bool) {
	switch w.Kind {
	case budget.Fixed:
		length = time.Duration(now.End-now.Start) * time.Millisecond
	case budget.Rolling:
		length = w.Length
	default:
		return 0, false
	}
	return length, length < leastGauge
}
