package policy_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// planLimits are limits of which any number can stand in one policy, by their field
// in the order of decision.
var planLimits = []struct {
	field  string
	limits []string
}{
	{"concurrency", []string{
		"{name: c1, limit: 5}", "{name: c2, scope: key, limit: 5}", "{name: c3, scope: user, limit: 5}",
	}},
	{"tool_calls", []string{
		"{name: t1, limit: 9}", "{name: t2, scope: run, tool: \"db_*\", limit: 9}", "{name: t3, scope: run, window: day, tool: nothing, limit: 9}",
	}},
	{"budgets", []string{
		"{name: b1, window: day, limit_usd: 9}", "{name: b2, scope: run, window: forever, limit_usd: 9}",
		"{name: b3, scope: [key, user], window: hour, limit_usd: 9}", "{name: b4, scope: model, window: month, models: \"gpt-*\", limit_usd: 9}",
		"{name: b5, scope: [run, user], window: week, limit_usd: 9}", "{name: b6, scope: [model, run], window: day, models: \"o1*\", limit_usd: 9}",
	}},
	{"rates", []string{
		"{name: r1, window: minute, limit: 9}", "{name: r2, scope: run, window: minute, limit: 9}", "{name: r3, scope: key, window: hour, limit: 9}",
		"{name: r4, endpoint: \"messages*\", window: hour, limit: 9}", "{name: r5, endpoint: \"chat/*\", scope: model, models: \"gpt-*\", window: day, limit: 9}",
	}},
}

// TestPlanOfManyLimits: a request claims of each limit, in the order of decision,
// what it would claim where that limit stood alone, however many there are, and
// whoever decides after it.
func TestPlanOfManyLimits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var whole []string
		var alone [][]string
		add := func(field string) { alone = append(alone, []string{field}) }
		mode := "mode: " + rapid.SampledFrom([]string{"enforce", "observe"}).Draw(rt, "mode")
		if rapid.Bool().Draw(rt, "nonces") {
			whole = append(whole, "replay: {retries: 2}")
			add("replay: {retries: 2}")
		}
		for _, kind := range planLimits {
			chosen := slices.DeleteFunc(slices.Clone(kind.limits), func(string) bool { return !rapid.Bool().Draw(rt, "given") })
			if len(chosen) > 0 {
				whole = append(whole, kind.field+": ["+strings.Join(chosen, ", ")+"]")
			}
			for _, limit := range chosen {
				add(kind.field + ": [" + limit + "]")
			}
		}
		facts, now := drawFacts(rt)
		var want []budget.Claim
		for _, rules := range alone {
			plan, _ := policy.Decide(tenant(t, append(rules, mode, "user_field: user")...).Keys[0], &facts, now)
			want = append(want, plan.Claims...)
		}
		key := tenant(t, append(whole, mode, "user_field: user")...).Keys[0]
		another, later := drawFacts(rt)
		plan, _ := policy.Decide(key, &facts, now)
		policy.Decide(key, &another, later)
		if got := plan.Claims; len(got)+len(want) > 0 && !reflect.DeepEqual(slices.Clone(got), want) {
			rt.Fatalf("claims\n%+v, want\n%+v", got, want)
		}
		if facts.Run != "" && !slices.Contains(key.Switches(nil, &facts), "run:"+string(facts.Run)) {
			rt.Fatalf("switches %q", key.Switches(nil, &facts))
		}
	})
}

func drawFacts(rt *rapid.T) (facts call.Facts, now time.Time) {
	name := rapid.SampledFrom([]string{"", "a", strings.Repeat("b", 300)})
	facts = call.Facts{
		Attempt: rapid.Int64Range(0, 2).Draw(rt, "attempt"),
		Model:   rapid.SampledFrom([]string{"gpt-4o", "o1"}).Draw(rt, "model"), Cost: rapid.Int64Range(0, 1_000_000).Draw(rt, "cost"),
		Endpoint: rapid.SampledFrom([]string{call.ChatCompletions, "messages", call.CountTokens}).Draw(rt, "endpoint"),
		Counted:  rapid.Bool().Draw(rt, "counted"),
	}
	facts.SetNames(name.Draw(rt, "run"), name.Draw(rt, "user"), name.Draw(rt, "nonce"))
	for i, tool := range rapid.SliceOfN(rapid.SampledFrom([]string{"", "db_read", "search"}), 0, 5).Draw(rt, "results") {
		facts.ToolResults = policy.AddToolResult(facts.ToolResults, call.HashName(strings.Repeat("c", i%4+1)), tool)
	}
	return facts, noon.Add(time.Duration(rapid.Int64Range(0, 1e15).Draw(rt, "later")))
}
