package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// writer makes records durable: a journal, or nothing at all.
type writer interface {
	// room says why no record should be added now.
	room() error
	// append adds a record and returns the batch that will make it durable; nil
	// where it need not be.
	append(payload []byte) (*batch, error)
	// sync makes durable what was appended so far.
	sync() error
	// wait returns when the batch is durable.
	wait(ctx context.Context, b *batch) error
	close() error
}

// InMemory is a ledger that writes nothing and forgets everything with Close: for
// tests, and for budgets that last as long as the process. What such a process has
// spent is in its receipts alone; a later one that opens them is refused as one
// that has lost state, until it is restored from them. A nil clock is time.Now.
func InMemory(clock func() time.Time) *Ledger {
	config := Config{Now: clock, Log: slog.New(slog.DiscardHandler)}
	config.fill()
	return &Ledger{config: config, clock: newClock(&config), tenants: tenants{}, seen: make(map[string]sighting), journal: new(unwritten)}
}

// unwritten is the writer of a ledger in memory.
type unwritten struct{ closed atomic.Bool }

func (u *unwritten) room() error {
	if u.closed.Load() {
		return fmt.Errorf("%w: it is closed", budget.ErrUnreachable)
	}
	return nil
}

func (u *unwritten) append([]byte) (*batch, error) { return nil, u.room() }

func (u *unwritten) sync() error { return u.room() }

func (u *unwritten) wait(context.Context, *batch) error { return u.room() }

func (u *unwritten) close() error {
	u.closed.Store(true)
	return nil
}
