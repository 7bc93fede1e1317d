package policy_test

import (
	"slices"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestStandings(t *testing.T) {
	p := parse(t, head+`tenants:
  - name: acme
    user_field: user
    keys:
      - {id: a, sha256: `+hashOf("a")+`}
      - {id: b, sha256: `+hashOf("b")+`}
    budgets:
      - {name: daily, window: day, limit_usd: 2}
      - {name: early, window: day, limit_usd: 1, kind: soft}
      - {name: key, scope: key, window: day, limit_usd: 1}
      - {name: model, scope: model, models: "gpt-*", window: day, limit_usd: 1}
      - {name: run, scope: run, window: day, limit_usd: 1}
      - {name: user, scope: user, window: day, limit_usd: 1}
  - name: keyless
    budgets:
      - {name: daily, window: day, limit_usd: 2}
      - {name: key, scope: key, window: day, limit_usd: 1}
`)
	run, user := "usd/run:"+string(call.HashName("r"))+"/day", "usd/user:"+string(call.HashName("u"))+"/day"
	for _, c := range []struct {
		name, tenant string
		scope        policy.Scope
		want         []string
	}{
		{"all keys", "acme", policy.Scope{}, []string{"usd/day", "usd/key:a/day", "usd/key:b/day", "usd/day/model:gpt-*"}},
		{"one key", "acme", policy.Scope{Key: "b"}, []string{"usd/day", "usd/key:b/day", "usd/day/model:gpt-*"}},
		{"a run and a user", "acme", policy.Scope{Key: "a", Run: "r", User: "u"},
			[]string{"usd/day", "usd/key:a/day", "usd/day/model:gpt-*", run, user}},
		{"a tenant without keys", "keyless", policy.Scope{}, []string{"usd/day"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			standings := p.Tenant(c.tenant).Standings(c.scope, noon)
			var got []string
			for _, claim := range policy.ClaimsOf(standings) {
				got = append(got, claim.Key)
				if claim.Amount != 0 {
					t.Errorf("%s asks for %d", claim.Key, claim.Amount)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
		})
	}
	daily := p.Tenant("acme").Standings(policy.Scope{}, noon)[0]
	if len(daily.Budgets) != 2 || daily.Budgets[0].Name != "daily" || daily.Budgets[1].Name != "early" {
		t.Errorf("the day's counter stands for %v", daily.Budgets)
	}
}
