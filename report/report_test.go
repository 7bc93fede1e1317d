package report_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/report"
)

// start is the first instant of the histories.
var start = time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)

// ms is an instant so many minutes after the start, in ledger milliseconds.
func ms(minutes int64) int64 { return start.UnixMilli() + minutes*60_000 }

// history is a tenant's receipts as its replicas write them.
type history struct {
	epoch  string // of the ledger that the tenant's events are counted in
	events int64
	list   []audit.Body
}

func (h *history) number() int64 {
	h.events++
	return h.events
}

func (h *history) allow(lease, model string, cost, at int64, reasons ...string) {
	h.list = append(h.list, audit.Decision{
		At: at, Verdict: audit.Allow, Lease: lease, Epoch: h.epoch, Event: h.number(), Reasons: reasons,
		Facts: call.Facts{Tenant: "acme", Key: "acme-1", Model: model, Upstream: "openai", Cost: cost},
	})
}

func (h *history) settle(lease, outcome, basis string, charge, tokens, at int64) {
	h.list = append(h.list, audit.Settlement{
		At: at, Tenant: "acme", Lease: lease, Outcome: outcome, Basis: basis, Charge: charge, Epoch: h.epoch, Event: h.number(),
		Lines: []call.Line{{Usage: call.Usage{call.Output: tokens}}},
	})
}

func (h *history) event(kind budget.EventKind, lease string, amount, at int64) {
	h.list = append(h.list, audit.Event{
		At: at, Tenant: "acme", Lease: lease, Name: string(kind), Amount: amount, Epoch: h.epoch, Event: h.number(), Recovered: true,
	})
}

func reportOf(t testing.TB, q report.Query, bodies []audit.Body) *report.Report {
	t.Helper()
	reporter, err := report.Of(q)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bodies {
		reporter.Add(audit.Receipt{Body: b})
	}
	r, err := reporter.Close()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhatBecomesOfALease(t *testing.T) {
	for _, row := range []struct {
		name string
		play func(*history)
		want string
	}{
		{"settled at what was reported", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
			h.settle("l1", "settle", audit.BasisReported, 40, 7, ms(1))
		}, "[acme gpt-5]: calls 1, spent 40, unknown 0, expired 0, open 0, held 0, output 7"},
		{"settled at the hold, for want of a cost", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
			h.settle("l1", "settle", audit.BasisUnknown, 100, 0, ms(1))
		}, "[acme gpt-5]: calls 1, spent 100, unknown 100, expired 0, open 0, held 0, output 0"},
		{"released", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
			h.settle("l1", "release", audit.BasisUnbilled, 0, 0, ms(1))
		}, "[acme gpt-5]: calls 1, spent 0, unknown 0, expired 0, open 0, held 0, output 0"},
		{"expired", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
			h.event(budget.Expired, "l1", 100, ms(5))
		}, "[acme gpt-5]: calls 1, spent 100, unknown 0, expired 100, open 0, held 0, output 0"},
		{"expired, and corrected a day later", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
			h.event(budget.Expired, "l1", 100, ms(5))
			h.settle("l1", "correct", audit.BasisReported, 40, 7, ms(60*23))
		}, "[acme gpt-5]: calls 1, spent 40, unknown 0, expired 0, open 0, held 0, output 7"},
		{"open", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
		}, "[acme gpt-5]: calls 1, spent 0, unknown 0, expired 0, open 1, held 100, output 0"},
		{"open, and extended", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
			h.event(budget.Extended, "l1", 250, ms(1))
		}, "[acme gpt-5]: calls 1, spent 0, unknown 0, expired 0, open 1, held 250, output 0"},
		{"extended, as is read after its end", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
			h.event(budget.Extended, "l1", 250, ms(1))
			h.settle("l1", "settle", audit.BasisReported, 40, 7, ms(2))
			h.list[1], h.list[2] = h.list[2], h.list[1]
		}, "[acme gpt-5]: calls 1, spent 40, unknown 0, expired 0, open 0, held 0, output 7"},
		{"of the same name and number as one of a ledger that was begun anew", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
			h.epoch, h.events = "e2", 0
			h.allow("l1", "gpt-5", 100, ms(2))
			h.settle("l1", "settle", audit.BasisReported, 2, 3, ms(3))
		}, "[acme gpt-5]: calls 2, spent 2, unknown 0, expired 0, open 1, held 100, output 3"},
		{"its end told twice", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
			h.settle("l1", "settle", audit.BasisReported, 40, 7, ms(1))
			h.events--
			h.event(budget.Settled, "l1", 40, ms(1))
		}, "[acme gpt-5]: calls 1, spent 40, unknown 0, expired 0, open 0, held 0, output 7"},
		{"its grant told before its decision", func(h *history) {
			h.event(budget.Granted, "l1", 0, ms(0))
			h.events--
			h.allow("l1", "gpt-5", 100, ms(0))
			h.settle("l1", "settle", audit.BasisReported, 40, 7, ms(1))
		}, "[acme gpt-5]: calls 1, spent 40, unknown 0, expired 0, open 0, held 0, output 7"},
		{"its decision lost", func(h *history) {
			h.event(budget.Granted, "l1", 0, ms(0))
			h.event(budget.Settled, "l1", 40, ms(1))
		}, "[acme ]: calls 1, spent 40, unknown 0, expired 0, open 0, held 0, output 0"},
		{"its end read before its decision", func(h *history) {
			h.allow("l1", "gpt-5", 100, ms(0))
			h.settle("l1", "settle", audit.BasisReported, 40, 7, ms(1))
			slices.Reverse(h.list)
		}, "[acme gpt-5]: calls 1, spent 40, unknown 0, expired 0, open 0, held 0, output 7"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var h history
			row.play(&h)
			r := reportOf(t, report.Query{By: []string{"tenant", "model"}}, h.list)
			if len(r.Rows) != 1 || said(r.Rows[0]) != row.want {
				t.Errorf("got %v, want %s", r.Rows, row.want)
			}
		})
	}
}

func said(r report.Row) string {
	return fmt.Sprintf("%v: calls %d, spent %d, unknown %d, expired %d, open %d, held %d, output %d",
		r.Of, r.Calls, r.Spent, r.Unknown, r.Expired, r.Open, r.Held, r.Usage[call.Output])
}

// A charge belongs to the day of its decision, whenever the call ended, as in a ledger's window.
func TestAChargeIsOfTheDayOfItsDecision(t *testing.T) {
	var h history
	h.allow("november", "gpt-5", 100, ms(59))
	h.allow("december", "gpt-5", 100, ms(60))
	h.settle("december", "settle", audit.BasisReported, 7, 0, ms(61))
	h.settle("november", "settle", audit.BasisReported, 40, 0, ms(62))
	december := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name string
		q    report.Query
		want string
	}{
		{"by month", report.Query{By: []string{"month"}}, "2026-11 40, 2026-12 7, "},
		{"by day", report.Query{By: []string{"day"}}, "2026-11-30 40, 2026-12-01 7, "},
		{"by day, elsewhere", report.Query{By: []string{"day"}, Zone: time.FixedZone("", -3600)}, "2026-11-30 47, "},
		{"until December", report.Query{By: []string{"tenant"}, To: december}, "acme 40, "},
		{"from December on", report.Query{By: []string{"tenant"}, From: december}, "acme 7, "},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got string
			for _, r := range reportOf(t, row.q, h.list).Rows {
				got += fmt.Sprintf("%s %d, ", r.Of[0], r.Spent)
			}
			if got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestDenials(t *testing.T) {
	deny := func(reason string, more int64) audit.Decision {
		d := audit.Decision{At: ms(0), Verdict: audit.Deny, Reasons: []string{reason}, Facts: call.Facts{Tenant: "acme"}}
		d.Denials.Count = more
		return d
	}
	h := history{list: []audit.Body{deny("budget_exhausted", 0), deny("budget_exhausted", 3), deny("rate_limited", 0)}}
	h.allow("l1", "gpt-5", 100, ms(0), "budget_exhausted")
	h.allow("l2", "gpt-5", 100, ms(0))
	h.allow("l3", "gpt-5", 100, ms(0), "budget_exhausted", "rate_limited")
	for _, row := range []struct {
		name string
		q    report.Query
		want string
	}{
		{"by reason", report.Query{By: []string{"reason"}}, "[] 1 0 0, [budget_exhausted] 2 4 2, [rate_limited] 0 1 0, "},
		{"what observe let pass", report.Query{By: []string{"tenant"}, WouldDeny: true}, "[acme budget_exhausted] 0 0 2, [acme rate_limited] 0 0 1, "},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got string
			for _, r := range reportOf(t, row.q, h.list).Rows {
				got += fmt.Sprintf("%v %d %d %d, ", r.Of, r.Calls, r.Denied, r.WouldDeny)
			}
			if got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestMissingEventsAreTold(t *testing.T) {
	var h history
	h.allow("l1", "gpt-5", 100, ms(0))
	h.events += 3
	h.allow("l2", "gpt-5", 100, ms(0))
	r := reportOf(t, report.Query{}, h.list)
	if r.Missing["acme"] != 3 {
		t.Errorf("%v is missing, want 3", r.Missing)
	}
}

func TestQueriesThatAskForNothing(t *testing.T) {
	for _, row := range []struct {
		name, want string
		q          report.Query
	}{
		{"a dimension that is not there", `"team" is nothing to report by; take of day, dialect, endpoint, key, model, month, reason, run, tenant, upstream, user`,
			report.Query{By: []string{"team"}}},
		{"one twice", `"key" is named twice`, report.Query{By: []string{"key", "key"}}},
		{"an end before the beginning", "the report would end at 2026-11-30T23:00:00Z, and begin at 2026-11-30T23:00:00Z",
			report.Query{From: start, To: start}},
	} {
		if _, err := report.Of(row.q); err == nil || err.Error() != row.want {
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
	}
}

// TestSumsAreTheLedgers: whatever becomes of leases, whichever receipts are there twice, in whatever order
// those of two replicas come within a minute, the sum is what the ledger spent and holds.
func TestSumsAreTheLedgers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var h history
		var spent, held, open int64
		for i := range rapid.IntRange(1, 30).Draw(rt, "leases") {
			lease, at := fmt.Sprintf("l%d", i), ms(int64(i))
			hold := rapid.Int64Range(0, 1000).Draw(rt, "hold")
			charge := rapid.Int64Range(0, 1200).Draw(rt, "charge")
			model := rapid.SampledFrom([]string{"gpt-5", "o3"}).Draw(rt, "model")
			h.allow(lease, model, hold, at)
			switch rapid.IntRange(0, 4).Draw(rt, "end") {
			case 0:
				open, held = open+1, held+hold
			case 1:
				h.settle(lease, "settle", audit.BasisReported, charge, 1, at)
				spent += charge
			case 2:
				h.settle(lease, "release", audit.BasisUnbilled, 0, 0, at)
			case 3:
				h.event(budget.Expired, lease, hold, at)
				spent += hold
			case 4:
				h.event(budget.Expired, lease, hold, at)
				h.settle(lease, "correct", audit.BasisReported, charge, 1, at)
				spent += charge
			}
		}
		list := doubled(rt, h.list)
		r := reportOf(t, report.Query{By: []string{"tenant", "model"}}, list)
		total, err := r.Total()
		if err != nil || total.Spent != spent || total.Held != held || total.Open != open || r.Lost != 0 || len(r.Missing) != 0 {
			rt.Fatalf("%+v, %v; want %d spent, %d open that hold %d\nof %+v", total, err, spent, open, held, list)
		}
	})
}

// doubled are receipts some of which are there again as recovered, and neighbours of which have changed places.
func doubled(rt *rapid.T, list []audit.Body) []audit.Body {
	var out []audit.Body
	for _, b := range list {
		out = append(out, b)
		if rapid.Bool().Draw(rt, "twice") {
			out = append(out, copyOf(b))
		}
	}
	for i := 1; i < len(out); i++ {
		if rapid.Bool().Draw(rt, "swap") {
			out[i-1], out[i] = out[i], out[i-1]
		}
	}
	return out
}

// copyOf is what another replica writes of an event whose receipt it misses.
func copyOf(b audit.Body) audit.Body {
	switch b := b.(type) {
	case audit.Decision:
		return audit.Event{At: b.At, Tenant: b.Facts.Tenant, Lease: b.Lease, Name: "grant", Epoch: b.Epoch, Event: b.Event, Recovered: true}
	case audit.Settlement:
		return audit.Event{At: b.At, Tenant: b.Tenant, Lease: b.Lease, Name: b.Outcome, Amount: b.Charge, Epoch: b.Epoch, Event: b.Event, Recovered: true}
	}
	return b
}
