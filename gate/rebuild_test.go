package gate_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// rebuild folds receipts that must give the balance of every tenant in them.
func rebuild(receipts iter.Seq2[audit.Receipt, error]) ([]*budget.State, error) {
	r, err := gate.Rebuild(receipts)
	return r.States, errors.Join(err, r.Err())
}

// livedThrough are the events of a tenant with so many leases, some of which are
// open, and its state.
func livedThrough(t *testing.T, tenant string, leases int) ([]budget.Event, *budget.State) {
	t.Helper()
	l := embedded.InMemory(nil)
	defer l.Close()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(l.Provision(t.Context(), tenant))
	for i := range leases {
		ref := budget.LeaseRef{Tenant: tenant, Lease: fmt.Sprint("l", i)}
		_, err := l.Reserve(t.Context(), budget.Reservation{
			Tenant: tenant, Lease: ref.Lease, TTL: time.Minute,
			Policy: budget.PolicyVersion{Generation: 1, Hash: "abc"},
			Claims: []budget.Claim{{Key: "usd", Amount: int64(i + 1), Limit: budget.NoLimit, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Forever}}},
		})
		check(err)
		if i%3 > 0 {
			_, err = l.Settle(t.Context(), ref, budget.Actual{Cost: int64(i)})
			check(err)
		}
	}
	events, err := l.Unacknowledged(tenant)
	check(err)
	state := budget.NewState(tenant)
	for _, e := range events {
		check(state.Apply(e))
	}
	return events, state
}

// receiptsOf are events as receipts, in that order.
func receiptsOf(events []budget.Event) iter.Seq2[audit.Receipt, error] {
	return func(yield func(audit.Receipt, error) bool) {
		for _, e := range events {
			if !yield(audit.Receipt{Body: gate.EventReceipt(e)}, nil) {
				return
			}
		}
	}
}

func sameState(a, b *budget.State) bool {
	return fmt.Sprintf("%+v", a.Snapshot()) == fmt.Sprintf("%+v", b.Snapshot())
}

// TestRebuildInAnyOrder: whatever the order, with repeats, and however little room
// there is for events that wait, each tenant's state is that of its events in
// order; one that lacks an event is refused, and no other with it.
func TestRebuildInAnyOrder(t *testing.T) {
	tenants := []string{"a", "b", "c", "d"}
	events, states := map[string][]budget.Event{}, map[string]*budget.State{}
	for i, tenant := range tenants {
		events[tenant], states[tenant] = livedThrough(t, tenant, 5+7*i)
	}
	rapid.Check(t, func(rt *rapid.T) {
		broken := rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(rt, "broken")
		var all []budget.Event
		for _, tenant := range tenants {
			list := slices.Clone(events[tenant])
			if tenant == broken {
				list = slices.Delete(list, 1, 2)
			}
			all = append(all, list...)
		}
		var order []int
		for i := range all {
			order = append(order, i)
		}
		order = append(order, rapid.SliceOfN(rapid.IntRange(0, len(all)-1), 0, 10).Draw(rt, "repeated")...)
		var shuffled []budget.Event
		for _, i := range rapid.Permutation(order).Draw(rt, "order") {
			shuffled = append(shuffled, all[i])
		}
		got, err := gate.RebuildIn(rapid.IntRange(1, 100).Draw(rt, "room"), receiptsOf(shuffled))
		if err != nil {
			rt.Fatal(err)
		}
		restored := 0
		for _, state := range got.States {
			restored++
			if state.Tenant == broken || !sameState(state, states[state.Tenant]) {
				rt.Fatalf("tenant %s: rebuilt %+v, want %+v", state.Tenant, state.Snapshot(), states[state.Tenant].Snapshot())
			}
		}
		if broken == "" && (restored != 4 || got.Err() != nil) {
			rt.Fatalf("%d tenants, refused: %v", restored, got.Err())
		}
		if broken != "" && (restored != 3 || len(got.Refused) != 1 || !errors.Is(got.Err(), budget.ErrFold) ||
			!strings.Contains(got.Err().Error(), "tenant "+broken+": event does not follow: event 2 has no receipt")) {
			rt.Fatalf("%d tenants, refused: %v, want %s", restored, got.Err(), broken)
		}
	})
}

// TestRebuildOfOneTenant folds no other, and says which it did not find.
func TestRebuildOfOneTenant(t *testing.T) {
	a, want := livedThrough(t, "a", 4)
	b, _ := livedThrough(t, "b", 4)
	got, err := gate.Rebuild(receiptsOf(append(b[1:], a...)), "a", "c")
	if err != nil || len(got.States) != 1 || !sameState(got.States[0], want) {
		t.Errorf("rebuilt %+v, %v", got.States, err)
	}
	if len(got.Refused) != 1 || got.Refused[0].Tenant != "c" || !strings.Contains(got.Err().Error(), "the receipts tell of no event of it") {
		t.Errorf("refused %+v", got.Refused)
	}
}

// TestRebuildOfContradictions: two receipts that tell one event differently give no
// balance, whether it was folded already or waits.
func TestRebuildOfContradictions(t *testing.T) {
	events, _ := livedThrough(t, "a", 4)
	last := len(events) - 1
	other := events[last]
	other.Amount++
	for name, all := range map[string][]budget.Event{
		"folded":  append(slices.Clone(events), other),
		"waiting": append([]budget.Event{other}, events...),
	} {
		if got, err := gate.Rebuild(receiptsOf(all)); err != nil || len(got.States) != 0 || got.Err() == nil {
			t.Errorf("%s: rebuilt %+v, %v, refused %v", name, got.States, err, got.Err())
		}
	}
}
