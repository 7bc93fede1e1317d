package embedded

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// epochBytes is the entropy of an epoch.
const epochBytes = 16

// Provision makes the tenants exist, each with a random epoch. All of them are
// written before it waits for any. A new one has the global switch thrown if
// budget.EveryTenant has. One that the caller has seen, and of which there is no
// record, has lost its state: it is left alone, for Restore, and refused until then.
func (l *Ledger) Provision(ctx context.Context, names ...string) error {
	born := l.thrownForAll()
	begun := make([]*batch, len(names))
	for i, name := range names {
		if err := budget.ValidName(name); err != nil {
			return fmt.Errorf("tenant: %w", err)
		}
		var err error
		if begun[i], err = l.provision(name, born); err != nil {
			return err
		}
	}
	for _, last := range begun {
		if err := l.journal.wait(ctx, last); err != nil {
			return err
		}
	}
	return nil
}

// provision returns the batch that makes the tenant durable, born with those
// switches thrown if it is new.
func (l *Ledger) provision(name string, born []string) (*batch, error) {
	if l.lost(name) {
		return nil, nil
	}
	t := l.make(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	err := l.begin(t, born)
	return t.last, err
}

// lost reports whether a tenant was seen and has no record.
func (l *Ledger) lost(name string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tenants[name] == nil && l.seen[name].epoch != ""
}

// thrownForAll are the switches that a new tenant is born with.
func (l *Ledger) thrownForAll() []string {
	l.mu.RLock()
	every := l.tenants[budget.EveryTenant]
	l.mu.RUnlock()
	if every == nil {
		return nil
	}
	every.mu.Lock()
	defer every.mu.Unlock()
	if !every.state.IsThrown(budget.GlobalSwitch) {
		return nil
	}
	return []string{budget.GlobalSwitch}
}

// make is the tenant of that name, whether provisioned or not.
func (l *Ledger) make(name string) *tenant {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tenants.make(name)
}

// begin makes a tenant that does not exist, and completes one of which a crash
// left the first event alone.
func (l *Ledger) begin(t *tenant, born []string) error {
	if t.state.Number > 1 {
		return nil
	}
	at := t.state.Advance(l.now())
	if t.state.Number == 0 {
		if err := l.create(t, at); err != nil {
			return err
		}
	}
	for _, name := range born {
		_, e, err := t.state.Throw(name, at)
		if err != nil {
			return err
		}
		if err := l.commit(t, e); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) create(t *tenant, at int64) error {
	var random [epochBytes]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("%w: epoch: %w", budget.ErrUnavailable, err)
	}
	e, err := t.state.Provision(hex.EncodeToString(random[:]), at)
	if err != nil {
		return err
	}
	return l.commit(t, e)
}

// Remember tells what the caller has seen of a tenant.
func (l *Ledger) Remember(tenant, epoch string, number int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seen := l.seen[tenant]; seen.epoch == epoch && seen.number > number {
		return
	}
	l.seen[tenant] = sighting{epoch, number}
}

// Tenants names every tenant, in order.
func (l *Ledger) Tenants() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	names := make([]string, 0, len(l.tenants))
	for name := range l.tenants {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Unacknowledged returns every event of a tenant that has no receipt, oldest
// first, and changes nothing: not even due leases are ended. It is for
// start-up, to tell what the last process left behind.
func (l *Ledger) Unacknowledged(tenant string) ([]budget.Event, error) {
	t, err := l.find(tenant)
	if err != nil {
		return nil, err
	}
	events, last := t.pending.all(), t.last
	t.mu.Unlock()
	return events, l.journal.wait(context.Background(), last)
}

// Acknowledged is the newest event of a tenant whose receipt is durable, as far as
// the ledger was told, and its epoch; 0 if there is none.
func (l *Ledger) Acknowledged(tenant string) (epoch string, number int64, err error) {
	t, err := l.find(tenant)
	if err != nil {
		return "", 0, err
	}
	defer t.mu.Unlock()
	return t.state.Epoch, t.pending.acknowledged(t.state.Number), nil
}

// Sweep ends the tenant's expired leases and returns the events whose receipts
// are overdue.
func (l *Ledger) Sweep(ctx context.Context, tenant string) ([]budget.Event, error) {
	return l.sweep(ctx, tenant, func(*pending) {})
}

// SweepAll is Sweep that takes every event without a receipt for overdue.
func (l *Ledger) SweepAll(ctx context.Context, tenant string) ([]budget.Event, error) {
	return l.sweep(ctx, tenant, (*pending).expedite)
}

func (l *Ledger) sweep(ctx context.Context, tenant string, first func(*pending)) ([]budget.Event, error) {
	t, err := l.find(tenant)
	if err != nil {
		return nil, err
	}
	at, err := l.expire(t)
	first(&t.pending)
	var events []budget.Event
	if err == nil {
		events = t.pending.overdue(at)
	}
	last := t.last
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := l.journal.wait(ctx, last); err != nil {
		return nil, err
	}
	return events, nil
}

// Balances reads the counters that the claims name.
func (l *Ledger) Balances(ctx context.Context, tenant string, claims []budget.Claim) (budget.Balances, error) {
	if err := budget.ValidCounters(claims); err != nil {
		return budget.Balances{}, err
	}
	return answer(ctx, l, tenant, func(s *budget.State, at int64) (budget.Balances, budget.Event, error) {
		b, err := s.Balances(claims, at)
		return b, budget.Event{}, err
	})
}

// Restore writes a tenant's state as folded from events.
func (l *Ledger) Restore(ctx context.Context, state *budget.State) error {
	if err := budget.ValidName(state.Tenant); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	if state.Number == 0 {
		return fmt.Errorf("%w: the state of tenant %q has no events", budget.ErrInvalid, state.Tenant)
	}
	t := l.make(state.Tenant)
	t.mu.Lock()
	err := l.restore(t, state)
	last := t.last
	t.mu.Unlock()
	if err != nil {
		return err
	}
	return l.journal.wait(ctx, last)
}

func (l *Ledger) restore(t *tenant, state *budget.State) error {
	if t.state.Number > 0 && (t.state.Epoch != state.Epoch || t.state.Number > state.Number) {
		return fmt.Errorf("%w: tenant %q is at event %d of epoch %q", budget.ErrExists, state.Tenant, t.state.Number, t.state.Epoch)
	}
	whole := wholeTenant{State: state.Snapshot()}
	line, err := encodeState(&whole)
	if err != nil {
		return err
	}
	if err := l.journal.room(); err != nil {
		return err
	}
	if err := t.load(whole); err != nil {
		return err
	}
	l.clock.reach(t.state.Advance(0))
	t.scratch = append(t.scratch[:0], line...)
	return l.write(t)
}

// Ready reports whether the ledger can still write.
func (l *Ledger) Ready(context.Context) error { return l.journal.room() }
