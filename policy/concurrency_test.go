package policy_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestSlotClaims(t *testing.T) {
	t.Parallel()
	run := "slots/run:" + string(call.HashName("r"))
	month := idle(720 * time.Hour)
	for _, c := range []struct {
		name, limit string
		facts       call.Facts
		want        *budget.Claim
	}{
		{"tenant", "limit: 5", ask, &budget.Claim{Key: "slots", Limit: 5, Window: budget.Window{Kind: budget.Forever}}},
		{"key", "scope: key, limit: 5", ask, &budget.Claim{Key: "slots/key:acme-1", Limit: 5, Window: budget.Window{Kind: budget.Forever}}},
		{"model", `scope: model, models: "gpt-*", limit: 5`, ask, &budget.Claim{Key: "slots/model:gpt-*", Limit: 5, Window: budget.Window{Kind: budget.Forever}}},
		{"another model", `scope: model, models: "o1*", limit: 5`, ask, nil},
		{"run", "scope: run, limit: 1", ask, &budget.Claim{Key: run, Limit: 1, Window: month, Group: "slots/run", GroupMax: 100000}},
		{"no run", "scope: run, limit: 1", call.Facts{}, nil},
		{"run and model", `scope: [model, run], models: "gpt-*", limit: 1`, ask,
			&budget.Claim{Key: run + "/model:gpt-*", Limit: 1, Window: month, Group: "slots/run/model:gpt-*", GroupMax: 100000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := mustDecide(t, tenant(t, "concurrency: [{name: parallel, "+c.limit+"}]"), c.facts, "", "")
			mustClaim(t, plan, c.want, budget.Return)
		})
	}
}

// mustClaim checks the only claim of a plan, of amount 1.
func mustClaim(t *testing.T, plan policy.Plan, want *budget.Claim, end budget.AtEnd) {
	t.Helper()
	if want == nil {
		if len(plan.Claims) != 0 {
			t.Errorf("claims %+v", plan.Claims)
		}
		return
	}
	want.Amount, want.AtEnd = 1, end
	if len(plan.Claims) != 1 || !reflect.DeepEqual(plan.Claims[0], *want) {
		t.Errorf("got  %+v\nwant %+v", plan.Claims, *want)
	}
}

func TestFullConcurrencyIsTold(t *testing.T) {
	t.Parallel()
	for redact, want := range map[string]string{
		"false": `concurrency limit "parallel" is full: limit 5, in flight 5; a slot is free when a request in flight ends`,
		"true":  `concurrency limit "parallel" is full; a slot is free when a request in flight ends`,
	} {
		owner := tenant(t, "redact_amounts: "+redact, "concurrency: [{name: parallel, limit: 5}]")
		plan := mustDecide(t, owner, ask, "", "")
		d := plan.Explain(&budget.Denied{Reasons: []budget.Reason{budget.Held}, Observed: []budget.Observed{{Held: 5}}})
		mustBeTellable(t, d)
		if d.Reason != policy.ConcurrencyFull || d.Message != want || !policy.Passes(d) || policy.OfMoney(d) || d.Retry != call.RetryUnsaid {
			t.Errorf("%+v", d)
		}
		if d.Format(d.Held) != "5" {
			t.Errorf("slots are written as %s", d.Format(d.Held))
		}
	}
}

// Two limits of one scope share a counter: the tighter one rules.
func TestLimitsOfOneScopeShareASlot(t *testing.T) {
	t.Parallel()
	owner := tenant(t, "concurrency: [{name: loose, limit: 9}, {name: tight, limit: 3}]")
	plan := mustDecide(t, owner, ask, "", "")
	if len(plan.Claims) != 1 || plan.Claims[0].Limit != 3 || plan.Rule(0) != "tight" {
		t.Errorf("%+v", plan.Claims)
	}
}
