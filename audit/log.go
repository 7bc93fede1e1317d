package audit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// SyncPolicy says when a receipt counts as durable.
type SyncPolicy int

const (
	// SyncBatch calls fsync once for every batch, before Append returns.
	SyncBatch SyncPolicy = iota

	// SyncNever leaves it to the operating system: a crash of the process
	// loses nothing, a power failure may lose the last seconds.
	SyncNever
)

const (
	// DefaultSegmentBytes is the size at which a new file is begun. Open
	// reads at most one file, and small ones beside the others if there is a
	// checkpoint, so it also bounds the time to start.
	DefaultSegmentBytes = 32 << 20

	// queueReceipts bounds the receipts that wait for the writer. Past it,
	// Append waits.
	queueReceipts = 4096

	// A batch takes at most batchReceipts, and no more once it has batchBytes.
	batchReceipts = 1024
	batchBytes    = 1 << 20

	// maxWriteBytes bounds what one write hands to the system: a batch, the
	// line that went over its size and a seal.
	maxWriteBytes = batchBytes + batchReceipts*lineOverhead + 2*MaxLineBytes
)

var (
	// ErrUnavailable is wrapped when a receipt was not written, or not known
	// to be, though a later Append may succeed: the disk is full, or the
	// context ended first.
	ErrUnavailable = errors.New("audit: receipt log unavailable")

	// ErrBroken is wrapped after a write or fsync failed for another reason
	// than a full disk, or when the file was gone from its place. Nobody knows
	// what the disk holds, so every Append fails until the log is opened again.
	ErrBroken = errors.New("audit: receipt log broken, restart once the disk is well")

	// ErrWriteOnly is returned by Find of a log that goes to a writer: nobody
	// here knows what an earlier process wrote.
	ErrWriteOnly = errors.New("audit: receipts that went to a writer cannot be read back")

	// ErrMissing is wrapped by Lacks: receipts that were durable are gone.
	ErrMissing = errors.New("audit: receipts are missing")

	// ErrClosed is returned by Append after Close.
	ErrClosed = errors.New("audit: receipt log closed")
)

// Config says how to open a log: in a directory, or onto a writer.
type Config struct {
	Dir string // made if missing; one process at a time

	// Writer, if set, gets the lines in place of Dir, as in os.Stdout: whole
	// batches with their seal, one Write each. A receipt is then as durable as
	// the writer makes it before it returns. The log does not close it, begins a
	// new chain each time it is opened, and cannot be asked what it holds.
	Writer io.Writer

	Signer Signer // seals every batch

	// Retiring is the key that sealed the log until now, if Signer is to
	// replace it. Open needs it to announce the new key under the old one.
	Retiring Signer

	Sync         SyncPolicy
	SegmentBytes int64            // DefaultSegmentBytes if 0
	Software     string           // name and version, for the start line
	Now          func() time.Time // for start and rotate lines; time.Now if nil

	open     openFile
	newChain func() string
}

func (c Config) withDefaults() Config {
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = DefaultSegmentBytes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.open == nil {
		c.open = openSegmentFile
	}
	if c.newChain == nil {
		c.newChain = randomChain
	}
	return c
}

func randomChain() string {
	id := make([]byte, chainBytes)
	rand.Read(id)
	return hex.EncodeToString(id)
}

// Opened is what Open found and did.
type Opened struct {
	Chain   string
	Reason  string // ReasonCreated, ReasonOpened or ReasonRepaired
	Rotated bool   // Signer took over from Retiring
	// Repaired: what followed the last whole line is now in CutFile, in the
	// log's directory, and CutBytes long. No Append had returned for it.
	CutBytes int64
	CutFile  string
}

// Log appends receipts to one directory. Its methods may be called at once.
type Log struct {
	cfg    Config
	opened Opened
	sealer sealer // of cfg.Signer
	before func() error
	lock   *os.File // nil: of a writer

	queue     chan *entry
	riders    atomic.Int64  // in the queue, that nobody waits for
	departure *time.Timer   // when they are written at the latest
	departing atomic.Bool   // somebody waits for the pen to do so
	missing   atomic.Int64  // callers that the next batch still waits for
	enough    chan struct{} // holds a token once they have come
	exited    chan struct{} // closed by Close
	once      sync.Once

	// pen is full while somebody writes. What follows is theirs.
	pen       chan struct{}
	segment   *segment
	company   company     // that a batch waits for
	gathering *time.Timer // how long
	buf       []byte      // of the last batch, to be used again

	entrance sync.RWMutex // held by those who enqueue, and by Close
	closed   bool         // guarded by entrance

	mu   sync.Mutex // guards what follows
	tip  tip
	at   place // the end of what is durable
	name named // of the segment
	err  error // why the log is not ready
}

// Open takes the directory, repairs a torn last line and writes a start line.
// It refuses with ErrDamaged a directory with any other damage that it sees, and
// with ErrForked one that does not extend the checkpoint in it. It reads only what
// follows the last full segment, and of the others their hash files if there is a
// checkpoint, so run Verify too.
func Open(cfg Config) (*Log, error) {
	cfg = cfg.withDefaults()
	if cfg.Signer == nil {
		return nil, errors.New("audit: no signing key")
	}
	if (cfg.Dir == "") == (cfg.Writer == nil) {
		return nil, errors.New("audit: a log goes to a directory or to a writer: give one of them")
	}
	l := &Log{
		cfg:    cfg,
		sealer: newSealer(cfg.Signer),
		queue:  make(chan *entry, queueReceipts),
		enough: make(chan struct{}, 1),
		pen:    make(chan struct{}, 1),
		exited: make(chan struct{}),
		before: func() error { return nil },
	}
	if err := l.start(); err != nil {
		return nil, err
	}
	l.gathering, l.departure = time.NewTimer(gatherLimit), time.AfterFunc(rideLimit, l.depart)
	return l, nil
}

func (l *Log) start() error {
	if l.cfg.Writer != nil {
		return l.beginOn(l.cfg.Writer)
	}
	if err := os.MkdirAll(l.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	var err error
	if l.lock, err = lockDir(l.cfg.Dir); err != nil {
		return err
	}
	if err := l.resume(); err != nil {
		return errors.Join(err, unlockDir(l.lock))
	}
	return nil
}

// resume brings the log to the end of its directory and begins there.
func (l *Log) resume() error {
	rec, err := recoverDir(l.cfg.Dir)
	if err != nil {
		return err
	}
	if err := extendsLast(l.cfg.Dir); err != nil {
		return err
	}
	if err := l.checkKey(rec.tip.kid); err != nil {
		return err
	}
	if err := l.describe(&rec); err != nil {
		return err
	}
	l.tip, l.at = rec.tip, rec.at
	if err := l.openSegment(); err != nil {
		return err
	}
	if err := l.begin(); err != nil {
		return errors.Join(err, l.segment.file.Close())
	}
	return nil
}

// checkKey refuses a key that the chain does not expect.
func (l *Log) checkKey(kid string) error {
	signer, retiring := l.sealer.key.ID, l.cfg.Retiring
	switch {
	case kid == "" || kid == signer:
		return nil
	case retiring == nil:
		return fmt.Errorf("audit: %s is sealed with key %s, not %s: give the old key as retiring, or use another directory",
			l.cfg.Dir, kid, signer)
	case retiring.Key().ID != kid:
		return fmt.Errorf("audit: %s is sealed with key %s, but the retiring key is %s", l.cfg.Dir, kid, retiring.Key().ID)
	}
	l.opened.Rotated = true
	return nil
}

// describe settles what the start line will say, and sets a torn tail aside.
func (l *Log) describe(rec *recovered) error {
	name, size, err := rec.keepTorn(l.cfg.Dir)
	if err != nil {
		return err
	}
	l.opened.Reason = ReasonOpened
	if rec.tip.n == 0 {
		l.opened.Reason = ReasonCreated
		rec.tip.chain = l.cfg.newChain()
	}
	if name != "" {
		l.opened.Reason, l.opened.CutFile, l.opened.CutBytes = ReasonRepaired, name, size
	}
	l.opened.Chain = rec.tip.chain
	return nil
}

// openSegment opens the last segment, or the first.
func (l *Log) openSegment() error {
	flag := 0
	if l.at.segment == 0 {
		l.at.segment, flag = 1, os.O_CREATE
	}
	path := filepath.Join(l.cfg.Dir, segmentName(l.at.segment))
	f, err := l.cfg.open(path, flag)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := syncDir(l.cfg.Dir); err != nil {
		return errors.Join(fmt.Errorf("audit: %w", err), f.Close())
	}
	name, err := nameOf(path)
	if err != nil {
		return errors.Join(fmt.Errorf("audit: %w", err), f.Close())
	}
	l.segment = &segment{file: f, name: name, number: l.at.segment, size: l.at.offset}
	return nil
}

// begin writes the start line, after a change of keys if there is one. It is
// synced whatever the policy says, so that a repair is never forgotten.
func (l *Log) begin() error {
	b := newBatch(l.tip.link, nil)
	now := l.cfg.Now().UnixMilli()
	key := l.sealer.key
	if l.opened.Rotated {
		b.add(Rotate{Alg: key.Alg, At: now, Kid: key.ID, Public: hex.EncodeToString(key.Public)})
		b.seal(newSealer(l.cfg.Retiring))
	}
	b.add(Start{
		Alg: key.Alg, At: now, CutBytes: l.opened.CutBytes, CutFile: l.opened.CutFile,
		Kid: key.ID, Reason: l.opened.Reason, Software: l.cfg.Software,
	})
	b.seal(l.sealer)
	if b.err != nil {
		return b.err
	}
	if err := l.segment.write(b.buf, SyncBatch); err != nil {
		return fmt.Errorf("audit: write the start line: %w", err)
	}
	l.tip.link, l.tip.kid, l.tip.announce = b.link, key.ID, ""
	l.at.offset, l.name = l.segment.size, l.segment.name
	return nil
}

// Precede has a function called before each batch is written: what receipts
// speak of must be durable before they are. If it fails, so does the batch. It
// must be set before the first receipt.
func (l *Log) Precede(before func() error) { l.before = before }

// Opened is what Open found and did.
func (l *Log) Opened() Opened { return l.opened }

// Append writes a receipt and returns once it is durable under the log's
// SyncPolicy, sealed and chained. Callers at the same time share one write, which
// one of them does. Errors wrap ErrInvalid, ErrUnavailable, ErrBroken or ErrClosed.
// When the context ends while the receipt is in the queue, it may still be written;
// the one who writes finds that out when the disk has answered.
func (l *Log) Append(ctx context.Context, body Body) (Ref, error) {
	e, err := newEntry(body)
	if err != nil {
		return Ref{}, err
	}
	e.done = make(chan struct{})
	if err := l.enqueue(ctx, e); err != nil {
		return Ref{}, err
	}
	l.hail()
	if err := l.await(ctx, e); err != nil {
		return Ref{}, fmt.Errorf("%w: may still be written: %w", ErrUnavailable, err)
	}
	return e.ref, e.err
}

// Post writes a receipt that nobody need wait for: with the next batch, or
// after rideLimit. It calls told exactly once with what Append would have
// returned, mostly on the time of whoever writes, whom told must not keep for
// long. While the queue is full, Post waits.
func (l *Log) Post(body Body, told func(Ref, error)) {
	e, err := newEntry(body)
	if err != nil {
		told(Ref{}, err)
		return
	}
	e.told = told
	if err := l.enqueue(context.Background(), e); err != nil {
		told(Ref{}, err)
		return
	}
	l.ride()
}

// enqueue puts an entry into the queue, from which whoever writes next takes it.
func (l *Log) enqueue(ctx context.Context, e *entry) error {
	l.entrance.RLock()
	defer l.entrance.RUnlock()
	if l.closed {
		return ErrClosed
	}
	select {
	case l.queue <- e:
		return nil
	default:
	}
	select {
	case l.queue <- e:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: queue is full: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// Ready reports why the last batch was not written, nil if it was. It wraps
// ErrUnavailable while the disk is full, and has the log try again, so that a
// replica which gets no requests because it is not ready finds out when there
// is room. It wraps ErrBroken when only a restart helps. It also looks whether
// the file that is written to is in its place.
func (l *Log) Ready() error {
	err := l.lastError()
	if err == nil {
		err = l.inPlace()
	}
	if errors.Is(err, ErrUnavailable) && l.takePen() {
		go l.write() // a seal alone, if there is nothing else
	}
	return err
}

func (l *Log) inPlace() error {
	l.mu.Lock()
	name := l.name
	l.mu.Unlock()
	if err := name.inPlace(); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return nil
}

func (l *Log) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Heads are the highest event number, and its epoch, that the log holds of
// each tenant: what the ledger must have reached.
func (l *Log) Heads() map[string]Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.tip.heads)
}

// Lacks holds the log against what a ledger knows: events of which the log has
// once said that their receipts are durable. It fails with ErrMissing if it has no
// receipt of one of them or of a later one of that tenant. A log cannot tell of
// lines that were archived before it last lost its heads.json, nor of what went to
// a writer; and without sync a power failure may take the newest receipts, so then
// only one that has none at all lacks them.
func (l *Log) Lacks(known map[string]Head) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cfg.Writer != nil || l.cfg.Sync == SyncNever && len(l.tip.heads) > 0 {
		return nil
	}
	for _, tenant := range slices.Sorted(maps.Keys(known)) {
		want, has := known[tenant], l.tip.heads[tenant]
		if has == (Head{}) && l.tip.unread > 0 {
			continue
		}
		if has.Epoch != want.Epoch || has.Event < want.Event {
			return fmt.Errorf("%w: the ledger was told of one of event %d of tenant %s, but the newest in %s is of event %d",
				ErrMissing, want.Event, tenant, l.cfg.Dir, has.Event)
		}
	}
	return nil
}

// Forgive counts as receipted what a ledger knows, so that Lacks finds nothing
// missing from now on: after a clean Close also when the log is opened again.
func (l *Log) Forgive(known map[string]Head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for tenant, head := range known {
		observeHead(l.tip.heads, EventID{Tenant: tenant, Epoch: head.Epoch, Number: head.Event})
	}
}

// Close writes what is in the queue, then ends the log.
func (l *Log) Close() error {
	l.once.Do(func() {
		l.entrance.Lock()
		l.closed = true
		l.entrance.Unlock()
		l.pen <- struct{}{} // for good
		l.departure.Stop()
		for len(l.queue) > 0 {
			l.commit(l.collect())
		}
		l.finish()
		close(l.exited)
	})
	<-l.exited
	return l.lastError()
}
