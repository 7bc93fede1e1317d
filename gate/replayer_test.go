package gate_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// rulesAt is rulesOf for another generation.
func rulesAt(t testing.TB, generation int, members string) *gate.Rules {
	t.Helper()
	hash := sha256.Sum256([]byte("acme"))
	text := fmt.Sprintf(policyText, generation, hex.EncodeToString(hash[:]), "    "+strings.ReplaceAll(members, "\n", "\n    "))
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := gate.NewRules(p)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func replayed(receipts iter.Seq2[audit.Receipt, error], rules ...*gate.Rules) (gate.ReplayReport, error) {
	r := gate.NewReplayer(rules...)
	for receipt, err := range receipts {
		if err != nil {
			return gate.ReplayReport{}, err
		}
		r.Add(receipt)
	}
	return r.Close(), nil
}

func replayDirs(t fataler, rules []*gate.Rules, dirs ...string) gate.ReplayReport {
	sources, err := audit.Files(dirs...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	report, err := replayed(audit.Merge(sources...), rules...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return report
}

// mustReplay holds the world's receipts and balances against a replay.
func (w *world) mustReplay(t fataler, rules ...*gate.Rules) gate.ReplayReport {
	report := replayDirs(t, rules, filepath.Join(w.dir, "receipts"))
	for _, f := range report.Findings {
		t.Fatalf("an honest receipt does not follow: %v", f)
	}
	if !report.OK() || len(report.Tenants) != 1 {
		t.Fatalf("not checkable: %v, %d tenants", report.Unchecked, len(report.Tenants))
	}
	compareBalances(t, report.Tenants[0].State, w.real, w.key().Tenant, w.clock.Now())
	return report
}

// compareBalances holds what receipts add up to against the running ledger.
func compareBalances(t fataler, state *budget.State, ledger budget.Keeper, tenant *policy.Tenant, now time.Time) {
	for _, run := range []string{"", "a", "b"} {
		claims := policy.ClaimsOf(tenant.Standings(policy.Scope{Run: run}, now))
		want, err := ledger.Balances(context.Background(), tenant.Name, claims)
		if err != nil {
			t.Fatalf("balances: %v", err)
		}
		got, err := state.Balances(claims, want.At)
		if err != nil {
			t.Fatalf("balances: %v", err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("replayed %+v\nledger   %+v", got, want)
		}
		for i, c := range claims {
			if listed := listedSpent(state, c, want); listed != want.Observed[i].Spent {
				t.Fatalf("the snapshot lists %d as spent in %s, the ledger has %d", listed, c.Key, want.Observed[i].Spent)
			}
		}
	}
}

// listedSpent is what a snapshot says of a claim's counter; 0 if it has none.
func listedSpent(state *budget.State, c budget.Claim, now budget.Balances) int64 {
	for _, counter := range state.Snapshot().Counters {
		fixed := counter.Kind == budget.Fixed
		if counter.Key == c.Key && (!fixed || (counter.Span.Start <= now.At && now.At < counter.Span.End)) {
			return counter.SpentAt(now.At)
		}
	}
	return 0
}

const (
	storyBudgets = `budgets:
  - {name: all, window: forever, limit_usd: "0.000002000"}
  - {name: soft, window: forever, kind: soft, limit_usd: "0.000000100"}
  - {name: daily, window: day, timezone: Europe/Berlin, limit_usd: "0.000001500"}
  - {name: rolling, window: rolling, length: 2h, limit_usd: "0.000001600"}
  - {name: run, scope: [run], window: forever, limit_usd: "0.000000900"}
max_runs: 1
capabilities: [chat]
models: {deny: ["gpt-4o"]}
per_request_usd: "0.000001200"`
	storyClamps = storyBudgets + "\nwhen_exhausted: clamp\nmin_output_tokens: 16"
	storyWatch  = storyBudgets + "\nmode: observe"
)

// story is a world in which everything happens once that receipts can tell of.
type story struct {
	*world
	rules []*gate.Rules // of each generation
}

func newStory(t testing.TB) *story {
	t.Helper()
	s := &story{world: newWorld(t, storyBudgets)}
	s.rules = []*gate.Rules{s.world.rules, rulesAt(t, 2, storyClamps), rulesAt(t, 3, storyWatch)}
	s.sweep()
	s.endings()
	s.denials()
	s.expiries()
	s.failures()
	s.secondPolicy()
	s.observes()
	s.settleAll(nil)
	return s
}

func (s *story) sweep() {
	s.t.Helper()
	if err := s.upkeep().Sweep(context.Background(), "acme"); err != nil {
		s.t.Fatal(err)
	}
}

// ask is a call of the run, which needs nothing but chat.
func (s *story) ask(run string, input, output int64) gate.Bid {
	c := s.call(input, output)
	c.Facts.Run, c.Facts.Needs = call.HashName(run), []string{call.NeedChat}
	return c
}

// endings ends calls on every basis.
func (s *story) endings() {
	s.begin(s.ask("a", 60, 10)).End(used(50, 10))
	extra := s.ask("", 10, 5)
	extra.Choices, extra.ExtraOutput, extra.Kinds = 2, 7, call.Of(call.CacheWrite)
	s.begin(extra).End(used(20, 30)) // an overrun
	s.begin(s.ask("a", 10, 5)).End(gate.Outcome{Status: 429, Sent: true, Basis: audit.BasisUnbilled})
	s.begin(s.ask("", 10, 5)).End(gate.Outcome{})
	s.begin(s.ask("", 10, 5)).End(gate.Outcome{Sent: true, Basis: audit.BasisUnknown})
	floor := used(3, 4)
	floor.Basis = audit.BasisFloor
	s.begin(s.ask("", 10, 5)).End(floor)
}

// denials has one denial for every reason that a policy gives.
func (s *story) denials() {
	s.clock.advance(time.Minute)
	s.refused(s.ask("a", 1000, 0), policy.BudgetExhausted)
	held := s.begin(s.ask("", 800, 0))
	s.refused(s.ask("", 900, 0), policy.BudgetHeld)
	held.End(gate.Outcome{})
	s.refused(s.ask("b", 10, 0), policy.TooManyNames)
	s.refused(s.ask("", 1201, 0), policy.RequestCapExceeded)
	for model, reason := range map[string]call.Reason{"gpt-4o": policy.ModelNotAllowed, "unheard-of": policy.NoPrice} {
		bid := s.ask("", 1, 0)
		bid.Facts.Model = model
		s.refused(bid, reason)
	}
	tools := s.ask("", 1, 0)
	tools.Facts.Needs = append(tools.Facts.Needs, call.NeedTools)
	s.refused(tools, policy.CapabilityNotAllowed)
	unbounded := s.ask("", 1, 0)
	unbounded.Choices = 0
	s.refused(unbounded, policy.NoBound)
	s.gate.Refuse(context.Background(), s.ask("", 0, 0), &call.Denial{Reason: policy.NoBound})
}

// expiries has a lease that expires, and one that is corrected after that.
func (s *story) expiries() {
	s.ledger.fail("settle", fault{err: budget.ErrUnavailable})
	s.begin(s.ask("", 30, 0)).End(used(10, 0))
	s.clock.advance(gate.LeaseTTL + time.Second)
	s.sweep()
	s.ledger.heal()
	s.drainNow()
}

// failures has the denials of a ledger and a log that do not work.
func (s *story) failures() {
	s.ledger.fail("reserve", fault{err: budget.ErrUnreachable})
	s.refused(s.ask("", 5, 0), policy.LedgerUnavailable)
	s.ledger.heal()
	written := false
	s.log.fail(func(b audit.Body) error { // the first decision alone
		if written {
			return nil
		}
		written = true
		return refuseDecisions(b)
	})
	s.refused(s.ask("", 5, 0), policy.ReceiptsUnavailable)
	s.log.fail(nil)
	s.drainNow()
}

// secondPolicy goes on under a policy that clamps.
func (s *story) secondPolicy() {
	s.world.rules = s.rules[1]
	s.clock.advance(time.Hour)
	s.begin(s.ask("", 700, 0)).End(used(700, 0))
	clamped := s.begin(s.ask("", 100, 500))
	if clamped.OutputCap >= 500 {
		s.t.Errorf("cap %d was not clamped", clamped.OutputCap)
	}
	clamped.End(used(100, 20))
	s.refused(s.ask("", 460, 500), policy.BudgetExhausted)
	old := s.ask("", 1, 0)
	old.Rules = s.rules[0]
	old.Key = old.Rules.Policy.Tenant("acme").Keys[0]
	s.refused(old, policy.StalePolicy)
}

// observes goes on under a policy that only counts.
func (s *story) observes() {
	s.world.rules = s.rules[2]
	s.clock.advance(24 * time.Hour)
	s.begin(s.ask("a", 1900, 0)).End(used(1900, 0))
	s.begin(s.ask("b", 100, 0)).End(used(100, 0))
	s.begin(s.ask("", 5, 0)).End(used(5, 0))
}

// TestReplayOfTheStory: the golden file says what the story comes to.
func TestReplayOfTheStory(t *testing.T) {
	s := newStory(t)
	report := s.mustReplay(t, s.rules...)
	var out bytes.Buffer
	fmt.Fprintf(&out, "receipts %d, allowed %d, told %d\n", report.Receipts, report.Allowed, report.Told)
	for _, reason := range slices.Sorted(maps.Keys(report.Denied)) {
		fmt.Fprintf(&out, "denied %d: %s\n", report.Denied[reason], reason)
	}
	for _, tenant := range report.Tenants {
		fmt.Fprintf(&out, "tenant %s: events %d, spent %d\n", tenant.Tenant, tenant.Events, tenant.Spent)
		for _, c := range tenant.State.Snapshot().Counters {
			fmt.Fprintf(&out, "%s from %d: spent %d, held %d\n", c.Key, c.Span.Start, c.SpentAt(s.clock.Now().UnixMilli()), c.Held)
		}
	}
	golden := filepath.Join("testdata", "replay.golden")
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestReplayIsTheSameEachTime(t *testing.T) {
	s := newStory(t)
	wrong := s.rules[1:] // so that there is something to report
	dir := filepath.Join(s.dir, "receipts")
	first, second := replayDirs(t, wrong, dir), replayDirs(t, wrong, dir)
	for i := range first.Tenants {
		first.Tenants[i].State, second.Tenants[i].State = nil, nil
	}
	if fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("%+v\n%+v", first, second)
	}
}

// TestReplayWithoutAPolicy: what cannot be checked is not passed off as right,
// and balances are recomputed all the same.
func TestReplayWithoutAPolicy(t *testing.T) {
	s := newStory(t)
	report := replayDirs(t, s.rules[1:], filepath.Join(s.dir, "receipts"))
	if report.OK() || report.Faults != 0 || report.Unchecked["policy not given"] == 0 {
		t.Errorf("unchecked %v, findings %v", report.Unchecked, report.Findings)
	}
	compareBalances(t, report.Tenants[0].State, s.real, s.key().Tenant, s.clock.Now())
}

// TestReplayUnderAnotherPolicy: a policy of the right generation that is not
// the one that was in force is not used.
func TestReplayUnderAnotherPolicy(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.sweepOnce()
	w.begin(w.call(100, 50)).End(used(90, 10))
	report := replayDirs(t, []*gate.Rules{rulesOf(t, daily(999))}, filepath.Join(w.dir, "receipts"))
	if report.OK() || report.Unchecked["policy not given"] != 1 {
		t.Errorf("unchecked %v", report.Unchecked)
	}
	if want := map[budget.PolicyVersion]int64{w.rules.Policy.Version: 1}; !maps.Equal(report.MissingPolicies, want) {
		t.Errorf("missing %v, want %v", report.MissingPolicies, want)
	}
}

// TestReplayNamesSomeOfManyMissingPolicies: not without end, but it counts all.
func TestReplayNamesSomeOfManyMissingPolicies(t *testing.T) {
	const policies, named = 120, 100
	replayer := gate.NewReplayer()
	for generation := range int64(policies) {
		replayer.Add(audit.Receipt{N: generation + 1, Body: audit.Decision{Verdict: audit.Deny, Generation: generation}})
	}
	report := replayer.Close()
	if report.Unchecked["policy not given"] != policies || len(report.MissingPolicies) != named {
		t.Errorf("%v, %d are named", report.Unchecked, len(report.MissingPolicies))
	}
}

func (w *world) sweepOnce() {
	w.t.Helper()
	if err := w.upkeep().Sweep(context.Background(), "acme"); err != nil {
		w.t.Fatal(err)
	}
}

// TestReplayUnderOtherPrices: the table that a receipt names is the only one
// that it is held against.
func TestReplayUnderOtherPrices(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.begin(w.call(100, 50)).End(used(90, 10))
	w.sweepOnce()
	dearer, err := pricing.Builtin().With([]pricing.Override{{Model: "toy", Prices: []pricing.List{{Prices: map[string]string{"input": "5", "output": "5"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	other := &gate.Rules{Policy: w.rules.Policy, Prices: dearer}
	report := replayDirs(t, []*gate.Rules{other}, filepath.Join(w.dir, "receipts"))
	if report.OK() || report.Unchecked["price table not given"] != 1 {
		t.Errorf("unchecked %v", report.Unchecked)
	}
	if want := map[string]int64{w.rules.Prices.Version(): 1}; !maps.Equal(report.MissingPrices, want) {
		t.Errorf("missing %v, want %v", report.MissingPrices, want)
	}
	both := replayDirs(t, []*gate.Rules{other, w.rules}, filepath.Join(w.dir, "receipts"))
	if !both.OK() {
		t.Errorf("findings %v, unchecked %v", both.Findings, both.Unchecked)
	}
}

// TestReplayOfALine: a request that waited for what was held, in vain, was
// denied by what it saw last; one that never got to the front, by nothing.
func TestReplayOfALine(t *testing.T) {
	w := newWorld(t, daily(400)+"\nwhen_held: wait\nwait_limit: 30ms")
	w.sweepOnce()
	holder := w.begin(w.call(300, 0))
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() {
			if _, err := w.gate.Begin(context.Background(), w.call(200, 0)); err == nil {
				t.Error("granted, although it is held")
			}
		})
	}
	waiting.Wait()
	holder.End(used(300, 0))
	w.sweepOnce()
	if report := w.mustReplay(t, w.rules); report.Denied["budget_held"] != 3 {
		t.Errorf("denied %v", report.Denied)
	}
}
