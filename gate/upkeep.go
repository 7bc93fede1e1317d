package gate

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
)

const (
	// sweepEvery is how often tenants are swept, sweepRate how many of them
	// at each turn: 20,000 tenants are all visited within 4 minutes.
	sweepEvery = time.Second
	sweepRate  = 100
	// sweepLimit bounds the sweeps of one turn, where some are waited for in vain.
	sweepLimit = 10 * time.Second
)

// upkeep ends what expired and writes the receipts that nobody else wrote.
type upkeep struct {
	Keeper  budget.Keeper
	Ledger  budget.Ledger
	Log     Log
	Tenants func() []string // the policy's, at each round
	Active  func() []string // those with leases here
	Lost    *lostTenants    // told of each that is swept
	Outbox  *Outbox         // tells of some events itself; nil: of none
	Doubts  *doubts         // told of tenants whose receipts could not be written; nil: nobody is
	Logger  *slog.Logger
}

// Run sweeps until the context ends: tenants active here at every turn, the
// others round by round.
func (u *upkeep) Run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for next := 0; ; {
		next = u.turn(ctx, next)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// turn sweeps active tenants and some others from the one with that number on. It
// returns whose turn is next.
func (u *upkeep) turn(ctx context.Context, next int) int {
	active := u.Active()
	u.sweepAll(ctx, active)
	all := u.Tenants()
	if next >= len(all) {
		next = 0
		u.Lost.keepTo(all)
	}
	end := min(next+sweepRate, len(all))
	u.sweepAll(ctx, all[next:end])
	u.sweepForAll(ctx)
	u.followForAll(ctx, active, all[next:end])
	return end
}

// sweepAll goes on past tenants that cannot be reached: in a cluster their master
// may be down, and those of the others not. It stops where the ledger was asked and
// does not answer, and after sweepLimit.
func (u *upkeep) sweepAll(ctx context.Context, tenants []string) {
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	unreached := 0
	for _, tenant := range tenants {
		err := u.Sweep(ctx, tenant)
		u.Lost.note(tenant, err)
		if errors.Is(err, budget.ErrUnreachable) {
			unreached++
		}
		if err != nil && unreached <= 1 { // of many alike, one
			u.Logger.Warn("sweep", "tenant", tenant, "err", err)
		}
		if ctx.Err() != nil || errors.Is(err, budget.ErrUnavailable) && !errors.Is(err, budget.ErrUnreachable) {
			return
		}
	}
}

// sweepForAll sweeps the record of what holds for every tenant, which is made
// when a switch is first thrown for all.
func (u *upkeep) sweepForAll(ctx context.Context) {
	if err := u.Sweep(ctx, budget.EveryTenant); err != nil && !errors.Is(err, budget.ErrLost) {
		u.Logger.Warn("sweep", "tenant", budget.EveryTenant, "err", err)
	}
}

// Sweep receipts a tenant's overdue events.
func (u *upkeep) Sweep(ctx context.Context, tenant string) error {
	events, err := u.Keeper.Sweep(ctx, tenant)
	if err != nil {
		return err
	}
	return u.receiptAll(events)
}

// sweepRest receipts the events of a tenant that have no receipt, overdue or not.
func (u *upkeep) sweepRest(ctx context.Context, tenant string) error {
	for newest := int64(-1); ; {
		events, err := u.Keeper.SweepAll(ctx, tenant)
		if err != nil || len(events) == 0 || events[len(events)-1].Number <= newest {
			return err // none, or none but those that were handed out before
		}
		newest = events[len(events)-1].Number
		if err := u.receiptAll(events); err != nil {
			return err
		}
	}
}

// receiptAll writes the receipts of events, in their order and many in one batch,
// and returns when all are durable, or why one is not.
func (u *upkeep) receiptAll(events []budget.Event) error {
	told := make(chan error, len(events))
	sent := 0
	for _, e := range events {
		if u.Outbox != nil && u.Outbox.tells(e) {
			continue
		}
		sent++
		u.Log.Post(eventReceipt(e), func(_ audit.Ref, err error) {
			if err == nil {
				u.Ledger.Acknowledge(e.Tenant, e.Number)
			} else {
				u.Doubts.note(e.Tenant)
			}
			told <- err
		})
	}
	var first error
	for range sent {
		if err := <-told; first == nil {
			first = err
		}
	}
	return first
}

// eventReceipt is the receipt of an event that is not written by the request
// that caused it: ends by expiry, newer policies, kill switches, and what a
// replica was to write and did not. Another replica may write the same, so all
// are marked.
func eventReceipt(e budget.Event) audit.Event {
	r := audit.Event{
		At:         e.At,
		Tenant:     e.Tenant,
		Event:      e.Number,
		Epoch:      e.Epoch,
		Name:       string(e.Kind),
		Lease:      e.Lease,
		Amount:     e.Amount,
		Expires:    e.Expires,
		Generation: e.Policy.Generation,
		Policy:     e.Policy.Hash,
		Recovered:  true,
		Switch:     e.Switch,
	}
	for _, placed := range e.Claims {
		r.Claims = append(r.Claims, auditClaim(placed))
	}
	for _, limit := range e.Limits {
		r.Limits = append(r.Limits, audit.Limit(limit))
	}
	return r
}

// journal is what a ledger of this process alone remembers of the process
// before it.
type journal interface {
	Tenants() []string
	Unacknowledged(tenant string) ([]budget.Event, error)
	Acknowledged(tenant string) (epoch string, number int64, err error)
}

// Recover brings a ledger and its log to one state after a crash: what is
// receipted is acknowledged, and what is not gets its receipt now. A grant
// without a receipt was never sent, so it is released; where the log cannot say
// what it holds, its lease expires and is charged its hold.
func (u *upkeep) Recover(ctx context.Context, journal journal, log Log) error {
	for _, tenant := range journal.Tenants() {
		events, err := journal.Unacknowledged(tenant)
		if err != nil {
			return err
		}
		if err := u.reconcile(ctx, log, events); err != nil {
			return err
		}
	}
	return nil
}

func (u *upkeep) reconcile(ctx context.Context, log Log, events []budget.Event) error {
	if len(events) == 0 {
		return nil
	}
	ids := make([]audit.EventID, len(events))
	for i, e := range events {
		ids[i] = eventID(e)
	}
	found, err := log.Find(ctx, ids...)
	if errors.Is(err, audit.ErrWriteOnly) {
		return u.receiptAll(events)
	}
	if err != nil {
		return err
	}
	var owed []budget.Event
	for i, e := range events {
		if _, ok := found[ids[i]]; ok {
			u.Ledger.Acknowledge(e.Tenant, e.Number)
			continue
		}
		ends, err := u.recoverEvent(ctx, e)
		if err != nil {
			return err
		}
		owed = append(append(owed, e), ends...)
	}
	return u.receiptAll(owed)
}

// recoverEvent releases a grant before it has a receipt: after that, nobody knows
// that it was not sent. It returns the end that it made, if any.
func (u *upkeep) recoverEvent(ctx context.Context, e budget.Event) ([]budget.Event, error) {
	if e.Kind != budget.Granted || ofAction(e.Lease) {
		return nil, nil
	}
	ending, err := u.Ledger.Release(ctx, budget.LeaseRef{Tenant: e.Tenant, Lease: e.Lease})
	if errors.Is(err, budget.ErrEnded) {
		return nil, nil // its end is among the events
	}
	if err != nil {
		return nil, err
	}
	return []budget.Event{{
		Tenant: e.Tenant, Epoch: ending.Epoch, Number: ending.Number, Kind: ending.Kind,
		At: ending.At, Lease: e.Lease, Amount: ending.Charge,
	}}, nil
}

func eventID(e budget.Event) audit.EventID {
	return audit.EventID{Tenant: e.Tenant, Epoch: e.Epoch, Number: e.Number}
}
