package policy

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// Scope narrows whose standings are asked for. An empty name leaves out the
// budgets of that scope, but for Key, which then stands for all keys.
type Scope struct{ Key, Run, User string }

// Standing is one counter of a tenant with the budgets that it stands for.
type Standing struct {
	Claim   budget.Claim // names the counter; its amount is zero
	Budgets []*Budget
}

// Standings returns the money counters of a tenant in the order of its policy.
func (t *Tenant) Standings(s Scope, now time.Time) []Standing {
	return t.standings(s, now, func(u *unit) bool { return u == usd })
}

// Counts returns the counters of a tenant that are not of money: requests, tool
// calls and slots.
func (t *Tenant) Counts(s Scope, now time.Time) []Standing {
	return t.standings(s, now, func(u *unit) bool { return u != usd })
}

func (t *Tenant) standings(s Scope, now time.Time, wanted func(*unit) bool) []Standing {
	var list []Standing
	seen := map[string]bool{}
	keys := t.Keys
	if len(keys) == 0 {
		keys = []*Key{{Tenant: t}} // for the counters that no key is part of
	}
	for _, c := range t.counters {
		if !wanted(c.unit) {
			continue
		}
		f := call.Facts{Model: c.models, Endpoint: c.endpoint}
		f.SetNames(s.Run, s.User, "")
		for _, k := range keys {
			if s.Key != "" && k.ID != s.Key {
				continue
			}
			var claim budget.Claim
			who := &caller{key: k, now: now}
			who.names(&f)
			if c.claim(&claim, who, &f) && !seen[claim.Key] {
				seen[claim.Key] = true
				list = append(list, Standing{claim, c.budgets})
			}
		}
	}
	return list
}

// ClaimsOf returns the claims that name the counters.
func ClaimsOf(standings []Standing) []budget.Claim {
	claims := make([]budget.Claim, len(standings))
	for i, s := range standings {
		claims[i] = s.Claim
	}
	return claims
}
