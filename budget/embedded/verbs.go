package embedded

import (
	"context"
	"fmt"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Reserve grants every claim or none.
func (l *Ledger) Reserve(ctx context.Context, r budget.Reservation) (budget.Grant, error) {
	if err := r.Validate(); err != nil {
		return budget.Grant{}, err
	}
	return answer(ctx, l, r.Tenant, toReserve(ctx, &r))
}

func toReserve(ctx context.Context, r *budget.Reservation) question[budget.Grant] {
	made := false
	return func(s *budget.State, at int64) (budget.Grant, budget.Event, error) {
		g, e, err := s.Reserve(r, at)
		if e.Kind == "" {
			g.Repeated = err == nil && !made
			if g.Repeated {
				g.Keys = s.KeysOf(r.Lease)
			}
			return g, e, err
		}
		made = e.Kind == budget.Granted
		return g, e, arrivedInTime(ctx)
	}
}

// arrivedInTime refuses a reservation whose caller no longer waits.
func arrivedInTime(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", budget.ErrDeadline, err)
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return budget.ErrDeadline
	}
	return nil
}

// Extend raises the hold of an open lease to a total.
func (l *Ledger) Extend(ctx context.Context, x budget.Extension) (budget.Grant, error) {
	if err := x.Validate(); err != nil {
		return budget.Grant{}, err
	}
	return answer(ctx, l, x.Lease.Tenant, toExtend(&x))
}

func toExtend(x *budget.Extension) question[budget.Grant] {
	made := false
	return func(s *budget.State, at int64) (budget.Grant, budget.Event, error) {
		g, e, err := s.Extend(x, at)
		if e.Kind == "" {
			g.Repeated = err == nil && !made
		}
		made = e.Kind == budget.Extended
		return g, e, err
	}
}

func valid(lease budget.LeaseRef, actual budget.Actual) error {
	if err := lease.Validate(); err != nil {
		return err
	}
	return actual.Validate()
}

// Renew moves an open lease's expiry.
func (l *Ledger) Renew(ctx context.Context, lease budget.LeaseRef, ttl time.Duration) (int64, error) {
	if err := lease.Validate(); err != nil {
		return 0, err
	}
	if err := budget.ValidTTL(ttl); err != nil {
		return 0, err
	}
	t, err := l.find(lease.Tenant)
	if err != nil {
		return 0, err
	}
	expires, err := l.renew(t, lease.Lease, ttl)
	last := t.last
	t.mu.Unlock()
	if waitErr := l.journal.wait(ctx, last); waitErr != nil {
		return 0, waitErr
	}
	return expires, err
}

func (l *Ledger) renew(t *tenant, lease string, ttl time.Duration) (int64, error) {
	at, err := l.expire(t)
	if err != nil {
		return 0, err
	}
	expires, err := t.state.Renewed(lease, ttl, at)
	if err != nil {
		return 0, err
	}
	if err := l.journal.room(); err != nil {
		return 0, err
	}
	if err := t.state.SetExpiry(lease, expires); err != nil {
		return 0, err
	}
	t.scratch = appendRenewal(t.scratch[:0], t.state.Tenant, lease, expires)
	_, err = l.journal.append(t.scratch)
	return expires, err
}

// Settle ends the lease with what was actually used, or corrects an expired one.
func (l *Ledger) Settle(ctx context.Context, lease budget.LeaseRef, actual budget.Actual) (budget.Ending, error) {
	if err := valid(lease, actual); err != nil {
		return budget.Ending{}, err
	}
	return answer(ctx, l, lease.Tenant, toSettle(lease, actual))
}

func toSettle(lease budget.LeaseRef, actual budget.Actual) question[budget.Ending] {
	return onceEnded(func(s *budget.State, at int64) (budget.Ending, budget.Event, error) {
		return s.Settle(lease.Lease, actual, at)
	})
}

// onceEnded marks the answer to a question that ended nothing itself.
func onceEnded(ask question[budget.Ending]) question[budget.Ending] {
	made := false
	return func(s *budget.State, at int64) (budget.Ending, budget.Event, error) {
		ending, e, err := ask(s, at)
		if e.Kind == "" {
			ending.Repeated = err == nil && !made
		}
		made = e.Kind != ""
		return ending, e, err
	}
}

// Release ends a lease of which nothing was sent.
func (l *Ledger) Release(ctx context.Context, lease budget.LeaseRef) (budget.Ending, error) {
	if err := lease.Validate(); err != nil {
		return budget.Ending{}, err
	}
	return answer(ctx, l, lease.Tenant, toRelease(lease))
}

func toRelease(lease budget.LeaseRef) question[budget.Ending] {
	return onceEnded(func(s *budget.State, at int64) (budget.Ending, budget.Event, error) {
		return s.Release(lease.Lease, at)
	})
}

// Acknowledge says that the receipt of a tenant's event is durable.
func (l *Ledger) Acknowledge(tenant string, number int64) {
	l.mu.RLock()
	t := l.tenants[tenant]
	l.mu.RUnlock()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.pending.remove(number) {
		return
	}
	t.scratch = appendAck(t.scratch[:0], tenant, number)
	// A broken journal is reported by every verb; nothing is lost here.
	_, _ = l.journal.append(t.scratch)
}
