package gate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestReplayTakesAnExtensionWhoseLeaveIsLost: who raised a lease is in no receipt
// where the log took none. Whoever asks for the same total next is not taken for
// them: neither a newer policy nor another key is a fault.
func TestReplayTakesAnExtensionWhoseLeaveIsLost(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		again func(gate.LeaseCall) gate.LeaseCall
		edits []string
	}{
		"a newer policy": {func(c gate.LeaseCall) gate.LeaseCall { return c }, []string{`limit_usd: "0.00000005"`, `limit_usd: "0.00000006"`}},
		"another key": {func(c gate.LeaseCall) gate.LeaseCall {
			c.Key = c.Rules.Policy.Tenant("acme").KeyOf("acme-2")
			return c
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEmbedded(t, func(w *actionWorld) {
				keys := []string{"keys: [{id: acme-1", "keys: [{id: acme-2, sha256: \"" + strings.Repeat("ab", 32) + "\"}, {id: acme-1", "scope: run", "scope: key"}
				w.rules = actionRules(w, keys...)
				first := w.rules
				a := w.action("a", 30)
				a.Key = w.rules.Policy.Tenant("acme").KeyOf("acme-1")
				call := gate.LeaseCall{Rules: first, Key: a.Key, Lease: w.authorize(a).Lease}
				w.log.fail(refuseDecisions)
				_, err := w.gate.Extend(w.Context(), call, 40)
				w.denied(err, policy.ReceiptsUnavailable)
				w.log.fail(nil)
				rules := []*gate.Rules{first}
				if row.edits != nil {
					call.Rules = w.newer(append(keys, row.edits...)...)
					call.Key = call.Rules.Policy.Tenant("acme").KeyOf("acme-1")
					rules = append(rules, call.Rules)
				}
				_, err = w.gate.Extend(w.Context(), row.again(call), 40)
				w.must(err)
				w.overdue()
				w.proved()
				if report := w.replays(rules...); report.Told != 1 {
					t.Errorf("%d told, want the extension that nobody's leave tells of", report.Told)
				}
			})
		})
	}
}

// TestReplayTakesFallbacks: an attempt has counted, whatever became of its end.
func TestReplayTakesFallbacks(t *testing.T) {
	t.Parallel()
	sent := gate.Outcome{Sent: true, Status: 503, Basis: "unknown"}
	for name, end := range map[string]func(*world, *gate.Grant){
		"settled": func(_ *world, g *gate.Grant) { g.End(sent) },
		"the ledger is not there": func(w *world, g *gate.Grant) {
			w.ledger.fail("settle", fault{err: budget.ErrUnavailable})
			g.End(sent)
		},
		"the ledger's answer is lost": func(w *world, g *gate.Grant) {
			w.ledger.fail("settle", fault{err: budget.ErrUnavailable, lost: true})
			g.End(sent)
		},
		"the receipt is refused": func(w *world, g *gate.Grant) {
			w.log.fail(refuseSettlements)
			g.End(sent)
		},
		"expired, and corrected": func(w *world, g *gate.Grant) {
			w.clock.advance(time.Hour)
			g.End(sent)
		},
		"expired, and its end waits": func(w *world, g *gate.Grant) {
			w.ledger.fail("settle", fault{err: budget.ErrUnavailable})
			w.clock.advance(time.Hour)
			g.End(sent)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fallbackRules)
			bid := w.call(10, 5)
			bid.Facts.Nonce = call.HashName("n-1")
			end(w, w.begin(bid))
			bid.Facts.Counted = true
			w.begin(bid).End(gate.Outcome{}) // not sent, yet the one before it was
			w.begin(bid).End(used(8, 4))
			w.settleAll(nil)
			w.mustReplay(t, w.rules)
		})
	}
}
