package gate_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// replica is a gate with a log of its own on a shared ledger.
type replica struct {
	dir    string
	ledger *redis.Ledger
	log    *audit.Log
	gate   *gate.Gate
}

func newReplica(t *testing.T, url string) *replica {
	t.Helper()
	r := &replica{dir: t.TempDir()}
	signer, err := audit.ParseSigner([]byte(signingKey))
	if err != nil {
		t.Fatal(err)
	}
	if r.log, err = audit.Open(audit.Config{Dir: r.dir, Signer: signer, Sync: audit.SyncNever}); err != nil {
		t.Fatal(err)
	}
	if r.ledger, err = redis.Open(t.Context(), redis.Config{URL: url}); err != nil {
		t.Fatal(err)
	}
	outbox, err := gate.OpenOutbox(filepath.Join(t.TempDir(), "outbox"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.gate = gate.New(gate.Config{Ledger: r.ledger, Log: r.log, Outbox: outbox})
	return r
}

// sweep receipts what no request does.
func (r *replica) sweep(t *testing.T) {
	t.Helper()
	if err := r.upkeep().Sweep(context.Background(), "acme"); err != nil {
		t.Fatal(err)
	}
}

func (r *replica) upkeep() *gate.Upkeep {
	return &gate.Upkeep{Keeper: r.ledger, Ledger: r.ledger, Log: r.log, Logger: slog.New(slog.DiscardHandler)}
}

// close has what was posted written. The ledger stays open.
func (r *replica) close(t *testing.T) {
	t.Helper()
	if err := r.log.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReplayOfTwoReplicas has two replicas spend one tenant's budgets, in turn and
// then at once, until most requests are denied. Their logs together replay clean,
// and add up to the balances in Redis; one log alone does not replay.
func TestReplayOfTwoReplicas(t *testing.T) {
	url := redistest.Start(t).URL()
	rules := rulesOf(t, manyBudgets)
	replicas := []*replica{newReplica(t, url), newReplica(t, url)}
	if err := replicas[0].ledger.Provision(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // so that no log has all that came before its last event
		grant, err := replicas[i%2].gate.Begin(t.Context(), callOf(rules, 1, 1))
		if err != nil {
			t.Fatal(err)
		}
		grant.End(used(1, 1))
	}
	fillSlots(t, replicas[0], rules)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() { spend(replicas[i%2], rules, rand.New(rand.NewPCG(uint64(i), 1))) })
	}
	all.Wait()
	replicas[0].sweep(t)
	var dirs []string
	for _, r := range replicas {
		r.close(t)
		defer r.ledger.Close()
		dirs = append(dirs, r.dir)
	}

	report := replayDirs(t, []*gate.Rules{rules}, dirs...)
	if !report.OK() {
		t.Fatalf("findings %v, unchecked %v", report.Findings, report.Unchecked)
	}
	if report.Allowed == 0 || report.Denied["concurrency_full"] == 0 || report.Denied["request_rate"] == 0 {
		t.Errorf("allowed %d, denied %v", report.Allowed, report.Denied)
	}
	compareBalances(t, report.Tenants[0].State, replicas[0].ledger, rules.Policy.Tenant("acme"), time.Now())
	alone := replayDirs(t, []*gate.Rules{rules}, dirs[0])
	if alone.OK() || alone.Findings[0].Fault != gate.EventGap {
		t.Errorf("one log alone: %v", alone.Findings)
	}
}

// fillSlots opens calls until there is no slot for one more, and ends them.
func fillSlots(t *testing.T, r *replica, rules *gate.Rules) {
	t.Helper()
	for range 100 {
		grant, err := r.gate.Begin(t.Context(), callOf(rules, 1, 1))
		if err != nil {
			return
		}
		defer grant.End(used(1, 1))
	}
	t.Fatal("there is always a slot")
}

// callOf is a call of the model toy.
func callOf(rules *gate.Rules, input, output int64) gate.Bid {
	return gate.Bid{
		Rules: rules, Key: rules.Policy.Tenant("acme").Keys[0], Upstream: rules.Policy.Upstreams["sim"],
		Facts: call.Facts{Model: "toy", InputTokens: input, InputBound: "bytes", OutputCap: output, Choices: 1},
	}
}

// spend makes calls and ends them, some later than others.
func spend(r *replica, rules *gate.Rules, random *rand.Rand) {
	var open []*gate.Grant
	for range 60 {
		bid := callOf(rules, random.Int64N(900), random.Int64N(300))
		bid.Facts.Run = call.HashName([]string{"", "a", "b"}[random.IntN(3)])
		if grant, err := r.gate.Begin(context.Background(), bid); err == nil {
			open = append(open, grant)
		}
		if len(open) > random.IntN(4) {
			open[0].End(used(random.Int64N(100), random.Int64N(50)))
			open = open[1:]
		}
	}
	for _, grant := range open {
		grant.End(gate.Outcome{Sent: true, Basis: audit.BasisUnknown})
	}
}
