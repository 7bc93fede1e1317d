package admission

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// A Listing is a request for a list of models, or for what describes one.
type Listing struct {
	Rules     *gate.Rules
	Key       *policy.Key
	Dialect   providers.Dialect
	Operation providers.Operation
	Origin    Origin
	Header    http.Header // of the request
}

// Answer answers from the policy, with leave of the gate: every model with a price that the
// tenant may use, or the one that the operation's path names. It marks the answer's header.
// The error is a *call.Denial or gate.ErrClosed.
func (l *Listing) Answer(ctx context.Context, g *gate.Gate, h http.Header) (providers.Reply, error) {
	models, err := l.models()
	if err != nil {
		return providers.Reply{}, err
	}
	bid, err := l.bid()
	if err != nil {
		return providers.Reply{}, err
	}
	receipt, err := g.List(ctx, bid)
	if err != nil {
		return providers.Reply{}, err
	}
	h[DecisionHeader] = []string{Allowed}
	if receipt != "" {
		h[ReceiptHeader] = []string{receipt}
	}
	return l.Dialect.Models(l.Operation, models), nil
}

// bid is what the gate is asked.
func (l *Listing) bid() (gate.Bid, error) {
	depth, err := DepthOf(l.Key.Tenant, l.Header, l.Origin.Depth)
	if err != nil {
		return gate.Bid{}, err
	}
	run, err := runFrom(l.Key.Tenant, bare(l.Header), l.Origin.Run)
	if err != nil {
		return gate.Bid{}, err
	}
	facts := call.Facts{
		Dialect: l.Dialect.Name(), Endpoint: l.Operation.Operation, Model: l.Rules.Policy.Named(l.Operation.Params["model"]), Choices: 1, Depth: depth,
	}
	facts.SetNames(run, "", "")
	return gate.Bid{Rules: l.Rules, Key: l.Key, Facts: facts}, nil
}

// models are those that are told of.
func (l *Listing) models() ([]providers.Model, error) {
	name, one := l.Operation.Params["model"]
	if !one {
		return modelsFor(l.Rules, l.Key, l.Dialect.Name()), nil
	}
	m, known := modelNamed(l.Rules, l.Key, l.Dialect.Name(), name)
	if !known {
		return nil, Deny(call.NotFound, "model_not_found", call.RetryNever,
			"there is no model %s for this key", strconv.QuoteToASCII(Clip(name)))
	}
	return []providers.Model{m}, nil
}

// modelNamed is a model that the tenant of a key may use in a dialect. It need not be in
// the list: patterns of the policy stand for names that no price table has.
func modelNamed(rules *gate.Rules, key *policy.Key, dialect, name string) (providers.Model, bool) {
	named := rules.Policy.Named(name)
	model, upstreams := rules.Policy.Route(key.Tenant, named)
	upstreams = policy.Speaking(upstreams, dialect)
	if len(upstreams) == 0 || !key.Tenant.MayUse(named) {
		return providers.Model{}, false
	}
	_, err := rules.Prices.Lookup(upstreams[0].Provider, named, time.Now()) // which decides nothing
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
	for _, name := range rules.Policy.Aliases() {
		if m, ok := modelNamed(rules, key, dialect, name); ok && !seen[name] {
			list = append(list, m)
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
