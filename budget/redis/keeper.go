package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

const (
	// epochBytes makes two epochs differ.
	epochBytes = 16
	// provisionSize bounds the tenants of one pipeline.
	provisionSize = 500
	// maxSweeps bounds the calls of one Sweep: each ends up to 100 leases.
	maxSweeps = 100
	// maxOverdue is how many events one Sweep returns.
	maxOverdue = 1000
)

// Provision makes the tenants exist. It refuses with budget.ErrLost one that
// this replica has seen and that is gone. A new one is born with what is thrown
// at budget.EveryTenant as this begins.
func (l *Ledger) Provision(ctx context.Context, tenants ...string) error {
	for _, name := range tenants {
		if err := budget.ValidName(name); err != nil {
			return fmt.Errorf("tenant: %w", err)
		}
	}
	born, err := l.thrownForAll(ctx)
	if err != nil {
		return err
	}
	for len(tenants) > 0 {
		n := min(provisionSize, len(tenants))
		if err := l.provisionBatch(ctx, tenants[:n], born); err != nil {
			return err
		}
		tenants = tenants[n:]
	}
	return nil
}

func (l *Ledger) provisionBatch(ctx context.Context, names []string, born string) error {
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	for {
		err := l.provision(ctx, names, born)
		if !l.again(ctx, err) && !l.elsewhere(ctx, err) {
			return err
		}
	}
}

func (l *Ledger) provision(ctx context.Context, names []string, born string) error {
	if err := l.loadFor(ctx, provisionScript, names); err != nil {
		return err
	}
	pipe := l.client.Pipeline()
	replies := make([]*redis.Cmd, len(names))
	for i, name := range names {
		seen := l.tenant(name).seen(0)
		replies[i] = pipe.EvalSha(ctx, provisionScript.hash, l.tenant(name).keys, seen.epoch, newEpoch(), born, l.own.now())
	}
	sent := time.Now()
	if _, err := pipe.Exec(ctx); err != nil {
		return unavailable(provisionScript.verb, err)
	}
	for i, name := range names {
		c := &call{script: provisionScript, tenant: l.tenant(name)}
		if err := l.provisioned(c, replies[i], sent); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) provisioned(c *call, reply *redis.Cmd, sent time.Time) error {
	text, err := reply.Text()
	if err != nil {
		return unavailable(c.script.verb, err)
	}
	a, err := l.understand(c, text, sent)
	if err != nil {
		return err
	}
	if a.word != "provisioned" {
		return misunderstood(c.script.verb, text)
	}
	return a.finished(c.script.verb)
}

// elsewhere reports whether the pipeline was sent on to a node that was not told the
// script, and which nodes there are is known by now.
func (l *Ledger) elsewhere(ctx context.Context, err error) bool {
	return redis.HasErrorPrefix(err, "NOSCRIPT") && l.askForSlots(ctx) == nil && waitForSlot(ctx)
}

// loadFor makes a script known to the masters of tenants, for a pipeline cannot
// fall back to its text.
func (l *Ledger) loadFor(ctx context.Context, s *script, tenants []string) error {
	loaded := make(map[*redis.Client]bool)
	for _, name := range tenants {
		key := tenantKey(name)
		if err := l.begin(ctx, key); err != nil {
			return fmt.Errorf("tenant %q: %w", name, err)
		}
		node, err := l.node(ctx, key)
		if err == nil && !loaded[node] {
			err = node.ScriptLoad(ctx, s.source).Err()
		}
		if err != nil {
			return unavailable(s.verb, err)
		}
		loaded[node] = true
	}
	return nil
}

func newEpoch() string {
	var random [epochBytes]byte
	rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// Sweep ends the tenant's expired leases, delivers what was acknowledged and
// returns up to 1,000 overdue events, oldest first.
func (l *Ledger) Sweep(ctx context.Context, tenant string) ([]budget.Event, error) {
	return l.sweep(ctx, tenant, budget.OverdueAfter)
}

// SweepAll is Sweep that takes every event without a receipt for overdue.
func (l *Ledger) SweepAll(ctx context.Context, tenant string) ([]budget.Event, error) {
	return l.sweep(ctx, tenant, 0)
}

func (l *Ledger) sweep(ctx context.Context, tenant string, overdue time.Duration) ([]budget.Event, error) {
	if err := budget.ValidName(tenant); err != nil {
		return nil, fmt.Errorf("tenant: %w", err)
	}
	var events []budget.Event
	for range maxSweeps {
		more, some, err := l.sweepOnce(ctx, tenant, overdue, maxOverdue-len(events))
		events = append(events, some...)
		if err != nil || !more {
			return events, err
		}
	}
	return events, nil
}

// sweepOnce takes up to limit events, and reports whether leases are left that
// are due.
func (l *Ledger) sweepOnce(ctx context.Context, name string, overdue time.Duration, limit int) (more bool, events []budget.Event, err error) {
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	c := l.onTenant(sweepScript, name, limit, overdue.Milliseconds())
	c.acks = maxQueued
	reply, sent, err := l.send(ctx, c)
	if err != nil {
		return false, nil, err
	}
	lines, err := stringsOf(reply)
	if err != nil {
		return false, nil, unavailable(c.script.verb, err)
	}
	a, err := l.understand(c, lines[0], sent)
	if err != nil {
		return false, nil, err
	}
	if a.word != "swept" {
		return false, nil, misunderstood(c.script.verb, lines[0])
	}
	more = a.int() == 1
	if err := a.finished(c.script.verb); err != nil {
		return false, nil, err
	}
	events, err = parseEvents(name, a.epoch, lines[1:])
	return more, events, err
}

func parseEvents(tenant, epoch string, lines []string) ([]budget.Event, error) {
	var events []budget.Event
	for _, line := range lines {
		e, err := parseEvent(tenant, epoch, line)
		if err != nil {
			return nil, unavailable(sweepScript.verb, err)
		}
		events = append(events, e)
	}
	return events, nil
}

// stringsOf is a reply of one string or of a list of them, never empty.
func stringsOf(reply any) ([]string, error) {
	if text, ok := reply.(string); ok {
		return []string{text}, nil
	}
	list, ok := reply.([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("%w: %T", errReply, reply)
	}
	out := make([]string, len(list))
	for i, item := range list {
		if out[i], ok = item.(string); !ok {
			return nil, fmt.Errorf("%w: a list with %T", errReply, item)
		}
	}
	return out, nil
}

// Balances reads the counters that the claims name.
func (l *Ledger) Balances(ctx context.Context, tenant string, claims []budget.Claim) (budget.Balances, error) {
	if err := budget.ValidName(tenant); err != nil {
		return budget.Balances{}, fmt.Errorf("tenant: %w", err)
	}
	if err := budget.ValidCounters(claims); err != nil {
		return budget.Balances{}, err
	}
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	c := l.onTenant(balancesScript, tenant, appendClaims(nil, claims)...)
	a, err := l.do(ctx, c)
	if err != nil {
		return budget.Balances{}, err
	}
	if a.word != "balances" {
		return budget.Balances{}, misunderstood(c.script.verb, a.word)
	}
	b := budget.Balances{Epoch: a.epoch, Number: a.number, At: a.now, Open: a.int(), Switches: a.switches()}
	b.Observed = a.observedAll(len(claims))
	if err := a.finished(c.script.verb); err != nil {
		return budget.Balances{}, err
	}
	return b, nil
}
