package oxdeai

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// AuditSink keeps audit events outside the engine. Append gets the canonical bytes of one event, without a newline,
// and must not keep the slice. If it fails the event is not in the log either, and the evaluation is denied. Flush
// makes what was appended durable. The log calls Append one at a time and in order.
type AuditSink interface {
	Append(event []byte) error
	Flush() error
}

// MemorySink keeps up to MaxAuditEvents events in memory. The zero value is empty and ready. It is safe for
// concurrent use.
type MemorySink struct {
	mu    sync.Mutex
	lines [][]byte
}

// Append implements AuditSink. The error is ErrAuditLogFull.
func (m *MemorySink) Append(event []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.lines) >= MaxAuditEvents {
		return ErrAuditLogFull
	}
	m.lines = append(m.lines, bytes.Clone(event))
	return nil
}

// Flush implements AuditSink.
func (m *MemorySink) Flush() error { return nil }

// Lines returns the events in order. The caller does not change them.
func (m *MemorySink) Lines() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lines)
}

// FileSink appends events to a file, one line of canonical JSON each. It is safe for concurrent use.
type FileSink struct {
	mu     sync.Mutex
	file   *os.File
	size   int64
	buf    []byte
	broken error // the file may end in half a line
}

// NewFileSink opens the file, or creates it, readable by its owner only. If it ends in half a line, which only a
// crash during Append leaves, that half is cut off: its event was never acknowledged.
func NewFileSink(path string) (*FileSink, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	size, err := wholeLines(file)
	if err == nil {
		err = file.Truncate(size)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &FileSink{file: file, size: size}, nil
}

// wholeLines returns the size of the file up to and with its last newline, in bytes.
func wholeLines(file *os.File) (int64, error) {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end > 0 {
		n := min(int64(len(buf)), end)
		if _, err := file.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// Append implements AuditSink. After a failed write it takes the file back to the line before; if that fails too it
// refuses everything that follows.
func (f *FileSink) Append(event []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	f.buf = append(append(f.buf[:0], event...), '\n')
	n, err := f.file.WriteAt(f.buf, f.size)
	if err == nil {
		f.size += int64(n)
		return nil
	}
	if undo := f.file.Truncate(f.size); undo != nil {
		f.broken = fmt.Errorf("audit file ends in half a line: %w", undo)
	}
	return err
}

// Flush implements AuditSink: it waits until the file is on the disk.
func (f *FileSink) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Sync()
}

// Close makes the file durable and closes it.
func (f *FileSink) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.file.Sync(), f.file.Close())
}
