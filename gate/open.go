package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
)

// ErrClosed is returned by Call once Close has begun.
var ErrClosed = errors.New("the gate is closed")

// Open returns a gate that is ready for calls. It brings ledger and log to one
// state after whatever happened to the process before, and then runs what runs
// beside the calls until Close: expired leases are ended, receipts that nobody
// wrote are written, endings that the ledger did not take are repeated, and calls
// in flight are cut by kill switches.
//
// A ledger of this process alone gets every tenant of each policy. One that is
// shared is provisioned by whoever runs it, with its Provision.
//
// Where the ledger leads the log, as an embedded.Leading does, the log is told to
// have it made durable before each write; a log that cannot do that is refused.
//
// It fails with audit.ErrMissing where the log lacks receipts that a ledger of this
// process was told are durable.
//
// The gate takes Ledger and Log over: Close closes them, and Open does if it
// fails.
func Open(ctx context.Context, c Config) (*Gate, error) {
	if c.Policy == nil || c.Ledger == nil || c.Log == nil {
		return nil, errors.New("gate: Policy, Ledger and Log are required")
	}
	g := New(c)
	err := lead(c.Ledger, c.Log)
	if err == nil {
		err = g.begin(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, g.log.Close(), g.ledger.Close())
	}
	g.run()
	return g, nil
}

// leader is a ledger whose events are durable only once the function that Lead
// returns was called. follower is a log that calls one before each write.
type (
	leader   interface{ Lead() func() error }
	follower interface{ Precede(before func() error) }
)

// lead has the log call for the ledger, so that nothing is granted by an event
// that a crash could take back.
func lead(ledger Ledger, log Log) error {
	ahead, leads := ledger.(leader)
	if !leads {
		return nil
	}
	behind, follows := log.(follower)
	if !follows {
		return errors.New("gate: the ledger leads (embedded.Leading), but the log has no Precede to follow it: give the *embedded.Ledger itself")
	}
	behind.Precede(ahead.Lead())
	return nil
}

// begin puts the first policy in force and takes up what an earlier process
// left.
func (g *Gate) begin(ctx context.Context) error {
	for tenant, head := range g.log.Heads() {
		g.ledger.Remember(tenant, head.Epoch, head.Event)
	}
	if err := g.complete(); err != nil {
		return err
	}
	first := basis{g.force.policies.Current(), g.force.prices.Current()}
	if err := g.adopt(ctx, first); err != nil {
		return err
	}
	g.force.judged.Store(&first)
	journal, own := g.ledger.(journal)
	if !own {
		return nil // what another replica receipts cannot be known here
	}
	// First what the outbox knows of an ending: the ledger's own record of it
	// does not say what was used.
	g.deliver(ctx)
	return g.upkeep().Recover(ctx, journal, g.log)
}

// teller is a log that can tell whether it lacks receipts.
type teller interface {
	Lacks(known map[string]audit.Head) error
	Forgive(known map[string]audit.Head)
}

// complete refuses a log without receipts of which the ledger was told that they
// are durable. A ledger that others use too was told by them: it cannot say what
// this log should have.
func (g *Gate) complete() error {
	journal, own := g.ledger.(journal)
	log, tells := g.log.(teller)
	if !own || !tells {
		return nil
	}
	if err := g.missLost(journal.Tenants()); err != nil {
		return err
	}
	known := map[string]audit.Head{}
	for _, tenant := range journal.Tenants() {
		epoch, number, err := journal.Acknowledged(tenant)
		if err != nil {
			return err
		}
		if number > 0 {
			known[tenant] = audit.Head{Epoch: epoch, Event: number}
		}
	}
	err := log.Lacks(known)
	if err != nil && g.acceptMissing {
		g.logger.Warn("going on without the receipts that are missing", "err", err)
		log.Forgive(known)
		return nil
	}
	return err
}

// missLost says of which tenants of the policy the ledger has no record although the
// log has receipts, as after a rebuild that refused some: they are refused, and the
// others served. A ledger without any tenant serves nobody.
func (g *Gate) missLost(there []string) error {
	heads, known := g.log.Heads(), map[string]bool{}
	for _, tenant := range there {
		known[tenant] = true
	}
	var lost []string
	for _, tenant := range append(tenantNames(g.force.policies.Current()), budget.EveryTenant) {
		if _, receipted := heads[tenant]; receipted && !known[tenant] {
			lost = append(lost, tenant)
		}
	}
	switch {
	case len(lost) == 0:
		return nil
	case len(there) == 0:
		return fmt.Errorf("%w: it is empty, but the log has receipts of tenant %s and %d others; rebuild it from receipts",
			budget.ErrLost, lost[0], len(lost)-1)
	}
	g.logger.Error("tenants of which the ledger has lost the state are refused until aegis-proxy ledger rebuild restores them",
		"count", len(lost), "first", lost[:min(len(lost), 10)])
	return nil
}

// run runs what runs beside the calls.
func (g *Gate) run() {
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.tasks.Go(func() { g.drain(ctx) })
	g.tasks.Go(func() { g.upkeep().Run(ctx) })
	g.tasks.Go(func() { g.watchSwitches(ctx) })
}

func (g *Gate) upkeep() *upkeep {
	return &upkeep{
		Keeper: g.ledger, Ledger: g.ledger, Log: g.log, Logger: g.logger,
		Tenants: func() []string { return g.Rules().tenants() },
		Active:  g.active,
		Lost:    &g.lost,
		Outbox:  g.outbox,
		Doubts:  &g.doubts,
	}
}

// Sweep ends a tenant's expired leases and writes the receipts that are overdue,
// as happens by itself every few seconds.
func (g *Gate) Sweep(ctx context.Context, tenant string) error { return g.upkeep().Sweep(ctx, tenant) }

// Close refuses further calls, waits until those that run have ended, tells the
// ledger once more of endings that it did not take, writes the receipts that are
// still owed, those of counted denials among them, and closes log and ledger. To cut calls that run, end their contexts
// first. A second Close does nothing.
func (g *Gate) Close() error {
	if !g.visits.close() {
		return nil
	}
	g.stop()
	g.tasks.Wait()
	g.lastRound()
	g.posts.close()
	g.lastSweep()
	g.denials.flush()
	return errors.Join(g.log.Close(), g.ledger.Close())
}

// lastSweepLimit bounds the receipts that are written at the very end, and
// lastRoundLimit what the ledger is told then.
const (
	lastSweepLimit = 5 * time.Second
	lastRoundLimit = 2 * time.Second
)

// lastRound delivers what waits in the outbox: one that is in memory ends here,
// and nobody may come back for one in a directory.
func (g *Gate) lastRound() {
	ctx, cancel := context.WithTimeout(context.Background(), lastRoundLimit)
	defer cancel()
	g.deliver(ctx)
}

// lastSweep receipts what no call here was to receipt, so that the receipts of a
// closed gate lack nothing that its ledger knows: first what would not be overdue
// yet, where there was trouble, then tenants with calls, then the others as far as
// there is time.
func (g *Gate) lastSweep() {
	ctx, cancel := context.WithTimeout(context.Background(), lastSweepLimit)
	defer cancel()
	upkeep := g.upkeep()
	if err := g.lastReceipts(ctx, upkeep); err != nil {
		g.logger.Warn("last receipts: the next start, or another replica, writes what is missing", "err", err)
	}
	for _, tenant := range append(g.active(), upkeep.Tenants()...) {
		if err := upkeep.Sweep(ctx, tenant); err != nil {
			g.logger.Warn("last sweep", "tenant", tenant, "err", err)
			return
		}
	}
	// What holds for every tenant has no record before it was first thrown.
	if err := upkeep.Sweep(ctx, budget.EveryTenant); err != nil && !errors.Is(err, budget.ErrLost) {
		g.logger.Warn("last sweep", "tenant", budget.EveryTenant, "err", err)
	}
}

// lastReceipts writes the receipts of events that are young. A ledger of this process
// is brought to one state with the log as at the next start. In one that others use
// too an event without receipt may be about to get it there: only tenants in doubt
// are asked for, and a second receipt is marked as such.
func (g *Gate) lastReceipts(ctx context.Context, u *upkeep) error {
	if journal, own := g.ledger.(journal); own {
		return u.Recover(ctx, journal, g.log)
	}
	var errs []error
	for _, tenant := range g.doubts.recent() {
		errs = append(errs, u.sweepRest(ctx, tenant))
	}
	return errors.Join(errs...)
}

// visits counts what runs, such as calls, so that Close can wait for it.
type visits struct {
	mu      sync.RWMutex // orders the last call before the close
	closed  bool
	running sync.WaitGroup
}

// enter lets one in, unless the gate is closed.
func (v *visits) enter() bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return false
	}
	v.running.Add(1)
	return true
}

func (v *visits) leave() { v.running.Done() }

// close waits for those that run. It is false if somebody has closed before.
func (v *visits) close() bool {
	v.mu.Lock()
	first := !v.closed
	v.closed = true
	v.mu.Unlock()
	v.running.Wait()
	return first
}
