package audit

import (
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
	encoded, err := body.encode(room[:0])
	if err != nil {
		return nil, err
	}
	if len(encoded) > MaxLineBytes-lineOverhead {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrInvalid, len(encoded), MaxLineBytes-lineOverhead)
	}
	event, _ := eventOf(body)
	return &entry{kind: body.kind(), body: encoded, room: room, event: event}, nil
}

// waits reports whether somebody waits for the entry.
func (e *entry) waits() bool { return e.done != nil }

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

// write is the writer: the only one that touches the segment.
func (l *Log) write() {
	defer close(l.exited)
	defer l.finish()
	l.departure = time.NewTimer(rideLimit)
	defer l.departure.Stop()
	for {
		select {
		case e := <-l.queue:
			l.take(e)
		case <-l.departure.C:
			if len(l.riders.entries) > 0 {
				l.commit(l.collect())
			}
		case <-l.retry:
			l.commit(l.collect()) // a seal alone, if there is nothing else
		case <-l.closing:
			l.drain()
			return
		}
	}
}

// rideLimit bounds how long a receipt that nobody waits for waits for a batch
// that somebody does wait for. At 50 requests a second most find one: a batch of
// their own would cost each request another wake-up and another fsync.
const rideLimit = 20 * time.Millisecond

// take begins a batch with an entry that somebody waits for. Any other one is
// a rider: it goes with the next batch, and causes none of its own before
// rideLimit is over or the riders fill one.
func (l *Log) take(e *entry) {
	if len(l.riders.entries) == 0 && !e.waits() {
		l.departure.Reset(rideLimit)
	}
	l.riders.add(e)
	if e.waits() || l.riders.full() {
		l.commit(l.collect())
	}
}

// drain writes what was queued before Close.
func (l *Log) drain() {
	for {
		batch := l.collect()
		if len(batch) == 0 {
			return
		}
		l.commit(batch)
	}
}

// gatherLimit bounds how long a batch waits for company, and companyReceipts is
// when it has enough of it: a batch costs about 130 us of CPU here, fsync and
// signature, so more company would save a receipt less than 7 us.
const (
	gatherLimit     = 2 * time.Millisecond
	companyReceipts = 20
)

// company is how many callers a batch waits for: as many as wait at the same time
// anyway, which is found out by asking for one more now and then. A caller alone
// never waits, and few callers do not wait in vain for others that do not exist.
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

// collect takes the riders and what waits in the queue, up to a batch. While
// one batch is being synced the next one gathers.
func (l *Log) collect() []*entry {
	batch := l.riders
	l.riders = gathered{}
	if batch.waiting > 0 {
		l.await(&batch)
	}
	for !batch.full() {
		select {
		case e := <-l.queue:
			batch.add(e)
			continue
		default:
		}
		break
	}
	l.company.learn(batch.waiting)
	return batch.entries
}

// await adds to the batch until it has company, or the time is up.
func (l *Log) await(batch *gathered) {
	if batch.waiting >= l.company.size {
		return
	}
	timeout := time.NewTimer(gatherLimit)
	defer timeout.Stop()
	for batch.waiting < l.company.size && !batch.full() {
		select {
		case e := <-l.queue:
			batch.add(e)
		case <-timeout.C:
			return
		}
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
	b, err := l.writeEntries(entries)
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
// changed by this goroutine alone, so reading them here needs no lock.
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
		err = errors.Join(err, l.lock.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && err != nil {
		l.err = fmt.Errorf("audit: close the log: %w", err)
	}
}
