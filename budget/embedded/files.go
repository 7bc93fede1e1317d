package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	journalPrefix  = "journal-"
	snapshotPrefix = "snapshot-"
	unfinished     = ".tmp"
)

func journalPath(dir string, number int64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%010d", journalPrefix, number))
}

func snapshotPath(dir string, number int64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%010d", snapshotPrefix, number))
}

// fileSet is the files of a directory that make up its state.
type fileSet struct {
	snapshot      int64   // 0 if there is none
	journals      []int64 // from the snapshot's number on, without a gap
	obsolete      []string
	newestBytes   int64
	snapshotBytes int64
}

// newest is the journal to go on with.
func (f *fileSet) newest() int64 {
	if len(f.journals) == 0 {
		return max(f.snapshot, 1)
	}
	return f.journals[len(f.journals)-1]
}

// listFiles finds the newest snapshot and the journals after it. Older files
// and unfinished snapshots are what a crash during a compaction leaves.
func listFiles(dir string) (fileSet, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fileSet{}, fmt.Errorf("ledger directory: %w", err)
	}
	var found fileSet
	for _, e := range entries {
		if n, ok := numberOf(e.Name(), snapshotPrefix); ok {
			found.snapshot = max(found.snapshot, n)
		}
	}
	for _, e := range entries {
		found.sort(dir, e.Name())
	}
	slices.Sort(found.journals)
	return found, found.complete(dir)
}

func (f *fileSet) sort(dir, name string) {
	path := filepath.Join(dir, name)
	if n, ok := numberOf(name, journalPrefix); ok && n >= f.snapshot {
		f.journals = append(f.journals, n)
	} else if ok {
		f.obsolete = append(f.obsolete, path)
	}
	if n, ok := numberOf(name, snapshotPrefix); ok && n < f.snapshot {
		f.obsolete = append(f.obsolete, path)
	}
	if strings.HasPrefix(name, snapshotPrefix) && strings.HasSuffix(name, unfinished) {
		f.obsolete = append(f.obsolete, path)
	}
}

// complete refuses a directory in which a journal is missing.
func (f *fileSet) complete(dir string) error {
	first := max(f.snapshot, 1)
	for i, n := range f.journals {
		if n != first+int64(i) {
			return fmt.Errorf("%w: %s is missing", ErrDamaged, journalPath(dir, first+int64(i)))
		}
	}
	if f.snapshot > 0 && len(f.journals) == 0 {
		return fmt.Errorf("%w: %s is missing", ErrDamaged, journalPath(dir, f.snapshot))
	}
	return nil
}

func numberOf(name, prefix string) (int64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok || len(digits) < 10 {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && n > 0
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("ledger directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("ledger directory: %w", err)
	}
	return nil
}
