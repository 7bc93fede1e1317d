package budgettest

import (
	"errors"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

var extensionPromises = []promise{
	{"an extension raises the hold to the total", func(w *world) {
		l := w.granted(money("usd", 10, 100), money("eur", 10, 100), slot("slots", 3))
		g, err := w.extend(l, 30)
		w.must(err)
		w.same("observed", g.Observed, []budget.Observed{{Held: 10}, {Held: 10}, {Held: 1}})
		w.holds(money("usd", 0, 0), 0, 30)
		w.holds(money("eur", 0, 0), 0, 30)
		w.holds(slot("slots", 0), 0, 1)
		w.settle(l, 25)
		w.holds(money("usd", 0, 0), 25, 0)
	}},
	{"an extension is granted on every counter or none", func(w *world) {
		w.granted(money("eur", 80, 100))
		l := w.granted(money("usd", 10, 100), slot("slots", 3), money("eur", 10, 100))
		_, err := w.extend(l, 21)
		w.same("reasons", w.reasons(err), []budget.Reason{budget.Fits, budget.Fits, budget.Held})
		w.holds(money("usd", 0, 0), 0, 10)
		_, err = w.extend(l, 20)
		w.must(err)
	}},
	{"a total at or below the hold extends nothing", func(w *world) {
		g, err := w.reserve(money("usd", 10, 10))
		w.must(err)
		for _, total := range []int64{0, 9, 10} {
			same, err := w.extend(budget.LeaseRef{Tenant: w.tenant, Lease: g.Lease}, total)
			w.must(err)
			g.Repeated = true
			w.same("answer", same, g)
		}
		w.holds(money("usd", 0, 0), 0, 10)
	}},
	{"an extended lease expires at its whole hold", func(w *world) {
		l := w.leaveOpen(money("usd", 10, 100))
		_, err := w.extend(l, 40)
		w.must(err)
		w.pass(short)
		w.holds(money("usd", 0, 0), 40, 0)
		w.settle(l, 15)
		w.holds(money("usd", 0, 0), 15, 0)
	}},
	{"an extension is judged by the limits of today", func(w *world) {
		l := w.granted(money("usd", 10, 100), slot("slots", 3))
		x := w.extension(l, 31)
		x.Policy = policy(2)
		x.Limits = []budget.Limit{{Key: "usd", Limit: 30}, {Key: "slots", Limit: 0}, {Key: "newer", Limit: 0}}
		_, err := w.ledger.Extend(w.Context(), x)
		w.same("lowered", w.reasons(err), []budget.Reason{budget.Held, budget.Fits})
		x.Total = 30
		_, err = w.ledger.Extend(w.Context(), x)
		w.must(err)
		x.Total, x.Limits[0].Limit = 120, 120
		_, err = w.ledger.Extend(w.Context(), x)
		w.must(err)
		w.holds(money("usd", 0, 0), 0, 120)
		w.foldsTo(w.collect(), money("usd", 0, 0), slot("slots", 0))
	}},
	{"a claim that an extension does not name may reach nothing", func(w *world) {
		l := w.granted(money("usd", 10, 100), money("eur", 10, 100))
		x := w.extension(l, 11)
		x.Limits = x.Limits[:1]
		_, err := w.ledger.Extend(w.Context(), x)
		w.same("reasons", w.reasons(err), []budget.Reason{budget.Fits, budget.Exhausted})
		x.Limits = nil
		_, err = w.ledger.Extend(w.Context(), x)
		w.same("reasons", w.reasons(err), []budget.Reason{budget.Exhausted, budget.Exhausted})
		w.holds(money("usd", 0, 0), 0, 10)
	}},
	{"an extension under an older policy is refused", func(w *world) {
		l := w.granted(money("usd", 10, 100))
		w.must(w.reserveUnder(policy(3)))
		twin := policy(3)
		twin.Hash = "ab"
		for _, p := range []budget.PolicyVersion{policy(1), policy(2), twin} {
			x := w.extension(l, 20)
			x.Policy = p
			_, err := w.ledger.Extend(w.Context(), x)
			w.want(err, budget.ErrStalePolicy)
		}
		w.holds(money("usd", 0, 0), 0, 10)
	}},
	{"a newer policy binds from its first extension, granted or not", func(w *world) {
		l := w.granted(money("usd", 10, 100))
		x := w.extension(l, 20)
		x.Policy = policy(2)
		before := w.balances().Number
		g, err := w.ledger.Extend(w.Context(), x)
		w.must(err)
		w.same("number", g.Number, before+2)
		w.want(w.reserveUnder(policy(1)), budget.ErrStalePolicy)
		x.Policy, x.Total = policy(3), 101
		_, err = w.ledger.Extend(w.Context(), x)
		w.reasons(err)
		w.want(w.reserveUnder(policy(2)), budget.ErrStalePolicy)
		w.throw("tenant")
		x.Policy, x.Switches = policy(4), []string{"tenant"}
		w.killedBy(w.ledger.Extend(w.Context(), x))
		w.want(w.reserveUnder(policy(3)), budget.ErrStalePolicy)
		w.foldsTo(w.collect(), money("usd", 0, 0))
	}},
	{"a thrown switch stops the extensions that name it", func(w *world) {
		l := w.granted(money("usd", 10, 100))
		thrown := w.throw("run:a")
		x := w.extension(l, 20)
		x.Switches = []string{"tenant", "run:a"}
		w.same("switch", w.killedBy(w.ledger.Extend(w.Context(), x)).Switch, thrown)
		w.holds(money("usd", 0, 0), 0, 10)
		x.Switches = []string{"tenant", "run:b"}
		_, err := w.ledger.Extend(w.Context(), x)
		w.must(err)
		w.lift("run:a")
		x.Total, x.Switches = 30, []string{"run:a"}
		_, err = w.ledger.Extend(w.Context(), x)
		w.must(err)
	}},
	{"a repeated extension gets the first answer under whatever terms", func(w *world) {
		l := w.granted(money("usd", 10, 100))
		first, err := w.extend(l, 20)
		w.must(err)
		w.must(w.reserveUnder(policy(2)))
		w.throw("tenant")
		first.Repeated = true
		for _, x := range []budget.Extension{
			w.extension(l, 20),
			{Lease: l, Total: 20, Policy: policy(2), Switches: []string{"tenant"}},
			{Lease: l, Total: 5, Policy: policy(3)},
		} {
			again, err := w.ledger.Extend(w.Context(), x)
			w.must(err)
			w.same("answer", again, first)
		}
		w.must(w.reserveUnder(policy(2)))
	}},
	{"a lease that has ended, or holds no money, is not judged", func(w *world) {
		settled := w.granted(money("usd", 10, 100))
		w.settle(settled, 5)
		w.must(w.reserveUnder(policy(2)))
		_, err := w.extend(settled, 20)
		w.want(err, budget.ErrEnded)
		r := w.reservation(slot("slots", 100))
		r.Policy = policy(2)
		g, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		again, err := w.extend(budget.LeaseRef{Tenant: w.tenant, Lease: r.Lease}, 20)
		w.must(err)
		g.Repeated = true
		w.same("answer", again, g)
	}},
	{"a malformed extension is refused", func(w *world) {
		l := w.granted(money("usd", 10, 100))
		for name, spoil := range map[string]func(x *budget.Extension){
			"tenant":          func(x *budget.Extension) { x.Lease.Tenant = "" },
			"lease":           func(x *budget.Extension) { x.Lease.Lease = "a b" },
			"total":           func(x *budget.Extension) { x.Total = budget.MaxAmount + 1 },
			"policy":          func(x *budget.Extension) { x.Policy = budget.PolicyVersion{} },
			"switch":          func(x *budget.Extension) { x.Switches = []string{"a b"} },
			"key":             func(x *budget.Extension) { x.Limits = []budget.Limit{{Key: "a b"}} },
			"limit":           func(x *budget.Extension) { x.Limits = []budget.Limit{{Key: "usd", Limit: -1}} },
			"twice":           func(x *budget.Extension) { x.Limits = append(x.Limits, x.Limits[0]) },
			"too many limits": func(x *budget.Extension) { x.Limits = make([]budget.Limit, budget.MaxClaims+1) },
		} {
			x := w.extension(l, 20)
			spoil(&x)
			if _, err := w.ledger.Extend(w.Context(), x); !errors.Is(err, budget.ErrInvalid) {
				w.Errorf("%s: %v, want %v", name, err, budget.ErrInvalid)
			}
		}
	}},
	{"an extended lease is the same in a ledger opened again", func(w *world) {
		w.reopens()
		l := w.granted(money("usd", 10, 100))
		x := w.extension(l, 20)
		x.Policy = policy(2)
		first, err := w.ledger.Extend(w.Context(), x)
		w.must(err)
		w.ledger = w.Reopen(w.T)
		again, err := w.ledger.Extend(w.Context(), x)
		w.must(err)
		first.Repeated = true
		w.same("answer", again, first)
		w.holds(money("usd", 0, 0), 0, 20)
		_, err = w.extend(l, 30)
		w.want(err, budget.ErrStalePolicy)
	}},
}
