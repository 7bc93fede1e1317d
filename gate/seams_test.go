package gate_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// allRules has a limit of every kind.
const allRules = manyBudgets + `
max_runs: 2
tool_calls:
  - {name: ever, limit: 6}
  - {name: hourly, window: hour, limit: 4}
  - {name: by-run, scope: run, limit: 3}
  - {name: searches, tool: search, scope: run, limit: 2}
  - {name: models, tool: "f*", scope: model, models: "to*", limit: 3}
max_depth: 2
when_exhausted: clamp
min_output_tokens: 1`

// seams is a world in which calls, actions, tool results, policies, crashes and
// kill switches come together.
type seams struct {
	*world
	rt     *rapid.T
	rules  []*gate.Rules // of each generation
	open   []*gate.Grant
	bids   map[*gate.Grant]gate.Bid // those that were calls
	leases []gate.LeaseCall
}

// TestEverythingAtOnce: whatever happens in whatever order, what is replayed and
// rebuilt from the receipts is what the ledger says, and what is exported of them
// verifies.
func TestEverythingAtOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &seams{world: newWorld(t, allRules), rt: rt, bids: map[*gate.Grant]gate.Bid{}}
		defer func() { s.must(s.real.Close()) }()
		s.rules = []*gate.Rules{s.world.rules}
		do := map[string]func(){
			"step": func() { s.open = s.step(rt, s.open) }, "call": s.newCall, "policy": s.newPolicy,
			"restart": s.recovered, "act": s.act, "end": s.endAction, "fallback": s.fallBack,
		}
		kinds := []string{"step", "step", "call", "call", "call", "fallback", "policy", "restart", "act", "act", "end", "end"}
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			do[rapid.SampledFrom(kinds).Draw(rt, "kind")]()
		}
		s.settleAll(s.open)
		s.compare()
		s.verifyExport()
	})
}

// newCall is one with tool results, of some run or none.
func (s *seams) newCall() {
	c := s.call(rapid.Int64Range(0, 2000).Draw(s.rt, "input"), rapid.Int64Range(0, 1000).Draw(s.rt, "output"))
	c.Key = s.key().Tenant.KeyOf(rapid.SampledFrom([]string{"", "acme-1"}).Draw(s.rt, "key"))
	c.Facts.Run = call.HashName(rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(s.rt, "run"))
	c.Facts.Depth = rapid.Int64Range(0, 3).Draw(s.rt, "depth")
	for range rapid.IntRange(0, 4).Draw(s.rt, "results") {
		id, tool := rapid.IntRange(0, 9).Draw(s.rt, "id"), rapid.SampledFrom([]string{"", "search", "fetch", "a b"}).Draw(s.rt, "tool")
		c.Facts.ToolResults = policy.AddToolResult(c.Facts.ToolResults, call.HashName(fmt.Sprint(id)), tool)
	}
	s.ask(c)
}

func (s *seams) ask(c gate.Bid) {
	if grant, err := s.gate.Begin(context.Background(), c); err == nil {
		s.open = append(s.open, grant)
		s.bids[grant] = c
	}
}

// fallBack ends a call that was sent, and makes the next attempt at its request,
// under the rules of the first as the proxy does.
func (s *seams) fallBack() {
	for i, grant := range s.open {
		bid, known := s.bids[grant]
		if !known {
			continue
		}
		o := s.anyOutcome(s.rt)
		o.Sent = true
		grant.End(o)
		s.open = slices.Delete(s.open, i, i+1)
		bid.Facts.Counted = true
		s.ask(bid)
		return
	}
}

func (s *seams) newPolicy() {
	mode := rapid.SampledFrom([]string{"enforce", "observe"}).Draw(s.rt, "mode")
	s.world.rules = rulesAt(s.t, len(s.rules)+1, allRules+"\nmode: "+mode)
	s.rules = append(s.rules, s.world.rules)
}

// recovered is the process after the next start.
func (s *seams) recovered() {
	for _, grant := range s.open {
		grant.End(s.anyOutcome(s.rt))
	}
	s.open = nil
	s.restart()
	s.gate.Deliver(context.Background())
	s.must(s.upkeep().Recover(context.Background(), s.real, s.audit))
}

func (s *seams) act() {
	a := gate.Action{
		Rules: s.world.rules, Key: s.key(), Kind: "payment", Tool: "search",
		ID:     fmt.Sprint(rapid.IntRange(0, 5).Draw(s.rt, "action")),
		Run:    rapid.SampledFrom([]string{"", "a"}).Draw(s.rt, "run"),
		Amount: rapid.Int64Range(0, 300).Draw(s.rt, "amount"),
		TTL:    time.Duration(rapid.IntRange(1, 3600).Draw(s.rt, "ttl")) * time.Second,
	}
	if leave, err := s.gate.Authorize(context.Background(), a); err == nil {
		s.leases = append(s.leases, gate.LeaseCall{Rules: a.Rules, Key: a.Key, Lease: leave.Lease})
	}
}

// endAction ends an action's lease, again perhaps, or extends it.
func (s *seams) endAction() {
	if len(s.leases) == 0 {
		return
	}
	c, amount := rapid.SampledFrom(s.leases).Draw(s.rt, "lease"), rapid.Int64Range(0, 600).Draw(s.rt, "total")
	c.Rules, c.Key = s.world.rules, s.key()
	switch rapid.IntRange(0, 2).Draw(s.rt, "verb") {
	case 0:
		_, _ = s.gate.Extend(context.Background(), c, amount)
	case 1:
		_, _ = s.gate.Settle(context.Background(), c, amount)
	case 2:
		_, _ = s.gate.Release(context.Background(), c)
	}
}

func (s *seams) compare() {
	s.receipts()
	report := replayDirs(s.rt, s.rules, filepath.Join(s.dir, "receipts"))
	for _, f := range report.Findings {
		s.rt.Fatalf("an honest receipt does not follow: %v", f)
	}
	if !report.OK() {
		s.rt.Fatalf("not checkable: %v", report.Unchecked)
	}
	state, err := s.rebuilt()
	if err != nil {
		s.rt.Fatalf("rebuild: %v", err)
	}
	compareBalances(s.rt, report.Tenants[0].State, s.real, s.key().Tenant, s.clock.Now())
	compareBalances(s.rt, state, s.real, s.key().Tenant, s.clock.Now())
}

// verifyExport exports what happened under the last policy that the ledger saw.
func (s *seams) verifyExport() {
	authority, _ := newAuthority(s.t)
	dir := filepath.Join(s.dir, "receipts")
	for i := len(s.rules) - 1; i >= 0; i-- {
		c := gate.ExportConfig{Tenant: "acme", Rules: s.rules[i], Authority: authority}
		if e, err := exported(s.t, c, merged(s.t, dir)); err == nil {
			mustVerifyEnvelope(s.t, e.Envelope, s.rules[i].Policy.Version.Hash)
			return
		}
	}
}
