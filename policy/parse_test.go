package policy_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// head is the part of a policy that tests of tenants share.
const head = `generation: 1
upstreams:
  - {name: openai, base_url: "https://api.openai.com/v1", provider: openai, cap_field: max_completion_tokens}
  - {name: azure, base_url: "https://azure.example/v1", provider: azure, cap_field: max_completion_tokens}
  - {name: local, base_url: "http://localhost:11434/v1", provider: ollama, cap_field: max_tokens}
models:
  - {match: "gpt-5-mini", upstreams: local}
  - {match: "gpt-*", upstreams: [openai, azure]}
  - {match: "llama*", upstreams: [local]}
`

func parse(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tenant parses a policy with one tenant of the rules given, a line each.
func tenant(t *testing.T, rules ...string) *policy.Tenant {
	t.Helper()
	return parse(t, head+tenantText(rules...)).Tenants[0]
}

func tenantText(rules ...string) string {
	return "tenants:\n  - name: acme\n    keys: [{id: acme-1, sha256: " + hashOf("secret") + ", trusted: true}]\n    " +
		strings.Join(rules, "\n    ") + "\n"
}

func hashOf(secret string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(secret))) }

func TestEverythingWrongIsToldAtOnce(t *testing.T) {
	_, err := policy.Load("testdata/broken.yaml")
	if err == nil {
		t.Fatal("a broken policy was loaded")
	}
	golden(t, "broken.golden", err.Error()+"\n")
	if strings.Contains(err.Error(), "must-not-show") {
		t.Error("an error repeats a secret")
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s; run with -update if the change is meant\n%s", path, got)
	}
}

func TestProblemsAreCapped(t *testing.T) {
	text := head + "tenants:\n" + strings.Repeat("  - {plan: gold}\n", 130)
	_, err := policy.Parse("policy.yaml", []byte(text))
	if err == nil {
		t.Fatal("a broken policy was loaded")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 101 || lines[100] != "and 160 more" {
		t.Errorf("got %d lines, the last %q; want 100 and \"and 160 more\"", len(lines), lines[len(lines)-1])
	}
}

func TestParseRefuses(t *testing.T) {
	valid := head + tenantText("mode: enforce")
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "policy.yaml:1:1: the file is empty"},
		{"only a comment", "# nothing\n", "the file is empty"},
		{"a list", "- a\n", "policy.yaml:1:1: the policy must be a mapping"},
		{"broken YAML", "generation: [1\nmodels: 2", "not YAML"},
		{"bad UTF-8", "generation: \xff", "not YAML"},
		{"nothing required", "timezone: UTC\n", "policy.yaml:1:1: generation is missing; begin with 1"},
		{"two documents", valid + "---\ngeneration: 2\n", "a policy is one document"},
		{"no upstreams", "generation: 1\n", "upstreams is missing"},
		{"a name too long", head + "tenants: [{name: " + strings.Repeat("a", 65) + "}]", "is no name"},
		{"a generation too high", strings.Replace(valid, "generation: 1", "generation: 9007199254740992", 1), "policy.yaml:1:13: generation: \"9007199254740992\" does not fit"},
		{"too many budgets", head + tenantText(manyBudgets(33)), "33 budgets with those of the plan; a tenant can have 32"},
		{"users without a field", head + tenantText("budgets: [{name: a, scope: user, window: day, limit_usd: 1}]"), "no user_field or user_header says who they are"},
		{"a required user whom nothing names", head + tenantText("user_required: true"), "user_required wants an end user, but no user_field or user_header says who that is"},
		{"a run from no header", head + tenantText("runs_from: [agent, \"x y\"]"), `"x y" is no header's name; write one as in x-api-key`},
		{"a run from no field", head + tenantText("runs_from: [body.]"), `"body." is no header's name`},
		{"a user from no header", head + tenantText("user_header: \"a:b\""), `"a:b" is no header's name`},
		{"a negative rate of denials", head + tenantText("denial_receipts_per_second: -1"), "from 0 to 1000000"},
		{"a huge number", head + tenantText("max_runs: 99999999999999999999"), "does not fit; write a whole number from 1 to 1000000"},
		{"a huge amount", head + tenantText("per_request_usd: 99999999999999999999"), "is more than 9007199.254740991"},
		{"a key of another tenant", head + tenantText("mode: enforce") + "  - name: b\n    keys: [{id: b-1, sha256: " + hashOf("secret") + "}]\n",
			"policy.yaml:15:30: sha256: the key is already that of id \"acme-1\""},
		{"more limits than claims", head + tenantText(manyBudgets(1), "replay: {}", "rates:"+manyRates(31)), `tenant "acme": 33 limits in all; budgets, rates, concurrency, tool_calls and replay together can be 32`},
		{"too many rates", head + tenantText("rates:"+manyRates(33)), "33 rates with those of the plan; a tenant can have 32"},
		{"a rate twice", head + tenantText("rates: [{name: a, window: day, limit: 1}, {name: a, window: hour, limit: 1}]"), `request limit "a" is already given`},
		{"a rate of users without a field", head + tenantText("rates: [{name: a, scope: user, window: day, limit: 1}]"), `request limit "a" limits end users`},
		{"a rate in money", head + tenantText("rates: [{name: a, window: day, limit_usd: 1}]"), `unknown field "limit_usd" in each of rates`},
		{"a weight too few", strings.Replace(head, "upstreams: [openai, azure]}", "upstreams: [openai, azure], weights: [1]}", 1) + tenantText("mode: enforce"), "weights: 1 weights for 2 upstreams"},
		{"no weight", strings.Replace(head, "upstreams: [openai, azure]}", "upstreams: [openai, azure], weights: [0, 0]}", 1) + tenantText("mode: enforce"), "weights: all are 0"},
		{"a weight too large", strings.Replace(head, "upstreams: [openai, azure]}", "upstreams: [openai, azure], weights: [1, 1001]}", 1) + tenantText("mode: enforce"), "from 0 to 1000"},
		{"a model that nobody serves where budgets are exhausted", head + tenantText("when_exhausted: {use: claude-1}"), `use: no entry of models has "claude-1"; add one`},
		{"a pattern there", head + tenantText("when_exhausted: {use: gpt-*}"), `"gpt-*"`},
		{"none there", head + tenantText("when_exhausted: {then: clamp}"), "use is missing; write the model that is asked for instead"},
		{"another word there", head + tenantText("when_exhausted: shrug"), `when_exhausted: "shrug"`},
		{"one that is not allowed there", head + tenantText("when_exhausted: {use: gpt-5-mini}", "models: {deny: [gpt-5-mini]}"), `tenant "acme": when_exhausted uses "gpt-5-mini", which its models do not allow`},
		{"a slip", head + tenantText("when_exausted: clamp"), `unknown field "when_exausted" in each of tenants; did you mean when_exhausted?`},
		{"a slip in case", head + tenantText("Budgets: []"), `unknown field "Budgets" in each of tenants; did you mean budgets?`},
		{"like none of many", head + tenantText("colour: blue"), `unknown field "colour" in each of tenants; docs/configuration.md has the fields that there are`},
		{"a soft rate", head + tenantText("rates: [{name: a, window: day, limit: 1, kind: soft}]"), `unknown field "kind"`},
		{"a rate of nothing", head + tenantText("rates: [{name: a, window: day, limit: 0}]"), `limit: "0" does not fit`},
		{"concurrency over a window", head + tenantText("concurrency: [{name: a, window: day, limit: 1}]"), `unknown field "window"`},
		{"concurrency without a limit", head + tenantText("concurrency: [{name: a}]"), "limit is missing; write how many requests may be in flight at once"},
		{"concurrency of models without any", head + tenantText("concurrency: [{name: a, scope: model, limit: 1}]"), "a concurrency limit of scope model needs a pattern"},
		{"a negative depth", head + tenantText("max_depth: -1"), `max_depth: "-1" does not fit`},
		{"a short replay window", head + tenantText("replay: {window: 1s}"), `window: "1s" does not fit`},
		{"too many retries", head + tenantText("replay: {retries: 101}"), "from 0 to 100"},
		{"no nonces", head + tenantText("replay: {max_nonces: 0}"), "from 1 to 1000000"},
		{"a tool that is no pattern", head + tenantText(`tools: {allow: ["rm -rf"]}`), `"rm -rf" is no pattern`},
		{"waiting without a limit", head + tenantText("when_held: wait"), "wait needs a wait_limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := policy.Parse("policy.yaml", []byte(c.text))
			if err == nil {
				t.Fatal("accepted")
			}
			if p != nil {
				t.Error("a policy came with the error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %q in it", err, c.want)
			}
		})
	}
}

func manyBudgets(n int) string {
	var b strings.Builder
	b.WriteString("budgets:")
	for i := range n {
		fmt.Fprintf(&b, "\n      - {name: b%d, window: day, limit_usd: 1}", i)
	}
	return b.String()
}

func manyRates(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\n      - {name: r%d, window: rolling, length: %dm, limit: 1}", i, i+1)
	}
	return b.String()
}

func TestLoadNamesTheFile(t *testing.T) {
	_, err := policy.Load(filepath.Join(t.TempDir(), "none.yaml"))
	if err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v, want the file's name", err)
	}
}

func TestVersionIsTheHashOfTheBytes(t *testing.T) {
	text := head + tenantText("mode: enforce")
	p := parse(t, text)
	if p.Version.Generation != 1 || p.Version.Hash != hashOf(text) {
		t.Errorf("got %+v", p.Version)
	}
	if other := parse(t, text+"# a comment\n"); other.Version.Hash == p.Version.Hash {
		t.Error("other bytes have the same hash")
	}
}

func TestDefaults(t *testing.T) {
	p := parse(t, head+tenantText("budgets: [{name: all, window: day, limit_usd: 1}]"))
	got := p.Tenants[0]
	checks := []struct {
		what      string
		got, want any
	}{
		{"mode", got.Mode, policy.Enforce},
		{"capabilities", got.Capabilities == nil, true},
		{"allowed models", got.AllowModels == nil, true},
		{"min output", got.MinOutput, int64(16)},
		{"clamp", got.Clamp, false},
		{"wait limit", got.WaitLimit, time.Duration(0)},
		{"disconnect", got.Disconnect, policy.Drain},
		{"unknown responses", got.WhenUnknown, policy.HoldContext},
		{"drain limit", got.DrainLimit, time.Minute},
		{"run lifetime", got.RunLifetime, 720 * time.Hour},
		{"max runs", got.MaxRuns, int64(100_000)},
		{"max users", got.MaxUsers, int64(100_000)},
		{"kind", got.Budgets[0].Kind, policy.Hard},
		{"scope", len(got.Budgets[0].Scope), 0},
		{"zone", got.Budgets[0].Window.Zone, time.UTC},
		{"sync", p.Receipts.Sync, true},
		{"stream usage", p.Upstreams["openai"].Speaks[0].StreamUsage, true},
		{"billing on cancel", p.Upstreams["openai"].Speaks[0].CancelStops, false},
		{"connect", p.Upstreams["openai"].ConnectLimit, 5 * time.Second},
		{"header", p.Upstreams["openai"].HeaderLimit, 10 * time.Minute},
		{"idle", p.Upstreams["openai"].IdleLimit, 5 * time.Minute},
	}
	for _, c := range checks {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
}

// An empty list is not a missing one: it allows nothing.
func TestEmptyListsAllowNothing(t *testing.T) {
	got := tenant(t, "capabilities: []", "models: {allow: []}")
	if got.Capabilities == nil || got.AllowModels == nil {
		t.Error("an empty list reads as no list")
	}
	if got.MayUse("gpt-4o") {
		t.Error("a model is allowed by an empty list")
	}
}

func TestTenantOverridesItsPlan(t *testing.T) {
	p := parse(t, head+`
timezone: Asia/Tokyo
plans:
  pro:
    mode: observe
    per_request_usd: 2
    models: {allow: ["gpt-*"], deny: ["*-audio*"]}
    when_held: wait
    wait_limit: 10s
    budgets:
      - {name: daily, window: day, limit_usd: 25}
      - {name: monthly, window: month, limit_usd: 100}
tenants:
  - {name: same, plan: pro}
  - name: other
    plan: pro
    mode: enforce
    models: {deny: []}
    when_held: deny
    budgets:
      - {name: daily, window: day, limit_usd: 50}
      - {name: run, scope: run, window: forever, limit_usd: 1}
  - {name: bare}
`)
	same, other, bare := p.Tenant("same"), p.Tenant("other"), p.Tenant("bare")
	if got := limits(same); got != "daily=25.00 USD monthly=100.00 USD " {
		t.Errorf("the plan's budgets: %s", got)
	}
	if got := limits(other); got != "daily=50.00 USD monthly=100.00 USD run=1.00 USD " {
		t.Errorf("budgets over the plan's: %s", got)
	}
	if limits(bare) != "" {
		t.Errorf("a tenant without a plan has %s", limits(bare))
	}
	if same.Mode != policy.Observe || other.Mode != policy.Enforce || other.PerRequest != 2_000_000_000 {
		t.Errorf("mode %s and %s, per request %d", same.Mode, other.Mode, other.PerRequest)
	}
	if same.WaitLimit != 10*time.Second || other.WaitLimit != 0 {
		t.Errorf("wait limits %v and %v", same.WaitLimit, other.WaitLimit)
	}
	if other.MayUse("llama3") || !other.MayUse("gpt-4o-audio") || same.MayUse("gpt-4o-audio") {
		t.Error("allow and deny do not override each for itself")
	}
	if zone := same.Budgets[0].Window.Zone.String(); zone != "Asia/Tokyo" {
		t.Errorf("zone %s, want the file's", zone)
	}
}

func limits(t *policy.Tenant) string {
	var s strings.Builder
	for _, b := range t.Budgets {
		fmt.Fprintf(&s, "%s=%s ", b.Name, policy.USD(b.Limit))
	}
	return s.String()
}

func TestFleetLoads(t *testing.T) {
	p := parse(t, string(fleet(200)))
	if len(p.Tenants) != 200 {
		t.Fatalf("%d tenants", len(p.Tenants))
	}
	k, ok := p.Identify(fleetKey(123, 4))
	if !ok || k.Tenant != p.Tenant("tenant-00123") || k.ID != "tenant-00123-4" || !k.Trusted {
		t.Errorf("found %v, %v", k, ok)
	}
	if got := limits(p.Tenant("tenant-00010")); !strings.HasPrefix(got, "daily=75.50 USD ") {
		t.Errorf("own budget: %s", got)
	}
	if got := limits(p.Tenant("tenant-00013")); !strings.HasPrefix(got, "daily=20.00 USD ") {
		t.Errorf("a plan's budget changed under its other tenants: %s", got)
	}
}

func FuzzParse(f *testing.F) {
	broken, err := os.ReadFile("testdata/broken.yaml")
	if err != nil {
		f.Fatal(err)
	}
	example, err := os.ReadFile("../policy.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(broken)
	f.Add(example)
	f.Add([]byte(head + tenantText("budgets: [{name: a, window: day, limit_usd: .5}]")))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {a: b}\n: c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policy.Parse("policy.yaml", data)
		if (p == nil) == (err == nil) {
			t.Fatalf("policy %v with error %v", p, err)
		}
		if p == nil {
			return
		}
		for _, tenant := range p.Tenants {
			for _, k := range tenant.Keys {
				_, _ = policy.Decide(k, &call.Facts{Run: call.HashName("r"), User: call.HashName("u"), Model: "gpt-5", Cost: 1}, noon)
			}
			for _, b := range tenant.Budgets {
				if b.Limit <= 0 || b.Limit > 1<<53-1 {
					t.Errorf("limit %d", b.Limit)
				}
			}
		}
	})
}
