package budgettest

import (
	"context"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// short is a time to live that a test can wait for on a real clock.
const short = 300 * time.Millisecond

var leasePromises = []promise{
	{"a settlement replaces the hold by the cost", func(w *world) {
		l := w.granted(money("usd", 50, 100), keep("rate", 2, 10), slot("slots", 3))
		w.same("charge", w.settle(l, 20).Charge, int64(20))
		w.holds(money("usd", 0, 0), 20, 0)
		w.holds(keep("rate", 0, 0), 2, 0)
		w.holds(slot("slots", 0), 0, 0)
	}},
	{"a release returns every hold", func(w *world) {
		l := w.granted(money("usd", 50, 100), keep("rate", 2, 10), slot("slots", 3))
		w.same("kind", w.release(l).Kind, budget.Released)
		w.holds(money("usd", 0, 0), 0, 0)
		w.holds(keep("rate", 0, 0), 0, 0)
		w.holds(slot("slots", 0), 0, 0)
	}},
	{"what is to be spent is, however its lease ends", func(w *world) {
		settled, released := w.granted(once("settled", 1)), w.granted(once("released", 1), keep("rate", 1, 10))
		w.leaveOpen(once("expired", 1))
		expired := w.leaveOpen(once("corrected", 1))
		w.same("in flight", w.denied(once("released", 1)), []budget.Reason{budget.Held})
		w.settle(settled, 0)
		w.release(released)
		w.pass(short)
		w.release(expired)
		for _, key := range []string{"settled", "released", "expired", "corrected"} {
			w.same(key, w.denied(once(key, 1)), []budget.Reason{budget.Exhausted})
			w.holds(once(key, 1), 1, 0)
		}
		w.holds(keep("rate", 0, 0), 0, 0)
	}},
	{"what is to be spent lasts as long as its counter, the lease forgotten", func(w *world) {
		id := over(once("id", 1), budget.Idle, time.Hour)
		w.release(w.granted(id))
		w.pass(time.Hour - time.Millisecond)
		w.same("within the window", w.denied(id), []budget.Reason{budget.Exhausted})
		w.pass(time.Millisecond)
		w.granted(id)
	}},
	{"an expiry charges the hold and returns the slot", func(w *world) {
		w.leaveOpen(money("usd", 50, 100), keep("rate", 2, 10), slot("slots", 3))
		w.pass(short)
		w.holds(money("usd", 0, 0), 50, 0)
		w.holds(keep("rate", 0, 0), 2, 0)
		w.holds(slot("slots", 0), 0, 0)
		w.same("open", w.balances().Open, int64(0))
	}},
	{"an expired slot is granted again", func(w *world) {
		w.leaveOpen(slot("slots", 1))
		w.same("before", w.denied(slot("slots", 1)), []budget.Reason{budget.Held})
		w.pass(short)
		w.granted(slot("slots", 1))
	}},
	{"a cost above the hold is charged in full and stops grants", func(w *world) {
		l := w.granted(money("usd", 50, 100))
		w.same("charge", w.settle(l, 130).Charge, int64(130))
		w.holds(money("usd", 0, 0), 130, 0)
		w.same("next", w.denied(money("usd", 0, 100)), []budget.Reason{budget.Exhausted})
	}},
	{"a balance never passes the largest amount unnoticed", func(w *world) {
		first, second := w.granted(money("usd", 1, 100)), w.granted(money("usd", 1, 100))
		w.settle(first, budget.MaxAmount)
		w.same("charge", w.settle(second, budget.MaxAmount).Charge, int64(budget.MaxAmount))
		w.holds(money("usd", 0, 0), budget.MaxAmount, 0)
		w.same("next", w.denied(money("usd", 1, budget.NoLimit)), []budget.Reason{budget.Exhausted})
		_, err := w.ledger.Settle(w.Context(), w.granted(slot("slots", 5)), budget.Actual{Cost: budget.MaxAmount + 1})
		w.want(err, budget.ErrInvalid)
	}},
	{"a repeated reserve gets the first grant", func(w *world) {
		r := w.reservation(money("usd", 60, 100))
		first, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		again, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		w.same("hold", first.Hold, int64(60))
		first.Repeated, first.Keys = true, []string{"usd"}
		w.same("grant", again, first)
		w.holds(money("usd", 0, 0), 0, 60)
	}},
	{"a repeated reserve of other claims gets the first grant", func(w *world) {
		r := w.reservation(money("usd", 60, 100))
		first, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		_, err = w.extend(budget.LeaseRef{Tenant: w.tenant, Lease: r.Lease}, 70)
		w.must(err)
		r.Claims = []budget.Claim{money("eur", 5, 100), money("usd", 5, 100)}
		again, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		first.Repeated, first.Keys = true, []string{"usd"}
		w.same("grant", again, first)
		w.holds(money("eur", 0, 0), 0, 0)
	}},
	{"a repeated settle, release or extend gets the first answer", func(w *world) {
		settled, released := w.granted(money("usd", 10, 100)), w.granted(money("usd", 10, 100))
		extended, err := w.extend(settled, 15)
		w.must(err)
		again, err := w.extend(settled, 15)
		w.must(err)
		extended.Repeated = true
		w.same("extend", again, extended)
		w.same("settle", repeated(w.settle(settled, 7)), w.settle(settled, 9))
		w.same("release", repeated(w.release(released)), w.release(released))
		w.holds(money("usd", 0, 0), 7, 0)
	}},
	{"a lease that ended in one way refuses the other", func(w *world) {
		settled, released := w.granted(money("usd", 10, 100)), w.granted(money("usd", 10, 100))
		w.settle(settled, 7)
		w.release(released)
		_, err := w.ledger.Release(w.Context(), settled)
		w.want(err, budget.ErrEnded)
		_, err = w.ledger.Settle(w.Context(), released, budget.Actual{Cost: 7})
		w.want(err, budget.ErrEnded)
		w.holds(money("usd", 0, 0), 7, 0)
	}},
	{"an ended lease cannot be reserved, extended or renewed", func(w *world) {
		r := w.reservation(money("usd", 10, 100))
		_, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		l := budget.LeaseRef{Tenant: w.tenant, Lease: r.Lease}
		w.settle(l, 7)
		_, err = w.ledger.Reserve(w.Context(), r)
		w.want(err, budget.ErrEnded)
		_, err = w.extend(l, 20)
		w.want(err, budget.ErrEnded)
		_, err = w.ledger.Renew(w.Context(), l, time.Minute)
		w.want(err, budget.ErrEnded)
	}},
	{"an unknown lease cannot be settled, extended or renewed", func(w *world) {
		l := budget.LeaseRef{Tenant: w.tenant, Lease: "never-granted"}
		_, err := w.ledger.Settle(w.Context(), l, budget.Actual{Cost: 1})
		w.want(err, budget.ErrUnknownLease)
		_, err = w.extend(l, 1)
		w.want(err, budget.ErrUnknownLease)
		_, err = w.ledger.Renew(w.Context(), l, time.Minute)
		w.want(err, budget.ErrUnknownLease)
	}},
	{"releasing an unknown lease refuses its late reserve", func(w *world) {
		r := w.reservation(money("usd", 10, 100))
		l := budget.LeaseRef{Tenant: w.tenant, Lease: r.Lease}
		before := w.balances().Number
		first := w.release(l)
		w.same("kind", first.Kind, budget.Released)
		w.same("number", first.Number, before+1)
		w.same("again", w.release(l), repeated(first))
		_, err := w.ledger.Reserve(w.Context(), r)
		w.want(err, budget.ErrEnded)
		_, err = w.ledger.Settle(w.Context(), l, budget.Actual{Cost: 1})
		w.want(err, budget.ErrEnded)
		w.holds(money("usd", 0, 0), 0, 0)
	}},
	{"a reserve past its deadline holds nothing", func(w *world) {
		ctx, cancel := context.WithDeadline(w.Context(), time.Now().Add(-time.Second))
		defer cancel()
		if _, err := w.ledger.Reserve(ctx, w.reservation(money("usd", 10, 100))); err == nil {
			w.Fatal("granted")
		}
		w.holds(money("usd", 0, 0), 0, 0)
	}},
	{"a settlement after expiry corrects the charge once", func(w *world) {
		l := w.leaveOpen(money("usd", 50, 100), keep("rate", 2, 10), slot("slots", 3))
		w.pass(short)
		first := w.settle(l, 20)
		w.same("kind", first.Kind, budget.Corrected)
		w.same("charge", first.Charge, int64(20))
		w.same("hold", first.Hold, int64(50))
		w.same("again", w.settle(l, 30), repeated(first))
		w.holds(money("usd", 0, 0), 20, 0)
		w.holds(keep("rate", 0, 0), 2, 0)
		w.holds(slot("slots", 0), 0, 0)
	}},
	{"a settlement after expiry may raise the charge", func(w *world) {
		l := w.leaveOpen(money("usd", 50, 100))
		w.pass(short)
		w.settle(l, 120)
		w.holds(money("usd", 0, 0), 120, 0)
	}},
	{"a release after expiry takes the charge back", func(w *world) {
		l := w.leaveOpen(money("usd", 50, 100), keep("rate", 2, 10))
		w.pass(short)
		first := w.release(l)
		w.same("kind", first.Kind, budget.Corrected)
		w.same("charge", first.Charge, int64(0))
		w.same("again", w.release(l), repeated(first))
		w.holds(money("usd", 0, 0), 0, 0)
		w.holds(keep("rate", 0, 0), 2, 0)
	}},
	{"an expired lease cannot be extended or renewed", func(w *world) {
		l := w.leaveOpen(money("usd", 50, 100))
		w.pass(short)
		_, err := w.extend(l, 60)
		w.want(err, budget.ErrEnded)
		_, err = w.ledger.Renew(w.Context(), l, time.Minute)
		w.want(err, budget.ErrEnded)
	}},
	{"a renewal keeps a lease open", func(w *world) {
		l := w.leaveOpen(money("usd", 50, 100))
		expires, err := w.ledger.Renew(w.Context(), l, time.Minute)
		w.must(err)
		if earliest := w.now() + 50_000; expires < earliest {
			w.Fatalf("expires at %d, want %d or later", expires, earliest)
		}
		w.pass(short)
		w.holds(money("usd", 0, 0), 0, 50)
	}},
	{"renewals end with the longest life of a lease", func(w *world) {
		g, err := w.reserve(money("usd", 50, 100))
		w.must(err)
		l := budget.LeaseRef{Tenant: w.tenant, Lease: g.Lease}
		expires, err := w.ledger.Renew(w.Context(), l, budget.MaxLeaseLife)
		w.must(err)
		w.same("expiry", expires, g.At+budget.MaxLeaseLife.Milliseconds())
		w.pass(budget.MaxLeaseLife - time.Millisecond)
		expires, err = w.ledger.Renew(w.Context(), l, time.Hour)
		w.must(err)
		w.same("expiry", expires, g.At+budget.MaxLeaseLife.Milliseconds())
		w.pass(time.Millisecond)
		w.holds(money("usd", 0, 0), 50, 0)
	}},
}

// leaveOpen reserves with a short time to live.
func (w *world) leaveOpen(claims ...budget.Claim) budget.LeaseRef {
	w.Helper()
	r := w.reservation(claims...)
	r.TTL = short
	_, err := w.ledger.Reserve(w.Context(), r)
	w.must(err)
	return budget.LeaseRef{Tenant: w.tenant, Lease: r.Lease}
}
