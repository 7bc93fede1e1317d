package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestRateClaims(t *testing.T) {
	t.Parallel()
	minute := budget.Window{
		Kind:    budget.Fixed,
		Current: budget.Span{Start: noon.UnixMilli(), End: noon.Add(time.Minute).UnixMilli()},
		Next:    budget.Span{Start: noon.Add(time.Minute).UnixMilli(), End: noon.Add(2 * time.Minute).UnixMilli()},
	}
	run := "requests/run:" + string(call.HashName("r"))
	fallback := ask
	fallback.Counted = true
	counting := ask
	counting.Endpoint = call.CountTokens
	for _, c := range []struct {
		name, rate string
		facts      call.Facts
		want       *budget.Claim
	}{
		{"tenant", "window: minute", ask, &budget.Claim{Key: "requests/minute", Window: minute}},
		{"key", "scope: key, window: minute", ask, &budget.Claim{Key: "requests/key:acme-1/minute", Window: minute}},
		{"model", `scope: model, models: "gpt-*", window: minute`, ask, &budget.Claim{Key: "requests/minute/model:gpt-*", Window: minute}},
		{"run", "scope: run, window: minute", ask, &budget.Claim{Key: run + "/minute", Window: minute, Group: "requests/run/minute", GroupMax: 100000}},
		{"run for its life", "scope: run, window: forever", ask,
			&budget.Claim{Key: run + "/forever", Window: idle(720 * time.Hour), Group: "requests/run/forever", GroupMax: 100000}},
		{"rolling", "window: rolling, length: 1h", ask,
			&budget.Claim{Key: "requests/rolling-3600000ms", Window: budget.Window{Kind: budget.Rolling, Length: time.Hour}}},
		{"an endpoint", `endpoint: "messages/count_tokens", window: minute`, counting, &budget.Claim{Key: "requests/minute/endpoint:messages/count_tokens", Window: minute}},
		{"another endpoint", `endpoint: "messages", window: minute`, counting, nil},
		{"endpoints of a pattern and a model", `endpoint: "messages*", scope: model, models: "gpt-*", window: minute`, counting,
			&budget.Claim{Key: "requests/minute/endpoints:" + string(call.HashName("messages*")) + "/model:gpt-*", Window: minute}},
		{"an endpoint of all", "window: minute", counting, &budget.Claim{Key: "requests/minute", Window: minute}},
		{"a fallback of what was sent", "window: minute", fallback, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := mustDecide(t, tenant(t, "rates: [{name: burst, limit: 7, "+c.rate+"}]"), c.facts, "", "")
			if c.want != nil {
				c.want.Limit = 7
			}
			mustClaim(t, plan, c.want, budget.Keep)
		})
	}
}

// The client is told to come back when the window ends, within what SDKs obey.
func TestRetryOfRates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		window string
		into   time.Duration // of noon's day
		after  int64
		never  bool
		says   string
	}{
		{"window: minute", 12 * time.Hour, 60, false, "it resets at 2026-03-28T12:01:00Z"},
		{"window: minute", 12*time.Hour + 30500*time.Millisecond, 30, false, "it resets at 2026-03-28T12:01:00Z"},
		{"window: minute", 12*time.Hour + 59999*time.Millisecond, 1, false, "it resets at 2026-03-28T12:01:00Z"},
		{"window: day", 12 * time.Hour, 0, true, "it resets at 2026-03-29T00:00:00Z"},
		{"window: day", 24*time.Hour - time.Minute, 60, false, "it resets at 2026-03-29T00:00:00Z"},
		{"window: day", 24*time.Hour - time.Minute - time.Millisecond, 0, true, "it resets at 2026-03-29T00:00:00Z"},
		{"window: rolling, length: 1m", 0, 1, false, "room comes back as requests leave its window of 1m"},
		{"window: rolling, length: 30m", 0, 30, false, "room comes back as requests leave its window of 30m"},
		{"window: rolling, length: 24h", 0, 60, false, "room comes back as requests leave its window of 24h"},
		{"window: forever", 0, 0, true, "it never resets; only a higher limit makes room"},
	} {
		t.Run(fmt.Sprintf("%s after %s", c.window, c.into), func(t *testing.T) {
			now := instant(t, "2026-03-28T00:00:00Z").Add(c.into)
			plan, _ := policy.Decide(tenant(t, "rates: [{name: burst, limit: 7, "+c.window+"}]").Keys[0], &ask, now)
			d := plan.Explain(&budget.Denied{
				At: now.UnixMilli(), Reasons: []budget.Reason{budget.Exhausted},
				Observed: []budget.Observed{{Span: plan.Claims[0].Window.Current, Spent: 7}},
			})
			mustBeTellable(t, d)
			want := `request limit "burst" has no request left: limit 7, spent 7, held 0, needed 1; ` + c.says
			if d.Reason != policy.RequestRate || d.Message != want || d.After != c.after || (d.Retry == call.RetryNever) != c.never || policy.Passes(d) {
				t.Errorf("got %+v\nwant %s, after %d, never %v", d, want, c.after, c.never)
			}
		})
	}
}
