package policy_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

// fleet writes a policy of many tenants with five keys each, on three plans.
func fleet(tenants int) []byte {
	var b strings.Builder
	b.WriteString(`generation: 1
upstreams:
  - {name: openai, base_url: "https://api.openai.com/v1", provider: openai, cap_field: max_completion_tokens}
models:
  - {match: "*", upstreams: [openai]}
plans:
`)
	plans := []string{"free", "pro", "enterprise"}
	for i, plan := range plans {
		fmt.Fprintf(&b, `  %s:
    capabilities: [chat, stream, tools]
    models: {allow: ["gpt-4o*", "gpt-5*"], deny: ["*-audio*"]}
    user_field: user
    budgets:
      - {name: daily, window: day, timezone: Europe/Berlin, limit_usd: "%d"}
      - {name: run, scope: run, window: forever, limit_usd: "2"}
      - {name: steady, scope: [key, user], window: rolling, length: 24h, limit_usd: "5", kind: soft}
`, plan, 10*(i+1))
	}
	b.WriteString("tenants:\n")
	for i := range tenants {
		fmt.Fprintf(&b, "  - name: tenant-%05d\n    plan: %s\n    project: web\n    environment: production\n", i, plans[i%3])
		if i%10 == 0 {
			b.WriteString("    budgets:\n      - {name: daily, window: day, limit_usd: \"75.50\"}\n")
		}
		b.WriteString("    keys:\n")
		for k := range 5 {
			fmt.Fprintf(&b, "      - {id: tenant-%05d-%d, sha256: \"%x\", trusted: true}\n", i, k, sha256.Sum256([]byte(fleetKey(i, k))))
		}
	}
	return []byte(b.String())
}

func fleetKey(tenant, key int) string { return fmt.Sprintf("aegis-%d-%d", tenant, key) }

// BenchmarkParse20000Tenants is the time that a policy of 20,000 tenants with
// 100,000 keys takes to load.
func BenchmarkParse20000Tenants(b *testing.B) {
	data := fleet(20_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Parse("policy.yaml", data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIdentify100000Keys is the time to find a key among 100,000.
func BenchmarkIdentify100000Keys(b *testing.B) {
	p, err := policy.Parse("policy.yaml", fleet(20_000))
	if err != nil {
		b.Fatal(err)
	}
	secret := fleetKey(12_345, 3)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := p.Identify(secret); !ok {
			b.Fatal("key not found")
		}
	}
}
