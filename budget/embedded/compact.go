package embedded

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
)

// compact writes the snapshot of everything before journal number, from the
// files alone and so without holding up the ledger, and then removes what it
// replaces. It returns the snapshot's size in bytes.
func compact(dir string, number int64) (int64, error) {
	old, err := loadBefore(dir, number)
	if err != nil {
		return 0, err
	}
	path := snapshotPath(dir, number)
	size, err := writeSnapshot(path+unfinished, old.tenants)
	if err != nil {
		return 0, fmt.Errorf("snapshot: %w", err)
	}
	if err := os.Rename(path+unfinished, path); err != nil {
		return 0, fmt.Errorf("snapshot: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return 0, err
	}
	return size, removeBefore(dir, number)
}

// loadBefore reads the closed files.
func loadBefore(dir string, number int64) (*loaded, error) {
	files, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	l := &loaded{tenants: make(tenants), files: files}
	if err := l.readSnapshot(dir); err != nil {
		return nil, err
	}
	for _, n := range files.journals {
		if n >= number {
			break
		}
		if err := l.readJournal(dir, n); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func removeBefore(dir string, number int64) error {
	files, err := listFiles(dir)
	if err != nil {
		return err
	}
	if files.snapshot != number {
		return fmt.Errorf("snapshot %d is not the newest", number)
	}
	for _, path := range files.obsolete {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

func writeSnapshot(path string, all tenants) (int64, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	size, err := writeTenants(f, all)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return size, err
}

func writeTenants(f *os.File, all tenants) (size int64, err error) {
	w := snapshotWriter{file: bufio.NewWriterSize(f, readBytes)}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := w.tenant(all[name].whole()); err != nil {
			return 0, err
		}
	}
	end, err := json.Marshal(struct{ End int64 }{w.lines})
	if err != nil {
		return 0, err
	}
	if err := w.record(end); err != nil {
		return 0, err
	}
	return w.size, w.file.Flush()
}

// snapshotWriter writes the records of a snapshot.
type snapshotWriter struct {
	file          *bufio.Writer
	lines, size   int64 // size in bytes
	payload, line []byte
	terms         terms
}

// tenant writes a lease a line, so that no line grows with them, and then the
// State that they belong to.
func (w *snapshotWriter) tenant(whole wholeTenant) error {
	for i := range whole.State.Leases {
		w.payload = appendLease(w.payload[:0], &w.terms, whole.State.Tenant, &whole.State.Leases[i])
		if err := w.record(w.payload); err != nil {
			return err
		}
	}
	whole.State.Leases = nil
	payload, err := encodeState(&whole)
	if err != nil {
		return err
	}
	return w.record(payload)
}

func (w *snapshotWriter) record(payload []byte) error {
	w.line = appendLine(w.line[:0], payload)
	n, err := w.file.Write(w.line)
	w.size += int64(n)
	w.lines++
	return err
}
