package budgettest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

var switchPromises = []promise{
	{"a thrown switch stops what names it, and nothing else", func(w *world) {
		w.throw("key:a")
		w.same("killed by", w.killed("tenant", "key:a").Switch.Name, "key:a")
		w.must(w.reserveUnless("tenant", "key:b"))
		w.must(w.reserveUnless())
		w.holds(slot("slots", 0), 0, 2)
	}},
	{"a lifted switch stops nothing", func(w *world) {
		w.throw("tenant")
		w.killed("tenant")
		w.lift("tenant")
		w.must(w.reserveUnless("tenant"))
	}},
	{"the first thrown switch of a reservation is named", func(w *world) {
		second, first := w.throw("key:a"), w.throw("tenant")
		k := w.killed("global", "tenant", "key:a")
		w.same("switch", k.Switch, first)
		w.same("number", k.Number, first.Number+1) // a newer policy came between
		w.same("epoch", k.Epoch, w.balances().Epoch)
		w.same("other", w.killed("key:a", "tenant").Switch, second)
	}},
	{"throwing and lifting take the tenant's next numbers", func(w *world) {
		before := w.balances().Number
		w.same("thrown", w.throw("tenant").Number, before+1)
		w.same("lifted", w.lift("tenant").Number, before+2)
		w.same("last", w.balances().Number, before+2)
	}},
	{"throwing a thrown switch changes nothing", func(w *world) {
		first := w.throw("tenant")
		w.throw("key:a")
		before := w.balances()
		w.same("again", w.throw("tenant"), first)
		w.same("number", w.balances().Number, before.Number)
	}},
	{"lifting a switch that is not thrown changes nothing", func(w *world) {
		before := w.balances().Number
		w.same("never thrown", w.lift("tenant"), budget.Switch{Name: "tenant"})
		w.throw("tenant")
		w.lift("tenant")
		w.same("again", w.lift("tenant"), budget.Switch{Name: "tenant"})
		w.same("number", w.balances().Number, before+2)
	}},
	{"balances list the thrown switches by name", func(w *world) {
		w.same("none", w.balances().Switches, []budget.Switch(nil))
		second, first, gone := w.throw("tenant"), w.throw("key:a"), w.throw("run:x")
		w.lift(gone.Name)
		w.same("two", w.balances(slot("slots", 0)).Switches, []budget.Switch{first, second})
	}},
	{"a switch is judged before the claims", func(w *world) {
		w.throw("tenant")
		r := w.reservation(money("usd", 2, 1))
		r.Switches = []string{"tenant"}
		w.same("killed by", w.killedBy(w.ledger.Reserve(w.Context(), r)).Switch.Name, "tenant")
	}},
	{"an older policy is refused before a switch is judged", func(w *world) {
		w.must(w.reserveUnder(policy(5)))
		w.throw("tenant")
		r := w.reservation(slot("slots", 9))
		r.Policy, r.Switches = policy(4), []string{"tenant"}
		_, err := w.ledger.Reserve(w.Context(), r)
		w.want(err, budget.ErrStalePolicy)
	}},
	{"a newer policy binds even if its first reserve is killed", func(w *world) {
		w.throw("tenant")
		r := w.reservation(slot("slots", 9))
		r.Policy, r.Switches = policy(6), []string{"tenant"}
		w.killedBy(w.ledger.Reserve(w.Context(), r))
		w.want(w.reserveUnder(policy(5)), budget.ErrStalePolicy)
	}},
	{"a switch binds every reserve that begins once it is thrown", bindAtOnce},
	{"a switch does not take back what was granted", func(w *world) {
		r := w.reservation(money("usd", 60, 100))
		r.Switches = []string{"tenant"}
		first, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		w.throw("tenant")
		again, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		first.Repeated, first.Keys = true, []string{"usd"}
		w.same("repeat", again, first)
		l := budget.LeaseRef{Tenant: w.tenant, Lease: r.Lease}
		_, err = w.extend(l, 70)
		w.must(err)
		w.settle(l, 65)
		w.holds(money("usd", 0, 0), 65, 0)
	}},
	{"switches of two tenants do not mix", func(w *world) {
		w.throw("tenant")
		w.tenant = newTenant()
		w.must(w.ledger.Provision(w.Context(), w.tenant))
		w.must(w.reserveUnless("tenant"))
	}},
	{"events of switches are overdue at once and fold", func(w *world) {
		w.granted(slot("slots", 5))
		w.throw("tenant")
		w.throw("key:a")
		w.lift("tenant")
		w.same("swept", w.sweep(), []int64{1, 2, 4, 5, 6})
		events := w.collect()
		w.same("kill", events[3], w.switchEvent(4, budget.Thrown, "tenant", events[3].At))
		w.same("lift", events[5], w.switchEvent(6, budget.Lifted, "tenant", events[5].At))
		w.foldsTo(events, slot("slots", 0))
	}},
	{"a restored tenant has the same switches", restoreSwitches},
	{"a ledger opened again has the same switches", func(w *world) {
		w.reopens()
		thrown := w.throw("key:a")
		w.throw("tenant")
		w.lift("tenant")
		w.ledger = w.Reopen(w.T)
		w.same("switches", w.balances().Switches, []budget.Switch{thrown})
		w.same("killed by", w.killed("key:a").Switch, thrown)
		w.must(w.reserveUnless("tenant"))
	}},
	{"a tenant has only so many thrown switches", func(w *world) {
		for i := range budget.MaxSwitches {
			w.throw(fmt.Sprintf("key:%d", i))
		}
		_, err := w.ledger.Throw(w.Context(), w.tenant, "one-more")
		w.want(err, budget.ErrSwitches)
		w.throw("key:7")
		w.lift("key:7")
		w.throw("one-more")
		w.throw(budget.TenantSwitch)
		w.throw(budget.GlobalSwitch)
		w.same("switches", len(w.balances().Switches), budget.MaxSwitches+2)
	}},
	{"a tenant provisioned while all are stopped is born so", bornStopped},
	{"a malformed switch is refused", refuseSwitches},
}

func (w *world) throw(name string) budget.Switch {
	w.Helper()
	thrown, err := w.ledger.Throw(w.Context(), w.tenant, name)
	w.must(err)
	return thrown
}

func (w *world) lift(name string) budget.Switch {
	w.Helper()
	lifted, err := w.ledger.Lift(w.Context(), w.tenant, name, 0)
	w.must(err)
	return lifted
}

// reserveUnless reserves a slot unless one of the switches is thrown.
func (w *world) reserveUnless(switches ...string) error {
	r := w.reservation(slot("slots", 100))
	r.Switches = switches
	_, err := w.ledger.Reserve(w.Context(), r)
	return err
}

// killed fails the test unless one of the switches is thrown.
func (w *world) killed(switches ...string) *budget.Killed {
	w.Helper()
	return w.killedBy(budget.Grant{}, w.reserveUnless(switches...))
}

func (w *world) killedBy(_ budget.Grant, err error) *budget.Killed {
	w.Helper()
	var killed *budget.Killed
	if !errors.As(err, &killed) {
		w.Fatalf("error is %v, want one of a kill switch", err)
	}
	return killed
}

// bindAtOnce has callers reserve until they are stopped.
func bindAtOnce(w *world) {
	var thrown atomic.Bool
	var begun, running sync.WaitGroup
	begun.Add(callers)
	for i := range callers {
		running.Go(func() {
			for n := 0; ; n++ {
				r := budget.Reservation{Tenant: w.tenant, Lease: fmt.Sprintf("caller-%d-%d", i, n), Policy: policy(1),
					TTL: time.Minute, Switches: []string{"global", "tenant"}}
				late := thrown.Load()
				_, err := w.ledger.Reserve(context.Background(), r)
				if n == 0 {
					begun.Done()
				}
				if killed := (*budget.Killed)(nil); errors.As(err, &killed) {
					return
				}
				if err != nil || late {
					w.Errorf("granted after the throw: %v (%v)", late, err)
					return
				}
			}
		})
	}
	begun.Wait()
	w.throw("tenant")
	thrown.Store(true)
	running.Wait()
}

func (w *world) switchEvent(number int64, kind budget.EventKind, name string, at int64) budget.Event {
	return budget.Event{Tenant: w.tenant, Epoch: w.balances().Epoch, Number: number, Kind: kind, At: at, Switch: name}
}

// restoreSwitches restores a tenant over itself and elsewhere.
func restoreSwitches(w *world) {
	w.throw("tenant")
	w.throw("key:a")
	w.lift("tenant")
	events := w.collect()
	before := w.balances().Switches
	state, err := fold(w.tenant, events)
	w.must(err)
	w.must(w.ledger.Restore(w.Context(), state))
	w.same("over itself", w.balances().Switches, before)

	w.tenant = newTenant()
	for i := range events {
		events[i].Tenant = w.tenant
	}
	state, err = fold(w.tenant, events)
	w.must(err)
	w.must(w.ledger.Restore(w.Context(), state))
	w.same("elsewhere", w.balances().Switches, before)
	w.same("killed by", w.killed("key:a").Switch, before[0])
	w.lift("key:a")
	w.must(w.reserveUnless("tenant", "key:a"))
}

// bornStopped leaves the ledger, which tests may share, as it was.
func bornStopped(w *world) {
	old := w.tenant
	w.must(w.reserveUnless())
	w.must(w.ledger.Provision(w.Context(), budget.EveryTenant))
	w.tenant = budget.EveryTenant
	defer w.ledger.Lift(w.Context(), budget.EveryTenant, budget.GlobalSwitch, 0)
	w.throw(budget.GlobalSwitch)
	w.throw("tenant") // of no concern to others
	w.tenant = newTenant()
	w.must(w.ledger.Provision(w.Context(), old, w.tenant))
	born := w.balances()
	w.same("number", born.Number, int64(2))
	w.same("killed by", w.killed(budget.GlobalSwitch).Switch, budget.Switch{Name: budget.GlobalSwitch, Number: 2, At: born.Switches[0].At})
	w.foldsTo(w.collect(), slot("slots", 0))
	w.tenant = old
	w.must(w.reserveUnless(budget.GlobalSwitch))

	w.tenant = budget.EveryTenant
	w.lift(budget.GlobalSwitch)
	w.lift("tenant")
	w.tenant = newTenant()
	w.must(w.ledger.Provision(w.Context(), w.tenant))
	w.must(w.reserveUnless(budget.GlobalSwitch))
}

func refuseSwitches(w *world) {
	for _, name := range []string{"", "no spaces", "{tag}", strings.Repeat("x", budget.MaxKeyBytes+1)} {
		_, err := w.ledger.Throw(w.Context(), w.tenant, name)
		w.want(err, budget.ErrInvalid)
		_, err = w.ledger.Lift(w.Context(), w.tenant, name, 0)
		w.want(err, budget.ErrInvalid)
		w.want(w.reserveUnless(name), budget.ErrInvalid)
	}
	w.want(w.reserveUnless(strings.Fields(strings.Repeat("x ", budget.MaxSwitchesPerReserve+1))...), budget.ErrInvalid)
	_, err := w.ledger.Throw(w.Context(), "", "tenant")
	w.want(err, budget.ErrInvalid)
}
