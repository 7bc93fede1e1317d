package policy_test

import (
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func actionFacts(kind string, cost int64) call.Facts {
	return call.Facts{Endpoint: call.ActionEndpoint + kind, ActionID: "0123", Needs: []string{call.NeedActions}, Cost: cost}
}

func TestActionsAreDecided(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		tenant policy.Tenant
		kind   string
		cost   int64
		want   call.Reason
	}{
		"a built-in kind":            {policy.Tenant{}, "payment", 5, ""},
		"a kind of the policy":       {policy.Tenant{ActionKinds: []string{"booking"}}, "booking", 5, ""},
		"an unknown kind":            {policy.Tenant{ActionKinds: []string{"booking"}}, "bookings", 5, policy.CapabilityNotAllowed},
		"the capability is given":    {policy.Tenant{Capabilities: []string{"chat", "actions"}}, "tool", 5, ""},
		"the capability is not":      {policy.Tenant{Capabilities: []string{"chat"}}, "tool", 5, policy.CapabilityNotAllowed},
		"within the cap":             {policy.Tenant{PerRequest: 5}, "tool", 5, ""},
		"above the cap":              {policy.Tenant{PerRequest: 5}, "tool", 6, policy.RequestCapExceeded},
		"models are of no concern":   {policy.Tenant{AllowModels: []string{"gpt-*"}}, "tool", 5, ""},
		"nor are those not allowed":  {policy.Tenant{DenyModels: []string{"*"}}, "tool", 5, ""},
		"an extension has no kind":   {policy.Tenant{}, policy.Extension, 5, ""},
		"an extension has a cap too": {policy.Tenant{PerRequest: 5}, policy.Extension, 6, policy.RequestCapExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			_, denial := policy.Decide(&policy.Key{ID: "k", Tenant: &row.tenant}, new(actionFacts(row.kind, row.cost)), noon)
			got := call.Reason("")
			if denial != nil {
				got = denial.Reason
			}
			if got != row.want {
				t.Errorf("%q (%v), want %q", got, denial, row.want)
			}
		})
	}
}

// TestActionsClaim: an action draws on every budget but those of models, and its
// id is claimed once.
func TestActionsClaim(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `    budgets:
      - {name: total, window: forever, limit_usd: "1"}
      - {name: soft, window: forever, limit_usd: "0.5", kind: soft}
      - {name: all, scope: model, models: "*", window: day, limit_usd: "1"}
      - {name: run, scope: run, window: day, limit_usd: "1"}
`)
	facts := actionFacts("payment", 7)
	facts.Run = call.HashName("r")
	plan, denial := policy.Decide(p.Tenants[0].Keys[0], &facts, noon)
	if denial != nil || len(plan.Claims) != 3 {
		t.Fatalf("%v %+v", denial, plan.Claims)
	}
	for i, want := range []string{"action_id", "total", "run"} {
		if plan.Rule(i) != want {
			t.Errorf("claim %d is of %s, want %s", i, plan.Rule(i), want)
		}
	}
	id := plan.Claims[0]
	if id.Key != "action/0123" || id.Amount != 1 || id.Limit != 1 || id.AtEnd != budget.Spend || id.GroupMax != policy.MaxActionIDs || id.Window != idle(policy.ActionIDLife) {
		t.Errorf("%+v", id)
	}
	observed := []budget.Observed{{}, {Spent: 3, Held: 2}, {}}
	left := plan.Remaining(observed)
	if len(left) != 3 || left[0] != (policy.Remaining{Budget: "total", Limit: 1e9, Spent: 3, Held: 9, Left: 1e9 - 12}) {
		t.Errorf("%+v", left)
	}
}

// TestUsedIDIsToldFirst: that an id is used is told before whatever else stops the
// action, and under Observe too.
func TestUsedIDIsToldFirst(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"enforce", "observe"} {
		p := mustParse(t, "    mode: "+mode+"\n    budgets: [{name: total, window: forever, limit_usd: \"1\"}]\n")
		plan, denial := policy.Decide(p.Tenants[0].Keys[0], new(actionFacts("payment", 7)), noon)
		if denial != nil {
			t.Fatal(denial)
		}
		for _, row := range []struct {
			id     budget.Reason
			seen   budget.Observed
			reason call.Reason
			says   string
		}{
			{budget.Exhausted, budget.Observed{Spent: 1}, policy.ActionIDUsed, "has ended"},
			{budget.Held, budget.Observed{Held: 1}, policy.ActionIDUsed, "differs from this one"},
			{budget.Crowded, budget.Observed{}, policy.BudgetExhausted, ""},
		} {
			d := plan.Explain(&budget.Denied{Observed: []budget.Observed{row.seen, {}}, Reasons: []budget.Reason{row.id, budget.Exhausted}})
			if d.Reason != row.reason || !strings.Contains(d.Message, row.says) || policy.Passes(d) || plan.Claims[0].Limit != 1 {
				t.Errorf("%s, %s: %+v", mode, row.id, d)
			}
		}
		crowded := plan.Explain(&budget.Denied{Observed: []budget.Observed{{}, {}}, Reasons: []budget.Reason{budget.Crowded, ""}})
		if crowded.Reason != policy.TooManyNames || crowded.Budget != "action_id" {
			t.Errorf("%+v", crowded)
		}
	}
}

// mustParse reads a policy whose one tenant has these members.
func mustParse(t *testing.T, members string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(`generation: 1
upstreams: [{name: up, base_url: "http://127.0.0.1:1/v1", provider: openai, cap_field: max_tokens}]
models: [{match: "*", upstreams: [up]}]
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "`+strings.Repeat("01", 32)+`"}]
`+members))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
