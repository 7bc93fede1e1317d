package policy_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func nonced(nonce string, attempt int64) call.Facts {
	f := ask
	f.Nonce, f.Attempt = call.HashName(nonce), attempt
	return f
}

func TestNonceClaims(t *testing.T) {
	t.Parallel()
	key := "nonce/" + string(call.HashName("n"))
	counted := nonced("n", 0)
	counted.Counted = true
	for _, c := range []struct {
		name, rule string
		facts      call.Facts
		want       *budget.Claim
	}{
		{"no rule", "mode: enforce", nonced("n", 0), nil},
		{"no nonce", "replay: {}", nonced("", 0), nil},
		{"a nonce", "replay: {}", nonced("n", 0), &budget.Claim{Key: key + "/0", GroupMax: 100_000, Window: idle(24 * time.Hour)}},
		{"its last retry", "replay: {}", nonced("n", 2), &budget.Claim{Key: key + "/2", GroupMax: 100_000, Window: idle(24 * time.Hour)}},
		{"other numbers", "replay: {window: 1h, retries: 7, max_nonces: 5}", nonced("n", 7),
			&budget.Claim{Key: key + "/7", GroupMax: 5, Window: idle(time.Hour)}},
		{"a fallback of what was sent", "replay: {required: true}", counted, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := mustDecide(t, tenant(t, c.rule), c.facts, "", "")
			if c.want == nil {
				if len(plan.Claims) != 0 {
					t.Errorf("claims %+v", plan.Claims)
				}
				return
			}
			want := *c.want
			want.Amount, want.Limit, want.AtEnd, want.Group = 1, 1, budget.Keep, "nonce"
			if len(plan.Claims) != 1 || !reflect.DeepEqual(plan.Claims[0], want) || plan.Rule(0) != "replay" {
				t.Errorf("got  %+v\nwant %+v", plan.Claims, want)
			}
		})
	}
}

func idle(d time.Duration) budget.Window { return budget.Window{Kind: budget.Idle, Length: d} }

func TestNonceVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rule string
		facts      call.Facts
		reason     call.Reason
		says       string
	}{
		{"one retry too many", "replay: {}", nonced("n", 3), policy.ReplayedRequest, "2 retries"},
		{"no retries", "replay: {retries: 0}", nonced("n", 1), policy.ReplayedRequest, "0 retries"},
		{"an attempt that is no number", "replay: {retries: 100}", nonced("n", policy.BadAttempt), policy.ReplayedRequest, "not one of them"},
		{"no nonce where one is required", "replay: {required: true}", nonced("", 0), policy.NonceRequired, "wants a nonce"},
		{"a bad attempt without a nonce", "replay: {}", nonced("", policy.BadAttempt), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustDecide(t, tenant(t, c.rule), c.facts, c.reason, c.says)
		})
	}
}

// A nonce in flight is as good as spent: both are a replay.
func TestReplayIsTold(t *testing.T) {
	t.Parallel()
	plan := mustDecide(t, tenant(t, "replay: {window: 36h}"), nonced("n", 0), "", "")
	for _, why := range []budget.Reason{budget.Exhausted, budget.Held} {
		d := plan.Explain(&budget.Denied{Reasons: []budget.Reason{why}, Observed: []budget.Observed{{Spent: 1}}})
		mustBeTellable(t, d)
		want := `rule "replay" has seen this nonce: each can be spent once until it was unused for 36h; send a new one with a new request`
		if d.Reason != policy.ReplayedRequest || d.Message != want || policy.Passes(d) || policy.OfMoney(d) {
			t.Errorf("%s: %+v", why, d)
		}
	}
	crowded := plan.Explain(&budget.Denied{Reasons: []budget.Reason{budget.Crowded}, Observed: []budget.Observed{{}}})
	if crowded.Reason != policy.TooManyNames || crowded.Budget != "replay" {
		t.Errorf("%+v", crowded)
	}
}

// TestReplayUnderObserveIsBounded: it denies no replay, and not by max_nonces, but
// what the ledger remembers is bounded all the same, as it is of runs and users.
func TestReplayUnderObserveIsBounded(t *testing.T) {
	t.Parallel()
	owner := tenant(t, "mode: observe", "replay: {max_nonces: 1}")
	plan, denial := policy.Decide(owner.Keys[0], new(nonced("n", 0)), noon)
	if c := plan.Claims[0]; denial != nil || c.Limit != budget.NoLimit || c.GroupMax != 1_000_000 || plan.Limit(0) != 1 {
		t.Errorf("%v %+v", denial, plan.Claims)
	}
	full := plan.Explain(&budget.Denied{Reasons: []budget.Reason{budget.Crowded}, Observed: []budget.Observed{{}}})
	if full.Reason != policy.TooManyNames || full.Budget != "replay" {
		t.Errorf("%+v", full)
	}
	if got := plan.Broken([]budget.Observed{{Spent: 1}}); len(got) != 1 || got[0] != policy.ReplayedRequest {
		t.Errorf("broken %v", got)
	}
	if got := plan.Broken([]budget.Observed{{}}); len(got) != 0 {
		t.Errorf("broken %v", got)
	}
}

// What a tenant does not say of the rule, its plan does.
func TestReplayOverAPlan(t *testing.T) {
	t.Parallel()
	p := parse(t, head+"plans:\n  pro:\n    replay: {window: 1h, retries: 5}\n"+tenantText("plan: pro", "replay: {retries: 1}")+
		"  - {name: other, plan: pro}\n")
	for name, retries := range map[string]int64{"acme": 1, "other": 5} {
		if r := p.Tenant(name).Replay; r.Retries != retries || r.Window != time.Hour || r.MaxNonces != 100_000 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
