package budgettest

import (
	"slices"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

var eventPromises = []promise{
	{"events are numbered without a gap and fold to the balances", func(w *world) {
		rolling := over(keep("rate", 1, 100), budget.Rolling, time.Hour)
		settled := w.granted(money("usd", 10, 100), rolling)
		_, err := w.extend(settled, 15)
		w.must(err)
		w.settle(settled, 12)
		w.release(w.granted(money("usd", 10, 100), rolling))
		w.release(budget.LeaseRef{Tenant: w.tenant, Lease: "never-granted"})
		expired := w.leaveOpen(money("usd", 10, 100), slot("slots", 5))
		w.pass(short)
		w.settle(expired, 3)
		w.granted(money("usd", 20, 100), slot("slots", 5))
		w.foldsTo(w.collect(), money("usd", 0, 0), rolling, slot("slots", 0))
	}},
	{"events say what happened", eventsSayWhat},
	{"an event is overdue only after a while", func(w *world) {
		w.exact()
		w.granted(slot("slots", 5))
		w.same("at once", w.sweep(), []int64{1, 2})
		w.pass(budget.OverdueAfter - time.Millisecond)
		w.same("early", w.sweep(), []int64(nil))
		w.pass(time.Millisecond)
		w.same("later", w.sweep(), []int64{1, 2, 3})
	}},
	{"what no caller has to receipt is overdue at once", func(w *world) {
		w.leaveOpen(slot("slots", 5))
		w.pass(short)
		w.same("provision, policy and expiry", w.sweep(), []int64{1, 2, 4})
	}},
	{"an event is handed to one caller at a time", func(w *world) {
		w.leaveOpen(slot("slots", 5))
		w.pass(short)
		w.same("first", w.sweep(), []int64{1, 2, 4})
		w.same("second", w.sweep(), []int64(nil))
		w.pass(budget.OverdueAfter)
		w.same("later", w.sweep(), []int64{1, 2, 3, 4})
	}},
	{"who stops is handed all that has no receipt", func(w *world) {
		w.leaveOpen(slot("slots", 5))
		w.same("first", w.sweepAll(), []int64{1, 2, 3})
		w.same("again", w.sweepAll(), []int64{1, 2, 3})
		w.granted(slot("slots", 5))
		w.ledger.Acknowledge(w.tenant, 2)
		w.balances()
		w.same("later", w.sweepAll(), []int64{1, 3, 4})
		w.same("and nobody else", w.sweep(), []int64(nil))
	}},
	{"who stops ends what has expired", func(w *world) {
		w.leaveOpen(slot("slots", 5))
		w.pass(short)
		w.same("swept", w.sweepAll(), []int64{1, 2, 3, 4})
	}},
	{"an acknowledged event is not handed out", func(w *world) {
		w.granted(slot("slots", 5))
		w.ledger.Acknowledge(w.tenant, 2)
		w.balances()
		w.granted(slot("slots", 5))
		w.pass(budget.OverdueAfter)
		w.same("swept", w.sweep(), []int64{1, 3, 4})
	}},
	{"what was acknowledged early or twice does no harm", func(w *world) {
		w.ledger.Acknowledge(w.tenant, 1)
		w.ledger.Acknowledge(w.tenant, 1)
		w.ledger.Acknowledge(newTenant(), 1)
		w.granted(slot("slots", 5))
		w.holds(slot("slots", 0), 0, 1)
	}},
	{"a ledger opened again has the same balances and leases", reopen},
	{"a ledger opened again hands out at once what has no receipt", func(w *world) {
		w.reopens()
		w.granted(slot("slots", 5))
		w.ledger = w.Reopen(w.T)
		w.same("swept", w.sweep(), []int64{1, 2, 3})
	}},
}

// sweep returns the numbers of the events that are overdue.
func (w *world) sweep() (numbers []int64) {
	w.Helper()
	events, err := w.ledger.Sweep(w.Context(), w.tenant)
	w.must(err)
	for _, e := range events {
		numbers = append(numbers, e.Number)
	}
	return numbers
}

// sweepAll returns the numbers of the events that have no receipt.
func (w *world) sweepAll() (numbers []int64) {
	w.Helper()
	events, err := w.ledger.SweepAll(w.Context(), w.tenant)
	w.must(err)
	for _, e := range events {
		numbers = append(numbers, e.Number)
	}
	return numbers
}

// foldsTo fails the test unless the events, from the first, give what the
// ledger says of the claims' counters.
func (w *world) foldsTo(events []budget.Event, claims ...budget.Claim) {
	w.Helper()
	slices.SortFunc(events, func(a, b budget.Event) int { return int(a.Number - b.Number) })
	state, err := fold(w.tenant, events)
	w.must(err)
	want := w.balances(claims...)
	got, err := state.Balances(claims, state.Advance(want.At))
	w.must(err)
	w.same("fold", got, want)
}

func eventsSayWhat(w *world) {
	claims := []budget.Claim{money("usd", 10, 100), slot("slots", 5)}
	r := w.reservation(claims...)
	g, err := w.ledger.Reserve(w.Context(), r)
	w.must(err)
	l := budget.LeaseRef{Tenant: w.tenant, Lease: r.Lease}
	extended, err := w.extend(l, 15)
	w.must(err)
	ending := w.settle(l, 12)

	about := budget.Event{Tenant: w.tenant, Epoch: g.Epoch, Lease: r.Lease}
	grant, extension, settlement := about, about, about
	grant.Kind, grant.Number, grant.At, grant.Expires, grant.Policy = budget.Granted, g.Number, g.At, g.Expires, r.Policy
	for i, c := range claims {
		grant.Claims = append(grant.Claims, budget.Placed{Claim: c, Observed: g.Observed[i]})
	}
	extension.Kind, extension.Number, extension.At, extension.Amount = budget.Extended, extended.Number, extended.At, 15
	extension.Policy, extension.Limits = policy(1), []budget.Limit{{Key: "usd", Limit: 100}}
	settlement.Kind, settlement.Number, settlement.At, settlement.Amount = budget.Settled, ending.Number, ending.At, 12
	w.same("events", w.collect()[2:], []budget.Event{grant, extension, settlement})
}

func (w *world) reopens() {
	if w.Reopen == nil {
		w.Skip("this ledger is not opened by its users")
	}
}

func reopen(w *world) {
	w.reopens()
	rolling := over(keep("rate", 3, 100), budget.Rolling, time.Hour)
	settled := w.granted(money("usd", 10, 100), rolling)
	ending := w.settle(settled, 4)
	expired := w.leaveOpen(money("usd", 20, 100))
	w.pass(short)
	w.balances()
	r := w.reservation(money("usd", 5, 100), slot("slots", 1))
	grant, err := w.ledger.Reserve(w.Context(), r)
	w.must(err)
	before := w.balances(money("usd", 0, 0), rolling, slot("slots", 0))

	w.ledger = w.Reopen(w.T)
	after := w.balances(money("usd", 0, 0), rolling, slot("slots", 0))
	before.At, after.At = 0, 0
	w.same("balances", after, before)
	again, err := w.ledger.Reserve(w.Context(), r)
	w.must(err)
	grant.Repeated, grant.Keys = true, keysOf(r.Claims)
	w.same("grant", again, grant)
	w.same("settled", w.settle(settled, 9), repeated(ending))
	w.same("corrected", w.settle(expired, 1).Kind, budget.Corrected)
	w.settle(budget.LeaseRef{Tenant: w.tenant, Lease: r.Lease}, 5)
	w.holds(money("usd", 0, 0), 10, 0)
}
