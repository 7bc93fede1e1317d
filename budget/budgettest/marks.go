package budgettest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// markPromises are about claims whose amount is how many of their marks are new.
var markPromises = []promise{
	{"a mark counts once", func(w *world) {
		w.settle(w.granted(calls("tools", 3, "a b")), 0)
		w.holds(keep("tools", 0, 0), 2, 0)
		w.settle(w.granted(calls("tools", 3, "b c a")), 0)
		w.holds(keep("tools", 0, 0), 3, 0)
		w.granted(calls("tools", 3, "a b c"))
		w.same("a new one", w.denied(calls("tools", 3, "c d")), []budget.Reason{budget.Exhausted})
	}},
	{"a grant and a denial tell how many marks are new", func(w *world) {
		w.settle(w.granted(calls("tools", 3, "a")), 0)
		r := w.reservation(money("usd", 1, 9), calls("tools", 3, "a b"))
		first, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		w.same("observed", first.Observed, []budget.Observed{{}, {Spent: 1, New: 1}})
		again, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		w.same("a repeat", again.Observed, first.Observed)
		_, err = w.reserve(calls("tools", 3, "b c d"))
		w.same("held", w.reasons(err), []budget.Reason{budget.Held})
		w.same("denied", err.(*budget.Denied).Observed, []budget.Observed{{Spent: 1, Held: 1, New: 2}})
	}},
	{"balances tell how many marks are new", func(w *world) {
		w.settle(w.granted(calls("tools", 3, "a")), 0)
		released := w.granted(calls("tools", 3, "a b"))
		asked := []budget.Claim{calls("tools", 0, "a b c d"), keep("tools", 0, 0), calls("others", 0, "a b")}
		w.same("in flight", w.balances(asked...).Observed, []budget.Observed{{Spent: 1, Held: 1, New: 2}, {Spent: 1, Held: 1}, {New: 2}})
		w.release(released)
		w.same("released", w.balances(asked...).Observed, []budget.Observed{{Spent: 1, New: 3}, {Spent: 1}, {New: 2}})
		for _, marks := range []string{"a,b", strings.Repeat("x", budget.MaxKeyBytes+1)} {
			c := calls("tools", 0, marks)
			_, err := w.ledger.Balances(w.Context(), w.tenant, []budget.Claim{c})
			w.want(err, budget.ErrInvalid)
		}
		_, err := w.ledger.Balances(w.Context(), w.tenant, []budget.Claim{calls("tools", 0, manyMarks(0, budget.MaxMarks+1))})
		w.want(err, budget.ErrInvalid)
	}},
	{"one mark of two leases in flight counts once", func(w *world) {
		first, second := w.granted(calls("tools", 2, "a b")), w.granted(calls("tools", 2, "b"))
		w.holds(keep("tools", 0, 0), 0, 2)
		w.settle(second, 0)
		w.holds(keep("tools", 0, 0), 1, 1)
		w.settle(first, 0)
		w.holds(keep("tools", 0, 0), 2, 0)
	}},
	{"a mark still counts when one of its leases is released", func(w *world) {
		first, second := w.granted(calls("tools", 2, "a b")), w.granted(calls("tools", 2, "b"))
		w.release(first)
		w.holds(keep("tools", 0, 0), 0, 1)
		w.settle(second, 0)
		w.holds(keep("tools", 0, 0), 1, 0)
		third := w.granted(calls("tools", 2, "a b"))
		w.holds(keep("tools", 0, 0), 1, 1)
		w.release(third)
		w.holds(keep("tools", 0, 0), 1, 0)
	}},
	{"what is released was never there", func(w *world) {
		w.release(w.granted(calls("tools", 1, "a")))
		w.holds(keep("tools", 0, 0), 0, 0)
		w.settle(w.granted(calls("tools", 1, "b")), 0)
		w.same("a", w.denied(calls("tools", 1, "a")), []budget.Reason{budget.Exhausted})
	}},
	{"a mark that is spent stays when its other lease is released", func(w *world) {
		first, second := w.granted(calls("tools", 2, "a")), w.granted(calls("tools", 2, "a"))
		w.settle(first, 0)
		w.release(second)
		w.holds(keep("tools", 0, 0), 1, 0)
		w.holds(keep("tools", 0, 0), 1, 0)
	}},
	{"a denial of another claim takes no mark", func(w *world) {
		w.denied(calls("tools", 5, "a b"), money("usd", 2, 1))
		w.holds(keep("tools", 0, 0), 0, 0)
		g, err := w.reserve(calls("tools", 5, "a b"))
		w.must(err)
		w.same("new", g.Observed[0].New, int64(2))
	}},
	{"marks of one key and window do not count in another", func(w *world) {
		start := w.now() / 1000 * 1000
		w.granted(calls("tools", 1, "a"), within(calls("hourly", 1, "a"), start, time.Hour), over(calls("run", 1, "a"), budget.Idle, time.Hour))
		w.granted(calls("others", 1, "a"))
	}},
	{"marks leave with their window", func(w *world) {
		start := w.now() / 1000 * 1000
		hourly := within(calls("tools", 1, "a"), start, time.Second)
		w.settle(w.granted(hourly), 0)
		w.pass(time.Second)
		g, err := w.reserve(hourly)
		w.must(err)
		w.same("observed", g.Observed[0].Spent+10*g.Observed[0].New, int64(10))
	}},
	{"marks live as long as their idle counter is used", func(w *world) {
		const life = 400 * time.Millisecond
		run := over(calls("tools", 1, "a"), budget.Idle, life)
		for range 3 {
			w.settle(w.granted(run), 0)
			w.holds(run, 1, 0)
			w.pass(life / 2)
		}
		w.pass(life)
		other := run
		other.Marks = []string{"b"}
		w.settle(w.granted(other), 0)
		w.same("the old one is new again", w.denied(run), []budget.Reason{budget.Exhausted})
	}},
	{"marks of an expired lease are spent", func(w *world) {
		r := w.reservation(calls("tools", 2, "a"))
		r.TTL = 20 * time.Millisecond
		_, err := w.ledger.Reserve(w.Context(), r)
		w.must(err)
		w.pass(50 * time.Millisecond)
		w.holds(keep("tools", 0, 0), 1, 0)
		w.release(budget.LeaseRef{Tenant: w.tenant, Lease: r.Lease})
		w.holds(keep("tools", 0, 0), 1, 0)
	}},
	{"as many marks as a counter can know", fillMarks},
	{"marks outlive a restart and a restore", rememberMarks},
	{"one of many racing with the same marks counts each", raceWithMarks},
}

// manyMarks are names from first to last, and as many as MaxMarks at most.
func manyMarks(first, last int) string {
	var b strings.Builder
	for i := first; i < last; i++ {
		fmt.Fprintf(&b, "mark-%d ", i)
	}
	return b.String()
}

func manyMarkedClaims() (claims []budget.Claim) {
	for i := range budget.MaxMarksPerReserve/budget.MaxMarks + 1 {
		claims = append(claims, calls(fmt.Sprint("tools-", i), 100, manyMarks(0, budget.MaxMarks)))
	}
	return claims
}

func fillMarks(w *world) {
	const most = budget.MaxMarkedLimit
	for first := 0; first < most; first += budget.MaxMarks {
		w.settle(w.granted(calls("tools", most, manyMarks(first, min(first+budget.MaxMarks, most)))), 0)
	}
	w.holds(keep("tools", 0, 0), most, 0)
	w.same("one more", w.denied(calls("tools", most, "one-more")), []budget.Reason{budget.Exhausted})
	w.granted(calls("tools", most, manyMarks(most-budget.MaxMarks, most)))
}

// rememberMarks folds a history with marks and restores it, and opens the ledger
// anew: spent marks and those of leases in flight are known either way.
func rememberMarks(w *world) {
	run := func(names string) budget.Claim { return over(calls("run", 5, names), budget.Idle, time.Hour) }
	w.settle(w.granted(calls("tools", 5, "a"), run("a b")), 0)
	shared := w.granted(calls("tools", 5, "b c"), run("c"))
	other := w.granted(calls("tools", 5, "c"))
	check := func() {
		w.Helper()
		g, err := w.reserve(calls("tools", 5, "a b c d"), run("a b c d"))
		w.must(err)
		w.same("observed", g.Observed, []budget.Observed{{Spent: 1, Held: 2, New: 1}, {Spent: 2, Held: 1, New: 1}})
		w.release(budget.LeaseRef{Tenant: w.tenant, Lease: g.Lease})
	}
	check()
	if w.Reopen != nil {
		w.ledger = w.Reopen(w.T)
		check()
	}
	state := budget.NewState(w.tenant)
	for _, e := range w.collect() {
		w.must(state.Apply(e))
	}
	w.must(w.ledger.Restore(w.Context(), state))
	check()
	w.release(shared)
	w.holds(keep("tools", 0, 0), 1, 1)
	w.settle(other, 0)
	w.holds(keep("tools", 0, 0), 2, 0)
	w.holds(run("a"), 2, 0)
}

func raceWithMarks(w *world) {
	const racers, marks, limit = 64, 16, 9
	var over atomic.Int64
	var race sync.WaitGroup
	for i := range racers {
		r := budget.Reservation{Tenant: w.tenant, Lease: fmt.Sprintf("racer-%d", i), Policy: policy(1), TTL: time.Minute,
			Claims: []budget.Claim{calls("tools", limit, fmt.Sprintf("m%d m%d", i%marks, (i+1)%marks))}}
		race.Go(func() {
			g, err := w.ledger.Reserve(context.Background(), r)
			if err == nil && g.Observed[0].Spent+g.Observed[0].Held+g.Observed[0].New > limit {
				over.Add(1)
			}
			lease := budget.LeaseRef{Tenant: w.tenant, Lease: r.Lease}
			if err == nil && i%3 == 0 {
				_, err = w.ledger.Release(context.Background(), lease)
			} else if err == nil {
				_, err = w.ledger.Settle(context.Background(), lease, budget.Actual{Cost: 0})
			}
			if _, denied := err.(*budget.Denied); err != nil && !denied {
				w.Errorf("racer %d: %v", i, err)
			}
		})
	}
	race.Wait()
	w.same("over the limit", over.Load(), int64(0))
	o := w.balances(keep("tools", 0, 0)).Observed[0]
	if o.Held != 0 || o.Spent == 0 || o.Spent > limit {
		w.Fatalf("at rest: %+v", o)
	}
}

// marks are those that the simulation draws from: more than any limit.
var marks = strings.Split("a b c d e f g h i j k l m n o p", " ")

// marked is a claim whose marks are drawn.
func marked(c budget.Claim) budget.Claim {
	c.Marks = marks[:1]
	return c
}
