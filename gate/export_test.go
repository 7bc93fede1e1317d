package gate

import (
	"context"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Upkeep and Pending are what tests drive by hand.
type (
	Upkeep  = upkeep
	Pending = pending
)

// Deliver is one round of the outbox.
func (g *Gate) Deliver(ctx context.Context) { g.deliver(ctx) }

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
func (g *Gate) Decide(ctx context.Context, c Bid) (budget.Grant, *policy.Denial) {
	return g.admit(ctx, &quote{Bid: c})
}
