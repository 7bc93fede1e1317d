package policy_test

import (
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// BenchmarkDecide is the cost of a verdict and its claims for one request of a
// tenant with three budgets.
func BenchmarkDecide(b *testing.B) {
	p, err := policy.Parse("policy.yaml", fleet(1))
	if err != nil {
		b.Fatal(err)
	}
	key := p.Tenants[0].Keys[0]
	facts := call.Facts{
		Model: "gpt-4o-mini",
		Needs: []string{call.NeedChat, call.NeedStream},
		Cost:  1_000_000,
	}
	facts.SetNames("run-1", "user-1", "")
	b.ReportAllocs()
	for b.Loop() {
		if _, denial := policy.Decide(key, &facts, noon); denial != nil {
			b.Fatal(denial)
		}
	}
}
