package gate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// fallbackRules have limits that every request of the tenant comes under, of each
// kind, and one of the key.
const fallbackRules = `replay: {retries: 1}
per_request_usd: "0.0000005"
concurrency: [{name: parallel, limit: 9}]
budgets:
  - {name: daily, window: day, limit_usd: "0.00001"}
  - {name: total, window: forever, limit_usd: "0.00001"}
  - {name: of-key, scope: key, window: month, limit_usd: "0.00001"}
rates: [{name: burst, window: minute, limit: 9}]`

// fallbackStory are the receipts of a request that was not sent at first, then
// answered with 503, then answered by a fallback, and of a denial.
func fallbackStory(t testing.TB) ([]audit.Receipt, *gate.Rules) {
	t.Helper()
	w := newWorld(t, fallbackRules)
	w.sweepOnce()
	bid := w.call(10, 5)
	bid.Facts.Nonce = call.HashName("n-1")
	w.begin(bid).End(gate.Outcome{})
	w.begin(bid).End(gate.Outcome{Sent: true, Status: 503, Basis: audit.BasisUnknown})
	bid.Facts.Counted = true
	w.begin(bid).End(used(8, 4))
	w.refused(w.call(1000, 0), policy.RequestCapExceeded)
	w.sweepOnce()
	return spoken(w.receipts()), w.rules
}

func ofEvent(n int64) func(audit.Decision) bool {
	return func(d audit.Decision) bool { return d.Verdict == audit.Allow && d.Event == n }
}

// copied has only copies tell of a lease, as where its replica is gone.
func copied(event int64, change func(*audit.Event)) func(testing.TB, []audit.Receipt) []audit.Receipt {
	return func(t testing.TB, rs []audit.Receipt) []audit.Receipt {
		i := at(t, rs, ofEvent(event))
		lease := rs[i].Body.(audit.Decision).Lease
		for i, r := range rs {
			e, ok := gate.EventOf(r.Body)
			if !ok || e.Lease != lease {
				continue
			}
			told := audit.Event{
				At: e.At, Tenant: e.Tenant, Event: e.Number, Epoch: e.Epoch, Name: string(e.Kind), Lease: e.Lease,
				Amount: e.Amount, Expires: e.Expires, Generation: e.Policy.Generation, Policy: e.Policy.Hash, Recovered: true,
			}
			if d, ok := r.Body.(audit.Decision); ok {
				told.Claims = slices.Clone(d.Claims)
				change(&told)
			}
			rs[i].Body = told
		}
		return rs
	}
}

func withoutClaims(names ...string) func(*audit.Event) {
	return func(e *audit.Event) {
		e.Claims = slices.DeleteFunc(e.Claims, func(c audit.Claim) bool { return slices.Contains(names, c.Rule) })
	}
}

// TestReplayHoldsGrantsAgainstWhatIsKnown: what a grant says of itself is compared
// with whatever else the receipts tell.
func TestReplayHoldsGrantsAgainstWhatIsKnown(t *testing.T) {
	t.Parallel()
	receipts, rules := fallbackStory(t)
	last := int64(0)
	for _, r := range receipts {
		if d, ok := r.Body.(audit.Decision); ok && d.Facts.Counted {
			last = d.Event
		}
	}
	sound := func(t testing.TB, rs []audit.Receipt) []audit.Receipt { return rs }
	for name, row := range map[string]struct {
		fault gate.Fault // "": none
		alter func(testing.TB, []audit.Receipt) []audit.Receipt
	}{
		"the story":                        {"", sound},
		"a copy of a grant":                {"", copied(last, func(*audit.Event) {})},
		"a copy without the daily budget":  {gate.WrongClaims, copied(last, withoutClaims("daily"))},
		"a copy without the tenant's slot": {gate.WrongClaims, copied(last, withoutClaims("parallel"))},
		"a copy with one claim":            {gate.WrongClaims, copied(last, withoutClaims("daily", "parallel", "of-key"))},
		"a copy without claims":            {gate.WrongClaims, copied(last, func(e *audit.Event) { e.Claims = nil })},
		"a copy with a raised limit":       {gate.WrongClaims, copied(last, func(e *audit.Event) { e.Claims[1].Limit++ })},
		"a copy with another claim": {gate.WrongClaims, copied(last, func(e *audit.Event) {
			e.Claims = append(e.Claims, audit.Claim{Key: "usd/century", Limit: 5, Amount: 1, AtEnd: "keep", Window: "forever"})
		})},
		"a copy of a key of nobody": {gate.WrongClaims, copied(last, func(e *audit.Event) {
			for i := range e.Claims {
				e.Claims[i].Key = strings.Replace(e.Claims[i].Key, "acme-1", "acme-9", 1)
			}
		})},
		"a copy above the cap": {gate.WrongClaims, copied(last, func(e *audit.Event) {
			for i := range e.Claims {
				if e.Claims[i].AtEnd == "adjust" {
					e.Claims[i].Amount = 501
				}
			}
		})},
		"counted on a first attempt": {gate.WrongClaims, alter(func(d audit.Decision) bool { return d.Verdict == audit.Allow }, func(d *audit.Decision) {
			d.Facts.Counted = true
			d.Claims = slices.DeleteFunc(slices.Clone(d.Claims), func(c audit.Claim) bool { return c.Rule == "burst" || c.Rule == "replay" })
		})},
		"counted after what was not sent": {gate.WrongClaims, func(t testing.TB, rs []audit.Receipt) []audit.Receipt {
			return alter(func(d audit.Decision) bool {
				return d.Verdict == audit.Allow && d.Claims[0].Rule == "replay" && d.Event > 3
			}, func(d *audit.Decision) {
				d.Facts.Counted = true
				d.Claims = slices.DeleteFunc(slices.Clone(d.Claims), func(c audit.Claim) bool { return c.Rule == "burst" || c.Rule == "replay" })
			})(t, rs)
		}},
		"a call denied for its action's id": {gate.WrongDenial, alter(deniedFor(policy.RequestCapExceeded), func(d *audit.Decision) {
			d.Reasons = []string{string(policy.ActionIDUsed)}
			d.Facts.InputTokens, d.Facts.Cost = 10, 10
		})},
		"what was answered, released": {gate.WrongCharge, alter(func(s audit.Settlement) bool { return s.Basis == audit.BasisReported }, func(s *audit.Settlement) {
			s.Outcome, s.Charge, s.Basis, s.Lines = "release", 0, audit.BasisUnbilled, nil
			s.Status = 200
		})},
		"usage of what was not sent": {gate.WrongCharge, alter(func(s audit.Settlement) bool { return s.Outcome == "release" }, func(s *audit.Settlement) {
			s.Lines = []call.Line{{Usage: call.Usage{call.Input: 1}}}
		})},
		"a second life": {gate.WrongEvent, func(_ testing.TB, rs []audit.Receipt) []audit.Receipt {
			e, _ := gate.EventOf(rs[len(rs)-2].Body)
			return append(rs, audit.Receipt{Body: audit.Event{
				At: e.At + 60_000, Tenant: "acme", Event: 1, Epoch: "another", Name: string(budget.Provisioned), Recovered: true,
			}})
		}},
		"a life that gave way to the first": {"", func(_ testing.TB, rs []audit.Receipt) []audit.Receipt {
			e, _ := gate.EventOf(rs[0].Body)
			return slices.Insert(rs, 1, audit.Receipt{Body: audit.Event{
				At: e.At, Tenant: "acme", Event: 1, Epoch: "z", Name: string(budget.Provisioned), Recovered: true,
			}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := retell(t, row.alter(t, slices.Clone(receipts)))
			mustBeSound(t, dir)
			report := replayDirs(t, []*gate.Rules{rules}, dir)
			switch {
			case row.fault == "" && report.OK():
			case row.fault == "" || len(report.Findings) == 0 || report.Findings[0].Fault != row.fault:
				t.Errorf("findings %v, unchecked %v; want %s", report.Findings, report.Unchecked, row.fault)
			}
		})
	}
}

// TestReplayNotesOpenLeases: a lease that never ends is no fault, as its replica may
// have died a moment ago, but is said.
func TestReplayNotesOpenLeases(t *testing.T) {
	t.Parallel()
	w := newWorld(t, daily(1000))
	w.sweepOnce()
	w.begin(w.call(10, 5)).End(used(8, 4))
	w.begin(w.call(10, 5))
	w.begin(w.call(20, 5))
	w.sweepOnce()
	report := w.mustReplay(t, w.rules)
	tenant := report.Tenants[0]
	var oldest audit.Decision
	for _, r := range w.receipts() {
		if d, ok := r.Body.(audit.Decision); ok && d.Event == tenant.Oldest.Event {
			oldest = d
		}
	}
	want := gate.OpenLease{Lease: oldest.Lease, Event: oldest.Event, At: oldest.At}
	if tenant.Open != 2 || tenant.Oldest != want || oldest.Facts.Cost != 20 && oldest.Facts.Cost != 15 {
		t.Errorf("%d open, the oldest %+v, want 2 and %+v", tenant.Open, tenant.Oldest, fmt.Sprint(want))
	}
}
