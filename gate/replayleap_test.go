package gate_test

import (
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// leaping is an honest history of 100 seconds, in each of which one call is granted, one is
// denied beside it, and the first ends.
func leaping(t *testing.T) (w *world, receipts []audit.Receipt) {
	w = newWorld(t, daily(1_000_000))
	w.begin(w.call(1, 1)).End(gate.Outcome{})
	w.settleAll(nil) // has the tenant's first events receipted
	for range 100 {
		grant := w.begin(w.call(500_000, 100))
		w.refused(w.call(900_000, 100), policy.BudgetHeld)
		w.clock.advance(300 * time.Millisecond)
		grant.End(used(10, 10))
		w.clock.advance(700 * time.Millisecond)
	}
	return w, w.receipts()
}

// TestReplayOfALedgerWhoseClockLeaps: a shared ledger's clock may go ahead by as much as
// its callers bear, and come back. A denial that was given meanwhile is later than the
// events behind it, and where receipts are told by their instants it comes late itself.
func TestReplayOfALedgerWhoseClockLeaps(t *testing.T) {
	for name, tell := range map[string]func(receipts []audit.Receipt) []audit.Receipt{
		"as it was": func(receipts []audit.Receipt) []audit.Receipt { return receipts },
		"each denial is a minute later": func(receipts []audit.Receipt) (all []audit.Receipt) {
			for _, r := range receipts {
				if d, ok := r.Body.(audit.Decision); ok && d.Verdict == audit.Deny {
					d.At += budget.MaxClocksApart.Milliseconds()
					r.Body = d
				}
				all = append(all, r)
			}
			return all
		},
		"denials come behind what a minute has brought": func(receipts []audit.Receipt) (all []audit.Receipt) {
			var late []audit.Receipt
			for _, r := range receipts {
				if d, ok := r.Body.(audit.Decision); ok && d.Verdict == audit.Deny {
					if late = append(late, r); len(late) > 60 {
						all, late = append(all, late[0]), late[1:]
					}
					continue
				}
				all = append(all, r)
			}
			return append(all, late...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, receipts := leaping(t)
			r := gate.NewReplayer(w.rules)
			for _, receipt := range tell(receipts) {
				r.Add(receipt)
			}
			if report := r.Close(); !report.OK() || report.Tenants[0].Events != 204 {
				t.Errorf("findings %v, unchecked %v, %d events", report.Findings, report.Unchecked, report.Tenants[0].Events)
			}
		})
	}
}

// TestReplayOfALateDenialIsAJudgement: one that does not follow is found, however late its
// instant is.
func TestReplayOfALateDenialIsAJudgement(t *testing.T) {
	w, receipts := leaping(t)
	r := gate.NewReplayer(w.rules)
	for _, receipt := range receipts {
		if d, ok := receipt.Body.(audit.Decision); ok && d.Verdict == audit.Deny {
			d.At += budget.MaxClocksApart.Milliseconds()
			d.Claims[0].Spent++
			receipt.Body = d
		}
		r.Add(receipt)
	}
	if report := r.Close(); report.OK() || len(report.Unchecked) > 0 || report.Faults != 100 {
		t.Errorf("%d faults, unchecked %v", report.Faults, report.Unchecked)
	}
}
