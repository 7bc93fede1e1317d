package redis_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// foldEvents takes every event of a tenant, by moving its clock to where all
// are overdue, and folds them.
func foldEvents(t *testing.T, l *redis.Ledger, tenant string) *budget.State {
	t.Helper()
	// Now is an estimate: a second more, so that the last event is overdue too.
	if err := l.SetClock(t.Context(), l.Now().Add(budget.OverdueAfter+time.Second), tenant); err != nil {
		t.Fatal(err)
	}
	state := budget.NewState(tenant)
	for {
		events, err := l.Sweep(t.Context(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			return state
		}
		for _, e := range events {
			if err := state.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// everyWindow claims from a counter of each kind.
func everyWindow(amount int64) []budget.Claim {
	hour := time.Now().Truncate(time.Hour).UnixMilli()
	const ms = int64(time.Hour / time.Millisecond)
	fixed := budget.Window{Kind: budget.Fixed, Current: budget.Span{Start: hour - ms, End: hour + 2*ms},
		Next: budget.Span{Start: hour + 2*ms, End: hour + 3*ms}}
	claims := []budget.Claim{
		usd(amount, budget.NoLimit),
		{Key: "usd/fixed", Window: fixed},
		{Key: "usd/rolling", Window: budget.Window{Kind: budget.Rolling, Length: time.Hour}},
		{Key: "run/a", Window: budget.Window{Kind: budget.Idle, Length: time.Hour}, Group: "runs", GroupMax: 1},
	}
	for i := range claims {
		claims[i].Amount, claims[i].Limit, claims[i].AtEnd = amount, budget.NoLimit, budget.Adjust
	}
	return claims
}

// busy leaves a tenant with leases in every state: settled, released, extended
// and open.
func busy(t *testing.T, l *redis.Ledger, tenant string, leases int) {
	t.Helper()
	for i := range leases {
		id := fmt.Sprintf("lease-%d", i)
		lease := budget.LeaseRef{Tenant: tenant, Lease: id}
		mustReserve(t, l, reservation(tenant, id, everyWindow(10)...))
		var err error
		switch i % 4 {
		case 0:
			_, err = l.Settle(t.Context(), lease, budget.Actual{Cost: 7})
		case 1:
			_, err = l.Release(t.Context(), lease)
		case 2:
			_, err = l.Extend(t.Context(), extension(lease, 20, everyWindow(0)...))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func allBalances(t *testing.T, l *redis.Ledger, tenant string) budget.Balances {
	t.Helper()
	b, err := l.Balances(t.Context(), tenant, everyWindow(0))
	if err != nil {
		t.Fatal(err)
	}
	b.At = 0
	return b
}

// restoreOver folds a busy tenant's events, restores them over its record, and
// looks whether anything has changed.
func restoreOver(t *testing.T, l *redis.Ledger, tenant string) {
	t.Helper()
	provision(t, l, tenant)
	busy(t, l, tenant, 8)
	state := foldEvents(t, l, tenant)
	before := allBalances(t, l, tenant)
	if err := l.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	if after := allBalances(t, l, tenant); !reflect.DeepEqual(after, before) {
		t.Errorf("restored %+v, was %+v", after, before)
	}
}

// TestRestoreAfterLoss brings a tenant back in many steps after its server has
// lost all or some of it, and goes on with its open leases.
func TestRestoreAfterLoss(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Setting("appendfsync", "everysec"))
	l := open(t, server.URL())
	provision(t, l, "t")
	busy(t, l, "t", 900)
	state := foldEvents(t, l, "t")
	before := allBalances(t, l, "t")

	server.WipeData()
	server.Restart()
	wantLost(t, l)
	if err := l.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	if after := allBalances(t, l, "t"); !reflect.DeepEqual(after, before) {
		t.Fatalf("restored %+v, was %+v", after, before)
	}
	wantError(t, settleError(t, l, "lease-1"), budget.ErrEnded)
	for i := range 900 {
		if i%4 >= 2 {
			mustSettle(t, l, "t", fmt.Sprintf("lease-%d", i), 5)
		}
	}
	after := allBalances(t, l, "t")
	for i, o := range after.Observed {
		if want := int64(225*7 + 450*5); o.Spent != want || o.Held != 0 {
			t.Errorf("claim %d: spent %d and held %d, want %d and 0", i, o.Spent, o.Held, want)
		}
	}
}

func settleError(t *testing.T, l *redis.Ledger, lease string) error {
	t.Helper()
	_, err := l.Settle(t.Context(), budget.LeaseRef{Tenant: "t", Lease: lease}, budget.Actual{Cost: 1})
	return err
}

// TestRestoreKeepsNewerState: what the server knows and the receipts do not is
// never overwritten.
func TestRestoreKeepsNewerState(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	provision(t, l, "t")
	mustReserve(t, l, reservation("t", "a", usd(10, 100)))
	state := foldEvents(t, l, "t")
	mustSettle(t, l, "t", "a", 10)
	wantError(t, l.Restore(t.Context(), state), budget.ErrExists)

	stranger := budget.NewState("t")
	event := budget.Event{Tenant: "t", Epoch: "another-epoch", Number: 1, Kind: budget.Provisioned, At: 1}
	if err := stranger.Apply(event); err != nil {
		t.Fatal(err)
	}
	wantError(t, l.Restore(t.Context(), stranger), budget.ErrExists)
	wantBalance(t, l, "t", 10, 0)
}

// TestBrokenRestore: a restore that stops halfway leaves the tenant refused, and
// the next one completes it.
func TestBrokenRestore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := open(t, server.URL())
	provision(t, l, "t")
	busy(t, l, "t", 8)
	state := foldEvents(t, l, "t")
	before := allBalances(t, l, "t")

	if err := l.RestoreHalf(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	wantLost(t, l)
	wantError(t, l.Provision(t.Context(), "t"), budget.ErrLost)
	if err := l.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	if after := allBalances(t, l, "t"); !reflect.DeepEqual(after, before) {
		t.Errorf("restored %+v, was %+v", after, before)
	}
}

// TestRestoreOfAPassedBucket: a charge that has left its rolling window by the
// last use of the counter does not come back with a restore.
func TestRestoreOfAPassedBucket(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	hourly := func(amount int64) budget.Claim {
		return budget.Claim{Key: "usd/rolling", Amount: amount, Limit: 100, AtEnd: budget.Adjust,
			Window: budget.Window{Kind: budget.Rolling, Length: time.Hour}}
	}
	now := time.Now().UnixMilli()
	ago := func(minutes int64) int64 { return now - minutes*time.Minute.Milliseconds() }
	state := budget.NewState("t")
	follow := func(e budget.Event, err error) {
		t.Helper()
		if err == nil {
			err = state.Apply(e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	grant := func(lease string, amount, at int64) {
		t.Helper()
		r := reservation("t", lease, hourly(amount))
		r.TTL = 2 * time.Hour
		for e := (budget.Event{}); e.Kind != budget.Granted; {
			var err error
			_, e, err = state.Reserve(&r, state.Advance(at))
			follow(e, err)
		}
	}
	follow(state.Provision("e", ago(70)))
	grant("early", 10, ago(70))
	_, e, err := state.Settle("early", budget.Actual{Cost: 10}, ago(70))
	follow(e, err)
	grant("keeps-it", 1, ago(20))
	grant("late", 2, ago(1))

	if err := l.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	b, err := l.Balances(t.Context(), "t", []budget.Claim{hourly(0)})
	if err != nil || b.Observed[0] != (budget.Observed{Held: 3}) {
		t.Errorf("it shows %+v (%v), want a hold of 3 alone", b.Observed, err)
	}
}

// TestReplace: what a server refuses as lost is replaced by order, also where it has a
// higher number, and all that it had goes; what it serves is not.
func TestReplace(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	provision(t, l, "t")
	mustReserve(t, l, reservation("t", "a", usd(10, 100)))
	state := foldEvents(t, l, "t")
	later := usd(5, 100)
	later.Key = "usd/later"
	mustReserve(t, l, reservation("t", "later", later))
	mustSettle(t, l, "t", "later", 5)
	wantError(t, l.Replace(t.Context(), state), budget.ErrExists)
	wantBalance(t, l, "t", 0, 10)

	l.Client().Del(t.Context(), "aegis:{t}:forever:usd/tenant")
	_, err := l.Reserve(t.Context(), reservation("t", "b", usd(10, 100)))
	wantError(t, err, budget.ErrLost)
	wantError(t, l.Restore(t.Context(), state), budget.ErrExists)
	if err := l.Replace(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	l.Remember("t", "another-epoch", 0) // as one that is started anew
	l.Remember("t", state.Epoch, state.Number)
	b, err := l.Balances(t.Context(), "t", []budget.Claim{usd(0, 0), later})
	if err != nil || b.Observed[0].Held != 10 || b.Observed[1].Spent != 0 || b.Number != state.Number {
		t.Errorf("replaced, it shows %+v (%v)", b, err)
	}
	wantError(t, l.Replace(t.Context(), budget.NewState("t")), budget.ErrExists)
}
