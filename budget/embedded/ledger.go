// Package embedded is the ledger of one process: in memory, with every event
// durable in a directory before the verb that caused it returns. Behind Leading
// the verbs return earlier, and what rests on an event waits for Flush instead.
// InMemory has no directory.
//
// # Files
//
// The directory holds a lock (LOCK, held with flock as long as the ledger is
// open), journals and at most a few snapshots:
//
//	journal-0000000001    what happened, in order
//	snapshot-0000000007   the state before journal 7
//
// The state is the newest snapshot and then every journal from its number on.
// A journal that has grown large is closed and the next one begun; a snapshot
// of what the closed ones hold is then written from the files alone, under
// another name, synced and renamed. What it replaces is removed after that, so
// a crash at any point leaves a directory that opens.
//
// # Records
//
// A file is lines, each one record:
//
//	crc SP json LF
//
// crc is the CRC-32C of json as 8 lowercase hex digits. The json is an object
// with one member, which names the record:
//
//	{"Event":E}                               E is a budget.Event, zero fields left out
//	{"Ack":{"Tenant":T,"Number":N}}           the receipt of event N is durable
//	{"Renew":{"Tenant":T,"Lease":L,"Expires":M}}   the lease expires at M
//	{"Lease":{"Tenant":T,...}}                a budget.Lease of T's next State, zero fields left out
//	{"State":{"State":S,"Pending":[E...]}}    a whole tenant: budget.Snapshot, with the leases
//	                                          before it, and the events without receipt
//	{"End":N}                                 a snapshot's last line, after N others
//
// A last line of the newest journal that has no LF was being written when the
// process died; nobody was told of it, and it is cut off. Any other line whose
// checksum is wrong, or whose event does not follow, is damage: Open fails
// with ErrDamaged, naming file and offset.
//
// Acks and renewals are not waited for. One that is lost makes an event
// overdue once more, or a lease expire earlier.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

const (
	// DefaultCompactBytes is the journal size that starts a compaction: a
	// second or two to read at start-up.
	DefaultCompactBytes = 64 << 20

	// MaxUnacknowledged bounds a tenant's events without receipt. A tenant
	// that reaches it is granted nothing until receipts are written again.
	MaxUnacknowledged = 1 << 17

	// expirePerCall bounds the leases that one call ends as expired.
	expirePerCall = 1000

	// sweepEvents bounds the events that one Sweep returns.
	sweepEvents = 1000
)

// ErrLocked: another process has the directory open.
var ErrLocked = errors.New("ledger directory is in use by another process")

// Config says where a ledger lives.
type Config struct {
	// Dir holds the journal. It is made if missing, readable by its owner.
	Dir string

	// CompactBytes is the journal size that starts a compaction;
	// DefaultCompactBytes if zero.
	CompactBytes int64

	// Now is the wall clock, which may be set; time.Now if nil.
	Now func() time.Time

	// Elapsed is the time since some instant, by a clock that nobody sets. If nil
	// it is how far Now has moved, by the monotonic clock if that has one.
	Elapsed func() time.Duration

	// Log is told of a cut tail, of compactions that did not succeed, and of
	// leaps of the wall clock; slog.Default if nil.
	Log *slog.Logger

	// suspended is for how long the machine was suspended; nil but in tests.
	suspended func() time.Duration

	// openFile makes and opens journals; nil but in tests.
	openFile func(path string) (file, error)
}

func (c *Config) fill() {
	if c.CompactBytes == 0 {
		c.CompactBytes = DefaultCompactBytes
	}
	if c.suspended == nil && c.Now == nil {
		c.suspended = suspended
	}
	if c.suspended == nil {
		c.suspended = func() time.Duration { return 0 }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.openFile == nil {
		c.openFile = openJournal
	}
}

// Ledger implements budget.Ledger and budget.Keeper. Its verbs may be called
// from many goroutines.
type Ledger struct {
	config   Config
	lock     *os.File // nil in memory
	journal  writer
	recovery Recovery
	clock    *clock

	mu      sync.RWMutex
	tenants tenants
	seen    map[string]sighting
}

// sighting is what the caller remembers of a tenant.
type sighting struct {
	epoch  string
	number int64
}

// Open opens the ledger in a directory, making it if missing. It fails with
// ErrLocked if another process has it open, and with ErrDamaged if a file of
// it is damaged.
func Open(config Config) (*Ledger, error) {
	config.fill()
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("ledger directory: %w", err)
	}
	lock, err := lockDir(config.Dir)
	if err != nil {
		return nil, err
	}
	l := &Ledger{config: config, lock: lock, clock: newClock(&config), seen: make(map[string]sighting)}
	if err := l.start(); err != nil {
		unlockDir(lock)
		return nil, err
	}
	return l, nil
}

func (l *Ledger) start() error {
	loaded, err := recoverDir(l.config.Dir)
	if err != nil {
		return err
	}
	l.tenants, l.recovery = loaded.tenants, loaded.report
	for _, t := range l.tenants {
		l.clock.reach(t.state.Advance(0))
	}
	if l.recovery.TornBytes > 0 {
		l.config.Log.Warn("cut off a record that was being written when the ledger stopped",
			"file", l.recovery.TornFile, "bytes", l.recovery.TornBytes)
	}
	journal, err := startJournal(&l.config, loaded.files)
	if err != nil {
		return err
	}
	l.journal = journal
	return nil
}

// Recovery is what Open found.
type Recovery struct {
	Tenants   int
	Records   int64  // read from snapshot and journals
	TornFile  string // the journal whose tail was cut off, if any
	TornBytes int64  // how much
}

// Recovery reports what Open found.
func (l *Ledger) Recovery() Recovery { return l.recovery }

// Close makes everything durable and gives the directory up. A second call
// does nothing.
func (l *Ledger) Close() error {
	err := l.journal.close()
	if l.lock == nil {
		return err
	}
	if lockErr := unlockDir(l.lock); err == nil && !errors.Is(lockErr, os.ErrClosed) {
		err = lockErr
	}
	return err
}

// Now is the ledger's clock, in whole milliseconds. It does not go back, for
// any tenant: a window that was computed from another time than a tenant's
// would hold no request.
func (l *Ledger) Now() time.Time { return time.UnixMilli(l.now()) }

func (l *Ledger) now() int64 {
	at, _ := l.clock.now()
	return at
}

// find is a tenant, unless its state was lost. The caller holds its mutex when
// it gets it, and unlocks it.
func (l *Ledger) find(name string) (*tenant, error) {
	l.mu.RLock()
	t, seen := l.tenants[name], l.seen[name]
	l.mu.RUnlock()
	if t == nil {
		return nil, fmt.Errorf("%w: tenant %q has no record", budget.ErrLost, name)
	}
	t.mu.Lock()
	if err := t.behind(seen); err != nil {
		t.mu.Unlock()
		return nil, err
	}
	return t, nil
}

// question is a verb of budget.State: it gives the answer, or the event that
// must be applied before it is asked again.
type question[A any] func(s *budget.State, at int64) (A, budget.Event, error)

// answer asks a tenant, and returns when everything that the answer rests on
// is durable: what an answer or a denial observed must survive a crash even
// where it changed nothing itself.
func answer[A any](ctx context.Context, l *Ledger, name string, ask question[A]) (A, error) {
	var none A
	a, last, err := atOnce(l, name, ask)
	if waitErr := l.journal.wait(ctx, last); waitErr != nil {
		return none, waitErr
	}
	return a, err
}

// atOnce asks a tenant, and returns the batch that makes the answer durable.
func atOnce[A any](l *Ledger, name string, ask question[A]) (A, *batch, error) {
	t, err := l.find(name)
	if err != nil {
		var none A
		return none, nil, err
	}
	defer t.mu.Unlock()
	a, err := decide(l, t, ask)
	return a, t.last, err
}

func decide[A any](l *Ledger, t *tenant, ask question[A]) (A, error) {
	var none A
	at, err := l.expire(t)
	if err != nil {
		return none, err
	}
	for {
		a, e, err := ask(t.state, at)
		if err != nil || e.Kind == "" {
			return a, err
		}
		if err := l.commit(t, e); err != nil {
			return none, err
		}
	}
}

// expire ends the tenant's leases that are due and returns its time.
func (l *Ledger) expire(t *tenant) (int64, error) {
	now, jumped := l.clock.now()
	if err := l.putOff(t, jumped); err != nil {
		return now, err
	}
	at := t.state.Advance(now)
	for range expirePerCall {
		e := t.state.Expire(at)
		if e.Kind == "" {
			break
		}
		if err := l.commit(t, e); err != nil {
			return at, err
		}
	}
	return at, nil
}

// commit applies an event and hands it to the journal, which must have room:
// what is applied is also written, sooner or later.
func (l *Ledger) commit(t *tenant, e budget.Event) error {
	if err := l.journal.room(); err != nil {
		return err
	}
	if e.Kind == budget.Granted && t.pending.live >= MaxUnacknowledged {
		return fmt.Errorf("%w: tenant %q has %d events without receipt", budget.ErrUnavailable, e.Tenant, t.pending.live)
	}
	if err := t.apply(e); err != nil {
		return fmt.Errorf("%w: %w", budget.ErrUnavailable, err)
	}
	t.scratch = appendEvent(t.scratch[:0], &t.terms, &e)
	return l.write(t)
}

// write hands the tenant's scratch to the journal.
func (l *Ledger) write(t *tenant) error {
	last, err := l.journal.append(t.scratch)
	if err != nil {
		return err
	}
	t.last = last
	return nil
}
