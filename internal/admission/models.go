package admission

import (
	"strconv"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// ListModels answers from the policy: every model with a price that the tenant may use, or
// the one that the operation's path names. The error is a *call.Denial.
func ListModels(rules *gate.Rules, key *policy.Key, dialect providers.Dialect, op providers.Operation) (providers.Reply, error) {
	name, one := op.Params["model"]
	if !one {
		return dialect.Models(op, modelsFor(rules, key, dialect.Name())), nil
	}
	m, known := modelNamed(rules, key, dialect.Name(), name)
	if !known {
		return providers.Reply{}, Deny(call.NotFound, "model_not_found", call.RetryNever,
			"there is no model %s for this key", strconv.QuoteToASCII(Clip(name)))
	}
	return dialect.Models(op, []providers.Model{m}), nil
}

// modelNamed is a model that the tenant of a key may use in a dialect. It need not be in
// the list: patterns of the policy stand for names that no price table has.
func modelNamed(rules *gate.Rules, key *policy.Key, dialect, name string) (providers.Model, bool) {
	model, upstreams := rules.Policy.Route(key.Tenant, name)
	upstreams = policy.Speaking(upstreams, dialect)
	if len(upstreams) == 0 || !key.Tenant.MayUse(name) {
		return providers.Model{}, false
	}
	_, err := rules.Prices.Lookup(upstreams[0].Provider, name, time.Now()) // which decides nothing
	return providers.Model{ID: name, Owner: upstreams[0].Name}, err == nil || !strings.Contains(model.Match, "*")
}

// modelsFor are the models of the policy that the tenant of a key may use in a dialect
// and that have a price.
func modelsFor(rules *gate.Rules, key *policy.Key, dialect string) []providers.Model {
	var list []providers.Model
	seen, priced := map[string]bool{}, map[string][]string{}
	for _, m := range rules.Policy.Models {
		for _, name := range namesOf(rules, m, priced) {
			if seen[name] {
				continue
			}
			model, upstreams := rules.Policy.Route(key.Tenant, name)
			upstreams = policy.Speaking(upstreams, dialect)
			if model != m || len(upstreams) == 0 || !key.Tenant.MayUse(name) {
				continue
			}
			seen[name] = true
			list = append(list, providers.Model{ID: name, Owner: upstreams[0].Name})
		}
	}
	return list
}

// namesOf returns the names that a model rule stands for: its own, or for a
// pattern those in the price table of its upstreams' providers. priced keeps what the
// table has of each, for the next one.
func namesOf(rules *gate.Rules, m *policy.Model, priced map[string][]string) []string {
	if !strings.Contains(m.Match, "*") {
		return []string{m.Match}
	}
	var list []string
	for _, upstream := range m.Upstreams {
		table, known := priced[upstream.Provider]
		if !known {
			table = rules.Prices.Models(upstream.Provider)
			priced[upstream.Provider] = table
		}
		for _, name := range table {
			if names.Match(m.Match, name) {
				list = append(list, name)
			}
		}
	}
	return list
}
