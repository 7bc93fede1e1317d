package budgettest

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

const (
	// length of the windows of these tests, and of one of its buckets.
	length = 600 * time.Millisecond
	bucket = length / budget.RollingBuckets
)

var windowPromises = []promise{
	{"a fixed window starts from nothing", func(w *world) {
		c := within(money("usd", 60, 100), w.now(), length)
		w.settle(w.granted(c), 60)
		w.same("same window", w.denied(c), []budget.Reason{budget.Exhausted})
		w.pass(length)
		w.granted(c)
	}},
	{"the ledger picks the window by its own clock", func(w *world) {
		c := within(money("usd", 60, 100), w.now(), length)
		first, err := w.reserve(c)
		w.must(err)
		w.same("span", first.Observed[0].Span, c.Window.Current)
		w.pass(length)
		second, err := w.reserve(c)
		w.must(err)
		w.same("span", second.Observed[0].Span, c.Window.Next)
	}},
	{"a window that does not hold the ledger's time is refused", func(w *world) {
		start := w.now()
		for _, stale := range []int64{start - 10*length.Milliseconds(), start + 10*length.Milliseconds()} {
			_, err := w.reserve(slot("slots", 5), within(money("usd", 1, 100), stale, length))
			w.want(err, budget.ErrWindow)
		}
		w.holds(slot("slots", 0), 0, 0)
	}},
	{"a charge belongs to the window of its reserve", func(w *world) {
		c := within(money("usd", 60, 100), w.now(), length)
		l := w.granted(c)
		w.pass(length)
		w.settle(l, 60)
		w.holds(c, 0, 0)
		w.granted(within(money("usd", 100, 100), c.Window.Current.Start, length))
	}},
	{"an extension is judged in the window of its reserve", func(w *world) {
		start := w.now()
		w.granted(within(money("usd", 50, 100), start, length))
		l := w.granted(within(money("usd", 10, 100), start, length))
		w.pass(length)
		_, err := w.extend(l, 51)
		w.same("reasons", w.reasons(err), []budget.Reason{budget.Held})
		_, err = w.extend(l, 50)
		w.must(err)
		w.holds(within(money("usd", 0, 0), start, length), 0, 0)
	}},
	{"a correction leaves the new window alone", func(w *world) {
		c := within(money("usd", 60, 100), w.now(), length)
		l := w.leaveOpen(c)
		w.pass(length)
		w.settle(l, 90)
		w.holds(c, 0, 0)
	}},
	{"windows of one key do not mix", func(w *world) {
		start := w.now()
		w.settle(w.granted(within(money("usd", 60, 100), start, length)), 60)
		w.holds(within(money("usd", 0, 0), start, time.Hour), 0, 0)
		w.holds(money("usd", 0, 0), 0, 0)
		w.holds(over(money("usd", 0, 0), budget.Rolling, time.Hour), 0, 0)
	}},
	{"a rolling charge counts for its whole window", func(w *world) {
		c := over(money("usd", 60, 100), budget.Rolling, length)
		w.exact()
		w.settle(w.granted(c), 60)
		w.pass(length)
		w.holds(c, 60, 0)
		w.same("within", w.denied(c), []budget.Reason{budget.Exhausted})
	}},
	{"a rolling charge leaves one bucket late at most", func(w *world) {
		c := over(keep("rate", 2, 3), budget.Rolling, length)
		w.settle(w.granted(c), 0)
		w.pass(length + bucket)
		w.holds(c, 0, 0)
		w.granted(c)
	}},
	{"rolling charges leave in the order they came", func(w *world) {
		w.exact()
		c := over(money("usd", 10, 100), budget.Rolling, time.Hour)
		for range 5 {
			w.settle(w.granted(c), 10)
			w.pass(10 * time.Minute)
		}
		for spent := int64(50); spent > 0; spent -= 10 {
			w.holds(c, spent, 0)
			w.pass(11 * time.Minute)
		}
		w.holds(c, 0, 0)
	}},
	{"a rolling hold counts until it ends and is stamped then", func(w *world) {
		c := over(money("usd", 60, 100), budget.Rolling, length)
		l := w.granted(c)
		w.pass(length + 2*bucket)
		w.holds(c, 0, 60)
		w.settle(l, 40)
		w.holds(c, 40, 0)
		w.pass(length + bucket)
		w.holds(c, 0, 0)
	}},
	{"a rolling correction goes where the charge was", func(w *world) {
		w.exact()
		c := over(money("usd", 60, 100), budget.Rolling, time.Hour)
		l := w.leaveOpen(c)
		w.pass(short)
		w.holds(c, 60, 0)
		w.pass(30 * time.Minute)
		w.settle(l, 90)
		w.holds(c, 90, 0)
		w.pass(31 * time.Minute)
		w.holds(c, 0, 0)
	}},
	{"a rolling correction reaches the oldest bucket that counts", func(w *world) {
		w.exact()
		w.pass(time.Minute - time.Duration(w.now()%time.Minute.Milliseconds())*time.Millisecond)
		c := over(money("usd", 60, 1000), budget.Rolling, time.Hour)
		l := w.leaveOpen(c)
		w.pass(short)
		w.holds(c, 60, 0)
		w.pass(time.Hour)
		w.settle(w.granted(c), 1)
		w.settle(l, 90)
		w.holds(c, 91, 0)
	}},
	{"a rolling correction of a charge that left does nothing", func(w *world) {
		c := over(money("usd", 60, 100), budget.Rolling, length)
		l := w.leaveOpen(c)
		w.pass(short)
		w.holds(c, 60, 0)
		w.pass(length + bucket)
		w.settle(l, 90)
		w.holds(c, 0, 0)
	}},
	{"an idle counter is forgotten when unused for its length", func(w *world) {
		c := over(money("usd", 60, 100), budget.Idle, length)
		w.settle(w.granted(c), 60)
		w.pass(length)
		w.holds(c, 0, 0)
		w.granted(c)
	}},
	{"an idle counter lives on when used", func(w *world) {
		w.exact()
		c := over(money("usd", 20, 100), budget.Idle, time.Hour)
		for range 3 {
			w.settle(w.granted(c), 20)
			w.pass(time.Hour - time.Millisecond)
		}
		w.holds(c, 60, 0)
		w.pass(time.Millisecond)
		w.holds(c, 0, 0)
	}},
	{"an idle counter is not forgotten while a lease is open", func(w *world) {
		c := over(money("usd", 60, 100), budget.Idle, length)
		l := w.granted(c)
		w.pass(length + bucket)
		w.holds(c, 0, 60)
		w.settle(l, 60)
		w.holds(c, 60, 0)
	}},
	{"a correction does not touch an idle counter that began anew", func(w *world) {
		c := over(money("usd", 60, 100), budget.Idle, length)
		l := w.leaveOpen(c)
		w.pass(short)
		w.holds(c, 60, 0)
		w.pass(length)
		w.settle(w.granted(c), 10)
		w.settle(l, 0)
		w.holds(c, 10, 0)
	}},
	{"a counter for ever is never forgotten", func(w *world) {
		w.settle(w.granted(money("usd", 60, 100)), 60)
		w.pass(10 * 365 * 24 * time.Hour)
		w.holds(money("usd", 0, 0), 60, 0)
	}},
}

// exact skips a test of exact instants where the clock is real.
func (w *world) exact() {
	if w.Advance == nil {
		w.Skip("needs a clock that stands still")
	}
}

// member is a claim on one key of a group of at most two.
func member(key string) budget.Claim {
	return grouped(over(money(key, 10, 100), budget.Idle, length), "runs", 2)
}

var groupPromises = []promise{
	{"a group has only so many keys", func(w *world) {
		w.granted(member("run/a"))
		w.granted(member("run/b"))
		w.same("third", w.denied(slot("slots", 9), member("run/c")), []budget.Reason{budget.Fits, budget.Crowded})
		w.granted(member("run/a"))
		w.granted(member("run/b"))
	}},
	{"new keys of one reservation count together", func(w *world) {
		reasons := w.denied(member("run/a"), member("run/b"), member("run/c"))
		w.same("reasons", reasons, []budget.Reason{budget.Fits, budget.Fits, budget.Crowded})
		w.granted(member("run/a"), member("run/b"))
	}},
	{"a denied key does not join its group", func(w *world) {
		w.granted(slot("slots", 1))
		w.denied(slot("slots", 1), member("run/a"), member("run/b"))
		w.granted(member("run/c"), member("run/d"))
	}},
	{"a key leaves its group when its counter is forgotten", func(w *world) {
		w.settle(w.granted(member("run/a")), 1)
		w.settle(w.granted(member("run/b")), 1)
		w.same("full", w.denied(member("run/c")), []budget.Reason{budget.Crowded})
		w.pass(length)
		w.granted(member("run/c"))
	}},
	{"a key stays in its group while a lease is open", func(w *world) {
		w.granted(member("run/a"))
		w.settle(w.granted(member("run/b")), 1)
		w.pass(length)
		w.granted(member("run/c"))
		w.same("full", w.denied(member("run/d")), []budget.Reason{budget.Crowded})
	}},
	{"groups do not mix", func(w *world) {
		w.granted(member("run/a"), member("run/b"))
		w.granted(grouped(member("user/a"), "users", 1))
	}},
	{"a key of a fixed or rolling window leaves its group too", func(w *world) {
		w.exact()
		rolling := grouped(over(money("run/a", 1, 9), budget.Rolling, time.Hour), "runs", 2)
		fixed := grouped(within(money("run/b", 1, 9), w.now(), time.Hour), "runs", 2)
		l := w.granted(rolling, fixed)
		w.settle(l, 1)
		w.pass(61*time.Minute - time.Millisecond)
		w.same("full", w.denied(member("run/c")), []budget.Reason{budget.Crowded})
		w.pass(time.Millisecond)
		w.granted(member("run/c"))
		w.same("full again", w.denied(member("run/d")), []budget.Reason{budget.Crowded})
		w.pass(budget.MaxLeaseLife + budget.RememberExpired)
		w.granted(member("run/d"))
	}},
}
