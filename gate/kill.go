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

// followForAll brings tenants' global switch in line with what holds for every
// tenant. One can lack it that came to be, on another replica, while the switch
// was being thrown at those that were known; and one can be left with it that
// was not in the policy of the replica that lifted it. Those in turn are looked
// at either way, active ones only to be stopped: who is left stopped has no
// calls. Nothing is done where a record cannot be read, or before a switch was
// ever thrown for all.
func (u *upkeep) followForAll(ctx context.Context, active, turn []string) {
	all, err := budget.GlobalAt(ctx, u.Keeper, budget.EveryTenant)
	if err != nil {
		return
	}
	stopped := all.Number > 0
	if stopped {
		turn = append(active, turn...)
	}
	for _, tenant := range turn {
		own, err := budget.GlobalAt(ctx, u.Keeper, tenant)
		if err != nil || (own.Number > 0) == stopped {
			continue
		}
		u.follow(ctx, tenant)
	}
}

func (u *upkeep) follow(ctx context.Context, tenant string) {
	own, err := budget.Follow(ctx, u.Keeper, tenant)
	if err != nil {
		u.Logger.Warn("global kill switch is not as for every tenant", "tenant", tenant, "err", err)
		return
	}
	u.Logger.Info("global kill switch is now as for every tenant", "tenant", tenant, "thrown", own.Number > 0)
}
