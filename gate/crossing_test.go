package gate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestRequiredNonceIsNotForActions: their ids are used once anyway.
func TestRequiredNonceIsNotForActions(t *testing.T) {
	w := newWorld(t, daily(1000)+"\nreplay: {required: true}")
	if _, err := w.gate.Authorize(t.Context(), w.payment("a", 1)); err != nil {
		t.Error(err)
	}
}

// TestActionsObeyDepthAndTools as calls do.
func TestActionsObeyDepthAndTools(t *testing.T) {
	w := newWorld(t, daily(1000)+"\nmax_depth: 2\ntools: {deny: [bank]}")
	deep, banned := w.payment("a", 1), w.payment("b", 1)
	deep.Depth, banned.Tool = 3, "bank"
	for _, row := range []struct {
		action gate.Action
		want   call.Reason
	}{{deep, policy.DepthExceeded}, {banned, policy.ToolNotAllowed}} {
		_, err := w.gate.Authorize(t.Context(), row.action)
		if refusal, ok := errors.AsType[*call.Denial](err); !ok || refusal.Reason != row.want {
			t.Errorf("got %v, want %s", err, row.want)
		}
	}
}

// TestOneIDIsOneAction: another action under the same id is denied, also while
// the first one's lease is open.
func TestOneIDIsOneAction(t *testing.T) {
	w := newWorld(t, daily(1000))
	if _, err := w.gate.Authorize(t.Context(), w.payment("a", 60)); err != nil {
		t.Fatal(err)
	}
	other := w.payment("a", 60)
	other.Target = "mallory"
	_, err := w.gate.Authorize(t.Context(), other)
	if refusal, ok := errors.AsType[*call.Denial](err); !ok || refusal.Reason != policy.ActionIDUsed {
		t.Errorf("got %v, want %s", err, policy.ActionIDUsed)
	}
	w.mustBalance(0, 60)
}

// TestRestartKeepsActions: an action's grant without a receipt may have been
// told to a caller who asked again, so that it is not given back.
func TestRestartKeepsActions(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.log.fail(refuseDecisions)
	if _, err := w.gate.Authorize(t.Context(), w.payment("a", 60)); err == nil {
		t.Fatal("allowed without a receipt")
	}
	w.log.fail(nil)
	leave, err := w.gate.Authorize(t.Context(), w.payment("a", 60))
	if err != nil {
		t.Fatal(err)
	}
	w.restart()
	if err := w.upkeep().Recover(context.Background(), w.real, w.audit); err != nil {
		t.Fatal(err)
	}
	w.mustBalance(0, 60)
	ended, err := w.gate.Settle(t.Context(), gate.LeaseCall{Rules: w.rules, Key: w.key(), Lease: leave.Lease}, 60)
	if err != nil || ended.Charge != 60 {
		t.Errorf("%+v, %v", ended, err)
	}
}

// TestOutboxDoesNotTrustAnEarlierProcess: the number that a ledger gave an
// ending before it broke need not be the one that it has after a restart.
func TestOutboxDoesNotTrustAnEarlierProcess(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.begin(w.call(10, 5))
	lease := bodies[audit.Decision](w.receipts())[0].Lease
	w.outbox.Put(gate.Pending{Verb: "settle", Settlement: audit.Settlement{
		Tenant: "acme", Lease: lease, Event: 900, Hold: 20, Charge: 20, Basis: audit.BasisUnknown, Outcome: "settle",
	}})
	w.restart()
	w.drain()
	w.mustBalance(20, 0)
	if s := w.settlement(); s.Event == 900 || s.Charge != 20 {
		t.Errorf("settlement %+v", s)
	}
	b, err := w.real.Balances(context.Background(), "acme", nil)
	if err != nil || b.Open != 0 {
		t.Errorf("%d leases are open, %v", b.Open, err)
	}
}

// payment is an action of acme.
func (w *world) payment(id string, amount int64) gate.Action {
	return gate.Action{
		Rules: w.rules, Key: w.key(), ID: id, Kind: "payment", Target: "alice", Amount: amount, TTL: time.Minute,
	}
}
