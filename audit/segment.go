package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// File names in a log's directory.
const (
	segmentSuffix = ".jsonl"
	headsFile     = "heads.json"
	lockFile      = "lock"
)

// file is what the log needs of an *os.File. Tests put a disk that fails in
// its place.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// openFile opens a segment for appending. With os.O_EXCL it must be new.
type openFile func(path string, flag int) (file, error)

func openSegmentFile(path string, flag int) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|flag, 0o600)
}

func segmentName(number int) string { return fmt.Sprintf("%06d%s", number, segmentSuffix) }

// segmentNumber is the number in a segment's file name, 0 if it is none.
func segmentNumber(name string) int {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || segmentName(n) != name {
		return 0
	}
	return n
}

// listSegments returns the numbers of a directory's segments in order.
func listSegments(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	var numbers []int
	for _, e := range entries {
		if n := segmentNumber(e.Name()); n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// segment is the file that the log appends to.
type segment struct {
	file   file
	name   named
	number int
	size   int64 // of what is durable, or handed to the system under SyncNever
}

// named is a file as its path named it when it was opened. The zero value, of a
// log on a writer, is always in place.
type named struct {
	path string
	info os.FileInfo
}

func nameOf(path string) (named, error) {
	info, err := os.Stat(path)
	return named{path, info}, err
}

// ErrGone is wrapped when the file that receipts are written to is no longer the
// one that its path names: it, or its directory, was removed, moved, replaced or
// unmounted, and what is written there nobody will find.
var ErrGone = errors.New("the receipts are not where they were")

// inPlace reports whether the path still names the file.
func (n named) inPlace() error {
	_, err := n.look()
	return err
}

func (n named) look() (os.FileInfo, error) {
	if n.path == "" {
		return nil, nil
	}
	now, err := os.Stat(n.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	if !os.SameFile(n.info, now) {
		return nil, fmt.Errorf("%w: %s is another file than the one that was opened", ErrGone, n.path)
	}
	return now, nil
}

// whole reports whether the path still names the file, and it has the segment's
// bytes and no others.
func (s *segment) whole() error {
	now, err := s.name.look()
	if err == nil && now != nil && now.Size() != s.size {
		err = fmt.Errorf("%w: %s has %d bytes where %d were written: something else cut or wrote it",
			ErrGone, s.name.path, now.Size(), s.size)
	}
	return err
}

// errFull is a write that found no room and was taken back.
var errFull = errors.New("no space left")

// write appends all of buf or none. An error that wraps errFull left the
// segment as it was; after any other, nobody knows what the file holds. It looks
// after the write whether the file is still in its place, so that no receipt
// counts which was written where nobody will find it: one stat for each batch.
func (s *segment) write(buf []byte, sync SyncPolicy) error {
	if _, err := s.file.Write(buf); err != nil {
		return s.takeBack(err)
	}
	if sync == SyncBatch {
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	s.size += int64(len(buf))
	return s.whole()
}

func (s *segment) takeBack(cause error) error {
	full := fullOr(cause)
	if !errors.Is(full, errFull) {
		return cause
	}
	if err := s.file.Truncate(s.size); err != nil {
		return errors.Join(cause, err)
	}
	return full
}

// fullOr marks the error of a full disk or quota with errFull.
func fullOr(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", errFull, err)
	}
	return err
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockDir takes the directory for this process, until unlockDir.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("audit: %s is in use by another process, give each its own directory: %w", dir, err)
	}
	return f, nil
}

// unlockDir gives the directory back. Closing the file alone would not always: a process
// that was started a moment ago has it too until it runs its program.
func unlockDir(lock *os.File) error {
	return errors.Join(syscall.Flock(int(lock.Fd()), syscall.LOCK_UN), lock.Close())
}
