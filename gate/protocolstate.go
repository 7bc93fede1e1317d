package gate

import (
	"cmp"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	// maxListedNonces bounds the nonces that a state lists of each key, the
	// newest, and maxNonceEntries those of all keys together.
	maxListedNonces = 1000
	maxNonceEntries = 1 << 16

	// endlessSeconds is the window of a rate that never resets.
	endlessSeconds = 1 << 40

	// noTarget is what a list of targets holds where no model is allowed: an
	// empty list would allow all.
	noTarget = "(none)"
)

// ledgerView is what the protocol's state is made of, of one tenant at one
// instant.
type ledgerView struct {
	at       int64 // ledger milliseconds
	balances func([]budget.Claim) (budget.Balances, error)
	nonces   []oxdeai.NonceRecord // spent, oldest first
	leaves   []leave              // open
}

// leave is an open lease by its authorization.
type leave struct {
	agent, id string
	expiry    int64  // Unix seconds
	intent    string // its hash
}

// protocolState is a tenant's policy and balances as the protocol's state, with
// an agent for each key. docs/decision.md says what is folded together.
func protocolState(p *policy.Policy, t *policy.Tenant, v ledgerView) (*oxdeai.State, error) {
	all, err := v.balances(nil)
	if err != nil {
		return nil, err
	}
	s := emptyState(p, t, v)
	s.KillSwitch.Global = has(all.Switches, budget.GlobalSwitch) || has(all.Switches, policy.TenantSwitch)
	for _, k := range t.Keys {
		b, err := view(k, v)
		if err != nil {
			return nil, err
		}
		b.agent(s, v)
	}
	return s, nil
}

// emptyState is the state but for its agents.
func emptyState(p *policy.Policy, t *policy.Tenant, v ledgerView) *oxdeai.State {
	return &oxdeai.State{
		PolicyVersion: policyVersion(p.Version.Generation),
		KillSwitch:    oxdeai.KillSwitch{Agents: map[string]bool{}},
		Allowlists:    oxdeai.Allowlists{Assets: []string{asset}, ActionTypes: allowedTypes(t), Targets: allowedTargets(p, t)},
		Budget:        oxdeai.Budget{Limit: map[string]*big.Int{}, Spent: map[string]*big.Int{}},

		MaxAmountPerAction: map[string]*big.Int{},
		Velocity:           oxdeai.Velocity{WindowSeconds: 1, MaxActions: budget.NoLimit, Counters: map[string]oxdeai.VelocityCounter{}},
		Replay:             replayState(t),
		Concurrency: oxdeai.Concurrency{
			MaxConcurrent: map[string]int64{}, Active: map[string]int64{}, ActiveAuths: activeAuths(v.leaves),
		},
		MaxDepth:   map[string]int64{},
		ToolLimits: toolState(),
	}
}

// policyVersion is what the protocol calls a generation of the policy.
func policyVersion(generation int64) string { return strconv.FormatInt(generation, 10) }

// keyView is what limits one key's requests: the counters that concern each of
// them, whatever run, end user or model it names.
type keyView struct {
	key       *policy.Key
	at        int64
	standings []policy.Standing
	balances  budget.Balances
}

func view(k *policy.Key, v ledgerView) (*keyView, error) {
	b := &keyView{key: k, at: v.at}
	now, scope := time.UnixMilli(v.at), policy.Scope{Key: k.ID}
	b.standings = slices.Concat(k.Tenant.Standings(scope, now), k.Tenant.Counts(scope, now))
	b.standings = slices.DeleteFunc(b.standings, func(s policy.Standing) bool { return s.Budgets[0].Models != "" })
	var err error
	b.balances, err = v.balances(policy.ClaimsOf(b.standings))
	return b, err
}

func (b *keyView) killed(name string) bool { return has(b.balances.Switches, name) }

// agent writes the key's entries.
func (b *keyView) agent(s *oxdeai.State, v ledgerView) {
	t, id := b.key.Tenant, agentID(b.key.Tenant.Name, b.key.ID)
	s.KillSwitch.Agents[id] = b.killed(policy.KeySwitch(b.key.ID))
	money := b.tightest("usd", "")
	s.Budget.Limit[id], s.Budget.Spent[id] = big.NewInt(money.limit), big.NewInt(money.used)
	s.MaxAmountPerAction[id] = big.NewInt(perRequest(t))
	slots := b.tightest("slots", "")
	s.Concurrency.MaxConcurrent[id] = slots.limit
	s.Concurrency.Active[id] = min(slots.used, slots.limit)
	s.MaxDepth[id] = maxDepth(t)
	if s.Replay.MaxNoncesPerAgent > 0 {
		s.Replay.Nonces[id] = newest(v.nonces, int(s.Replay.MaxNoncesPerAgent))
	}
	b.velocity(s, id)
	b.tools(s, id)
}

// use is one counter with its limit.
type use struct{ limit, used int64 }

// tightest is the counter of a unit that has least left, of those for one tool
// where it is named and else of those for all. What is held counts as spent: the
// protocol charges with the decision.
func (b *keyView) tightest(unit, tool string) use {
	best := use{limit: budget.NoLimit}
	found := false
	for i, s := range b.standings {
		seen := b.balances.Observed[i]
		one := use{s.Claim.Limit, seen.Spent + seen.Held}
		if s.Budgets[0].Unit() == unit && s.Budgets[0].Tool == tool && (!found || one.limit-one.used < best.limit-best.used) {
			best, found = one, true
		}
	}
	return best
}

// velocity writes the first rate of the policy that concerns every request of
// a key: the protocol has one for all agents.
func (b *keyView) velocity(s *oxdeai.State, id string) {
	rates := b.key.Tenant.Rates
	n := slices.IndexFunc(rates, func(r *policy.Budget) bool { return r.Models == "" && everyRequest(r) })
	if n < 0 {
		return
	}
	i := slices.IndexFunc(b.standings, func(s policy.Standing) bool { return slices.Contains(s.Budgets, rates[n]) })
	claim, seen := b.standings[i].Claim, b.balances.Observed[i]
	var start int64
	s.Velocity.WindowSeconds, start = windowOf(claim.Window, seen.Span, b.at)
	s.Velocity.MaxActions = claim.Limit
	s.Velocity.Counters[id] = oxdeai.VelocityCounter{WindowStart: start, Count: seen.Spent + seen.Held}
}

// everyRequest reports whether a limit concerns requests that name neither run
// nor end user.
func everyRequest(b *policy.Budget) bool {
	return !slices.Contains(b.Scope, "run") && !slices.Contains(b.Scope, "user")
}

// windowOf is a window in seconds. A rolling one begins anew at the instant of
// the state: the protocol's windows do not slide.
func windowOf(w budget.Window, span budget.Span, at int64) (seconds, start int64) {
	switch w.Kind {
	case budget.Fixed:
		return (span.End - span.Start) / 1000, span.Start / 1000
	case budget.Rolling:
		return max(1, int64(w.Length/time.Second)), at / 1000
	}
	return endlessSeconds, 0
}

func perRequest(t *policy.Tenant) int64 {
	if t.Mode == policy.Observe || t.PerRequest == 0 {
		return budget.NoLimit
	}
	return t.PerRequest
}

func maxDepth(t *policy.Tenant) int64 {
	if t.Mode == policy.Observe || !t.LimitsDepth() {
		return policy.MaxDepthFact
	}
	return t.MaxDepth
}

// allowedTypes are the protocol's names for what the capabilities allow; nil
// for all.
func allowedTypes(t *policy.Tenant) []string {
	if t.Mode == policy.Observe || t.Capabilities == nil || slices.Contains(t.Capabilities, call.NeedActions) {
		return nil
	}
	return []string{purchase}
}

// allowedTargets are the models that are allowed, where the policy names them
// one by one, at each upstream; nil for all.
func allowedTargets(p *policy.Policy, t *policy.Tenant) []string {
	patterned := func(model string) bool { return strings.Contains(model, "*") }
	if t.Mode == policy.Observe || t.AllowModels == nil || slices.ContainsFunc(t.AllowModels, patterned) {
		return nil
	}
	var list []string
	for _, model := range t.AllowModels {
		if !t.MayUse(model) {
			continue
		}
		_, upstreams := p.Route(t, model)
		for _, upstream := range upstreams {
			list = append(list, target(upstream.Name, model))
		}
	}
	if len(list) == 0 {
		return []string{noTarget}
	}
	return list
}

func replayState(t *policy.Tenant) oxdeai.Replay {
	r := oxdeai.Replay{WindowSeconds: 1, Nonces: map[string][]oxdeai.NonceRecord{}}
	if t.Replay == nil || t.Mode == policy.Observe {
		return r
	}
	r.WindowSeconds = max(1, int64(t.Replay.Window/time.Second))
	r.MaxNoncesPerAgent = min(t.Replay.MaxNonces, maxListedNonces, maxNonceEntries/max(1, int64(len(t.Keys))))
	return r
}

// newest are the last of a list.
func newest(nonces []oxdeai.NonceRecord, most int) []oxdeai.NonceRecord {
	return slices.Clone(nonces[max(0, len(nonces)-most):])
}

func activeAuths(leaves []leave) map[string]map[string]int64 {
	auths := map[string]map[string]int64{}
	for _, l := range leaves {
		if auths[l.agent] == nil {
			auths[l.agent] = map[string]int64{}
		}
		auths[l.agent][l.id] = l.expiry
	}
	return auths
}

// spentNonces are the nonces that a snapshot's counters say are spent or held,
// in order of their last use. One that is held is in use at that instant.
func spentNonces(counters []budget.Counter, at int64) []oxdeai.NonceRecord {
	counters = slices.DeleteFunc(slices.Clone(counters), func(c budget.Counter) bool { return c.Spent+c.Held == 0 })
	for i := range counters {
		if counters[i].Held > 0 {
			counters[i].LastUse = at
		}
	}
	slices.SortFunc(counters, func(a, b budget.Counter) int {
		return cmp.Or(cmp.Compare(a.LastUse, b.LastUse), cmp.Compare(a.Key, b.Key))
	})
	var list []oxdeai.NonceRecord
	for _, c := range counters {
		hash, attempt, ok := policy.NonceOf(c.Key)
		if n, valid := nonceNumber(hash, attempt); ok && valid {
			list = append(list, oxdeai.NonceRecord{Nonce: n.String(), TS: c.LastUse / 1000})
		}
	}
	return list
}
