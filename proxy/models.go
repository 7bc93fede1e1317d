package proxy

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// modelList is OpenAI's answer to GET /v1/models.
type modelList struct {
	Object string       `json:"object"`
	Data   []modelEntry `json:"data"`
}

type modelEntry struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// listModels answers from the policy: every model with a price that the tenant
// may use.
func listModels(w http.ResponseWriter, rules *gate.Rules, key *policy.Key) error {
	list := modelList{Object: "list", Data: []modelEntry{}}
	seen, priced := map[string]bool{}, map[string][]string{}
	for _, m := range rules.Policy.Models {
		for _, name := range namesOf(rules, m, priced) {
			if seen[name] {
				continue
			}
			model, upstreams := rules.Policy.Route(key.Tenant, name)
			if model != m || len(upstreams) == 0 || !key.Tenant.MayUse(name) {
				continue
			}
			seen[name] = true
			list.Data = append(list.Data, modelEntry{ID: name, Object: "model", OwnedBy: upstreams[0].Name})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(decisionHeader, decisionAllow)
	return json.NewEncoder(w).Encode(list)
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
