package policy_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestRequiredNames: a request without the name that its policy wants is denied, and is told
// where to name it.
func TestRequiredNames(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, rules string
		endpoint    string
		run, user   string
		want        call.Reason
		says        string
	}{
		{"nothing is wanted", "mode: enforce", "messages", "", "", "", ""},
		{"a run, and there is one", "run_required: true", "messages", "r", "", "", ""},
		{"a run, and there is none", "run_required: true", "messages", "", "u", policy.RunRequired, "X-Aegis-Run or in the base URL, as /run/NAME/v1"},
		{"a run that another place may name", "{run_required: true, runs_from: [agent, x-session]}", "messages", "", "", policy.RunRequired, "runs_from of the policy looks for: agent, X-Session"},
		{"a run of a call that costs nothing", "run_required: true", call.CountTokens, "", "", policy.RunRequired, ""},
		{"a run of an action", "run_required: true", call.ActionEndpoint + "payment", "", "", policy.RunRequired, ""},
		{"a run of a list", "run_required: true", call.ListModels, "", "", "", ""},
		{"a user, and there is one", "{user_required: true, user_field: user}", "messages", "", "u", "", ""},
		{"a user, and there is none", "{user_required: true, user_field: user}", "messages", "r", "", policy.UserRequired, "a key that it trusts: name it in the field user"},
		{"a user in a header", "{user_required: true, user_header: x-user}", "messages", "", "", policy.UserRequired, "in the header X-User"},
		{"a user in either", "{user_required: true, user_header: x-user, user_field: user}", "messages", "", "", policy.UserRequired, "in the header X-User, or in the field user"},
		{"a user of an action", "{user_required: true, user_field: user}", call.ActionEndpoint + "payment", "", "", "", ""},
		{"a user of a list", "{user_required: true, user_field: user}", call.DescribeModel, "", "", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			rules := strings.Split(strings.Trim(row.rules, "{}"), ", ")
			if strings.Contains(row.rules, "[agent,") {
				rules = []string{"run_required: true", "runs_from: [agent, x-session]"}
			}
			f := call.Facts{Model: "gpt-4o", Endpoint: row.endpoint}
			f.SetNames(row.run, row.user, "")
			_, denial := policy.Decide(tenant(t, rules...).Keys[0], &f, noon)
			switch {
			case denial == nil && row.want != "":
				t.Errorf("it is let through")
			case denial != nil && (denial.Reason != row.want || !strings.Contains(denial.Message, row.says)):
				t.Errorf("%s: %s", denial.Reason, denial.Message)
			}
		})
	}
}

// TestNamesOnlyDivide: whatever a caller says of run and end user, every limit that no name is part
// of claims the same, and names only add claims to these. So no name widens what a key may
// spend.
func TestNamesOnlyDivide(t *testing.T) {
	t.Parallel()
	owner := tenant(t, "user_field: user",
		"budgets: [{name: all, window: day, limit_usd: 1}, {name: mine, scope: key, window: day, limit_usd: 1}, {name: run, scope: run, window: forever, limit_usd: 1}, {name: both, scope: [user, model], models: gpt-*, window: day, limit_usd: 1}]",
		"rates: [{name: burst, window: minute, limit: 3}, {name: of-run, scope: run, window: minute, limit: 3}]",
		"concurrency: [{name: parallel, limit: 2}, {name: of-user, scope: user, limit: 1}]",
		"tool_calls: [{name: tools, scope: run, window: forever, limit: 5}, {name: of-all, window: day, limit: 9}]")
	rapid.Check(t, func(rt *rapid.T) {
		named, now := drawFacts(rt)
		bare := named
		bare.Run, bare.User = "", ""
		of := func(f call.Facts) []budget.Claim {
			plan, denial := policy.Decide(owner.Keys[0], &f, now)
			if denial != nil {
				rt.Fatal(denial)
			}
			return plan.Claims
		}
		with := of(named)
		for _, claim := range of(bare) {
			if !slices.ContainsFunc(with, func(c budget.Claim) bool { return reflect.DeepEqual(c, claim) }) {
				rt.Fatalf("with names there is no claim %+v, only %+v", claim, with)
			}
		}
	})
}
