package gate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// repeatStory are the receipts of an action that is asked for twice, extended
// twice to one total and settled, and of another that its replica never receipted
// and that is asked for twice more. The tenant has a second key, which has a
// budget of its own.
func repeatStory(t *testing.T) (receipts []audit.Receipt, rules *gate.Rules) {
	t.Helper()
	onEmbedded(t, func(w *actionWorld) {
		w.rules = actionRules(w, "keys: [{id: acme-1", "keys: [{id: acme-2, sha256: \""+strings.Repeat("ab", 32)+"\"}, {id: acme-1", "scope: run", "scope: key")
		rules = w.rules
		a := w.action("a", 30)
		a.Key, a.Run = w.key("acme").Tenant.Keys[1], "r"
		lease := gate.LeaseCall{Rules: w.rules, Key: a.Key, Lease: w.authorize(a).Lease}
		w.authorize(a)
		for range 2 {
			_, err := w.gate.Extend(w.Context(), lease, 40)
			w.must(err)
		}
		_, err := w.gate.Settle(w.Context(), lease, 20)
		w.must(err)
		lost := w.action("b", 5)
		w.log.fail(refuseDecisions)
		_, err = w.gate.Authorize(w.Context(), lost)
		w.denied(err, policy.ReceiptsUnavailable)
		w.log.fail(nil)
		w.authorize(lost)
		w.authorize(lost)
		w.overdue()
		w.proved()
		for r, err := range audit.Read(w.sources()...) {
			w.must(err)
			receipts = append(receipts, r)
		}
	})
	return spoken(receipts), rules
}

// overdue lets so much time go by that the sweep receipts what nobody else has.
func (w *actionWorld) overdue() {
	w.Helper()
	w.pass(2 * budget.OverdueAfter)
}

// TestReplayHoldsRepeatsAgainstTheirGrant: leave about a lease that was there says
// nothing that the lease's own events do not say.
func TestReplayHoldsRepeatsAgainstTheirGrant(t *testing.T) {
	t.Parallel()
	receipts, rules := repeatStory(t)
	honest := replayDirs(t, []*gate.Rules{rules}, retell(t, slices.Clone(receipts)))
	if !honest.OK() || honest.Told != 2 { // a grant that only a copy tells of, and its first repeat
		t.Fatalf("the story itself: %v %v, %d told", honest.Findings, honest.Unchecked, honest.Told)
	}
	repeat := func(d audit.Decision) bool {
		return d.Existing && d.Facts.Endpoint == "actions/payment" && d.Facts.Cost == 30
	}
	ofCopy := func(d audit.Decision) bool { return d.Existing && d.Facts.Cost == 5 }
	extension := func(d audit.Decision) bool { return d.Existing && d.Facts.Endpoint == "actions/extend" }
	both := func(change func(*audit.Decision)) func(testing.TB, []audit.Receipt) []audit.Receipt {
		return func(_ testing.TB, rs []audit.Receipt) []audit.Receipt {
			for i := range rs {
				if d, ok := rs[i].Body.(audit.Decision); ok && extension(d) {
					change(&d)
					rs[i].Body = d
				}
			}
			return rs
		}
	}
	other := "act-" + strings.Repeat("1", 32)
	for name, row := range map[string]struct {
		fault gate.Fault
		alter func(testing.TB, []audit.Receipt) []audit.Receipt
	}{
		"another amount":          {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Cost = 31 })},
		"an amount of its dreams": {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Cost = 8_000_000_000_000_000 })},
		"above the request's cap": {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Cost = 91 })},
		"another target":          {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Target = call.HashName("invoice 8") })},
		"no target":               {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Target = "" })},
		"another tool":            {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Tool = call.HashName("cash") })},
		"another key":             {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Key = "acme-2" })},
		"a key of nobody":         {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Key = "acme-3" })},
		"another kind":            {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Endpoint = "actions/purchase" })},
		"a kind that is forbidden": {gate.WrongAllow, alter(repeat, func(d *audit.Decision) {
			d.Facts.Endpoint = "actions/launch"
		})},
		"another depth":   {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Depth = 3 })},
		"a later expiry":  {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Expires += 365 * 86_400_000 })},
		"another instant": {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.At++ })},
		"another event":   {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Event-- })},
		"no event":        {gate.WrongSum, alter(repeat, func(d *audit.Decision) { d.Event = 0 })},
		"an event to come": {gate.EventGap, alter(repeat, func(d *audit.Decision) {
			d.Event = 100
		})},
		"another life":        {gate.EventGap, alter(repeat, func(d *audit.Decision) { d.Epoch = "another" })},
		"an unknown lease":    {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Facts.Run, d.Lease = "", other })},
		"the model of a call": {gate.WrongSum, alter(extension, func(d *audit.Decision) { d.Facts.Model = "toy" })},
		"tokens of a call":    {gate.WrongSum, alter(repeat, func(d *audit.Decision) { d.Facts.InputTokens = 5 })},
		"units of a call":     {gate.WrongSum, alter(repeat, func(d *audit.Decision) { d.Facts.Kinds = call.Of(call.CacheWrite) })},
		"a call's other model": {gate.WrongSum, alter(repeat, func(d *audit.Decision) {
			d.Facts.Beside = []call.Line{{Key: call.Key{Model: "toy"}}}
		})},
		"an attempt": {gate.WrongSum, alter(repeat, func(d *audit.Decision) { d.Facts.Attempt = 1 })},
		"a price":    {gate.WrongSum, alter(repeat, func(d *audit.Decision) { d.PricedAt = 1 })},
		"no lease":   {gate.WrongSum, alter(extension, func(d *audit.Decision) { d.Lease = "" })},
		"a status":   {gate.WrongSum, alter(func(s audit.Settlement) bool { return strings.HasPrefix(s.Lease, "act-") }, func(s *audit.Settlement) { s.Status = 200 })},
		"a reason":   {gate.WrongAllow, alter(repeat, func(d *audit.Decision) { d.Reasons = []string{"budget_held"} })},
		"after the lease has ended": {gate.WrongAllow, func(t testing.TB, rs []audit.Receipt) []audit.Receipt {
			d := rs[at(t, rs, repeat)].Body.(audit.Decision)
			return append(rs, audit.Receipt{Body: d})
		}},
		"leave made up from nothing": {gate.WrongAllow, func(t testing.TB, rs []audit.Receipt) []audit.Receipt {
			i := at(t, rs, repeat)
			d := rs[i].Body.(audit.Decision)
			d.Facts.Run, d.Lease, d.Facts.Cost, d.Event = "", other, 50, 2
			return slices.Insert(rs, i, audit.Receipt{Body: d})
		}},
		"more than a copy of its grant tells": {gate.WrongAllow, alter(ofCopy, func(d *audit.Decision) { d.Facts.Cost = 6 })},
		"later than a copy of its grant":      {gate.WrongAllow, alter(ofCopy, func(d *audit.Decision) { d.Expires++ })},
		"one repeat unlike the other": {gate.WrongAllow, alter(ofCopy, func(d *audit.Decision) {
			d.Facts.Target = call.HashName("invoice 8")
		})},
		"an extension of another lease": {gate.WrongAllow, alter(extension, func(d *audit.Decision) {
			d.Facts.Run, d.Lease = "", other
		})},
		"an extension to more than is held": {gate.WrongAllow, alter(extension, func(d *audit.Decision) { d.Facts.Cost = 41 })},
		"an extension by another event":     {gate.WrongAllow, alter(extension, func(d *audit.Decision) { d.Event-- })},
		"an extension at another instant":   {gate.WrongAllow, alter(extension, func(d *audit.Decision) { d.At-- })},
		"an extension that expires later":   {gate.WrongSum, alter(extension, func(d *audit.Decision) { d.Expires++ })},
		"extensions by another key":         {gate.WrongAllow, both(func(d *audit.Decision) { d.Facts.Key = "acme-2" })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := retell(t, row.alter(t, slices.Clone(receipts)))
			mustBeSound(t, dir)
			report := replayDirs(t, []*gate.Rules{rules}, dir)
			if len(report.Findings) == 0 || report.Findings[0].Fault != row.fault {
				t.Errorf("findings %v, want %s", report.Findings, row.fault)
			}
		})
	}
}

// TestReplayHoldsRepeatsWithoutAPolicy: what a repeat is about needs no policy.
func TestReplayHoldsRepeatsWithoutAPolicy(t *testing.T) {
	t.Parallel()
	receipts, _ := repeatStory(t)
	repeat := func(d audit.Decision) bool { return d.Existing }
	told := alter(repeat, func(d *audit.Decision) { d.Facts.Cost++ })(t, slices.Clone(receipts))
	if report := replayDirs(t, nil, retell(t, told)); report.Faults != 1 || report.Findings[0].Fault != gate.WrongAllow {
		t.Errorf("findings %v", report.Findings)
	}
}

// TestReplayTakesRepeatsBeforeTheirGrant: the replica that was asked again may
// have written its receipt before the one that granted.
func TestReplayTakesRepeatsBeforeTheirGrant(t *testing.T) {
	t.Parallel()
	receipts, rules := repeatStory(t)
	slices.SortStableFunc(receipts, func(a, b audit.Receipt) int {
		first := func(r audit.Receipt) int {
			if d, ok := r.Body.(audit.Decision); ok && d.Existing {
				return 0
			}
			return 1
		}
		return first(a) - first(b)
	})
	if report := replayDirs(t, []*gate.Rules{rules}, retell(t, receipts)); !report.OK() {
		t.Errorf("findings %v, unchecked %v", report.Findings, report.Unchecked)
	}
}
