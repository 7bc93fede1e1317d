package gate_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// TestJoinOfReceipts: receipts of two histories, some told twice, give what both have
// spent; where no receipt has a number they give nothing, and Rebuild never does.
func TestJoinOfReceipts(t *testing.T) {
	events, state := livedThrough(t, "a", 6)
	last := len(events) - 1 // a settlement of 5 for lease l5
	other := events[last]
	other.Lease, other.Kind, other.Amount = "stranger", budget.Released, 0
	both := append(slices.Clone(events), other, events[3], events[last])

	got, err := gate.Rebuild(receiptsOf(both))
	if err != nil || len(got.States) != 0 || !errors.Is(got.Err(), gate.ErrParted) {
		t.Errorf("rebuilt %+v, %v, refused %v", got.States, err, got.Err())
	}
	got, err = gate.Join(receiptsOf(both), "a")
	if err != nil || len(got.States) != 1 {
		t.Fatalf("joined %+v, %v, refused %v", got.States, err, got.Err())
	}
	claim := budget.Claim{Key: "usd", Window: budget.Window{Kind: budget.Forever}}
	want, err := state.Balances([]budget.Claim{claim}, events[last].At)
	if err != nil {
		t.Fatal(err)
	}
	have, err := got.States[0].Balances([]budget.Claim{claim}, events[last].At)
	if err != nil || have.Observed[0] != want.Observed[0] || have.Open != want.Open || have.Number != want.Number {
		t.Errorf("joined, it shows %+v (%v), want %+v", have, err, want)
	}

	gap := slices.DeleteFunc(slices.Clone(both), func(e budget.Event) bool { return e.Number == 4 })
	got, err = gate.Join(receiptsOf(gap), "a")
	if err != nil || len(got.States) != 0 || got.Err() == nil || !strings.Contains(got.Err().Error(), "event 4 has no receipt") {
		t.Errorf("with a gap: joined %+v, %v, refused %v", got.States, err, got.Err())
	}
}
