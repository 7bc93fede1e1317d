package policy_test

import (
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestGauge: the hard budget of money counts of which most is spent.
func TestGauge(t *testing.T) {
	t.Parallel()
	const (
		daily   = `{name: daily, window: day, limit_usd: "10"}`
		total   = `{name: total, window: forever, limit_usd: "100"}`
		soft    = `{name: early, window: forever, limit_usd: "1", kind: soft}`
		minute  = `{name: burst, window: minute, limit_usd: "0.5"}`
		rolling = `{name: rolling, window: rolling, length: 5h, limit_usd: "1"}`
	)
	const spent = 400_000_000 // nano-USD, in each counter
	day := call.Gauge{Percent: 4, Window: 24 * time.Hour, ResetsAt: instant(t, "2026-03-29T00:00:00Z").UnixMilli()}
	for _, row := range []struct {
		name, budgets, rules string
		want                 call.Gauge
		none                 bool
	}{
		{"one", daily, "", day, false},
		{"the fuller one", total + ", " + daily, "", day, false},
		{"never reset", total, "", call.Gauge{}, false},
		{"a soft one is none", soft, "", call.Gauge{}, true},
		{"a soft one beside", soft + ", " + daily, "", day, false},
		{"too short to tell", minute, "", call.Gauge{}, true},
		{"rolling", rolling, "", call.Gauge{Percent: 40, Window: 5 * time.Hour}, false},
		{"redacted", daily, "redact_amounts: true", call.Gauge{}, true},
		{"observed only", daily, "mode: observe", call.Gauge{}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			plan, denied := policy.Decide(tenant(t, "budgets: ["+row.budgets+"]", row.rules).Keys[0], &ask, noon)
			if denied != nil {
				t.Fatal(denied)
			}
			observed := make([]budget.Observed, len(plan.Claims))
			for i, c := range plan.Claims {
				observed[i] = budget.Observed{Spent: spent, Held: spent, Span: c.Window.Current}
			}
			if got, ok := plan.Gauge(observed); ok == row.none || got != row.want {
				t.Errorf("got %+v %v, want %+v", got, ok, row.want)
			}
		})
	}
}
