package embedded

import (
	"context"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Leading is the ledger for a caller with a log of its own in which a grant
// must be durable before it counts. Its verbs return before their event is
// durable; the log calls Flush before it writes what rests on them, which
// gate.Open sees to. So the journal is always ahead of the log, and a request
// waits for the disk once instead of twice.
type Leading struct{ *Ledger }

// Lead returns what the log is to call before each of its writes.
func (l Leading) Lead() func() error { return l.Flush }

// Reserve grants every claim or none. The grant counts after Flush.
func (l Leading) Reserve(ctx context.Context, r budget.Reservation) (budget.Grant, error) {
	if err := r.Validate(); err != nil {
		return budget.Grant{}, err
	}
	grant, _, err := atOnce(l.Ledger, r.Tenant, toReserve(ctx, &r))
	return grant, err
}

// Extend raises the hold of an open lease to a total.
func (l Leading) Extend(_ context.Context, x budget.Extension) (budget.Grant, error) {
	if err := x.Validate(); err != nil {
		return budget.Grant{}, err
	}
	grant, _, err := atOnce(l.Ledger, x.Lease.Tenant, toExtend(&x))
	return grant, err
}

// Settle ends the lease with what was actually used, or corrects an expired one.
func (l Leading) Settle(_ context.Context, lease budget.LeaseRef, actual budget.Actual) (budget.Ending, error) {
	if err := valid(lease, actual); err != nil {
		return budget.Ending{}, err
	}
	ending, _, err := atOnce(l.Ledger, lease.Tenant, toSettle(lease, actual))
	return ending, err
}

// Release ends a lease of which nothing was sent.
func (l Leading) Release(_ context.Context, lease budget.LeaseRef) (budget.Ending, error) {
	if err := lease.Validate(); err != nil {
		return budget.Ending{}, err
	}
	ending, _, err := atOnce(l.Ledger, lease.Tenant, toRelease(lease))
	return ending, err
}

// Flush makes durable everything that any verb has answered so far.
func (l *Ledger) Flush() error {
	return l.journal.sync()
}
