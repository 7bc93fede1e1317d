package gate_test

import (
	"path/filepath"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// moderation is a call that costs nothing.
func (w *world) moderation() gate.Bid {
	b := w.call(0, 0)
	b.Facts.Endpoint, b.Facts.Free = call.Moderations, true
	return b
}

// TestFreeCalls: of what costs nothing no price is asked and nothing is held; what a rate
// counts is told by receipts, and they are believed only as long as they are free.
func TestFreeCalls(t *testing.T) {
	w := newWorld(t, daily(1)+"\nrates: [{name: few, window: forever, limit: 2}]")
	unpriced := w.moderation()
	unpriced.Facts.Model = "nobody-has-a-price-for-it"
	for _, b := range []gate.Bid{w.moderation(), unpriced} {
		grant := w.begin(b)
		if grant.Hold() != 0 {
			t.Errorf("holds %d", grant.Hold())
		}
		grant.End(used(7, 7)) // nobody bills it, whatever is told
	}
	w.refused(w.moderation(), policy.RequestRate)
	w.must(w.upkeep().Sweep(t.Context(), "acme"))
	free := func(d audit.Decision) bool { return d.Verdict == audit.Allow }
	for _, row := range []struct {
		name   string
		retell func(testing.TB, []audit.Receipt) []audit.Receipt
		want   gate.Fault // "" for none
	}{
		{"as it was", func(_ testing.TB, r []audit.Receipt) []audit.Receipt { return r }, ""},
		{"with a cost", alter(free, func(d *audit.Decision) { d.Facts.Cost = 1 }), gate.WrongPrice},
		{"with a price", alter(free, func(d *audit.Decision) { d.PricedAt = d.At }), gate.WrongPrice},
		{"with a charge", alter(func(audit.Settlement) bool { return true }, func(s *audit.Settlement) { s.Basis = audit.BasisReported }), gate.WrongCharge},
		{"of what costs something everywhere", alter(free, func(d *audit.Decision) { d.Facts.Endpoint = call.ChatCompletions }), gate.WrongAllow},
		{"denied for money", alter(func(d audit.Decision) bool { return d.Verdict == audit.Deny }, func(d *audit.Decision) {
			d.Reasons = []string{string(policy.NoPrice)}
		}), gate.WrongDenial},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(w.dir, "receipts")
			if row.want != "" {
				dir = retell(t, row.retell(t, spoken(w.receipts())))
			}
			report := replayDirs(t, []*gate.Rules{w.rules}, dir)
			if row.want == "" && !report.OK() || row.want != "" && (len(report.Findings) == 0 || report.Findings[0].Fault != row.want) {
				t.Errorf("found %v, want %q; unchecked %v", report.Findings, row.want, report.Unchecked)
			}
		})
	}
}

// TestFreeCallOfAProgram: it needs no bound either.
func TestFreeCallOfAProgram(t *testing.T) {
	w := newWorld(t, daily(1))
	bid, denial, err := gate.Request{Tenant: "acme", Facts: call.Facts{Model: "toy", Endpoint: call.Moderations, Free: true}}.Bid(w.rules)
	w.must(err)
	if denial != nil {
		t.Fatal(denial)
	}
	w.begin(bid).End(gate.NotSent())
}

// TestFreeCallWithoutALease: what nothing counts leaves no trace, and a switch that is
// thrown while it is under way still cuts it.
func TestFreeCallWithoutALease(t *testing.T) {
	w := newWorld(t, daily(1)+"\non_kill: cut")
	before := len(w.receipts())
	grant := w.begin(w.moderation())
	cut := make(chan string, 1)
	grant.OnKill(func(name string) { cut <- name })
	if n := len(w.receipts()); n != before || grant.Receipt != "" {
		t.Errorf("%d receipts, had %d; grant %q", n, before, grant.Receipt)
	}
	w.throw("acme", policy.TenantSwitch)
	w.gate.CutKilled(t.Context())
	if name := <-cut; name != policy.TenantSwitch {
		t.Errorf("cut by %q", name)
	}
	grant.End(gate.NotSent())
	grant.End(gate.NotSent())
	w.refused(w.moderation(), policy.Killed)
}
