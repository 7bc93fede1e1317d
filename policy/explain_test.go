package policy_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// everything is a tenant that uses every module.
var everything = []string{
	"models: {deny: [o1]}", "capabilities: [chat]", "endpoints: {allow: [chat/completions]}", "tools: {allow: [search]}",
	"replay: {retries: 1}", "max_depth: 1", "per_request_usd: 0.5",
	"rates: [{name: burst, window: minute, limit: 3}]",
	"budgets: [{name: daily, window: day, limit_usd: 1}, {name: month, window: month, limit_usd: 9}]",
	"concurrency: [{name: parallel, limit: 2}]",
}

// TestOrderOfDecision: verdicts and claims stand in one fixed order, however
// the policy is written.
func TestOrderOfDecision(t *testing.T) {
	t.Parallel()
	f := offering("shell")
	f.Model, f.Endpoint, f.Needs = "o1", "embeddings", []string{"embeddings"}
	f.Nonce, f.Attempt, f.Depth, f.Cost = "n", 9, 9, 1_000_000_000
	e := policy.Explain(tenant(t, everything...).Keys[0], &f, noon)
	var modules []string
	var reasons []call.Reason
	for _, v := range e.Verdicts {
		modules = append(modules, v.Module)
		if v.Denial != nil {
			reasons = append(reasons, v.Denial.Reason)
		}
	}
	if want := []string{"models", "capabilities", "action_kinds", "endpoints", "tools", "hosted_tools", "run_required", "user_required", "replay", "max_depth", "tool_calls", "per_request_usd"}; !slices.Equal(modules, want) {
		t.Errorf("modules %v", modules)
	}
	// Nothing is asked of the kind of an action where there is none.
	if want := []call.Reason{
		policy.ModelNotAllowed, policy.CapabilityNotAllowed, policy.EndpointNotAllowed, policy.ToolNotAllowed,
		policy.ReplayedRequest, policy.DepthExceeded, policy.RequestCapExceeded,
	}; !slices.Equal(reasons, want) {
		t.Errorf("reasons %v", reasons)
	}
	var rules []string
	for i := range e.Plan.Claims {
		rules = append(rules, e.Plan.Rule(i))
	}
	if want := []string{"replay", "parallel", "daily", "month", "burst"}; !slices.Equal(rules, want) {
		t.Errorf("claims %v", rules)
	}
	_, denial := policy.Decide(tenant(t, everything...).Keys[0], &f, noon)
	if denial.Reason != policy.ModelNotAllowed {
		t.Errorf("decided %v", denial)
	}
}

// TestWhichRefusalIsTold: what waiting does not help goes before what it does,
// else the order of decision holds.
func TestWhichRefusalIsTold(t *testing.T) {
	t.Parallel()
	f := nonced("n", 0)
	f.Endpoint, f.Tools = "chat/completions", nil
	plan := mustDecide(t, tenant(t, everything...), f, "", "")
	const nonce, slot, daily, month, rate = 0, 1, 2, 3, 4
	for _, c := range []struct {
		name    string
		refused map[int]budget.Reason
		want    call.Reason
	}{
		{"a replay before all", map[int]budget.Reason{nonce: budget.Held, slot: budget.Held, daily: budget.Exhausted, rate: budget.Exhausted}, policy.ReplayedRequest},
		{"a used budget before a slot", map[int]budget.Reason{slot: budget.Held, month: budget.Exhausted}, policy.BudgetExhausted},
		{"a used rate before a slot", map[int]budget.Reason{slot: budget.Held, rate: budget.Held}, policy.RequestRate},
		{"a budget before a rate", map[int]budget.Reason{daily: budget.Exhausted, rate: budget.Exhausted}, policy.BudgetExhausted},
		{"a used rate before a held budget", map[int]budget.Reason{daily: budget.Held, rate: budget.Exhausted}, policy.RequestRate},
		{"a slot before a held budget", map[int]budget.Reason{slot: budget.Held, daily: budget.Held}, policy.ConcurrencyFull},
		{"too many nonces before a slot", map[int]budget.Reason{nonce: budget.Crowded, slot: budget.Held}, policy.TooManyNames},
	} {
		t.Run(c.name, func(t *testing.T) {
			reasons := make([]budget.Reason, len(plan.Claims))
			for i, r := range c.refused {
				reasons[i] = r
			}
			d := plan.Explain(&budget.Denied{Reasons: reasons, Observed: make([]budget.Observed, len(reasons))})
			if d.Reason != c.want {
				t.Errorf("told %s", d.Reason)
			}
		})
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	f := nonced("n", 0)
	f.Endpoint = "chat/completions"
	plan := mustDecide(t, tenant(t, everything...), f, "", "")
	for i, full := range []budget.Observed{{Spent: 1}, {Held: 2}, {Spent: 1_000_000_000}, {Held: 9_000_000_000}, {Spent: 3}} {
		if d := plan.Preview(i, budget.Observed{}, 0); d != nil {
			t.Errorf("%s: an empty counter denies: %v", plan.Rule(i), d)
		}
		if d := plan.Preview(i, full, noon.UnixMilli()); d == nil || d.Budget != plan.Rule(i) {
			t.Errorf("%s: a full counter says %v", plan.Rule(i), d)
		}
	}
}

// TestPlansAreReservations: whatever a request says of itself, its claims are
// ones that a ledger takes, each of its own key, and Decide and Explain agree.
func TestPlansAreReservations(t *testing.T) {
	t.Parallel()
	scopes := "scope: [key, run, user, model], models: \"*\""
	rules := append(slices.Clone(everything[4:5]), "user_field: user", "max_depth: 5", "per_request_usd: 1",
		"budgets: [{name: a, window: day, limit_usd: 1}, {name: b, "+scopes+", window: forever, limit_usd: 1}]",
		"rates: [{name: a, window: day, limit: 1}, {name: b, "+scopes+", window: forever, limit: 1}]",
		"concurrency: [{name: a, limit: 1}, {name: b, "+scopes+", limit: 1}, {name: c, scope: run, limit: 2}]")
	enforce, observe := tenant(t, rules...), tenant(t, append(rules, "mode: observe")...)
	rapid.Check(t, func(rt *rapid.T) {
		f := call.Facts{
			Model:   rapid.String().Draw(rt, "model"),
			Attempt: rapid.Int64Range(0, policy.BadAttempt).Draw(rt, "attempt"),
			Depth:   rapid.Int64Range(0, 10).Draw(rt, "depth"),
			Counted: rapid.Bool().Draw(rt, "counted"),

			ToolResults: drawResults(rt),
			Cost:        rapid.Int64Range(0, 2_000_000_000).Draw(rt, "cost"),
		}
		f.SetNames(rapid.String().Draw(rt, "run"), rapid.String().Draw(rt, "user"), rapid.String().Draw(rt, "nonce"))
		for _, owner := range []*policy.Tenant{enforce, observe} {
			plan, denial := policy.Decide(owner.Keys[0], &f, noon)
			e := policy.Explain(owner.Keys[0], &f, noon)
			first := slices.IndexFunc(e.Verdicts, func(v policy.Verdict) bool { return v.Denial != nil })
			if (denial != nil) != (first >= 0) || denial != nil && fmt.Sprintf("%+v", *denial) != fmt.Sprintf("%+v", *e.Verdicts[first].Denial) {
				rt.Fatalf("decided %v, explained %+v", denial, e.Verdicts)
			}
			if denial == nil && !reflect.DeepEqual(plan.Claims, e.Plan.Claims) {
				rt.Fatalf("claims %+v, explained %+v", plan.Claims, e.Plan.Claims)
			}
			r := budget.Reservation{Tenant: "acme", Lease: "l", Claims: e.Plan.Claims, TTL: time.Second,
				Policy: budget.PolicyVersion{Generation: 1, Hash: "ab"}}
			if err := r.Validate(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// TestWhatIsNotUsedClaimsNothing: a tenant pays only for the modules it uses.
func TestWhatIsNotUsedClaimsNothing(t *testing.T) {
	t.Parallel()
	f := nonced("n", policy.BadAttempt)
	f.Depth, f.Tools = 99, []string{"", "shell"}
	if plan := mustDecide(t, tenant(t, "mode: enforce"), f, "", ""); len(plan.Claims) != 0 {
		t.Errorf("claims %+v", plan.Claims)
	}
}
