package gate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// acmeBudgets are those of the tenant acme in actionPolicy.
const acmeBudgets = `    budgets:
      - {name: total, window: forever, limit_usd: "0.0000001"}
      - {name: run, scope: run, window: forever, limit_usd: "0.00000005"}
`

// ofEveryKind runs a test for a tenant with budgets, without any, and one that is
// only observed, on both ledgers. The tenant has a second key.
func ofEveryKind(t *testing.T, test func(w *actionWorld)) {
	second := []string{"keys: [{id: acme-1", "keys: [{id: acme-2, sha256: \"" + strings.Repeat("ab", 32) + "\"}, {id: acme-1"}
	for name, edits := range map[string][]string{
		"budgets":    nil,
		"no budgets": {acmeBudgets, ""},
		"observed":   {"per_request_usd", "mode: observe\n    per_request_usd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBothLedgers(t, func(w *actionWorld) {
				w.rules = actionRules(w, append(edits, second...)...)
				test(w)
			})
		})
	}
}

// TestIDIsOfOneIntent: the same id with the same intent gets the same lease, and
// with another is refused, also where no budget would tell them apart, or
// has nothing left for it.
func TestIDIsOfOneIntent(t *testing.T) {
	t.Parallel()
	others := map[string]func(*gate.Action){
		"a larger amount":           func(a *gate.Action) { a.Amount++ },
		"a smaller amount":          func(a *gate.Action) { a.Amount-- },
		"no amount":                 func(a *gate.Action) { a.Amount = 0 },
		"an amount that is nowhere": func(a *gate.Action) { a.Amount = 90 },
		"another kind":              func(a *gate.Action) { a.Kind = "purchase" },
		"another target":            func(a *gate.Action) { a.Target = "invoice 8" },
		"no target":                 func(a *gate.Action) { a.Target = "" },
		"another tool":              func(a *gate.Action) { a.Tool = "cash" },
		"texts that run together":   func(a *gate.Action) { a.Target, a.Tool = "invoice", "7\x00"+a.Tool },
		"another run":               func(a *gate.Action) { a.Run = "s" },
		"no run":                    func(a *gate.Action) { a.Run = "" },
		"another depth":             func(a *gate.Action) { a.Depth = 2 },
		"another key":               func(a *gate.Action) { a.Key = a.Key.Tenant.Keys[0] },
	}
	ofEveryKind(t, func(w *actionWorld) {
		a := w.action("a", 30)
		a.Key, a.Run, a.Depth, a.Target = w.key("acme").Tenant.Keys[1], "r", 1, "invoice\x007"
		first := w.authorize(a)
		for name, alter := range others {
			other := a
			alter(&other)
			_, err := w.gate.Authorize(w.Context(), other)
			if refusal := w.denied(err, policy.ActionIDUsed); refusal.Receipt == "" || !strings.Contains(refusal.Message, "differs") {
				w.Errorf("%s: %+v", name, refusal)
			}
		}
		a.TTL = time.Hour
		for _, g := range []*gate.Gate{w.gate, w.newGate(w.ledger)} {
			again, err := g.Authorize(w.Context(), a)
			w.must(err)
			if again.Lease != first.Lease || again.Expires != first.Expires || again.Hold != first.Hold ||
				fmt.Sprint(again.Remaining) != fmt.Sprint(first.Remaining) || fmt.Sprint(again.Warnings) != fmt.Sprint(first.Warnings) {
				w.Errorf("the repeat got %+v after %+v", again, first)
			}
			if again, first := authorizes(w, again), authorizes(w, first); again != first {
				w.Errorf("the repeat's authorization is for %+v, the first for %+v", again, first)
			}
		}
		w.proved()
		if report := w.replays(w.rules); report.Allowed != 3 || report.Denied[string(policy.ActionIDUsed)] != int64(len(others)) {
			w.Errorf("allowed %d, denied %v", report.Allowed, report.Denied)
		}
	})
}

// authorized is what an authorization says that is to be done, and once.
type authorized struct {
	ID       string `json:"auth_id"`
	Intent   string `json:"intent_hash"`
	Audience string `json:"audience"`
	IssuedAt int64  `json:"issued_at"`
	Expiry   int64  `json:"expiry"`
}

func authorizes(w *actionWorld, leave *gate.Leave) (a authorized) {
	w.Helper()
	w.must(json.Unmarshal(leave.Authorization, &a))
	return a
}

// TestIDIsUsedOnceHoweverItEnds: from the end of the lease on no action of its id
// gets leave, before the ledger has forgotten the lease and after, until the id's
// time is over. Then it can be used again.
func TestIDIsUsedOnceHoweverItEnds(t *testing.T) {
	t.Parallel()
	settle := func(w *actionWorld, c gate.LeaseCall) error {
		_, err := w.gate.Settle(w.Context(), c, 5)
		return err
	}
	release := func(w *actionWorld, c gate.LeaseCall) error {
		_, err := w.gate.Release(w.Context(), c)
		return err
	}
	late := func(end func(*actionWorld, gate.LeaseCall) error) func(*actionWorld, gate.LeaseCall) error {
		return func(w *actionWorld, c gate.LeaseCall) error {
			w.pass(time.Minute)
			return end(w, c)
		}
	}
	for name, end := range map[string]func(*actionWorld, gate.LeaseCall) error{
		"settled":            settle,
		"released":           release,
		"expired":            late(func(*actionWorld, gate.LeaseCall) error { return nil }),
		"released too late":  late(release),
		"settled, but later": late(settle),
	} {
		t.Run(name, func(t *testing.T) {
			ofEveryKind(t, func(w *actionWorld) {
				first := w.authorize(w.action("a", 30))
				w.must(end(w, w.lease(first.Lease)))
				refused := int64(0)
				for _, wait := range []time.Duration{0, time.Second, 2 * time.Minute, policy.ActionIDLife - 10*time.Minute} {
					if wait > 0 {
						w.pass(wait)
					}
					for _, amount := range []int64{30, 31} {
						_, err := w.gate.Authorize(w.Context(), w.action("a", amount))
						if refusal := w.denied(err, policy.ActionIDUsed); !strings.Contains(refusal.Message, "has ended") {
							w.Errorf("after %v: %+v", wait, refusal)
						}
						refused++
					}
				}
				w.pass(10 * time.Minute)
				w.authorize(w.action("a", 30))
				w.proved()
				if report := w.replays(w.rules); report.Denied[string(policy.ActionIDUsed)] != refused {
					w.Errorf("denied %v", report.Denied)
				}
			})
		})
	}
}

// TestOneOfManyIntentsGetsTheID: those that come at once with one id and differ.
func TestOneOfManyIntentsGetsTheID(t *testing.T) {
	t.Parallel()
	ofEveryKind(t, func(w *actionWorld) {
		leases := make([]string, 40)
		var all sync.WaitGroup
		for i := range leases {
			all.Go(func() {
				leave, err := w.gate.Authorize(context.Background(), w.action("a", int64(i%4)))
				if err == nil {
					leases[i] = leave.Lease
				}
			})
		}
		all.Wait()
		granted, repeats := map[string]int{}, 0
		for _, lease := range leases {
			if lease != "" {
				granted[lease]++
				repeats++
			}
		}
		if len(granted) != 1 || repeats != len(leases)/4 {
			w.Errorf("leases %v", granted)
		}
		w.proved()
		w.replays(w.rules)
	})
}

// TestRepeatUnderNewRules: budgets that came and went since do not make it another
// action. It tells of those that it holds in and that there still are.
func TestRepeatUnderNewRules(t *testing.T) {
	t.Parallel()
	onBothLedgers(t, func(w *actionWorld) {
		a := w.action("a", 30)
		a.Run = "r"
		first := w.authorize(a)
		rules := w.newer("- {name: run, scope: run,", `- {name: hourly, window: hour, limit_usd: "0.00000001"}`+"\n      - {name: keys, scope: key,")
		a.Rules, a.Key = rules, rules.Policy.Tenant("acme").Keys[0]
		again := w.authorize(a)
		want := policy.Remaining{Budget: "total", Limit: 100, Held: 30, Left: 70}
		if again.Lease != first.Lease || len(first.Remaining) != 2 || len(again.Remaining) != 1 || again.Remaining[0] != want {
			w.Errorf("%+v after %+v", again, first)
		}
		w.mustBalance(0, 30)
		w.proved()
		w.replays(w.rules, rules)
		decisions := readAll[audit.Decision](w)
		if last := decisions[len(decisions)-1]; !last.Existing || last.Event != decisions[0].Event || len(last.Claims) != 0 {
			w.Errorf("%+v", last)
		}
	})
}
