package policy_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// offering is a request that offers tools to the model.
func offering(tools ...string) call.Facts {
	f := ask
	f.Endpoint, f.Tools = "chat/completions", tools
	return f
}

func TestEndpointsAndTools(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rule string
		facts      call.Facts
		reason     call.Reason
		says       string
	}{
		{"an allowed endpoint", `endpoints: {allow: [chat/completions]}`, offering(), "", ""},
		{"by a pattern", `endpoints: {allow: ["chat/*"]}`, offering(), "", ""},
		{"another endpoint", `endpoints: {allow: [embeddings]}`, offering(), policy.EndpointNotAllowed, `endpoint "chat/completions" is not allowed`},
		{"a denied endpoint", `endpoints: {deny: ["*"]}`, offering(), policy.EndpointNotAllowed, "is not allowed"},
		{"no endpoint", `endpoints: {allow: []}`, offering(), policy.EndpointNotAllowed, "is not allowed"},
		{"no tools offered", `tools: {allow: []}`, offering(), "", ""},
		{"allowed tools", `tools: {allow: [search, "db_*"]}`, offering("db_read", "search"), "", ""},
		{"one tool of many", `tools: {allow: ["db_*"]}`, offering("db_read", "shell"), policy.ToolNotAllowed, `tool "shell" is not allowed`},
		{"a denied tool", `tools: {deny: ["*_delete"]}`, offering("db_read", "db_delete"), policy.ToolNotAllowed, `tool "db_delete" is not allowed`},
		{"denied and allowed", `tools: {allow: ["*"], deny: [shell]}`, offering("shell"), policy.ToolNotAllowed, "is not allowed"},
		{"a tool without a name", `tools: {allow: ["*"]}`, offering(""), policy.ToolNotAllowed, `tool "" is not allowed`},
		{"that, without a rule", `mode: enforce`, offering(""), "", ""},
		{"a name of any bytes", `tools: {allow: [x]}`, offering("\x00" + strings.Repeat("z", 1<<16)), policy.ToolNotAllowed, `tool "\x00zzz`},
		{"a long name", `tools: {deny: [shell]}`, offering(strings.Repeat("z", 97)), policy.ToolNotAllowed, "is not allowed"},
		{"many tools", `tools: {deny: [shell]}`, offering(slices.Repeat([]string{"x"}, policy.MaxTools)...), "", ""},
		{"too many", `tools: {deny: [shell]}`, offering(slices.Repeat([]string{"x"}, policy.MaxTools+1)...), policy.ToolNotAllowed, "more than 128 tools"},
		{"endpoints before tools", "tools: {allow: []}\n    endpoints: {allow: []}", offering("x"), policy.EndpointNotAllowed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustDecide(t, tenant(t, c.rule), c.facts, c.reason, c.says)
		})
	}
}

// mustDecide checks that a tenant's rules deny the facts for this reason, or
// allow them where there is none, and that a denial is fit to be told.
func mustDecide(t *testing.T, owner *policy.Tenant, f call.Facts, reason call.Reason, says string) policy.Plan {
	t.Helper()
	plan, denial := policy.Decide(owner.Keys[0], &f, noon)
	if reason == "" {
		if denial != nil {
			t.Fatalf("denied: %v", denial)
		}
		return plan
	}
	if denial == nil || denial.Reason != reason || !strings.Contains(denial.Message, says) {
		t.Fatalf("got %+v, want %s with %q", denial, reason, says)
	}
	mustBeTellable(t, denial)
	if len(plan.Claims) != 0 && owner.Mode == policy.Enforce {
		t.Error("a denied request claims")
	}
	return plan
}

// mustBeTellable: no denial has a link in it, nor words that clients take for a
// provider's rate limit.
func mustBeTellable(t *testing.T, d *call.Denial) {
	t.Helper()
	text := strings.ToLower(d.Error())
	if !strings.HasPrefix(text, "aegis: ") || strings.Contains(text, "://") || strings.Contains(text, "rate limit") {
		t.Errorf("message %q", d.Error())
	}
}

// TestReceiptsTellWhatTheRuleSaw: of the tools as a receipt tells them the rule
// says what it said of those that were offered, whatever their names.
func TestReceiptsTellWhatTheRuleSaw(t *testing.T) {
	t.Parallel()
	owner := tenant(t, `tools: {allow: ["db_*", "*x"], deny: ["*_delete"]}`)
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.OneOf(
			rapid.SampledFrom([]string{"", "db_read", "db_delete", "ax", "db ax", strings.Repeat("x", 96), strings.Repeat("x", 97) + "\n", "?"}),
			rapid.StringMatching(`(db_)?[a-z ?]{0,120}x?`),
		)
		offered := rapid.SliceOfN(name, 0, policy.MaxTools+3).Draw(rt, "offered")
		before := offering(offered...)
		after := before
		owner.Tell(&after)
		told := after.Tools
		_, saw := policy.Decide(owner.Keys[0], &before, noon)
		_, again := policy.Decide(owner.Keys[0], &after, noon)
		if (saw == nil) != (again == nil) || saw != nil && saw.Reason != again.Reason {
			rt.Fatalf("offered %q: %v; told %q: %v", offered, saw, told, again)
		}
		if len(told) > policy.MaxTools+1 || slices.ContainsFunc(told, func(s string) bool { return s == "" || len(s) > 96 }) {
			rt.Fatalf("told %q", told)
		}
	})
}
