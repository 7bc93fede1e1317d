package policy_test

import (
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

// offering is a request that offers tools to the model.
func offering(tools ...string) policy.Facts {
	f := ask
	f.Endpoint, f.Tools = "chat/completions", tools
	return f
}

func TestEndpointsAndTools(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rule string
		facts      policy.Facts
		reason     policy.Reason
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
		{"endpoints before tools", "tools: {allow: []}\n    endpoints: {allow: []}", offering("x"), policy.EndpointNotAllowed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustDecide(t, tenant(t, c.rule), c.facts, c.reason, c.says)
		})
	}
}

// mustDecide checks that a tenant's rules deny the facts for this reason, or
// allow them where there is none, and that a denial is fit to be told.
func mustDecide(t *testing.T, owner *policy.Tenant, f policy.Facts, reason policy.Reason, says string) policy.Plan {
	t.Helper()
	plan, denial := policy.Decide(owner.Keys[0], &f)
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
func mustBeTellable(t *testing.T, d *policy.Denial) {
	t.Helper()
	text := strings.ToLower(d.Error())
	if !strings.HasPrefix(text, "aegis: ") || strings.Contains(text, "://") || strings.Contains(text, "rate limit") {
		t.Errorf("message %q", d.Error())
	}
}
