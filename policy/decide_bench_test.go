package policy_test

import (
	"testing"
	"time"

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
	facts := policy.Facts{
		Run:          "run-1",
		User:         "user-1",
		Model:        "gpt-4o-mini",
		Capabilities: []string{call.NeedChat, call.NeedStream},
		Cost:         1_000_000,
		Now:          time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, denial := policy.Decide(key, &facts); denial != nil {
			b.Fatal(denial)
		}
	}
}
