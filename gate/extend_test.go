package gate_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// newer is a newer policy that differs from actionPolicy by edits.
func (w *actionWorld) newer(edits ...string) *gate.Rules {
	return actionRules(w, append([]string{"generation: 1", "generation: 2"}, edits...)...)
}

// inRun authorizes an action of 10 in the run "r".
func (w *actionWorld) inRun(id string) gate.LeaseCall {
	w.Helper()
	a := w.action(id, 10)
	a.Run = "r"
	return w.lease(w.authorize(a).Lease)
}

// under is a lease's call by a tenant's key in a policy.
func under(c gate.LeaseCall, rules *gate.Rules) gate.LeaseCall {
	c.Rules, c.Key = rules, rules.Policy.Tenant(c.Key.Tenant.Name).Keys[0]
	return c
}

// replays checks that the receipts follow from the policies, after proved.
func (w *actionWorld) replays(rules ...*gate.Rules) gate.ReplayReport {
	w.Helper()
	dirs, err := filepath.Glob(filepath.Join(w.dir, "receipts", "*"))
	w.must(err)
	report := replayDirs(w, rules, dirs...)
	if !report.OK() {
		w.Errorf("findings %v, unchecked %v", report.Findings, report.Unchecked)
	}
	return report
}

// TestKillSwitchStopsExtensions: one thrown since the action was authorized, at
// whatever the lease is of, though the call does not name its run.
func TestKillSwitchStopsExtensions(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		call := w.inRun("a")
		for _, name := range []string{budget.GlobalSwitch, policy.TenantSwitch, policy.KeySwitch("acme-1"), policy.RunSwitch("r")} {
			_, err := w.ledger.Throw(w.Context(), "acme", name)
			w.must(err)
			_, err = w.gate.Extend(w.Context(), call, 30)
			if refusal := w.denied(err, policy.Killed); refusal.Receipt == "" {
				w.Errorf("%s: without a receipt", name)
			}
			w.mustBalance(0, 10)
			_, err = w.ledger.Lift(w.Context(), "acme", name, 0)
			w.must(err)
		}
		_, err := w.ledger.Throw(w.Context(), "acme", policy.RunSwitch("another"))
		w.must(err)
		_, err = w.gate.Extend(w.Context(), call, 30)
		w.must(err)
		w.mustBalance(0, 30)
		w.proved()
		if report := w.replays(w.rules); report.Denied[string(policy.Killed)] != 4 {
			w.Errorf("denied %v", report.Denied)
		}
	})
}

// TestExtensionIsJudgedByTheLimitsOfToday: those of the policy that is asked
// with, where it is the newest.
func TestExtensionIsJudgedByTheLimitsOfToday(t *testing.T) {
	t.Parallel()
	const run = `limit_usd: "0.00000005"` // 50 nano-USD
	for _, row := range []struct {
		name   string
		edits  []string
		most   int64
		budget string
		reason call.Reason
	}{
		{"lowered", []string{run, `limit_usd: "0.00000002"`}, 20, "run", policy.BudgetExhausted},
		{"raised", []string{run, `limit_usd: "0.00000008"`}, 80, "run", policy.BudgetExhausted},
		{"a lowered cap", []string{`per_request_usd: "0.00000009"`, `per_request_usd: "0.00000003"`}, 30, "per_request", policy.RequestCapExceeded},
		{"the run's dropped", []string{"scope: run, ", ""}, 10, "", policy.BudgetExhausted},
		{"one more", []string{"- {name: run", "- {name: hourly, window: hour, limit_usd: \"0.000000001\"}\n      - {name: run"}, 50, "run", policy.BudgetExhausted},
		{"only observed", []string{"per_request_usd", "mode: observe\n    per_request_usd"}, 1000, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			onBothLedgers(t, func(w *actionWorld) {
				rules := w.newer(row.edits...)
				call := under(w.inRun("a"), rules)
				leave, err := w.gate.Extend(w.Context(), call, row.most)
				w.must(err)
				if leave.Hold != row.most {
					w.Errorf("%+v", leave)
				}
				if row.reason != "" {
					_, err = w.gate.Extend(w.Context(), call, row.most+1)
					if refusal := w.denied(err, row.reason); refusal.Budget != row.budget || refusal.Receipt == "" {
						w.Errorf("%+v", refusal)
					}
				}
				w.mustBalance(0, row.most)
				w.proved()
				w.replays(w.rules, rules)
			})
		})
	}
}

// TestExtensionUnderAnOlderPolicy: where another replica has brought a newer one
// an extension is refused until it is asked for under that, and binds by itself.
func TestExtensionUnderAnOlderPolicy(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		first, second := w.inRun("a"), w.inRun("b")
		rules := w.newer(`limit_usd: "0.00000005"`, `limit_usd: "0.00000003"`)
		replica := w.newGate(w.ledger)
		_, err := replica.Extend(w.Context(), under(first, rules), 15)
		w.must(err)
		_, err = w.gate.Extend(w.Context(), second, 20)
		if refusal := w.denied(err, policy.StalePolicy); refusal.Receipt == "" {
			w.Error("without a receipt")
		}
		_, err = w.gate.Authorize(w.Context(), w.action("c", 1))
		w.denied(err, policy.StalePolicy)
		_, err = w.gate.Extend(w.Context(), under(second, rules), 16) // 31 of 30
		if refusal := w.denied(err, policy.BudgetHeld); refusal.Limit != 30 || refusal.Held != 25 || refusal.Needed != 6 {
			w.Errorf("%+v", refusal)
		}
		_, err = w.gate.Extend(w.Context(), under(second, rules), 15)
		w.must(err)
		again, err := w.gate.Extend(w.Context(), second, 15) // holds it already
		w.must(err)
		if again.Hold != 15 {
			w.Errorf("%+v", again)
		}
		w.mustBalance(0, 30)
		w.proved()
		w.replays(w.rules, rules)
	})
}

// TestExtensionByAnotherKey: budgets of the key that authorized the action are
// not known by another, so nothing is extended in them.
func TestExtensionByAnotherKey(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		w.rules = actionRules(w, "keys: [{id: acme-1", "keys: [{id: acme-2, sha256: \""+strings.Repeat("ab", 32)+"\"}, {id: acme-1", "scope: run", "scope: key")
		keys := w.rules.Policy.Tenant("acme").Keys
		a := w.action("a", 10)
		a.Key = keys[1]
		lease := w.authorize(a).Lease
		_, err := w.gate.Extend(w.Context(), gate.LeaseCall{Rules: w.rules, Key: keys[0], Lease: lease}, 20)
		if refusal := w.denied(err, policy.BudgetExhausted); !strings.Contains(refusal.Message, "another key's") {
			w.Errorf("%+v", refusal)
		}
		_, err = w.gate.Extend(w.Context(), gate.LeaseCall{Rules: w.rules, Key: keys[1], Lease: lease}, 20)
		w.must(err)
		w.proved()
		w.replays(w.rules)
	})
}

// TestExtensionOnceAKeyIsGone: the policy has dropped the key that authorized the
// actions. In that key's budgets nothing is extended, in the others as always, and
// the receipts follow. The dropped key cannot be judged by the newer rules at all.
func TestExtensionOnceAKeyIsGone(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		scope   string
		extends bool
	}{{"scope: key", false}, {"scope: [key, run]", true}, {"scope: user", true}} {
		t.Run(row.scope, func(t *testing.T) {
			onBothLedgers(t, func(w *actionWorld) {
				edits := []string{"scope: run", row.scope, "per_request_usd", "user_field: user\n    per_request_usd"}
				w.rules = actionRules(w, append(edits, "keys: [{id: acme-1", secondKey)...)
				gone := w.key("acme")
				a := w.action("a", 10)
				a.Key = gone
				lease := w.authorize(a).Lease
				_, err := w.gate.Extend(w.Context(), gate.LeaseCall{Rules: w.rules, Key: gone, Lease: lease}, 20)
				w.must(err)

				rules := w.newer(edits...)
				mixed := gate.LeaseCall{Rules: rules, Key: gone, Lease: lease}
				_, err = w.gate.Extend(w.Context(), mixed, 30)
				a.Rules = rules
				_, authorizeErr := w.gate.Authorize(w.Context(), a)
				if !errors.Is(err, gate.ErrInvalid) || !errors.Is(authorizeErr, gate.ErrInvalid) {
					w.Errorf("an older policy's key: %v, %v", err, authorizeErr)
				}
				a = w.action("b", 10)
				a.Kind = policy.Extension
				if _, err := w.gate.Authorize(w.Context(), a); !errors.Is(err, gate.ErrInvalid) {
					w.Errorf("an action that receipts take for an extension: %v", err)
				}
				_, err = w.gate.Extend(w.Context(), under(mixed, rules), 30)
				if row.extends {
					w.must(err)
				} else {
					w.denied(err, policy.BudgetExhausted)
				}
				w.proved()
				w.replays(w.rules, rules)
			})
		})
	}
}

// TestExtensionReceipt: the receipt of the ledger's event tells what it was
// judged by, also where the sweep writes it.
func TestExtensionReceipt(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		call := w.inRun("a")
		_, err := w.gate.Extend(w.Context(), call, 30)
		w.must(err)
		_, err = w.gate.Extend(w.Context(), call, 30)
		w.must(err)
		w.proved()
		events := slices.DeleteFunc(readAll[audit.Event](w), func(e audit.Event) bool { return e.Name != string(budget.Extended) })
		if len(events) != 1 {
			w.Fatalf("%d receipts of the extension", len(events))
		}
		e, version := events[0], w.rules.Policy.Version
		want := []audit.Limit{{Key: "usd/forever", Limit: 100}, {Key: "usd/run:" + hashed("r") + "/forever", Limit: 50}}
		if e.Amount != 30 || e.Generation != version.Generation || e.Policy != version.Hash || !slices.Equal(e.Limits, want) {
			w.Errorf("%+v, want the limits %v", e, want)
		}
	})
}

// TestReplayFindsAWrongExtension: what is not what the policy and the events
// give.
func TestReplayFindsAWrongExtension(t *testing.T) {
	t.Parallel()
	denied := func(d audit.Decision) bool { return d.Verdict == audit.Deny && len(d.Claims) > 0 }
	refused := func(d audit.Decision) bool { return d.Verdict == audit.Deny && len(d.Claims) == 0 }
	extended := func(d audit.Decision) bool { return d.Existing }
	for name, row := range map[string]struct {
		alter func(testing.TB, []audit.Receipt) []audit.Receipt
		fault gate.Fault
	}{
		"a limit that was raised": {alter(named(budget.Extended), func(e *audit.Event) {
			e.Limits = slices.Clone(e.Limits)
			e.Limits[0].Limit++
		}), gate.WrongClaims},
		"a limit that is gone":             {alter(named(budget.Extended), func(e *audit.Event) { e.Limits = e.Limits[1:] }), gate.WrongClaims},
		"a total beyond the limit":         {alter(named(budget.Extended), func(e *audit.Event) { e.Amount = 60 }), gate.WrongEvent},
		"a total beyond the request's cap": {alter(named(budget.Extended), func(e *audit.Event) { e.Amount = 91 }), gate.WrongAllow},
		"another policy's event":           {alter(named(budget.Extended), func(e *audit.Event) { e.Generation, e.Policy = 0, "" }), gate.WrongEvent},
		"an expiry with limits":            {alter(named(budget.Provisioned), func(e *audit.Event) { e.Limits = []audit.Limit{{Key: "usd"}} }), gate.WrongSum},
		"a denial of what fits":            {alter(denied, func(d *audit.Decision) { d.Facts.Cost = 50 }), gate.WrongDenial},
		"a denial for another reason":      {alter(denied, func(d *audit.Decision) { d.Reasons = []string{string(policy.BudgetHeld)} }), gate.WrongDenial},
		"a denial that saw otherwise": {alter(denied, func(d *audit.Decision) {
			reclaim(d, func(c *audit.Claim) { c.Held++ })
		}), gate.WrongSeen},
		"a denial by another limit": {alter(denied, func(d *audit.Decision) {
			reclaim(d, func(c *audit.Claim) { c.Limit++ })
		}), gate.WrongClaims},
		"a denial of another lease":                         {alter(denied, func(d *audit.Decision) { d.Lease = "act-" + strings.Repeat("0", 32) }), gate.WrongSum},
		"a denial told as leave for a lease that was there": {alter(denied, func(d *audit.Decision) { d.Existing = true }), gate.WrongSum},
		"a denial without the ledger, told so":              {alter(refused, func(d *audit.Decision) { d.Existing = true }), gate.WrongSum},
		"a cap that is not exceeded":                        {alter(refused, func(d *audit.Decision) { d.Facts.Cost = 40 }), gate.WrongDenial},
		"leave beyond the cap":                              {alter(extended, func(d *audit.Decision) { d.Facts.Cost = 91 }), gate.WrongAllow},
	} {
		t.Run(name, func(t *testing.T) {
			receipts := extensionStory(t)
			rules := actionRules(t)
			if report := replayDirs(t, []*gate.Rules{rules}, retell(t, slices.Clone(receipts))); !report.OK() {
				t.Fatalf("the story itself: %v %v", report.Findings, report.Unchecked)
			}
			report := replayDirs(t, []*gate.Rules{rules}, retell(t, row.alter(t, receipts)))
			if len(report.Findings) == 0 || report.Findings[0].Fault != row.fault {
				t.Errorf("findings %v, want %s", report.Findings, row.fault)
			}
		})
	}
}

// TestReplayFindsAnExtensionByAStoppedKey: the kill switch of a key stops its
// extensions, and nobody else's.
func TestReplayFindsAnExtensionByAStoppedKey(t *testing.T) {
	t.Parallel()
	onEmbedded(t, func(w *actionWorld) {
		w.rules = actionRules(w, "keys: [{id: acme-1", secondKey)
		_, err := w.ledger.Throw(w.Context(), "acme", policy.KeySwitch("acme-1"))
		w.must(err)
		a := w.action("a", 10)
		a.Key = w.rules.Policy.Tenant("acme").Keys[0]
		call := gate.LeaseCall{Rules: w.rules, Key: a.Key, Lease: w.authorize(a).Lease}
		_, err = w.gate.Extend(w.Context(), call, 30)
		w.must(err)
		w.proved()
		w.replays(w.rules)
		var receipts []audit.Receipt
		for r, err := range audit.Read(w.sources()...) {
			w.must(err)
			switch body := r.Body.(type) {
			case audit.Decision:
				if body.Existing {
					body.Facts.Key = "acme-1"
				}
				r.Body = body
			case audit.Event:
				if body.Name == string(budget.Extended) {
					body.Key = "acme-1"
				}
				r.Body = body
			}
			receipts = append(receipts, r)
		}
		report := replayDirs(w, []*gate.Rules{w.rules}, retell(w, spoken(receipts)))
		if len(report.Findings) == 0 || !strings.Contains(report.Findings[0].Reason, "key:acme-1 was thrown") {
			w.Errorf("findings %v", report.Findings)
		}
	})
}

// secondKey gives the tenant of actionPolicy a key before its own.
const secondKey = "keys: [{id: acme-2, sha256: \"abababababababababababababababababababababababababababababababab\"}, {id: acme-1"

// TestReplayFindsTheKeyOfAnExtension: whose leave an extension was is told with its
// event, so another key is found though it has the same limits. A receipt that does
// not tell, as of a build before this one, is believed, and counted so.
func TestReplayFindsTheKeyOfAnExtension(t *testing.T) {
	t.Parallel()
	asked := func(d audit.Decision) bool { return d.Existing }
	event := func(change func(*audit.Event)) func(testing.TB, []audit.Receipt) []audit.Receipt {
		return alter(named(budget.Extended), change)
	}
	for name, row := range map[string]struct {
		alter func(testing.TB, []audit.Receipt) []audit.Receipt
		fault gate.Fault // "": none
	}{
		"leave for another key":           {alter(asked, func(d *audit.Decision) { d.Facts.Key = "acme-1" }), gate.WrongAllow},
		"another key's event":             {event(func(e *audit.Event) { e.Key = "acme-1" }), gate.WrongAllow},
		"a key that nobody has":           {event(func(e *audit.Event) { e.Key = "acme-9" }), gate.WrongAllow},
		"a key in a receipt by the sweep": {event(func(e *audit.Event) { e.Recovered = true }), gate.WrongSum},
		"a key of what nobody asked for":  {alter(named(budget.Provisioned), func(e *audit.Event) { e.Key = "acme-1" }), gate.WrongSum},
		"a limit that no lease has": {event(func(e *audit.Event) {
			e.Limits = append(slices.Clone(e.Limits), audit.Limit{Key: "usd/day", Limit: 1})
		}), gate.WrongClaims},
		"no key": {event(func(e *audit.Event) { e.Key = "" }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			rules := actionRules(t, "keys: [{id: acme-1", secondKey)
			receipts := extensionStory(t, "keys: [{id: acme-1", secondKey)
			honest := replayDirs(t, []*gate.Rules{rules}, retell(t, slices.Clone(receipts)))
			if !honest.OK() {
				t.Fatalf("the story itself: %v %v", honest.Findings, honest.Unchecked)
			}
			report := replayDirs(t, []*gate.Rules{rules}, retell(t, row.alter(t, receipts)))
			switch {
			case row.fault == "":
				if !report.OK() || report.Told != honest.Told+1 {
					t.Errorf("findings %v, %d told in place of %d", report.Findings, report.Told, honest.Told)
				}
			case len(report.Findings) == 0 || report.Findings[0].Fault != row.fault:
				t.Errorf("findings %v, want %s", report.Findings, row.fault)
			}
		})
	}
}

// extensionStory are the receipts of an extension to 30, one to 51 that the
// run's budget denies, and one that the cap denies.
func extensionStory(t *testing.T, edits ...string) (receipts []audit.Receipt) {
	t.Helper()
	onEmbedded(t, func(w *actionWorld) {
		w.rules = actionRules(w, edits...)
		extension := under(w.inRun("a"), w.rules)
		_, err := w.gate.Extend(w.Context(), extension, 30)
		w.must(err)
		for _, total := range []int64{51, 91} {
			_, err = w.gate.Extend(w.Context(), extension, total)
			if refusal, ok := errors.AsType[*call.Denial](err); !ok {
				w.Fatalf("to %d: %v", total, refusal)
			}
		}
		w.proved()
		for r, err := range audit.Read(w.sources()...) {
			w.must(err)
			receipts = append(receipts, r)
		}
	})
	return spoken(receipts)
}
