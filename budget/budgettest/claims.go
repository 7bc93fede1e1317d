package budgettest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

var claimPromises = []promise{
	{"all claims are granted or none", func(w *world) {
		w.granted(slot("slots", 1))
		reasons := w.denied(money("usd", 5, 10), slot("slots", 1), keep("rate", 1, 10))
		w.same("reasons", reasons, []budget.Reason{budget.Fits, budget.Held, budget.Fits})
		w.holds(money("usd", 0, 0), 0, 0)
		w.holds(keep("rate", 0, 0), 0, 0)
	}},
	{"a claim that reaches its limit exactly is granted", func(w *world) {
		w.settle(w.granted(money("usd", 30, 100)), 30)
		w.granted(money("usd", 30, 100))
		w.granted(money("usd", 40, 100))
		w.holds(money("usd", 0, 0), 30, 70)
	}},
	{"a claim one above its limit is held or exhausted", func(w *world) {
		w.settle(w.granted(money("usd", 30, 100)), 30)
		w.granted(money("usd", 30, 100))
		w.same("held", w.denied(money("usd", 41, 100)), []budget.Reason{budget.Held})
		w.same("exhausted", w.denied(money("usd", 71, 100)), []budget.Reason{budget.Exhausted})
	}},
	{"a grant tells what was observed before it", func(w *world) {
		w.settle(w.granted(money("usd", 30, 100), slot("slots", 5)), 20)
		w.granted(money("usd", 7, 100), slot("slots", 5))
		g, err := w.reserve(slot("slots", 5), money("usd", 1, 100), keep("rate", 1, 2))
		w.must(err)
		w.same("observed", g.Observed, []budget.Observed{{Held: 1}, {Spent: 20, Held: 7}, {}})
	}},
	{"a denial tells what was observed and the last event", func(w *world) {
		g, err := w.reserve(money("usd", 90, 100))
		w.must(err)
		_, err = w.reserve(money("usd", 20, 100))
		w.reasons(err)
		denied := err.(*budget.Denied)
		w.same("observed", denied.Observed, []budget.Observed{{Held: 90}})
		w.same("number", denied.Number, g.Number)
		w.same("epoch", denied.Epoch, g.Epoch)
	}},
	{"a reservation without claims is granted", func(w *world) {
		w.settle(w.granted(), 0)
	}},
	{"an amount of zero fits a full counter", func(w *world) {
		w.granted(money("usd", 100, 100))
		w.granted(money("usd", 0, 100))
	}},
	{"no limit counts without denying", func(w *world) {
		w.granted(money("usd", budget.MaxAmount-1, budget.NoLimit))
		w.granted(money("usd", 1, budget.NoLimit))
		w.same("beyond what can be counted", w.denied(money("usd", 1, budget.NoLimit)), []budget.Reason{budget.Held})
	}},
	{"changing a limit keeps the balance", func(w *world) {
		w.settle(w.granted(money("usd", 60, 100)), 60)
		w.same("lowered", w.denied(money("usd", 1, 50)), []budget.Reason{budget.Exhausted})
		w.granted(money("usd", 140, 200))
	}},
	{"amounts near the largest stay exact", func(w *world) {
		const most = budget.MaxAmount
		w.settle(w.granted(money("usd", most-2, most)), most-2)
		w.holds(money("usd", 0, 0), most-2, 0)
		w.granted(money("usd", 1, most))
		w.holds(money("usd", 0, 0), most-2, 1)
	}},
	{"one of many racing for the last slots gets each", raceForSlots},
	{"a malformed reservation is refused", refuseMalformed},
}

func raceForSlots(w *world) {
	const racers, slots = 64, 7
	var granted atomic.Int64
	var race sync.WaitGroup
	for i := range racers {
		r := budget.Reservation{Tenant: w.tenant, Lease: fmt.Sprintf("racer-%d", i), Policy: policy(1), TTL: time.Minute,
			Claims: []budget.Claim{slot("slots", slots), money("usd", 3, 1000)}}
		race.Go(func() {
			if _, err := w.ledger.Reserve(context.Background(), r); err == nil {
				granted.Add(1)
			}
		})
	}
	race.Wait()
	w.same("granted", granted.Load(), int64(slots))
	w.holds(slot("slots", 0), 0, slots)
	w.holds(money("usd", 0, 0), 0, 3*slots)
}

func refuseMalformed(w *world) {
	for name, spoil := range map[string]func(r *budget.Reservation){
		"tenant":          func(r *budget.Reservation) { r.Tenant = "" },
		"lease":           func(r *budget.Reservation) { r.Lease = "no spaces" },
		"key":             func(r *budget.Reservation) { r.Claims[0].Key = "{tag}" },
		"long key":        func(r *budget.Reservation) { r.Claims[0].Key = fmt.Sprintf("%0129d", 0) },
		"duplicate key":   func(r *budget.Reservation) { r.Claims = append(r.Claims, r.Claims[0]) },
		"too many claims": func(r *budget.Reservation) { r.Claims = manyClaims(budget.MaxClaims + 1) },
		"negative amount": func(r *budget.Reservation) { r.Claims[0].Amount = -1 },
		"large amount":    func(r *budget.Reservation) { r.Claims[0].Amount = budget.MaxAmount + 1 },
		"large limit":     func(r *budget.Reservation) { r.Claims[0].Limit = budget.MaxAmount + 1 },
		"at end":          func(r *budget.Reservation) { r.Claims[0].AtEnd = "maybe" },
		"window kind":     func(r *budget.Reservation) { r.Claims[0].Window.Kind = "weekly" },
		"window length":   func(r *budget.Reservation) { r.Claims[0] = over(r.Claims[0], budget.Rolling, 59*time.Millisecond) },
		"empty span":      func(r *budget.Reservation) { r.Claims[0] = within(r.Claims[0], 1, 0) },
		"group max": func(r *budget.Reservation) {
			r.Claims[0] = grouped(over(r.Claims[0], budget.Idle, time.Hour), "runs", 0)
		},
		"group for ever":        func(r *budget.Reservation) { r.Claims[0] = grouped(r.Claims[0], "runs", 5) },
		"too many marks":        func(r *budget.Reservation) { r.Claims[0] = calls("tools", 1, manyMarks(0, budget.MaxMarks+1)) },
		"a mark twice":          func(r *budget.Reservation) { r.Claims[0] = calls("tools", 1, "a b a") },
		"a malformed mark":      func(r *budget.Reservation) { r.Claims[0] = calls("tools", 1, "a,b") },
		"marks that return":     func(r *budget.Reservation) { r.Claims[0].Marks = []string{"a"} },
		"marks that roll":       func(r *budget.Reservation) { r.Claims[0] = over(calls("tools", 1, "a"), budget.Rolling, time.Hour) },
		"marks without a limit": func(r *budget.Reservation) { r.Claims[0] = calls("tools", budget.MaxMarkedLimit+1, "a") },
		"too many marks in all": func(r *budget.Reservation) { r.Claims = manyMarkedClaims() },
		"generation":            func(r *budget.Reservation) { r.Policy.Generation = 0 },
		"hash":                  func(r *budget.Reservation) { r.Policy.Hash = "XYZ" },
		"time to live":          func(r *budget.Reservation) { r.TTL = 0 },
		"long time to live":     func(r *budget.Reservation) { r.TTL = budget.MaxLeaseLife + time.Millisecond },
		"two costs":             func(r *budget.Reservation) { r.Claims = append(r.Claims, money("other", r.Claims[0].Amount+1, 100)) },
	} {
		r := w.reservation(money("usd", 1, 100))
		spoil(&r)
		if _, err := w.ledger.Reserve(w.Context(), r); err == nil {
			w.Errorf("%s: granted", name)
		} else {
			w.want(err, budget.ErrInvalid)
		}
	}
	w.holds(money("usd", 0, 0), 0, 0)
}

func manyClaims(n int) (claims []budget.Claim) {
	for i := range n {
		claims = append(claims, money(fmt.Sprintf("key-%d", i), 1, 100))
	}
	return claims
}
