package embedded

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrDamaged: a file of the ledger is not as it was written. Restore the
// directory from a copy, or provision an empty one and rebuild it from
// receipts.
var ErrDamaged = errors.New("ledger directory is damaged")

// loaded is what a directory holds.
type loaded struct {
	tenants tenants
	files   fileSet
	report  Recovery
}

// recoverDir reads a directory, cuts off a torn tail, and removes what a
// compaction left behind. Every event without receipt is due at once.
func recoverDir(dir string) (*loaded, error) {
	files, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	l := &loaded{tenants: make(tenants), files: files}
	if err := l.readSnapshot(dir); err != nil {
		return nil, err
	}
	for _, n := range files.journals {
		if err := l.readJournal(dir, n); err != nil {
			return nil, err
		}
	}
	for _, path := range files.obsolete {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("ledger directory: %w", err)
		}
	}
	for _, t := range l.tenants {
		t.pending.expedite()
	}
	l.report.Tenants = len(l.tenants)
	return l, nil
}

func (l *loaded) readSnapshot(dir string) error {
	if l.files.snapshot == 0 {
		return nil
	}
	r, err := openReader(snapshotPath(dir, l.files.snapshot))
	if err != nil {
		return err
	}
	defer r.file.Close()
	if err := l.readSealed(r); err != nil {
		return err
	}
	l.files.snapshotBytes = r.offset
	if r.end != r.lines-1 {
		return r.damage(errors.New("a snapshot ends with the number of its lines"))
	}
	return nil
}

// readSealed reads a file that was complete before another was begun.
func (l *loaded) readSealed(r *reader) error {
	if err := l.readLines(r); err != nil {
		return err
	}
	if len(r.tail) > 0 {
		return r.damage(errors.New("it breaks off, but newer files exist"))
	}
	return nil
}

func (l *loaded) readJournal(dir string, number int64) error {
	r, err := openReader(journalPath(dir, number))
	if err != nil {
		return err
	}
	defer r.file.Close()
	if number != l.files.newest() {
		err = l.readSealed(r)
	} else {
		err = l.readNewest(r)
	}
	if err == nil && r.end != endless {
		return r.damage(errors.New("a journal has no end record"))
	}
	return err
}

func (l *loaded) readNewest(r *reader) error {
	if err := l.readLines(r); err != nil {
		return err
	}
	l.files.newestBytes = r.offset
	return l.cutTail(r)
}

// cutTail removes a record that was being written. A complete one whose LF is
// spoiled is damage instead.
func (l *loaded) cutTail(r *reader) error {
	if len(r.tail) == 0 {
		return nil
	}
	if _, whole := unframe(r.tail[:len(r.tail)-1]); whole {
		return r.damage(errors.New("the last record has no end of line"))
	}
	l.report.TornFile, l.report.TornBytes = r.path, int64(len(r.tail))
	if err := os.Truncate(r.path, r.offset); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	return f.Sync()
}

func (l *loaded) readLines(r *reader) error {
	for {
		rec, err := r.next()
		if err == io.EOF {
			return l.belonging(r)
		}
		if err != nil {
			return err
		}
		if rec.End != nil {
			r.end = *rec.End
			continue
		}
		if err := l.tenants.replay(rec); err != nil {
			return r.damage(err)
		}
		l.report.Records++
	}
}

// belonging checks that no lease was read whose State did not come.
func (l *loaded) belonging(r *reader) error {
	for name, t := range l.tenants {
		if len(t.leases) > 0 {
			return r.damage(fmt.Errorf("the state of tenant %q is missing after its leases", name))
		}
	}
	return nil
}

// reader reads the records of one file.
type reader struct {
	file    *os.File
	path    string
	lines   int64
	offset  int64 // after the last whole line
	start   int64 // of the line being read
	tail    []byte
	end     int64 // what the End record says, endless before it
	buf     *bufio.Reader
	decoder *decoder
}

const (
	readBytes = 1 << 18 // size of reads and writes
	endless   = -1
)

func openReader(path string) (*reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return &reader{file: f, path: path, end: endless, buf: bufio.NewReaderSize(f, readBytes), decoder: newDecoder()}, nil
}

// next is the next record; io.EOF after the last whole line, with what follows
// it in tail.
func (r *reader) next() (*record, error) {
	line, err := r.line()
	if err == io.EOF {
		r.start, r.tail = r.offset, bytes.Clone(line)
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	r.start = r.offset
	rec, err := r.decoder.decodeLine(bytes.TrimSuffix(line, []byte{'\n'}))
	if err != nil {
		return nil, r.damage(err)
	}
	if r.end != endless {
		return nil, r.damage(errors.New("it goes on after its end"))
	}
	r.offset += int64(len(line))
	r.lines++
	return rec, nil
}

// line is what comes up to the next LF, with it, until the next call. Only one
// that does not fit the buffer, a large tenant's State, is copied.
func (r *reader) line() ([]byte, error) {
	line, err := r.buf.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	long := bytes.Clone(line)
	rest, err := r.buf.ReadBytes('\n')
	return append(long, rest...), err
}

func (r *reader) damage(err error) error {
	return fmt.Errorf("%w: %s at offset %d: %w", ErrDamaged, r.path, r.start, err)
}
