package budgettest

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

var tenantPromises = []promise{
	{"a tenant that was not provisioned is lost", func(w *world) {
		w.tenant = newTenant()
		w.lost(w.tenant)
	}},
	{"provisioning again changes nothing", func(w *world) {
		w.settle(w.granted(money("usd", 10, 100)), 10)
		before := w.balances(money("usd", 0, 0))
		w.must(w.ledger.Provision(w.Context(), w.tenant, newTenant()))
		after := w.balances(money("usd", 0, 0))
		w.same("epoch", after.Epoch, before.Epoch)
		w.same("number", after.Number, before.Number)
		w.same("observed", after.Observed, before.Observed)
	}},
	{"every tenant has an epoch of its own", func(w *world) {
		other := newTenant()
		w.must(w.ledger.Provision(w.Context(), other))
		b, err := w.ledger.Balances(w.Context(), other, nil)
		w.must(err)
		if first := w.balances(); first.Epoch == b.Epoch || len(b.Epoch) < 16 {
			w.Fatalf("epochs %q and %q", first.Epoch, b.Epoch)
		}
	}},
	{"tenants do not mix", func(w *world) {
		l := w.granted(money("usd", 100, 100))
		w.tenant = newTenant()
		w.must(w.ledger.Provision(w.Context(), w.tenant))
		w.granted(money("usd", 100, 100))
		_, err := w.ledger.Settle(w.Context(), budget.LeaseRef{Tenant: w.tenant, Lease: "never-granted"}, budget.Actual{Cost: 1})
		w.want(err, budget.ErrUnknownLease)
		w.settle(l, 1)
		w.holds(money("usd", 0, 0), 0, 100)
	}},
	{"a ledger of another epoch has lost state", func(w *world) {
		w.ledger.Remember(w.tenant, "0123456789abcdef", 1)
		w.lost(w.tenant)
	}},
	{"a ledger behind what was seen has lost state", func(w *world) {
		b := w.balances()
		w.ledger.Remember(w.tenant, b.Epoch, b.Number)
		w.granted(slot("slots", 5))
		w.ledger.Remember(w.tenant, b.Epoch, b.Number+5)
		w.lost(w.tenant)
		w.ledger.Remember(w.tenant, b.Epoch, b.Number)
		w.lost(w.tenant)
	}},
	{"an older policy is refused once a newer was seen", func(w *world) {
		w.must(w.reserveUnder(policy(5)))
		w.want(w.reserveUnder(policy(4)), budget.ErrStalePolicy)
		w.must(w.reserveUnder(policy(5)))
		w.must(w.reserveUnder(policy(6)))
		w.want(w.reserveUnder(policy(5)), budget.ErrStalePolicy)
	}},
	{"two policies of one generation are refused", func(w *world) {
		w.must(w.reserveUnder(policy(5)))
		w.want(w.reserveUnder(budget.PolicyVersion{Generation: 5, Hash: policy(6).Hash}), budget.ErrStalePolicy)
	}},
	{"a newer policy is an event before its first grant", func(w *world) {
		before := w.balances().Number
		g, err := w.reserve(slot("slots", 5))
		w.must(err)
		w.same("number", g.Number, before+2)
		events := w.collect()
		w.same("kind", events[1].Kind, budget.PolicySeen)
		w.same("policy", events[1].Policy, policy(1))
		w.same("next", events[2].Kind, budget.Granted)
	}},
	{"a newer policy binds even if its first reserve is denied", func(w *world) {
		w.must(w.reserveUnder(policy(5)))
		before := w.balances().Number
		r := w.reservation(money("usd", 2, 1))
		r.Policy = policy(6)
		_, err := w.ledger.Reserve(w.Context(), r)
		w.reasons(err)
		w.same("number", err.(*budget.Denied).Number, before+1)
		w.want(w.reserveUnder(policy(5)), budget.ErrStalePolicy)
	}},
	{"a restored tenant goes on where it was", restoreElsewhere},
	{"a restore does not overwrite newer state", func(w *world) {
		w.granted(money("usd", 10, 100))
		events := w.collect()
		old, err := fold(w.tenant, events)
		w.must(err)
		w.must(w.ledger.Restore(w.Context(), old))
		w.granted(money("usd", 10, 100))
		w.want(w.ledger.Restore(w.Context(), old), budget.ErrExists)
		w.holds(money("usd", 0, 0), 0, 20)
	}},
	{"a restore does not overwrite another epoch", func(w *world) {
		other := budget.NewState(w.tenant)
		w.must(other.Apply(budget.Event{Tenant: w.tenant, Epoch: "fedcba9876543210", Number: 1, Kind: budget.Provisioned, At: 1}))
		w.want(w.ledger.Restore(w.Context(), other), budget.ErrExists)
	}},
	{"a ready ledger says so", func(w *world) { w.must(w.ledger.Ready(w.Context())) }},
}

// reserveUnder reserves a slot under a policy.
func (w *world) reserveUnder(p budget.PolicyVersion) error {
	r := w.reservation(slot("slots", 100))
	r.Policy = p
	_, err := w.ledger.Reserve(w.Context(), r)
	return err
}

// lost fails the test unless every verb refuses the tenant.
func (w *world) lost(tenant string) {
	w.Helper()
	l := budget.LeaseRef{Tenant: tenant, Lease: "lease"}
	_, err := w.reserve(slot("slots", 1))
	w.want(err, budget.ErrLost)
	_, err = w.extend(l, 1)
	w.want(err, budget.ErrLost)
	_, err = w.ledger.Renew(w.Context(), l, time.Minute)
	w.want(err, budget.ErrLost)
	_, err = w.ledger.Settle(w.Context(), l, budget.Actual{Cost: 1})
	w.want(err, budget.ErrLost)
	_, err = w.ledger.Release(w.Context(), l)
	w.want(err, budget.ErrLost)
	_, err = w.ledger.Balances(w.Context(), tenant, nil)
	w.want(err, budget.ErrLost)
	_, err = w.ledger.Sweep(w.Context(), tenant)
	w.want(err, budget.ErrLost)
	_, err = w.ledger.Throw(w.Context(), tenant, "tenant")
	w.want(err, budget.ErrLost)
	_, err = w.ledger.Lift(w.Context(), tenant, "tenant", 0)
	w.want(err, budget.ErrLost)
}

// restoreElsewhere gives one tenant's history to a tenant that the ledger does
// not know.
func restoreElsewhere(w *world) {
	rolling := over(keep("rate", 3, 100), budget.Rolling, time.Hour)
	idle := grouped(over(money("run/a", 10, 100), budget.Idle, time.Hour), "runs", 1)
	settled := w.granted(idle, rolling)
	ending := w.settle(settled, 4)
	expired := w.leaveOpen(idle)
	w.pass(short)
	open := w.granted(idle, slot("slots", 1))
	events := w.collect()
	before := w.balances(idle, rolling, slot("slots", 0))

	w.tenant = newTenant()
	for i := range events {
		events[i].Tenant = w.tenant
	}
	state, err := fold(w.tenant, events)
	w.must(err)
	w.must(w.ledger.Restore(w.Context(), state))
	after := w.balances(idle, rolling, slot("slots", 0))
	w.same("observed", after.Observed, before.Observed)
	w.same("epoch", after.Epoch, before.Epoch)
	w.same("number", after.Number, before.Number)
	w.same("open", after.Open, before.Open)

	at := func(l budget.LeaseRef) budget.LeaseRef { return budget.LeaseRef{Tenant: w.tenant, Lease: l.Lease} }
	w.same("settled", w.settle(at(settled), 99), repeated(ending))
	w.same("corrected", w.settle(at(expired), 1).Kind, budget.Corrected)
	w.same("slot", w.denied(slot("slots", 1)), []budget.Reason{budget.Held})
	w.same("group", w.denied(grouped(over(money("run/b", 1, 9), budget.Idle, time.Hour), "runs", 1)), []budget.Reason{budget.Crowded})
	w.want(w.reserveUnder(budget.PolicyVersion{Generation: 1, Hash: policy(2).Hash}), budget.ErrStalePolicy)
	w.same("number", w.settle(at(open), 7).Number, before.Number+2)
	w.holds(idle, 12, 0)
	w.holds(rolling, 3, 0)
}

func fold(tenant string, events []budget.Event) (*budget.State, error) {
	s := budget.NewState(tenant)
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			return nil, err
		}
	}
	return s, nil
}
