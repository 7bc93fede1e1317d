package gate

import (
	"context"
	"iter"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Upkeep and Pending are what tests drive by hand.
type (
	Upkeep  = upkeep
	Lost    = lostTenants
	Pending = pending
)

// Deliver is one round of the outbox.
func (g *Gate) Deliver(ctx context.Context) { g.deliver(ctx) }

// WriteDenials ends the second of those that are counted.
func (g *Gate) WriteDenials() { g.denials.flush() }

// Drain is all of them.
func (g *Gate) Drain(ctx context.Context) { g.drain(ctx) }

// Put keeps an ending.
func (o *Outbox) Put(p Pending) { o.put(p) }

// SetMax changes how many endings an outbox takes.
func (o *Outbox) SetMax(n int) { o.max = n }

// Waiting is how many calls of a tenant stand in line.
func (g *Gate) Waiting(tenant string) int {
	g.line.mu.Lock()
	defer g.line.mu.Unlock()
	return len(g.line.queues[tenant])
}

// Kept is how many receipts and leases a replay holds.
func (r *Replayer) Kept() int {
	n := r.waiting
	for _, l := range r.lives {
		n += len(l.leases) + len(l.copied)
	}
	return n
}

// SetMost changes how many receipts a replay lets wait.
func (r *Replayer) SetMost(n int) { r.most = n }

// Decide is Begin up to its receipt.
func (g *Gate) Decide(ctx context.Context, c Bid) (budget.Grant, *call.Denial) {
	return g.admit(ctx, newQuote(c))
}

// SetMost changes how many receipts an export keeps.
func (x *Exporter) SetMost(n int) { x.most = n }

// IntentOf is what a decision is about, as the protocol's intent.
func IntentOf(d audit.Decision) (oxdeai.Intent, error) { return oxdeai.NewIntent(intentOf(d)) }

// ProtocolReason is the protocol's code for a reason.
func ProtocolReason(r call.Reason) oxdeai.Reason { return protocolReason(string(r)) }

// ProtocolState is a running ledger as the protocol's state.
func ProtocolState(p *policy.Policy, t *policy.Tenant, at int64, balances func([]budget.Claim) (budget.Balances, error), nonces []oxdeai.NonceRecord) (*oxdeai.State, error) {
	return protocolState(p, t, ledgerView{at: at, balances: balances, nonces: nonces})
}

// FollowForAll is the part of a round about the global switch.
func (u *Upkeep) FollowForAll(ctx context.Context, active, turn []string) {
	u.followForAll(ctx, active, turn)
}

// RebuildIn is Rebuild with room for so many events that wait.
func RebuildIn(room int, receipts iter.Seq2[audit.Receipt, error], tenants ...string) (Rebuilt, error) {
	return rebuild(receipts, room, tenants)
}

// EventReceipt is the receipt of an event that nobody else receipts.
func EventReceipt(e budget.Event) audit.Event { return eventReceipt(e) }

// SweepAll sweeps tenants once.
func (u *upkeep) SweepAll(ctx context.Context, tenants []string) { u.sweepAll(ctx, tenants) }
