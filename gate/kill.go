package gate

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// watchEvery is how often the ledger is asked for switches that cut calls in
// flight.
const watchEvery = time.Second

// flights are the calls in flight that a kill switch cuts, by tenant.
type flights struct {
	mu       sync.Mutex
	byTenant map[string]map[*Grant]func(name string)
}

// OnKill has cut called, once at most, soon after a kill switch of the call was
// thrown, with the switch's name. It never is where the policy lets calls in
// flight finish, nor once End has returned, but it may still run then.
func (gr *Grant) OnKill(cut func(name string)) {
	tenant := gr.quote.Key.Tenant
	if tenant.OnKill != policy.Cut {
		return
	}
	f := &gr.gate.flights
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byTenant == nil {
		f.byTenant = map[string]map[*Grant]func(string){}
	}
	if f.byTenant[tenant.Name] == nil {
		f.byTenant[tenant.Name] = map[*Grant]func(string){}
	}
	f.byTenant[tenant.Name][gr] = cut
}

// land forgets a call that has ended, or is being cut.
func (f *flights) land(gr *Grant) {
	tenant := gr.quote.Key.Tenant
	if tenant.OnKill != policy.Cut {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byTenant[tenant.Name], gr)
	if len(f.byTenant[tenant.Name]) == 0 {
		delete(f.byTenant, tenant.Name)
	}
}

func (f *flights) tenants() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := make([]string, 0, len(f.byTenant))
	for name := range f.byTenant {
		names = append(names, name)
	}
	return names
}

// hit is a call that a switch cuts.
type hit struct {
	grant *Grant
	name  string
	cut   func(name string)
}

// hits are the tenant's calls that one of the thrown switches stops.
func (f *flights) hits(tenant string, thrown []budget.Switch) []hit {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []hit
	for gr, cut := range f.byTenant[tenant] {
		for _, name := range gr.quote.switches {
			if has(thrown, name) {
				list = append(list, hit{gr, name, cut})
				break
			}
		}
	}
	return list
}

func has(thrown []budget.Switch, name string) bool {
	return slices.ContainsFunc(thrown, func(s budget.Switch) bool { return s.Name == name })
}

// watchSwitches cuts, until the context ends, the calls in flight whose policy
// says so once a kill switch of theirs is thrown: within about two seconds,
// whichever replica it was thrown at.
func (g *Gate) watchSwitches(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.CutKilled(ctx)
		}
	}
}

// CutKilled cuts the calls in flight that a kill switch stops by now, where their
// policy says so. It happens by itself every second.
func (g *Gate) CutKilled(ctx context.Context) {
	for _, tenant := range g.flights.tenants() {
		b, err := g.ledger.Balances(ctx, tenant, nil)
		if err != nil {
			g.complain("kill switches not read", "tenant", tenant, "err", err)
			continue // on another node of a cluster others can be
		}
		for _, h := range g.flights.hits(tenant, b.Switches) {
			g.flights.land(h.grant)
			h.cut(h.name)
		}
	}
}

// stopLatecomers throws the global switch, while it is thrown for every tenant,
// at those that lack it: a tenant can have come to be, on another replica, while
// the switch was being thrown at those that were known.
func (u *upkeep) stopLatecomers(ctx context.Context, tenants []string) {
	if !u.stopped(ctx, budget.EveryTenant) {
		return
	}
	for _, tenant := range tenants {
		if u.stopped(ctx, tenant) {
			continue
		}
		if err := u.stop(ctx, tenant); err != nil {
			u.Logger.Warn("global kill switch not thrown", "tenant", tenant, "err", err)
		}
	}
}

// stop throws the global switch. An operator may have lifted it meanwhile, from
// this tenant too: then it is lifted again.
func (u *upkeep) stop(ctx context.Context, tenant string) error {
	if _, err := u.Keeper.Throw(ctx, tenant, budget.GlobalSwitch); err != nil {
		return err
	}
	every, err := u.Keeper.Balances(ctx, budget.EveryTenant, nil)
	if err != nil || has(every.Switches, budget.GlobalSwitch) {
		return err
	}
	_, err = u.Keeper.Lift(ctx, tenant, budget.GlobalSwitch)
	return err
}

// stopped reports whether a tenant is known to have the global switch.
func (u *upkeep) stopped(ctx context.Context, tenant string) bool {
	b, err := u.Keeper.Balances(ctx, tenant, nil)
	return err == nil && has(b.Switches, budget.GlobalSwitch)
}
