package budgettest

import (
	"context"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

var followPromises = []promise{
	{"a thrown global switch is thrown anew, by a new event", func(w *world) {
		w.throw("tenant")
		first, again := w.throw(budget.GlobalSwitch), w.throw(budget.GlobalSwitch)
		w.same("again", again.Number, first.Number+1)
		w.same("named", w.killed(budget.GlobalSwitch).Switch, again)
		w.same("thrown", len(w.balances().Switches), 2)
		w.lift(budget.GlobalSwitch)
		w.must(w.reserveUnless(budget.GlobalSwitch))
		w.throw(budget.GlobalSwitch)
		w.foldsTo(w.collect(), slot("slots", 0))
	}},
	{"a lift that names an event takes back that throw alone", func(w *world) {
		first := w.throw(budget.GlobalSwitch)
		other := w.throw("tenant")
		again := w.throw(budget.GlobalSwitch)
		before := w.balances()
		for _, event := range []int64{first.Number, other.Number, again.Number + 1, -1} {
			w.same("missed", w.liftEvent(budget.GlobalSwitch, event), budget.Switch{Name: budget.GlobalSwitch})
		}
		w.same("number", w.balances().Number, before.Number)
		w.killed(budget.GlobalSwitch)
		before = w.balances()
		w.same("lifted", w.liftEvent(budget.GlobalSwitch, again.Number).Number, before.Number+1)
		w.must(w.reserveUnless(budget.GlobalSwitch))
		w.killed("tenant")
	}},
	{"who follows is stopped, and goes on, with every tenant", func(w *world) {
		defer w.forAll()()
		w.follows(w.ledger, false)
		w.throwForAll()
		w.follows(w.ledger, true)
		thrown := w.balances().Switches
		w.follows(w.ledger, true)
		w.same("again", w.balances().Switches, thrown)
		w.throw("tenant")
		w.liftForAll()
		w.follows(w.ledger, false)
		number := w.balances().Number
		budget.Follow(w.Context(), w.ledger, w.tenant)
		w.same("number", w.balances().Number, number)
		w.killed("tenant")
	}},
	{"nothing is lifted from who has no record to follow", func(w *world) {
		w.throw(budget.GlobalSwitch)
		_, err := budget.Follow(w.Context(), hooked{Ledger: w.ledger, absent: budget.EveryTenant}, w.tenant)
		w.want(err, budget.ErrLost)
		w.killed(budget.GlobalSwitch)
		_, err = budget.Follow(w.Context(), hooked{Ledger: w.ledger, absent: w.tenant}, w.tenant)
		w.want(err, budget.ErrLost)
	}},
	{"a late lift misses a throw for all that came before it", func(w *world) {
		defer w.forAll()()
		w.throw(budget.GlobalSwitch)
		var again budget.Switch
		w.follows(w.hook("lift", func() {
			w.throwForAll()
			again = w.throw(budget.GlobalSwitch)
		}), true)
		w.same("thrown", w.balances().Switches, []budget.Switch{again})
	}},
	{"a throw for all is seen by who reads its tenant after it", func(w *world) {
		defer w.forAll()()
		w.throw(budget.GlobalSwitch)
		var again budget.Switch
		w.follows(w.hook(w.tenant, func() {
			w.throwForAll()
			again = w.throw(budget.GlobalSwitch)
		}), true)
		w.same("thrown", w.balances().Switches, []budget.Switch{again})
	}},
	{"who was not thrown with all others is thrown after a late lift", func(w *world) {
		defer w.forAll()()
		w.throw(budget.GlobalSwitch)
		w.follows(w.hook("lift", w.throwForAll), true)
	}},
	{"a late throw is taken back once all are lifted", func(w *world) {
		defer w.forAll()()
		w.throwForAll()
		w.follows(w.hook("throw", w.liftForAll), false)
	}},
	{"a throw for all that is done binds, whoever follows", bindWhoeverFollows},
}

// forAll begins with nothing thrown for all, and returns what leaves it so:
// tests may share the ledger.
func (w *world) forAll() (leave func()) {
	w.must(w.ledger.Provision(w.Context(), budget.EveryTenant))
	w.liftForAll()
	return func() {
		w.ledger.Lift(context.Background(), budget.EveryTenant, budget.GlobalSwitch, 0)
	}
}

func (w *world) throwForAll() {
	w.Helper()
	_, err := w.ledger.Throw(w.Context(), budget.EveryTenant, budget.GlobalSwitch)
	w.must(err)
}

func (w *world) liftForAll() {
	w.Helper()
	_, err := w.ledger.Lift(w.Context(), budget.EveryTenant, budget.GlobalSwitch, 0)
	w.must(err)
}

func (w *world) liftEvent(name string, event int64) budget.Switch {
	w.Helper()
	lifted, err := w.ledger.Lift(w.Context(), w.tenant, name, event)
	w.must(err)
	return lifted
}

// follows has the tenant follow, after which its requests are stopped or not.
func (w *world) follows(b budget.Switchboard, stopped bool) {
	w.Helper()
	own, err := budget.Follow(w.Context(), b, w.tenant)
	w.must(err)
	w.same("thrown", own.Number > 0, stopped)
	if stopped {
		w.same("killed by", w.killed(budget.GlobalSwitch).Switch, own)
		return
	}
	w.must(w.reserveUnless(budget.GlobalSwitch))
}

// hooked is a ledger at which something happens, once, before a switch is thrown
// or lifted, or before a tenant is read. One tenant may be absent.
type hooked struct {
	Ledger
	before map[string]func()
	absent string
}

func (w *world) hook(before string, do func()) hooked {
	return hooked{Ledger: w.ledger, before: map[string]func(){before: sync.OnceFunc(do)}}
}

func (h hooked) Balances(ctx context.Context, tenant string, claims []budget.Claim) (budget.Balances, error) {
	if tenant == h.absent {
		return budget.Balances{}, budget.ErrLost
	}
	if do := h.before[tenant]; do != nil {
		do()
	}
	return h.Ledger.Balances(ctx, tenant, claims)
}

func (h hooked) Throw(ctx context.Context, tenant, name string) (budget.Switch, error) {
	if do := h.before["throw"]; do != nil {
		do()
	}
	return h.Ledger.Throw(ctx, tenant, name)
}

func (h hooked) Lift(ctx context.Context, tenant, name string, event int64) (budget.Switch, error) {
	if do := h.before["lift"]; do != nil {
		do()
	}
	return h.Ledger.Lift(ctx, tenant, name, event)
}

// bindWhoeverFollows has an operator throw and lift for all, again and again,
// while replicas follow. From when a throw is done until the next lift begins no
// request passes; after the last lift all do.
func bindWhoeverFollows(w *world) {
	defer w.forAll()()
	const rounds, looks = 60, 5
	ctx, stop := context.WithCancel(w.Context())
	var replicas sync.WaitGroup
	defer replicas.Wait()
	defer stop()
	for range callers {
		replicas.Go(func() {
			for ctx.Err() == nil {
				budget.Follow(ctx, w.ledger, w.tenant)
			}
		})
	}
	for range rounds {
		w.throwForAll()
		w.throw(budget.GlobalSwitch)
		for range looks {
			w.killed(budget.GlobalSwitch)
		}
		w.liftForAll()
	}
	stop()
	replicas.Wait()
	w.follows(w.ledger, false)
}
