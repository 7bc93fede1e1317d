package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// lazyBytes is how much that nobody waits for may gather before it is written.
const lazyBytes = 1 << 20

// file is what a journal needs of one.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// errFull is a write that found no room and was taken back.
var errFull = errors.New("no space left")

func openJournal(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// batch is what one write and one sync make durable. Err is set before done is
// closed.
type batch struct {
	lines []byte
	done  chan struct{}
	err   error
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// journal writes records in the order they are appended, many in one sync.
// While the disk is full it keeps them and tries again when it is asked for
// anything. The first write or sync that fails for another reason breaks it for
// good: nobody knows what the disk holds, so nothing may rest on it.
type journal struct {
	config *Config
	wake   chan struct{} // holds one token if the batch should be written
	quit   chan struct{} // closed by close
	gone   chan struct{} // closed when the writer has returned

	mu     sync.Mutex
	batch  *batch // being filled
	full   error  // why the last write found no room; set under writing
	err    error  // why nothing can be written any more
	closed bool

	// writing is held by whoever writes a batch: the goroutine, or a caller of sync.
	// It guards what follows.
	writing    sync.Mutex
	finished   bool   // the file is closed
	spare      []byte // for the lines of the next batch but one
	file       file
	number     int64 // of the file
	bytes      int64 // in the file
	rotateAt   int64 // bytes
	compacting chan int64
}

// startJournal goes on with the newest file.
func startJournal(config *Config, files fileSet) (*journal, error) {
	j := &journal{config: config, batch: newBatch(), number: files.newest(), bytes: files.newestBytes,
		rotateAt: rotateAt(config, files.snapshotBytes),
		wake:     make(chan struct{}, 1), quit: make(chan struct{}), gone: make(chan struct{})}
	f, err := openNext(config, j.number)
	if err != nil {
		return nil, err
	}
	j.file = f
	go j.run()
	return j, nil
}

// openNext opens a journal, and makes its name durable.
func openNext(config *Config, number int64) (file, error) {
	f, err := config.openFile(journalPath(config.Dir, number))
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := syncDir(config.Dir); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// room says why no record should be added now, and has the journal try again
// if that is for want of room.
func (j *journal) room() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.brokenLocked()
	if err == nil && j.full != nil {
		j.rouse()
		err = j.full
	}
	if err != nil {
		return budget.Unreachable(err)
	}
	return nil
}

// append adds a record and returns the batch that will make it durable: once
// somebody waits for it, or much has gathered.
func (j *journal) append(payload []byte) (*batch, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.brokenLocked(); err != nil {
		return nil, budget.Unreachable(err)
	}
	j.batch.lines = appendLine(j.batch.lines, payload)
	if len(j.batch.lines) > lazyBytes {
		j.rouse()
	}
	return j.batch, nil
}

// rouse has the batch written as soon as the writer is free.
func (j *journal) rouse() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// sync makes durable what was appended so far, on the time of its caller, who has
// nothing else to do meanwhile: two goroutines less to wake than with wait.
func (j *journal) sync() error {
	j.mu.Lock()
	b := j.batch
	j.mu.Unlock()
	j.writing.Lock()
	defer j.writing.Unlock()
	select {
	case <-b.done: // somebody else was faster
		return j.outcome(b)
	default:
	}
	if j.finished {
		return j.broken()
	}
	j.flush()
	return b.err
}

// wait returns when the batch is durable. A nil batch is.
func (j *journal) wait(ctx context.Context, b *batch) error {
	if b == nil {
		return j.broken()
	}
	select {
	case <-b.done:
		return j.outcome(b)
	default:
	}
	j.rouse()
	select {
	case <-b.done:
		return b.err
	case <-j.gone:
		return j.ended(b)
	case <-ctx.Done():
		return fmt.Errorf("%w: the journal is not written yet: %w", budget.ErrUnavailable, ctx.Err())
	}
}

// outcome says of a batch that is over whether it is durable. One that found no
// room is written before any later one.
func (j *journal) outcome(b *batch) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case errors.Is(b.err, errFull) && j.full != nil:
		return j.full
	case b.err != nil && !errors.Is(b.err, errFull):
		return b.err
	}
	return j.brokenLocked()
}

// ended says of a batch, after the writer has returned, whether it is durable.
func (j *journal) ended(b *batch) error {
	select {
	case <-b.done:
		return b.err
	default:
		return j.broken()
	}
}

// broken says why nothing can be written any more.
func (j *journal) broken() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.brokenLocked()
}

func (j *journal) brokenLocked() error {
	if j.err != nil {
		return j.err
	}
	if j.closed {
		return fmt.Errorf("%w: it is closed", budget.ErrUnreachable)
	}
	return nil
}

// run writes batches until close.
func (j *journal) run() {
	defer close(j.gone)
	for {
		select {
		case <-j.wake:
			j.writing.Lock()
			j.flush()
			j.writing.Unlock()
		case <-j.quit:
			j.end()
			return
		}
	}
}

// end writes the last batch and closes the file.
func (j *journal) end() {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.flush()
	if j.full != nil {
		j.fail(j.full)
	}
	j.finish()
	j.finished = true
}

// flush makes the batch durable and starts the next one. Its caller holds writing.
func (j *journal) flush() {
	j.mu.Lock()
	b, err := j.batch, j.err
	j.batch = newBatch()
	j.batch.lines, j.spare = j.spare[:0], nil
	j.mu.Unlock()
	if err == nil {
		err = j.store(b.lines)
	}
	if errors.Is(err, errFull) {
		j.keep(b, err)
		return
	}
	j.settle(err)
	if cap(b.lines) <= lazyBytes {
		j.spare = b.lines
	}
	b.lines, b.err = nil, err
	close(b.done)
	if err == nil {
		j.rotate()
	}
}

// keep puts the lines of a batch that found no room before those that came
// after them.
func (j *journal) keep(b *batch, err error) {
	j.mu.Lock()
	j.batch.lines = append(b.lines, j.batch.lines...)
	j.full = err
	j.mu.Unlock()
	b.lines, b.err = nil, err
	close(b.done)
}

func (j *journal) store(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if _, err := j.file.Write(lines); err != nil {
		return fmt.Errorf("%w: journal %d: %w", budget.ErrUnavailable, j.number, j.takeBack(err))
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("%w: journal %d: %w", budget.ErrUnavailable, j.number, err)
	}
	j.bytes += int64(len(lines))
	return nil
}

// takeBack cuts off what a write that found no room has left.
func (j *journal) takeBack(cause error) error {
	if !errors.Is(cause, syscall.ENOSPC) && !errors.Is(cause, syscall.EDQUOT) {
		return cause
	}
	if err := j.file.Truncate(j.bytes); err != nil {
		return errors.Join(cause, err)
	}
	return fmt.Errorf("%w: %w", errFull, cause)
}

// settle notes how a flush went, before anybody learns of its batch.
func (j *journal) settle(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.full, j.err = nil, err
}

// fail breaks the journal for good.
func (j *journal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = err
}

// rotate begins the next file when this one has grown large, and compacts what
// is closed. While a compaction runs, the file grows on.
func (j *journal) rotate() {
	j.reap(false)
	if j.bytes < j.rotateAt || j.compacting != nil {
		return
	}
	next, err := openNext(j.config, j.number+1)
	if err != nil {
		j.rotateAt += j.config.CompactBytes
		j.config.Log.Warn("the next journal cannot be begun", "error", err)
		return
	}
	if err := j.file.Close(); err != nil {
		j.config.Log.Warn("journal closed with an error after its sync", "error", err)
	}
	j.file, j.number, j.bytes = next, j.number+1, 0
	j.compacting = make(chan int64, 1)
	go func(number int64, done chan<- int64) { done <- j.compact(number) }(j.number, j.compacting)
}

// compact returns the size of the new snapshot, 0 if there is none.
func (j *journal) compact(number int64) int64 {
	size, err := compact(j.config.Dir, number)
	if err != nil {
		j.config.Log.Warn("compaction did not succeed; the journals are kept", "error", err)
		return 0
	}
	return size
}

// snapshotShare is how much of what a compaction reads may be the snapshot
// before: a fourth. A busy ledger remembers the leases of its last minute, and
// with as much journal as snapshot, writing those again and again took a sixth of
// a loaded proxy's CPU.
const snapshotShare = 4

// rotateAt is the size, in bytes, at which a journal is closed and compacted.
func rotateAt(config *Config, snapshotBytes int64) int64 {
	return max(config.CompactBytes, snapshotShare*snapshotBytes)
}

// reap learns how the compaction went, if there was one and it is over.
func (j *journal) reap(wait bool) {
	if j.compacting == nil {
		return
	}
	if !wait && len(j.compacting) == 0 {
		return
	}
	j.rotateAt = rotateAt(j.config, <-j.compacting)
	j.compacting = nil
}

func (j *journal) finish() {
	j.reap(true)
	if err := j.file.Close(); err != nil {
		j.fail(fmt.Errorf("%w: journal %d: %w", budget.ErrUnavailable, j.number, err))
	}
}

// close writes what is left. It returns why the journal broke, if it did.
func (j *journal) close() error {
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	j.mu.Unlock()
	if first {
		close(j.quit)
	}
	<-j.gone
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}
