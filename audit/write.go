package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// entry is a receipt on its way through the queue. The writer answers it once.
type entry struct {
	kind  string
	body  []byte           // in room, unless that is too small for it
	room  *[bodyBytes]byte // goes back to bodies with the answer
	event EventID
	ref   Ref
	err   error

	// Somebody waits for done to be closed, or else told is called.
	done chan struct{}
	told func(Ref, error)
}

// bodies lends entries the memory for their encoded bodies.
var bodies = sync.Pool{New: func() any { return new([bodyBytes]byte) }}

// bodyBytes has room for a decision with a few claims.
const bodyBytes = 4 << 10

// newEntry encodes the body on the caller's time.
func newEntry(body Body) (*entry, error) {
	room := bodies.Get().(*[bodyBytes]byte)
	encoded, err := encode(room[:0], body)
	if err != nil {
		return nil, err
	}
	if len(encoded) > MaxLineBytes-lineOverhead {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrInvalid, len(encoded), MaxLineBytes-lineOverhead)
	}
	event, _ := eventOf(body)
	return &entry{kind: body.kind(), body: encoded, room: room, event: event}, nil
}

// encode appends a body. Those of every call come as pointers: they are not small.
func encode(dst []byte, body Body) ([]byte, error) {
	switch b := body.(type) {
	case *Decision:
		return b.append(dst)
	case *Settlement:
		return encodeRecord(dst, b)
	}
	return body.encode(dst)
}

// waits reports whether somebody waits for the entry.
func (e *entry) waits() bool { return e.done != nil }

// answered reports whether the owner was told.
func (e *entry) answered() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// answer tells the entry's owner what became of it. The writer has no more use
// for it.
func (e *entry) answer(err error) {
	bodies.Put(e.room)
	e.body, e.room = nil, nil
	if err != nil {
		e.ref, e.err = Ref{}, err
	}
	if e.waits() {
		close(e.done)
		return
	}
	e.told(e.ref, e.err)
}

// batch is the lines of one write.
type batch struct {
	buf  []byte
	link link
	err  error
}

// newBatch begins a batch in buf, which it overwrites.
func newBatch(after link, buf []byte) *batch { return &batch{buf: buf[:0], link: after} }

func (b *batch) addEncoded(kind string, body []byte) {
	b.buf, b.link = b.link.appendLine(b.buf, kind, body)
	b.buf = append(b.buf, '\n')
}

func (b *batch) add(body Body) {
	encoded, err := body.encode(nil)
	b.err = errors.Join(b.err, err)
	b.addEncoded(body.kind(), encoded)
}

func (b *batch) seal(s sealer) {
	seal, err := s.seal(b.link)
	b.err = errors.Join(b.err, err)
	b.add(seal)
}

// await returns when the entry is answered, or with the context's cause when that has
// ended. It writes, for all who are in the queue, if nobody else does: a caller alone
// wakes nobody and is woken by nobody.
func (l *Log) await(ctx context.Context, e *entry) error {
	if l.takePen() {
		l.write()
	}
	for !e.answered() {
		select {
		case <-e.done:
		case l.pen <- struct{}{}:
			l.write()
		case <-ctx.Done():
			l.departure.Reset(rideLimit) // somebody must write it
			return context.Cause(ctx)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// takePen reports whether its caller may write from now on, and must.
func (l *Log) takePen() bool {
	select {
	case l.pen <- struct{}{}:
		return true
	default:
		return false
	}
}

// write writes a batch and gives the pen back, to the first who waits for it.
func (l *Log) write() {
	defer func() { <-l.pen }()
	l.commit(l.collect())
}

// rideLimit bounds how long a receipt that nobody waits for waits for a batch
// that somebody does wait for. At 50 requests a second most find one: a batch of
// their own would cost each request another wake-up and another fsync.
const rideLimit = 20 * time.Millisecond

// ride sees to it that an entry in the queue that nobody waits for is written.
func (l *Log) ride() {
	switch l.riders.Add(1) {
	case 1:
		l.departure.Reset(rideLimit)
	case batchReceipts:
		l.departure.Reset(0)
	}
}

// depart writes what is in the queue when no batch has taken it in time. On a disk that
// hangs one at most waits to do so.
func (l *Log) depart() {
	if l.departing.Swap(true) {
		return
	}
	select {
	case l.pen <- struct{}{}:
		l.departing.Store(false) // what is left from now on needs another
	case <-l.exited:
		return
	}
	if len(l.queue) == 0 {
		<-l.pen
		return
	}
	l.write()
}

// gatherLimit bounds how long a batch waits for company, and companyReceipts is
// when it has enough of it: a batch costs about 130 us of CPU here, fsync and
// signature, so more company would save a receipt less than 7 us. A batch that begins
// with one caller waits only where a crowd came lately: fewer would save less than they
// would wait.
const (
	gatherLimit     = 4 * time.Millisecond
	companyReceipts = 20
	crowd           = 3
)

// company is how many callers a batch waits for, if it waits: as many as wait at the
// same time anyway, which is found out by asking for one more now and then. Few callers
// do not wait in vain for others that do not exist.
type company struct {
	size  int // of the next batch
	quiet int // batches until the next try for more
}

// quietBatches is how often the company stays as it is after it was not reached.
const quietBatches = 16

// learn takes in for how many a batch was in the end.
func (c *company) learn(came int) {
	switch {
	case came < c.size:
		c.size, c.quiet = (c.size+came)/2, quietBatches
	case c.quiet > 0:
		c.size = min(came, companyReceipts)
		c.quiet--
	case came > 1:
		c.size = min(came+1+came/4, companyReceipts)
	}
}

// collect takes what is in the queue, up to a batch. While one batch is being synced
// the next one gathers; one that has found company by then, or may count on it, waits
// for more.
func (l *Log) collect() []*entry {
	var batch gathered
	l.fill(&batch)
	if batch.waiting > 1 || batch.waiting == 1 && l.company.size >= crowd {
		l.gather(&batch)
		l.company.learn(batch.waiting)
	}
	l.riders.Add(int64(batch.waiting - len(batch.entries)))
	return batch.entries
}

// fill takes what is in the queue.
func (l *Log) fill(batch *gathered) {
	for !batch.full() {
		select {
		case e := <-l.queue:
			batch.add(e)
		default:
			return
		}
	}
}

// gather adds to the batch once it has company, or the time is up.
func (l *Log) gather(batch *gathered) {
	missing := l.company.size - batch.waiting - len(l.queue)
	if missing <= 0 || batch.full() {
		return
	}
	select {
	case <-l.enough: // said too late for the batch before
	default:
	}
	l.missing.Store(int64(missing))
	l.gathering.Reset(gatherLimit)
	select {
	case <-l.enough:
	case <-l.gathering.C:
		l.missing.Store(0)
	}
	l.fill(batch)
}

// hail tells whoever gathers that one more caller has come.
func (l *Log) hail() {
	if l.missing.Load() <= 0 || l.missing.Add(-1) != 0 {
		return
	}
	select {
	case l.enough <- struct{}{}:
	default:
	}
}

// gathered is a batch as it grows.
type gathered struct {
	entries []*entry
	bytes   int
	waiting int // entries that somebody waits for
}

func (g *gathered) add(e *entry) {
	g.entries, g.bytes = append(g.entries, e), g.bytes+len(e.body)
	if e.waits() {
		g.waiting++
	}
}

func (g *gathered) full() bool {
	return len(g.entries) >= batchReceipts || g.bytes >= batchBytes
}

// commit makes the entries durable and answers their callers.
func (l *Log) commit(entries []*entry) {
	var b *batch
	err := fmt.Errorf("%w: whoever wrote panicked", ErrBroken)
	defer func() { l.settle(entries, b, err) }()
	b, err = l.writeEntries(entries)
}

// settle notes what became of a batch and tells the callers.
func (l *Log) settle(entries []*entry, b *batch, err error) {
	l.mu.Lock()
	l.err = err
	if err == nil {
		l.tip.link = b.link
		l.at, l.name = place{l.segment.number, l.segment.size}, l.segment.name
		for _, e := range entries {
			observeHead(l.tip.heads, e.event)
		}
	}
	l.mu.Unlock()
	for _, e := range entries {
		e.answer(err)
	}
}

// writeEntries chains, seals and writes the entries. l.tip and l.err are
// changed by whoever has the pen alone, so reading them here needs no lock.
func (l *Log) writeEntries(entries []*entry) (*batch, error) {
	if errors.Is(l.err, ErrBroken) {
		return nil, l.err
	}
	if err := l.before(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := l.rotateSegment(); err != nil {
		return nil, unwritten(err)
	}
	b := newBatch(l.tip.link, l.buf)
	for _, e := range entries {
		b.addEncoded(e.kind, e.body)
		e.ref = newRef(b.link.chain, b.link.n)
	}
	b.seal(l.sealer)
	l.buf = b.buf
	if b.err != nil {
		return nil, b.err
	}
	if err := l.segment.write(b.buf, l.cfg.Sync); err != nil {
		return nil, unwritten(err)
	}
	return b, nil
}

// unwritten classes an error of the disk: a full one may have room later.
func unwritten(err error) error {
	if errors.Is(err, errFull) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// rotateSegment begins a new file once the current one is full. The old one
// is synced first, so that only the last file can ever be torn.
func (l *Log) rotateSegment() error {
	if l.segment.size < l.cfg.SegmentBytes {
		return nil
	}
	if err := errors.Join(l.segment.file.Sync(), l.segment.whole()); err != nil {
		return err
	}
	next, err := l.nextSegment()
	if err != nil {
		return err
	}
	if err := l.segment.file.Close(); err != nil {
		return errors.Join(err, next.file.Close())
	}
	l.segment = next
	l.cacheHeads()
	return nil
}

// nextSegment makes the file after the current one.
func (l *Log) nextSegment() (*segment, error) {
	number := l.segment.number + 1
	path := filepath.Join(l.cfg.Dir, segmentName(number))
	f, err := l.cfg.open(path, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fullOr(err)
	}
	name, err := nameOf(path)
	if err := errors.Join(err, syncDir(l.cfg.Dir)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &segment{file: f, name: name, number: number}, nil
}

// cacheHeads writes heads.json. A failure costs the next Open some time and
// nothing else, so it is not an error.
func (l *Log) cacheHeads() {
	if l.cfg.Writer != nil {
		return
	}
	_ = saveHeads(l.cfg.Dir, l.tip, place{l.segment.number, l.segment.size})
}

// finish closes the files. A broken log leaves heads.json alone, because what
// it would say is not known to be durable.
func (l *Log) finish() {
	err := errors.Join(l.segment.file.Sync(), l.segment.name.inPlace())
	if err == nil && !errors.Is(l.err, ErrBroken) {
		l.cacheHeads()
	}
	err = errors.Join(err, l.segment.file.Close())
	if l.lock != nil {
		err = errors.Join(err, unlockDir(l.lock))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && err != nil {
		l.err = fmt.Errorf("audit: close the log: %w", err)
	}
}
