package policy_test

import (
	"errors"
	"fmt"
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

var noon = time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)

// ask is a request that the tests' tenants may make.
var ask = call.Facts{Run: call.HashName("r"), User: call.HashName("u"), Model: "gpt-4o", Upstream: "openai", Cost: 1_000_000}

func TestStatelessRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		rules  string
		facts  func(*call.Facts)
		reason call.Reason
		says   string
	}{
		{"no rule", "mode: enforce", nil, "", ""},
		{"an allowed model", `models: {allow: ["gpt-*"]}`, nil, "", ""},
		{"a model not allowed", `models: {allow: ["gpt-5*"]}`, nil, policy.ModelNotAllowed, `model "gpt-4o" is not allowed`},
		{"a denied model", `models: {deny: ["gpt-4*"]}`, nil, policy.ModelNotAllowed, "is not allowed"},
		{"denied and allowed", `models: {allow: ["*"], deny: ["*4o*"]}`, nil, policy.ModelNotAllowed, "is not allowed"},
		{"a very long model", `models: {allow: ["x"]}`, func(f *call.Facts) { f.Model = strings.Repeat("a", 1<<20) },
			policy.ModelNotAllowed, strings.Repeat("a", 64) + `"... is not allowed`},
		{"a capability given", "capabilities: [stream]", func(f *call.Facts) { f.Needs = []string{"stream"} }, "", ""},
		{"a capability not given", "capabilities: [stream]", func(f *call.Facts) { f.Needs = []string{"stream", "tools"} },
			policy.CapabilityNotAllowed, `capability "tools" is not allowed`},
		{"an empty list gives none", "capabilities: []", func(f *call.Facts) { f.Needs = []string{"chat"} },
			policy.CapabilityNotAllowed, "is not allowed"},
		{"the per-request cap itself", "per_request_usd: 0.001", nil, "", ""},
		{"above the per-request cap", "per_request_usd: 0.000999999", nil, policy.RequestCapExceeded,
			"spend limit of one request: it may cost 0.001 USD, more than the per-request cap of 0.000999999 USD"},
		{"above it, amounts redacted", "{per_request_usd: 0.0009, redact_amounts: true}", nil, policy.RequestCapExceeded,
			"spend limit of one request: it may cost more than the per-request cap"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := strings.Split(strings.Trim(c.rules, "{}"), ", ")
			if !strings.HasPrefix(c.rules, "{") {
				rules = []string{c.rules}
			}
			facts := ask
			if c.facts != nil {
				c.facts(&facts)
			}
			plan, denial := policy.Decide(tenant(t, rules...).Keys[0], &facts, noon)
			if c.reason == "" {
				if denial != nil {
					t.Fatalf("denied: %v", denial)
				}
				return
			}
			if denial == nil || denial.Reason != c.reason || !strings.Contains(denial.Message, c.says) {
				t.Fatalf("got %+v, want %s with %q", denial, c.reason, c.says)
			}
			if len(plan.Claims) != 0 {
				t.Error("a denied request claims")
			}
		})
	}
}

func TestClaims(t *testing.T) {
	hashR, hashU := string(call.HashName("r")), string(call.HashName("u"))
	day := budget.Window{
		Kind:    budget.Fixed,
		Current: budget.Span{Start: instant(t, "2026-03-28T00:00:00Z").UnixMilli(), End: instant(t, "2026-03-29T00:00:00Z").UnixMilli()},
		Next:    budget.Span{Start: instant(t, "2026-03-29T00:00:00Z").UnixMilli(), End: instant(t, "2026-03-30T00:00:00Z").UnixMilli()},
	}
	month := 720 * time.Hour
	for _, c := range []struct {
		name, budget string
		facts        call.Facts
		want         *budget.Claim
	}{
		{"tenant", "window: day", ask, &budget.Claim{Key: "usd/day", Window: day}},
		{"key", "scope: key, window: day", ask, &budget.Claim{Key: "usd/key:acme-1/day", Window: day}},
		{"model", `scope: model, models: "gpt-*", window: day`, ask, &budget.Claim{Key: "usd/day/model:gpt-*", Window: day}},
		{"another model", `scope: model, models: "o1*", window: day`, ask, nil},
		{"run", "scope: run, window: day", ask, &budget.Claim{Key: "usd/run:" + hashR + "/day", Window: day, Group: "run/day", GroupMax: 1000}},
		{"run without end", "scope: run, window: forever", ask, &budget.Claim{
			Key: "usd/run:" + hashR + "/forever", Window: budget.Window{Kind: budget.Idle, Length: month}, Group: "run/forever", GroupMax: 1000,
		}},
		{"no run", "scope: run, window: day", call.Facts{}, nil},
		{"user", "scope: user, window: day", ask, &budget.Claim{Key: "usd/user:" + hashU + "/day", Window: day, Group: "user/day", GroupMax: 10000}},
		{"no user", "scope: [key, user], window: day", call.Facts{}, nil},
		{"key and user, in any order", "scope: [user, key], window: day", ask, &budget.Claim{
			Key: "usd/key:acme-1/user:" + hashU + "/day", Window: day, Group: "key.user/day", GroupMax: 10000,
		}},
		{"run and user", "scope: [run, user], window: day", ask, &budget.Claim{
			Key: "usd/run:" + hashR + "/user:" + hashU + "/day", Window: day, Group: "run.user/day", GroupMax: 1000,
		}},
		{"the tenant without end", "window: forever", ask, &budget.Claim{Key: "usd/forever", Window: budget.Window{Kind: budget.Forever}}},
		{"rolling", "window: rolling, length: 90m", ask, &budget.Claim{
			Key: "usd/rolling-5400000ms", Window: budget.Window{Kind: budget.Rolling, Length: 90 * time.Minute},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			owner := tenant(t, "user_field: user", "max_runs: 1000", "max_users: 10000", "budgets: [{name: b, limit_usd: 5, "+c.budget+"}]")
			plan, denial := policy.Decide(owner.Keys[0], &c.facts, noon)
			if denial != nil {
				t.Fatal(denial)
			}
			if c.want == nil {
				if len(plan.Claims) != 0 {
					t.Errorf("claims %+v", plan.Claims)
				}
				return
			}
			want := *c.want
			want.Amount, want.Limit, want.AtEnd = c.facts.Cost, 5_000_000_000, budget.Adjust
			if len(plan.Claims) != 1 || !reflect.DeepEqual(plan.Claims[0], want) {
				t.Errorf("got  %+v\nwant %+v", plan.Claims, want)
			}
		})
	}
}

func TestZoneStandsInTheKey(t *testing.T) {
	owner := tenant(t, "budgets: [{name: b, window: day, timezone: Europe/Berlin, limit_usd: 5}]")
	plan, _ := policy.Decide(owner.Keys[0], &ask, noon)
	if got := plan.Claims[0].Key; got != "usd/day@Europe/Berlin" {
		t.Errorf("got %s", got)
	}
}

// A ledger refuses some of the bytes that time zones have.
func TestEveryZoneMakesAKey(t *testing.T) {
	t.Parallel()
	for _, zone := range policy.ZoneNames() {
		owner := tenant(t, "budgets: [{name: b, scope: [key, run], window: day, timezone: "+zone+", limit_usd: 5}]")
		plan, _ := policy.Decide(owner.Keys[0], &ask, noon)
		if err := errors.Join(budget.ValidName(plan.Claims[0].Key), budget.ValidName(plan.Claims[0].Group)); err != nil {
			t.Errorf("%s: %v", zone, err)
		}
	}
}

// A ledger refuses long keys, so they are hashed; different ones stay so.
func TestLongKeysFit(t *testing.T) {
	long := strings.Repeat("m", 90)
	owner := tenant(t, "user_field: user",
		`budgets:`,
		`  - {name: a, scope: [key, run, user, model], models: "`+long+`1*", window: month, timezone: America/Argentina/ComodRivadavia, limit_usd: 1}`,
		`  - {name: b, scope: [key, run, user, model], models: "`+long+`*", window: month, timezone: America/Argentina/ComodRivadavia, limit_usd: 1}`,
	)
	facts := ask
	facts.Model = long + "123"
	plan, _ := policy.Decide(owner.Keys[0], &facts, noon)
	if len(plan.Claims) != 2 || plan.Claims[0].Key == plan.Claims[1].Key || plan.Claims[0].Group == plan.Claims[1].Group {
		t.Fatalf("got %+v", plan.Claims)
	}
	for _, c := range plan.Claims {
		if len(c.Key) > budget.MaxKeyBytes || len(c.Group) > budget.MaxKeyBytes {
			t.Errorf("key of %d bytes, group of %d", len(c.Key), len(c.Group))
		}
	}
}

// Two claims of a reservation must not share a key, so budgets that count the
// same share a claim.
func TestBudgetsOfOneCounterShareAClaim(t *testing.T) {
	owner := tenant(t, "budgets:",
		"  - {name: early, window: day, limit_usd: 8, kind: soft}",
		"  - {name: loose, window: day, limit_usd: 20}",
		"  - {name: tight, window: day, limit_usd: 10}",
		"  - {name: month, window: month, limit_usd: 100}",
		"  - {name: note, window: week, limit_usd: 30, kind: soft}",
	)
	plan, _ := policy.Decide(owner.Keys[0], &ask, noon)
	if len(plan.Claims) != 3 {
		t.Fatalf("%d claims: %+v", len(plan.Claims), plan.Claims)
	}
	for i, want := range []struct {
		rule  string
		limit int64
	}{{"tight", 10_000_000_000}, {"month", 100_000_000_000}, {"note", budget.NoLimit}} {
		if plan.Rule(i) != want.rule || plan.Limit(i) != want.limit || plan.Claims[i].Limit != want.limit {
			t.Errorf("claim %d: %s of %d, claimed with %d; want %+v", i, plan.Rule(i), plan.Limit(i), plan.Claims[i].Limit, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	owner := tenant(t, "budgets:",
		"  - {name: early, window: day, limit_usd: 8, kind: soft}",
		"  - {name: hard, window: day, limit_usd: 10}",
	)
	facts := ask
	facts.Cost = 1_000_000_000
	plan, _ := policy.Decide(owner.Keys[0], &facts, noon)
	for _, c := range []struct {
		spent, held int64
		want        int
	}{{5, 2, 0}, {5, 3, 1}, {8, 0, 1}, {0, 0, 0}} {
		got := plan.Warnings([]budget.Observed{{Spent: c.spent * 1e9, Held: c.held * 1e9}})
		if len(got) != c.want {
			t.Errorf("spent %d, held %d: got %v", c.spent, c.held, got)
		}
	}
}

// A budget warns from the threshold on that what is spent has reached; what is held does not count.
func TestWarningsAtThresholds(t *testing.T) {
	owner := tenant(t, `budgets: [{name: monthly, window: month, limit_usd: "10", warn_at: [95%, 80%]}]`)
	plan, _ := policy.Decide(owner.Keys[0], &ask, noon)
	for _, c := range []struct{ spent, held, want int64 }{
		{0, 10e9, 0}, {8e9 - 1, 0, 0}, {8e9, 0, 80}, {9_499_999_999, 0, 80}, {9_500_000_000, 0, 95}, {11e9, 0, 95},
	} {
		got := plan.Warnings([]budget.Observed{{Spent: c.spent, Held: c.held}})
		if c.want == 0 && len(got) > 0 || c.want > 0 && !slices.Equal(got, []policy.Warning{{Budget: "monthly", Percent: c.want}}) {
			t.Errorf("%d spent: got %v, want %d%%", c.spent, got, c.want)
		}
	}
	if text := (policy.Warning{Budget: "monthly", Percent: 80}).String(); text != "budget monthly is 80% spent" {
		t.Errorf("it says %q", text)
	}
}

// Under observe nothing is denied, and the plan still says what would be.
func TestObserveCounts(t *testing.T) {
	owner := tenant(t, "mode: observe", "per_request_usd: 0.0001", "max_runs: 1",
		"budgets: [{name: b, window: day, limit_usd: 1}, {name: run, scope: run, window: day, limit_usd: 1}]")
	plan, denial := policy.Decide(owner.Keys[0], &ask, noon)
	if denial == nil || denial.Reason != policy.RequestCapExceeded {
		t.Errorf("the broken rule is not told: %v", denial)
	}
	for _, c := range plan.Claims {
		if c.Limit != budget.NoLimit {
			t.Errorf("%s could be denied at %d", c.Key, c.Limit)
		}
	}
	if most := plan.Claims[1].GroupMax; most <= 1 {
		t.Errorf("a second run could be denied: %d", most)
	}
	seen := []budget.Observed{{Spent: 999_999_999}, {Held: 1_000_000_000}}
	if got := plan.Broken(seen); len(got) != 2 || got[0] != policy.BudgetExhausted || got[1] != policy.BudgetHeld {
		t.Errorf("got %v", got)
	}
	if plan.Limit(0) != 1_000_000_000 {
		t.Errorf("limit %d", plan.Limit(0))
	}
}

func TestExplain(t *testing.T) {
	rules := []string{"budgets:",
		"  - {name: daily, window: day, limit_usd: 1}",
		"  - {name: run, scope: run, window: forever, limit_usd: 2}",
	}
	ends := instant(t, "2026-03-29T00:00:00Z").UnixMilli()
	for _, c := range []struct {
		name    string
		redact  bool
		reasons []budget.Reason
		reason  call.Reason
		says    string
	}{
		{"exhausted", false, []budget.Reason{budget.Exhausted, budget.Fits}, policy.BudgetExhausted,
			`spend limit reached: budget "daily" has too little left for this request: limit 1.00 USD, spent 0.90 USD, held 0.05 USD, needed 0.001 USD; it resets at 2026-03-29T00:00:00Z`},
		{"held", false, []budget.Reason{budget.Held, budget.Fits}, policy.BudgetHeld,
			`spend limit held: what is left of budget "daily" is held by requests in flight: limit 1.00 USD, spent 0.90 USD, held 0.05 USD, needed 0.001 USD; what they do not use comes back when they end`},
		{"the exhausted one before the held", false, []budget.Reason{budget.Held, budget.Exhausted}, policy.BudgetExhausted,
			`spend limit reached: budget "run" has too little left for this request: limit 2.00 USD, spent 1.00 USD, held 0.00 USD, needed 0.001 USD; it never resets; only a higher limit, or 720h without a request, makes room`},
		{"crowded", false, []budget.Reason{budget.Fits, budget.Crowded}, policy.TooManyNames,
			`budget "run" has as many live names as the policy allows; room comes back when one of them has had no request for 720h`},
		{"redacted", true, []budget.Reason{budget.Exhausted, budget.Fits}, policy.BudgetExhausted,
			`spend limit reached: budget "daily" has too little left for this request; it resets at 2026-03-29T00:00:00Z`},
	} {
		t.Run(c.name, func(t *testing.T) {
			owner := tenant(t, append([]string{fmt.Sprintf("redact_amounts: %v", c.redact)}, rules...)...)
			plan, _ := policy.Decide(owner.Keys[0], &ask, noon)
			got := plan.Explain(&budget.Denied{
				Reasons: c.reasons,
				Observed: []budget.Observed{
					{Span: budget.Span{Start: 1, End: ends}, Spent: 900_000_000, Held: 50_000_000},
					{Spent: 1_000_000_000},
				},
			})
			if got.Reason != c.reason || got.Message != c.says || got.Redact != c.redact {
				t.Errorf("got  %s: %s\nwant %s: %s", got.Reason, got.Message, c.reason, c.says)
			}
		})
	}
}

func TestRoom(t *testing.T) {
	owner := tenant(t, "per_request_usd: 0.5",
		"budgets: [{name: a, window: day, limit_usd: 1}, {name: b, window: month, limit_usd: 10}]")
	plan, _ := policy.Decide(owner.Keys[0], &ask, noon)
	for _, c := range []struct {
		name       string
		day, month budget.Observed
		room, rest int64
	}{
		{"the per-request cap", budget.Observed{}, budget.Observed{}, 500_000_000, 500_000_000},
		{"what holds and charges leave", budget.Observed{Spent: 600_000_000, Held: 300_000_000}, budget.Observed{}, 100_000_000, 400_000_000},
		{"the tightest", budget.Observed{Held: 400_000_000}, budget.Observed{Spent: 9_999_999_999}, 1, 1},
		{"an overrun", budget.Observed{Spent: 1_200_000_000}, budget.Observed{}, -200_000_000, -200_000_000},
	} {
		if room, rest := plan.Room([]budget.Observed{c.day, c.month}); room != c.room || rest != c.rest {
			t.Errorf("%s: got %d and %d, want %d and %d", c.name, room, rest, c.room, c.rest)
		}
	}
}

// The same facts and policy give the same decision, from any copy of the
// policy and whatever was asked before.
func TestDecideIsDeterministic(t *testing.T) {
	text := string(fleet(1))
	used := parse(t, text).Tenants[0].Keys[0]
	rapid.Check(t, func(rt *rapid.T) {
		facts := call.Facts{
			Run:   call.HashName(rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "run")),
			User:  call.HashName(rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "user")),
			Model: rapid.SampledFrom([]string{"gpt-4o", "gpt-4o-audio", "o1"}).Draw(rt, "model"),
			Needs: rapid.SliceOf(rapid.SampledFrom(call.Needs[:])).Draw(rt, "capabilities"),
			Cost:  rapid.Int64Range(0, budget.MaxAmount).Draw(rt, "cost"),
		}
		now := time.UnixMilli(rapid.Int64Range(1_700_000_000_000, 1_900_000_000_000).Draw(rt, "now"))
		fresh := parse(t, text).Tenants[0].Keys[0]
		wantPlan, wantDenial := policy.Decide(fresh, &facts, now)
		gotPlan, gotDenial := policy.Decide(used, &facts, now)
		if !reflect.DeepEqual(gotPlan.Claims, wantPlan.Claims) || !reflect.DeepEqual(gotDenial, wantDenial) {
			rt.Fatalf("got %+v, %v; a fresh policy says %+v, %v", gotPlan.Claims, gotDenial, wantPlan.Claims, wantDenial)
		}
	})
}
