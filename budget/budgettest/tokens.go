package budgettest

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// spoken are claims of a call that holds money and tokens of each kind.
func spoken() []budget.Claim {
	return []budget.Claim{
		money("usd", 50, 100),
		tokens("tokens/in", budget.Input, 40, 100),
		tokens("tokens/out", budget.Output, 30, 100),
		tokens("tokens", budget.Tokens, 70, 200),
	}
}

// wasUsed fails the test unless the counters of spoken have spent so much, and hold so
// much of it.
func (w *world) wasUsed(spent, held [4]int64) {
	w.Helper()
	for i, c := range spoken() {
		w.holds(c, spent[i], held[i])
	}
}

var (
	nothing = [4]int64{}
	whole   = [4]int64{50, 40, 30, 70}
)

var tokenPromises = []promise{
	{"each claim is charged what was used of its own", func(w *world) {
		l := w.granted(spoken()...)
		w.wasUsed(nothing, whole)
		w.same("charge", w.use(l, budget.Actual{Cost: 7, Input: 11, Output: 13}).Charge, int64(7))
		w.wasUsed([4]int64{7, 11, 13, 24}, nothing)
	}},
	{"tokens above the hold are charged in full and stop grants", func(w *world) {
		w.use(w.granted(spoken()...), budget.Actual{Input: 150, Output: 1})
		w.wasUsed([4]int64{0, 150, 1, 151}, nothing)
		w.same("next", w.denied(spoken()...), []budget.Reason{budget.Fits, budget.Exhausted, budget.Fits, budget.Exhausted})
	}},
	{"a claim of tokens that are held is denied as held", func(w *world) {
		w.granted(spoken()...)
		w.granted(spoken()...)
		w.same("reasons", w.denied(spoken()...), []budget.Reason{budget.Held, budget.Held, budget.Fits, budget.Held})
	}},
	{"a release returns the tokens", func(w *world) {
		w.release(w.granted(spoken()...))
		w.wasUsed(nothing, nothing)
	}},
	{"an expiry charges the tokens that were held", func(w *world) {
		w.leaveOpen(spoken()...)
		w.pass(short)
		w.wasUsed(whole, nothing)
	}},
	{"a settlement after expiry corrects the tokens once", func(w *world) {
		l := w.leaveOpen(spoken()...)
		w.pass(short)
		first := w.use(l, budget.Actual{Cost: 7, Input: 11, Output: 60})
		w.same("again", w.use(l, budget.Actual{Input: 1}), repeated(first))
		w.wasUsed([4]int64{7, 11, 60, 71}, nothing)
	}},
	{"a release after expiry takes the tokens back", func(w *world) {
		l := w.leaveOpen(spoken()...)
		w.pass(short)
		w.release(l)
		w.wasUsed(nothing, nothing)
	}},
	{"an extension holds no more tokens", func(w *world) {
		l := w.granted(spoken()...)
		_, err := w.extend(l, 60)
		w.must(err)
		w.wasUsed(nothing, [4]int64{60, 40, 30, 70})
		w.use(l, budget.Actual{Cost: 55, Input: 1, Output: 2})
		w.wasUsed([4]int64{55, 1, 2, 3}, nothing)
	}},
	{"tokens of a minute are charged to the minute of their reserve", func(w *world) {
		minute := within(tokens("tokens/minute", budget.Tokens, 70, 100), w.now(), time.Minute)
		l := w.granted(minute)
		w.pass(59 * time.Second)
		w.same("in the minute", w.denied(minute), []budget.Reason{budget.Held})
		w.pass(time.Second)
		w.use(l, budget.Actual{Input: 90})
		w.granted(minute)
	}},
	{"more tokens than can be counted are refused", func(w *world) {
		l := w.granted(spoken()...)
		for _, actual := range []budget.Actual{{Input: -1}, {Output: -1}, {Input: budget.MaxAmount + 1}, {Input: budget.MaxAmount, Output: 1}} {
			_, err := w.ledger.Settle(w.Context(), l, actual)
			w.want(err, budget.ErrInvalid)
		}
		w.wasUsed(nothing, whole)
	}},
	{"events tell the tokens, and fold to the same", func(w *world) {
		w.use(w.granted(spoken()...), budget.Actual{Cost: 7, Input: 11, Output: 13})
		expired := w.leaveOpen(spoken()...)
		w.pass(short)
		w.use(expired, budget.Actual{Output: 5})
		w.release(w.granted(spoken()...))
		w.foldsTo(w.collect(), spoken()...)
	}},
}
