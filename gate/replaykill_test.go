package gate_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// killStory throws a switch that stops nobody here, then one that does: beside
// the first a call is granted, an action extended and a call denied for its
// cost; by the second a call and an extension are stopped.
func killStory(t *testing.T) *world {
	w := newWorld(t, daily(1000))
	w.throw("acme", policy.KeySwitch("another"))
	w.begin(w.call(10, 10)).End(used(10, 10))
	pay := gate.Action{Rules: w.rules, Key: w.key(), ID: "1", Run: "r", Kind: "payment", Amount: 100, TTL: time.Minute}
	leave, err := w.gate.Authorize(t.Context(), pay)
	w.must(err)
	lease := gate.LeaseCall{Rules: w.rules, Key: w.key(), Lease: leave.Lease}
	_, err = w.gate.Extend(t.Context(), lease, 150)
	w.must(err)
	w.refused(w.call(5000, 10), policy.BudgetExhausted)

	w.throw("acme", policy.RunSwitch("r"))
	w.refused(w.inRun("r"), policy.Killed)
	if _, err := w.gate.Extend(t.Context(), lease, 160); err == nil {
		t.Fatal("a stopped run's action is extended")
	}
	w.lift("acme", policy.RunSwitch("r"))
	w.begin(w.inRun("r")).End(used(10, 10))
	w.must(w.upkeep().Sweep(t.Context(), "acme"))
	return w
}

// TestReplayKnowsKillSwitches: which switches are thrown is in the receipts, so
// nobody is believed who was stopped without one, or served in spite of one.
func TestReplayKnowsKillSwitches(t *testing.T) {
	w := killStory(t)
	honest := replayDirs(t, []*gate.Rules{w.rules}, filepath.Join(w.dir, "receipts"))
	if !honest.OK() || honest.Told != 0 || honest.Denied[string(policy.Killed)] != 2 {
		t.Fatalf("findings %v, unchecked %v, %d told, denied %v", honest.Findings, honest.Unchecked, honest.Told, honest.Denied)
	}
	throws := func(name string) func(audit.Event) bool {
		return func(e audit.Event) bool { return e.Name == string(budget.Thrown) && e.Switch == name }
	}
	rename := func(from, to string) func(testing.TB, []audit.Receipt) []audit.Receipt {
		return alter(throws(from), func(e *audit.Event) { e.Switch = to })
	}
	for _, row := range []struct {
		name   string
		retell func(testing.TB, []audit.Receipt) []audit.Receipt
		want   []gate.Fault // of the receipts in their order
	}{
		{"served in spite of a switch", rename(policy.KeySwitch("another"), policy.TenantSwitch), []gate.Fault{
			gate.WrongAllow,  // a call
			gate.WrongAllow,  // an action
			gate.WrongAllow,  // its extension
			gate.WrongDenial, // not for its cost
			gate.WrongAllow,  // a call of the run
		}},
		{"served in spite of its own key's", rename(policy.KeySwitch("another"), policy.KeySwitch("acme-1")), []gate.Fault{
			gate.WrongAllow, gate.WrongAllow, gate.WrongDenial, gate.WrongAllow, // any key may extend
		}},
		{"stopped without a switch", rename(policy.RunSwitch("r"), policy.RunSwitch("another")), []gate.Fault{
			gate.WrongDenial, gate.WrongDenial,
			gate.WrongEvent, // what is lifted was not thrown
		}},
		{"stopped, but with balances that nobody observed", alter(deniedFor(policy.Killed), func(d *audit.Decision) {
			d.Claims = []audit.Claim{{Rule: "daily", Key: "usd/forever", Amount: 30, Limit: 1000, AtEnd: "adjust", Window: "forever",
				Spent: 999, Reason: "exhausted"}}
		}), []gate.Fault{
			gate.WrongClaims,
		}},
		{"stopped by an event that is not told", alter(deniedFor(policy.Killed), func(d *audit.Decision) { d.Event = 0 }), []gate.Fault{
			gate.WrongSum,
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := retell(t, row.retell(t, spoken(w.receipts())))
			mustBeSound(t, dir)
			report := replayDirs(t, []*gate.Rules{w.rules}, dir)
			var got []gate.Fault
			for _, f := range report.Findings {
				got = append(got, f.Fault)
			}
			if len(got) != len(row.want) {
				t.Fatalf("found %v, want %v", report.Findings, row.want)
			}
			for i := range got {
				if got[i] != row.want[i] {
					t.Errorf("found %v, want %v", report.Findings, row.want)
				}
			}
		})
	}
}
