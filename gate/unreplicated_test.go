package gate_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestGrantThatTooFewReplicasHave is denied, and has its receipt at once, as have the
// events that nobody owns: when the
// server that made it is lost a moment later, the receipts of this replica alone
// restore the tenant, and its lease is then given back.
func TestGrantThatTooFewReplicasHave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyModule)
	server := redistest.Start(t)
	dial := func(wait int) *redis.Ledger {
		l, err := redis.Dial(redis.Config{URL: server.URL(), WaitReplicas: wait, Timeout: 500 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	waits, direct := dial(1), dial(0)
	w.must(direct.Provision(t.Context(), "acme"))
	older := server.SaveData()

	g := gate.New(gate.Config{Ledger: waits, Log: w.audit, Outbox: w.outbox})
	bid := everyClaim(w)
	bid.InputTokens, bid.OutputCap = 10, 5
	_, err := g.Begin(t.Context(), bid)
	if !isDenied(err, policy.LedgerUnavailable) {
		t.Fatalf("without a replica: %v", err)
	}
	seen, err := direct.Balances(t.Context(), "acme", nil)
	w.must(err)
	if seen.Number != 3 || seen.Open != 1 {
		t.Fatalf("the ledger is at event %d with %d leases, want the tenant's, the policy's and the grant", seen.Number, seen.Open)
	}
	older()
	server.Restart()
	if _, err := waits.Balances(t.Context(), "acme", nil); !errors.Is(err, budget.ErrLost) {
		t.Fatalf("the grant was lost, and the ledger says %v", err)
	}
	state, err := w.rebuilt()
	w.must(err)
	if state.Number != 3 {
		t.Fatalf("the receipts tell of %d events, want 3", state.Number)
	}
	w.must(direct.Restore(t.Context(), state))
	g.Deliver(context.Background())
	if after, err := direct.Balances(t.Context(), "acme", nil); err != nil || after.Open != 0 || after.Number != 4 {
		t.Errorf("after the release: %+v, %v", after, err)
	}
	if report := replayDirs(t, []*gate.Rules{w.rules}, filepath.Join(w.dir, "receipts")); !report.OK() {
		t.Errorf("the receipts do not replay: %v, %v", report.Findings, report.Unchecked)
	}
}
