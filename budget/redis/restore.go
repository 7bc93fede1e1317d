package redis

import (
	"context"
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// dropBatch bounds the leases, and the other keys, that one call of it deletes.
const dropBatch = 500

// restoreBatch bounds the leases or counters of one call of Restore.
const restoreBatch = 200

// restore is one tenant's state on its way into the server.
type restore struct {
	ledger *Ledger
	state  budget.Snapshot
	token  string
	over   int // 1: also over newer state, where that is refused
}

// Restore writes a tenant's state as folded from its events. The tenant is
// refused with budget.ErrLost until all of it is there.
func (l *Ledger) Restore(ctx context.Context, state *budget.State) error {
	return l.restore(ctx, state, 0)
}

// Replace is Restore that also writes over a record of another epoch or a higher
// number, if the server refuses it as lost: what it tells is not to be believed. One
// that is served stays as it is, and budget.ErrExists says so.
func (l *Ledger) Replace(ctx context.Context, state *budget.State) error {
	return l.restore(ctx, state, 1)
}

func (l *Ledger) restore(ctx context.Context, state *budget.State, over int) error {
	if err := budget.ValidName(state.Tenant); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	r := &restore{ledger: l, state: state.Snapshot(), token: newEpoch(), over: over}
	for _, step := range []func(context.Context) error{r.begin, r.drop, r.leases, r.counters, r.marks, r.finish} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	l.Remember(r.state.Tenant, r.state.Epoch, r.state.Number)
	return nil
}

// step runs one step of the script.
func (r *restore) step(ctx context.Context, name string, args []any) error {
	word, err := r.ask(ctx, name, args)
	if err == nil && word != "done" {
		return unavailable("restore", fmt.Errorf("%w: %q", errReply, word))
	}
	return err
}

// ask runs one step and returns the script's word for how it went.
func (r *restore) ask(ctx context.Context, name string, args []any) (string, error) {
	ctx, cancel := r.ledger.bounded(ctx)
	defer cancel()
	c := r.ledger.onTenant(restoreScript, r.state.Tenant)
	reply, err := r.ledger.runOn(ctx, c, append([]any{name, r.token}, args...))
	if err != nil {
		return "", err
	}
	word, _ := reply.(string)
	if refusal, ok := refusals[word]; ok {
		return "", fmt.Errorf("%w: redis: restore: tenant %q", refusal, r.state.Tenant)
	}
	return word, nil
}

func (r *restore) begin(ctx context.Context) error {
	return r.step(ctx, "begin", []any{r.state.Epoch, r.state.Number, r.over})
}

// drop deletes what is there of an older state.
func (r *restore) drop(ctx context.Context) error {
	var groups []any
	listed := make(map[string]bool)
	for i := range r.state.Counters {
		if group := r.state.Counters[i].Group; group != "" && !listed[group] {
			listed[group] = true
			groups = append(groups, group)
		}
	}
	for {
		word, err := r.ask(ctx, "drop", groups)
		if err != nil || word == "done" {
			return err
		}
		if word != "more" {
			return unavailable("restore", fmt.Errorf("%w: %q", errReply, word))
		}
	}
}

func (r *restore) leases(ctx context.Context) error {
	var args []any
	for i := range r.state.Leases {
		lease := &r.state.Leases[i]
		args = append(args, lease.ID, leaseRecord(lease))
	}
	return r.inBatches(ctx, "leases", args)
}

func (r *restore) counters(ctx context.Context) error {
	var args []any
	for i := range r.state.Counters {
		args = append(args, counterText(&r.state.Counters[i]))
	}
	return r.inBatches(ctx, "counters", args)
}

// marksPerText bounds the marks that one argument of the script tells.
const marksPerText = 200

// marks sends the marks that counters know: each can have budget.MaxMarkedLimit.
func (r *restore) marks(ctx context.Context) error {
	var args []any
	for i := range r.state.Counters {
		c := &r.state.Counters[i]
		for some := range slices.Chunk(c.Marks, marksPerText) {
			args = append(args, marksText(c, some))
		}
	}
	return r.inBatches(ctx, "marks", args)
}

// marksText is some of a counter's marks as restore.lua reads them.
func marksText(c *budget.Counter, some []budget.Mark) string {
	b := append(appendCounterName(nil, c), fmt.Sprintf(" %d %d", c.LastUse, c.Open)...)
	for _, m := range some {
		b = appendInts(append(append(b, ' '), m.Name...), m.Leases)
	}
	return string(b)
}

func (r *restore) inBatches(ctx context.Context, step string, args []any) error {
	const size = 2 * restoreBatch // leases come in pairs
	for len(args) > 0 {
		n := min(size, len(args))
		if err := r.step(ctx, step, args[:n]); err != nil {
			return err
		}
		args = args[n:]
	}
	return nil
}

func (r *restore) finish(ctx context.Context) error {
	s := &r.state
	args := []any{s.Epoch, s.Number, s.At, s.Policy.Generation, s.Policy.Hash}
	for _, w := range s.Switches {
		args = append(args, w.Name, string(appendInts(nil, w.Number, w.At)[1:]))
	}
	return r.step(ctx, "finish", args)
}

// leaseRecord is a lease as restore.lua reads it.
func leaseRecord(l *budget.Lease) string {
	state := string(l.End)
	if l.End == "" {
		state = "open"
	}
	b := appendInts([]byte(state), l.Number, l.At, l.Expires, l.Hold, l.EndNumber, l.EndAt, l.Charge, l.ForgetAt)
	b = append(b, '\n')
	b = append(b, extensionText(l)...)
	b = append(b, '\n')
	for i := range l.Claims {
		if i > 0 {
			b = append(b, ';')
		}
		b = appendPlaced(b, &l.Claims[i])
	}
	return string(b)
}

// extensionText is the answer to the last extension, or empty.
func extensionText(l *budget.Lease) []byte {
	if l.Extended == 0 {
		return nil
	}
	b := appendInts(nil, l.Extended, l.ExtendAt)
	for i := range l.Extends {
		b = appendObserved(b, &l.Extends[i])
	}
	return b[1:]
}

// counterText is a counter as restore.lua reads it.
func counterText(c *budget.Counter) string {
	b := appendCounterName(nil, c)
	b = append(append(b, ' '), orNone(c.Group)...)
	b = appendInts(b, c.Born, c.LastUse, c.Open, c.Held, c.Spent)
	for _, bucket := range c.Buckets {
		b = appendInts(b, bucket.Number, bucket.Spent)
	}
	return string(b)
}

// appendCounterName writes what names a counter: "KIND FIRST LAST LENGTH KEY".
func appendCounterName(b []byte, c *budget.Counter) []byte {
	b = appendInts(append(b, c.Kind...), c.Span.Start, c.Span.End, c.Length)
	return append(append(b, ' '), c.Key...)
}
