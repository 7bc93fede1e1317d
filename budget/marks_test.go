package budget_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// markedState has one mark spent and two held, one of them by two leases.
func markedState(t *testing.T) *budget.State {
	t.Helper()
	s := budget.NewState("acme")
	apply := func(e budget.Event, err error) {
		t.Helper()
		if err == nil && e.Kind != "" {
			err = s.Apply(e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	apply(s.Provision("epoch", 1))
	for lease, marks := range map[string][]string{"l1": {"a"}, "l2": {"b", "c"}, "l3": {"a", "c"}} {
		r := budget.Reservation{Tenant: "acme", Lease: lease, TTL: time.Minute, Policy: budget.PolicyVersion{Generation: 1, Hash: "ab"},
			Claims: []budget.Claim{{Key: "tools", Limit: 9, AtEnd: budget.Keep, Window: budget.Window{Kind: budget.Forever}, Marks: marks}}}
		for range 2 {
			_, e, err := s.Reserve(&r, 2)
			apply(e, err)
		}
	}
	_, e, err := s.Settle("l1", budget.Actual{}, 3)
	apply(e, err)
	return s
}

// TestMarksOutliveASnapshot in JSON, as the embedded ledger writes it.
func TestMarksOutliveASnapshot(t *testing.T) {
	t.Parallel()
	want := markedState(t).Snapshot()
	if c := want.Counters[0]; c.Spent != 1 || c.Held != 2 || !reflect.DeepEqual(c.Marks, []budget.Mark{{"a", 0}, {"b", 1}, {"c", 2}}) {
		t.Errorf("counter %+v", c)
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var read budget.Snapshot
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	s, err := budget.FromSnapshot(read)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Snapshot(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestMarksOfAPassedWindow are forgotten, once no lease brings them any more; what
// they counted is not.
func TestMarksOfAPassedWindow(t *testing.T) {
	t.Parallel()
	window := budget.Window{Kind: budget.Fixed, Current: budget.Span{Start: 0, End: 100}, Next: budget.Span{Start: 100, End: 200}}
	s := budget.NewState("acme")
	apply := func(e budget.Event, err error) {
		t.Helper()
		if err == nil && e.Kind != "" {
			err = s.Apply(e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	apply(s.Provision("epoch", 1))
	for _, lease := range []string{"early", "late"} {
		r := budget.Reservation{Tenant: "acme", Lease: lease, TTL: time.Minute, Policy: budget.PolicyVersion{Generation: 1, Hash: "ab"},
			Claims: []budget.Claim{{Key: "tools/" + lease, Limit: 9, AtEnd: budget.Keep, Window: window, Marks: []string{"a", "b"}}}}
		for range 2 {
			_, e, err := s.Reserve(&r, 2)
			apply(e, err)
		}
	}
	check := func(at int64, early, late int) {
		t.Helper()
		s.Advance(at)
		for i, want := range []int{early, late} {
			if c := s.Snapshot().Counters[i]; len(c.Marks) != want || c.Spent+c.Held != 2 {
				t.Errorf("at %d: %+v, want %d marks", at, c, want)
			}
		}
	}
	_, e, err := s.Settle("early", budget.Actual{}, 3)
	apply(e, err)
	check(99, 2, 2)
	check(100, 0, 2)
	_, e, err = s.Settle("late", budget.Actual{}, 150)
	apply(e, err)
	check(150, 0, 0)
}

// TestMarksThatContradictTheirLeases are refused.
func TestMarksThatContradictTheirLeases(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(c *budget.Counter){
		"one lease too few": func(c *budget.Counter) { c.Marks[2].Leases = 1 },
		"an unknown mark":   func(c *budget.Counter) { c.Marks[1].Name = "d" },
		"no marks":          func(c *budget.Counter) { c.Marks = nil },
		"a held one more":   func(c *budget.Counter) { c.Held++ },
	} {
		in := markedState(t).Snapshot()
		spoil(&in.Counters[0])
		if _, err := budget.FromSnapshot(in); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestFoldRefusesAnotherAmount than the marks that are new.
func TestFoldRefusesAnotherAmount(t *testing.T) {
	t.Parallel()
	s := markedState(t)
	r := budget.Reservation{Tenant: "acme", Lease: "l4", TTL: time.Minute, Policy: budget.PolicyVersion{Generation: 1, Hash: "ab"},
		Claims: []budget.Claim{{Key: "tools", Limit: 9, AtEnd: budget.Keep, Window: budget.Window{Kind: budget.Forever}, Marks: []string{"c", "d"}}}}
	_, e, err := s.Reserve(&r, 4)
	if err != nil || e.Claims[0].Amount != 1 || e.Claims[0].New != 1 {
		t.Fatalf("%+v %v", e, err)
	}
	for _, amount := range []int64{0, 2} {
		e.Claims[0].Amount = amount
		if err := s.Apply(e); err == nil {
			t.Errorf("an amount of %d is taken", amount)
		}
		e.Claims[0].New = amount
		if err := s.Apply(e); err == nil {
			t.Errorf("%d that are new are taken", amount)
		}
		e.Claims[0].New = 1
	}
}
