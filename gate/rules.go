package gate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// Rules are one policy with the price table that its overrides make.
type Rules struct {
	Policy *policy.Policy
	Prices *pricing.Table
}

// NewRules combines a policy with the built-in price table.
func NewRules(p *policy.Policy) (*Rules, error) { return RulesOn(pricing.Builtin(), p) }

// RulesOn combines a policy with another price table.
func RulesOn(table *pricing.Table, p *policy.Policy) (*Rules, error) {
	prices, err := table.With(overrides(p))
	if err != nil {
		return nil, err
	}
	return &Rules{Policy: p, Prices: prices}, nil
}

func overrides(p *policy.Policy) []pricing.Override {
	var list []pricing.Override
	for _, m := range p.Models {
		if m.Price != nil {
			list = append(list, *m.Price)
		}
	}
	return list
}

// Unpriced tells of each upstream whose provider the table does not know, where the policy
// does not price what it sends there either: what goes there is denied. The errors are
// pricing.ErrNoPrice; nil: there is none.
func (r *Rules) Unpriced() (problems []error) {
	for _, name := range slices.Sorted(maps.Keys(r.Policy.Upstreams)) {
		u := r.Policy.Upstreams[name]
		if err := r.Prices.Sells(u.Provider); err != nil && r.denies(u) {
			problems = append(problems, fmt.Errorf("upstream %q: %w", u.Name, err))
		}
	}
	return problems
}

// Unpaid tells of each model that tenants have asked for where a budget is exhausted, and that has no price at any
// upstream which may serve it: nobody would ever get it. nil: there is none.
func (r *Rules) Unpaid(now time.Time) (problems []error) {
	said := map[string]bool{}
	for _, t := range r.Policy.Tenants {
		if t.Downgrade == "" || said[t.Downgrade] {
			continue
		}
		said[t.Downgrade] = true
		_, upstreams := r.Policy.Route(t, t.Downgrade)
		var why error
		priced := slices.ContainsFunc(upstreams, func(u *policy.Upstream) bool {
			_, err := r.Prices.Lookup(u.Provider, t.Downgrade, now)
			why = err
			return err == nil
		})
		if !priced && why != nil {
			problems = append(problems, fmt.Errorf("tenant %q: when_exhausted: use: %w", t.Name, why))
		}
	}
	return problems
}

// denies reports whether models go to an upstream, and the policy prices none of them.
func (r *Rules) denies(u *policy.Upstream) bool {
	used := false
	for _, m := range r.Policy.Models {
		if !slices.Contains(m.Upstreams, u) {
			continue
		}
		used = true
		if slices.ContainsFunc(r.Policy.Models, func(other *policy.Model) bool { return other.Price != nil && names.Match(other.Match, m.Match) }) {
			return false
		}
	}
	return used
}

// Limits returns what a model can read and write at a provider, in tokens: as
// the policy says of it, else as the price table does. 0 is not known.
func (r *Rules) Limits(provider string, m *policy.Model, name string) pricing.Limits {
	limits := r.Prices.Limits(provider, name)
	if m.ContextTokens > 0 {
		limits.ContextTokens = m.ContextTokens
	}
	if m.MaxOutputTokens > 0 {
		limits.MaxOutputTokens = m.MaxOutputTokens
	}
	return limits
}

// have reports whether a key is one of these rules, not of older or newer ones:
// it is judged by its own tenant's limits, and receipts say that those were these.
func (r *Rules) have(key *policy.Key) bool { return r.Policy.Tenant(key.Tenant.Name) == key.Tenant }

// tenants names the policy's tenants.
func (r *Rules) tenants() []string { return tenantNames(r.Policy) }

func tenantNames(p *policy.Policy) []string {
	names := make([]string, len(p.Tenants))
	for i, t := range p.Tenants {
		names[i] = t.Name
	}
	return names
}

// force is which rules are in force.
type force struct {
	policies Policies
	prices   Tables

	rules  atomic.Pointer[Rules]
	judged atomic.Pointer[basis] // the newest that was taken in or refused
	taking sync.Mutex
}

// basis is what rules are made of.
type basis struct {
	policy *policy.Policy
	prices *pricing.Table
}

// isNewest reports whether nothing newer is there than what was judged.
func (f *force) isNewest() bool {
	judged := f.judged.Load()
	return judged != nil && f.policies.Current() == judged.policy && f.prices.Current() == judged.prices
}

// Rules returns those in force: of the newest policy and price table that could be
// taken in. What cannot leaves the old ones in force, and the logger is told why.
func (g *Gate) Rules() *Rules {
	f := &g.force
	if f.isNewest() || !f.taking.TryLock() {
		return f.rules.Load()
	}
	defer f.taking.Unlock()
	if f.isNewest() {
		return f.rules.Load()
	}
	newest := basis{f.policies.Current(), f.prices.Current()}
	err := g.adopt(context.Background(), newest)
	switch {
	case errors.Is(err, errNotProvisioned):
		g.complain("policy not loaded yet, it is tried again", "err", err)
		return f.rules.Load()
	case err != nil:
		g.logger.Error("policy not loaded, the old one stays in force", "err", err)
	default:
		g.logger.Info("policy loaded", "generation", newest.policy.Version.Generation, "tenants", len(newest.policy.Tenants), "prices", newest.prices.Version())
	}
	f.judged.Store(&newest)
	return f.rules.Load()
}

// adopt puts a policy in force. Of a ledger that is this process's own, its
// tenants are provisioned first.
func (g *Gate) adopt(ctx context.Context, b basis) error {
	p := b.policy
	if err := g.force.follows(p); err != nil {
		return err
	}
	rules, err := RulesOn(b.prices, p)
	if err != nil {
		return err
	}
	if err := g.authorizes(p); err != nil {
		return err
	}
	if _, own := g.ledger.(journal); own {
		if err := g.ledger.Provision(ctx, rules.tenants()...); err != nil {
			return fmt.Errorf("%w: %w", errNotProvisioned, err)
		}
	}
	g.force.rules.Store(rules)
	g.telemetry.Tenants(p.Tenants)
	return nil
}

// follows refuses a policy that the ledger would refuse, since it has seen the
// one in force. A policy.Source gives no such one; a provider of one's own may go
// back.
func (f *force) follows(p *policy.Policy) error {
	if p == nil {
		return errors.New("there is no policy")
	}
	rules := f.rules.Load()
	if rules == nil || p.Version == rules.Policy.Version {
		return nil
	}
	if now := rules.Policy.Version.Generation; p.Version.Generation <= now {
		return fmt.Errorf("generation %d does not follow %d", p.Version.Generation, now)
	}
	return nil
}

// errNotProvisioned may pass: the disk was full.
var errNotProvisioned = errors.New("tenants not provisioned")

// authorizes refuses a policy whose upstreams want authorizations where there
// are none.
func (g *Gate) authorizes(p *policy.Policy) error {
	if g.authority != nil {
		return nil
	}
	for name, u := range p.Upstreams {
		if u.Authorized {
			return fmt.Errorf("upstream %s has attach_authorization: %w", name, errNoAuthority)
		}
	}
	return nil
}

var errNoAuthority = errors.New("that needs an Ed25519 signing key: make one with aegis-proxy init, and hand over with --retiring-key")
