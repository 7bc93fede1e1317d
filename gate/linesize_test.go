package gate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestLongestDecision: what a request can make longest at once, in claims, marks,
// tool results, offered tools and a model's name that has to be escaped, still fits
// in a line.
func TestLongestDecision(t *testing.T) {
	w := newWorld(t, daily(1000))
	id := strings.Repeat("a", 32)
	long := strings.Repeat("x", budget.MaxKeyBytes)
	name := strings.Repeat("n", 64)
	tool := strings.Repeat("t", 96)
	d := audit.Decision{
		At: budget.MaxAmount, PricedAt: budget.MaxAmount, Event: budget.MaxAmount, Expires: budget.MaxAmount,
		Generation: budget.MaxAmount, Policy: strings.Repeat("f", 64), Prices: strings.Repeat("f", 64), Epoch: id, Lease: long,
		Verdict: audit.Deny, Reasons: slices.Repeat([]string{string(policy.ToolCallsExceeded)}, budget.MaxClaims),
		Facts: call.Facts{Tenant: name, Key: name, Run: call.Name(id), User: call.Name(id), Nonce: call.Name(id), Model: strings.Repeat("\x01", 256), Upstream: name, Dialect: name, Service: name, Endpoint: long,
			Needs: call.Needs[:], ToolResults: slices.Repeat([]call.ToolResult{{ID: call.Name(id), Tool: tool}}, policy.MaxToolResults+1),
			Tools: slices.Repeat([]string{tool}, policy.MaxTools+1)},
	}
	marks := budget.MaxMarksPerReserve
	for range budget.MaxClaims {
		c := audit.Claim{Key: long, Rule: name, Group: long, GroupMax: 1_000_000, Amount: budget.MaxAmount, Limit: budget.MaxAmount,
			AtEnd: string(budget.Adjust), Window: string(budget.Fixed), Start: budget.MaxAmount, End: budget.MaxAmount,
			LengthMS: budget.MaxAmount, Spent: budget.MaxAmount, Held: budget.MaxAmount, Reason: string(budget.Exhausted)}
		if n := min(marks, budget.MaxMarks); n > 0 {
			c.Marks = strings.TrimSuffix(strings.Repeat(id+" ", n), " ")
			marks -= n
		}
		d.Claims = append(d.Claims, c)
	}
	if _, err := w.audit.Append(t.Context(), d); err != nil {
		t.Error(err)
	}
}
