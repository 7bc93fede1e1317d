package budget_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// TestJoin: of a history that has parted at random, what either part has spent counts
// once, whatever the limit, and only open leases hold.
func TestJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		claim := budget.Claim{Key: "usd", Limit: budget.NoLimit, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Forever}}
		policy := budget.PolicyVersion{Generation: 1, Hash: "abc"}
		now, spent, held := int64(1000), int64(0), int64(0)
		var all []budget.Event
		live := func(s *budget.State, name string, open []string) []string {
			for i := range rapid.IntRange(0, 6).Draw(t, "turns") {
				now++
				id := fmt.Sprint(name, i)
				claim.Amount = rapid.Int64Range(0, 9).Draw(t, "hold")
				r := budget.Reservation{Tenant: "t", Lease: id, Claims: []budget.Claim{claim}, Policy: policy, TTL: time.Hour}
				for done := false; !done; {
					_, e, err := s.Reserve(&r, s.Advance(now))
					if err != nil {
						t.Fatal(err)
					}
					done = e.Kind == budget.Granted
					if err := s.Apply(e); err != nil {
						t.Fatal(err)
					}
					all = append(all, e)
				}
				if rapid.Bool().Draw(t, "stays open") {
					open, held = append(open, id), held+claim.Amount
					continue
				}
				cost := rapid.Int64Range(0, 9).Draw(t, "cost")
				_, e, err := s.Settle(id, budget.Actual{Cost: cost}, s.Advance(now))
				if err == nil {
					err = s.Apply(e)
				}
				if err != nil {
					t.Fatal(err)
				}
				all, spent = append(all, e), spent+cost
			}
			return open
		}
		one := budget.NewState("t")
		e, err := one.Provision("epoch", now)
		if err == nil {
			err = one.Apply(e)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		live(one, "before", nil)
		other := budget.NewState("t")
		for _, e := range all {
			if err := other.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		live(one, "lost", nil)
		live(other, "kept", nil)

		joined := budget.NewState("t")
		for _, e := range all {
			if err := joined.Join(e); err != nil {
				t.Fatal(err)
			}
		}
		b, err := joined.Balances([]budget.Claim{claim}, now)
		if err != nil || b.Observed[0].Spent != spent || b.Observed[0].Held != held {
			t.Fatalf("it gives %+v (%v), want %d spent and %d held", b, err, spent, held)
		}
		if want := max(one.Number, other.Number); b.Number != want {
			t.Fatalf("its number is %d, want the higher one, %d", b.Number, want)
		}
	})
}

// TestJoinOfTwoEnds: a lease that ended in both histories ends once, at the cost that
// somebody told.
func TestJoinOfTwoEnds(t *testing.T) {
	claim := budget.Placed{Claim: budget.Claim{Key: "usd", Amount: 10, Limit: 100, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Forever}}}
	event := func(number, at int64, kind budget.EventKind, amount int64) budget.Event {
		e := budget.Event{Tenant: "t", Epoch: "e", Number: number, At: at, Kind: kind, Lease: "l", Amount: amount}
		switch kind {
		case budget.Provisioned:
			e.Lease = ""
		case budget.PolicySeen:
			e.Lease, e.Policy = "", budget.PolicyVersion{Generation: 1, Hash: "abc"}
		case budget.Granted:
			e.Claims, e.Expires, e.Policy = []budget.Placed{claim}, at+50, budget.PolicyVersion{Generation: 1, Hash: "abc"}
		}
		return e
	}
	begun := []budget.Event{event(1, 1, budget.Provisioned, 0), event(2, 2, budget.PolicySeen, 0), event(3, 3, budget.Granted, 0)}
	for name, row := range map[string]struct {
		ends  []budget.Event
		spent int64
	}{
		"settled, and expired for the others":       {[]budget.Event{event(4, 10, budget.Settled, 7), event(4, 53, budget.Expired, 10)}, 7},
		"expired for the others, and then settled":  {[]budget.Event{event(4, 53, budget.Expired, 10), event(4, 60, budget.Settled, 7)}, 7},
		"expired for the others, and then released": {[]budget.Event{event(4, 53, budget.Expired, 10), event(4, 60, budget.Released, 0)}, 0},
		"expired for both":                          {[]budget.Event{event(4, 53, budget.Expired, 10), event(5, 54, budget.Expired, 10)}, 10},
		"corrected, and expired for the others":     {[]budget.Event{event(4, 53, budget.Expired, 10), event(5, 54, budget.Corrected, 3), event(5, 55, budget.Expired, 10)}, 3},
	} {
		s := budget.NewState("t")
		for _, e := range append(begun[:3:3], row.ends...) {
			if err := s.Join(e); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		b, err := s.Balances([]budget.Claim{claim.Claim}, 100)
		if err != nil || b.Observed[0] != (budget.Observed{Spent: row.spent}) || b.Open != 0 {
			t.Errorf("%s: %+v, %v, want %d spent", name, b, err, row.spent)
		}
	}
}
