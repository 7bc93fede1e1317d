package policy_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// placedAs are claims as a ledger grants them at the instant of the facts.
func placedAs(claims []budget.Claim) []budget.Placed {
	list := make([]budget.Placed, len(claims))
	for i, c := range claims {
		list[i] = budget.Placed{Claim: c}
		if c.Window.Kind == budget.Fixed {
			list[i].Span = c.Window.Current
		}
		if len(c.Marks) > 0 {
			list[i].Amount = int64(len(c.Marks))
		}
	}
	return list
}

// TestClaimsTellWhatTheyMustBe: the claims that a policy gives any request pass
// without the request. One more is found, one with another limit, and so is one
// that is left out, where it is not of a kind that may be missing.
func TestClaimsTellWhatTheyMustBe(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rules := []string{"user_field: user", "capabilities: [chat, actions]", "mode: " + rapid.SampledFrom([]string{"enforce", "observe"}).Draw(rt, "mode")}
		if rapid.Bool().Draw(rt, "nonces") {
			rules = append(rules, "replay: {retries: 2}")
		}
		for _, kind := range planLimits {
			chosen := slices.DeleteFunc(slices.Clone(kind.limits), func(string) bool { return !rapid.Bool().Draw(rt, "given") })
			if len(chosen) > 0 {
				rules = append(rules, kind.field+": ["+strings.Join(chosen, ", ")+"]")
			}
		}
		key := tenant(t, rules...).Keys[0]
		facts, now := drawFacts(rt)
		action := rapid.Bool().Draw(rt, "action")
		if action {
			facts.Endpoint, facts.ActionID, facts.ToolResults, facts.Counted = "actions/payment", call.HashName("id"), nil, false
			facts.Nonce, facts.Attempt, facts.User = "", 0, ""
			facts.Needs = []string{call.NeedActions}
		}
		plan, denial := policy.Decide(key, &facts, now)
		if denial != nil {
			rt.Skip(denial.Reason)
		}
		granted := placedAs(plan.Claims)
		if err := key.Tenant.CheckGranted(action, now, granted); err != nil {
			rt.Fatalf("%v, of the claims %+v", err, granted)
		}
		fails := func(what string, claims []budget.Placed) {
			if key.Tenant.CheckGranted(action, now, claims) == nil {
				rt.Fatalf("%s passes: %+v", what, claims)
			}
		}
		fails("one more", append(slices.Clone(granted), budget.Placed{Claim: budget.Claim{Key: "usd/century", AtEnd: budget.Keep}}))
		for i, c := range granted {
			raised := slices.Clone(granted)
			raised[i].Limit += 5
			fails("another limit of "+c.Key, raised)
			without := slices.Delete(slices.Clone(granted), i, i+1)
			if c.Key == "usd/day" || strings.HasPrefix(c.Key, "action/") || c.Key == "slots" {
				fails("leaving out "+c.Key, without)
			}
		}
	})
}
