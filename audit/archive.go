package audit

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Archived is a segment that Archive compressed.
type Archived struct {
	File          string // the copy
	Bytes, Packed int64  // before and after
}

// MinKeep is how many closed segments Archive leaves at least: a log that
// starts reads them and the open one, to find what it has receipts of.
const MinKeep = findSegments - 1

// Archive compresses the closed segments of a log into another directory, or
// the same, all but the newest few, at least MinKeep. A segment is removed from dir once its
// copy was read back, found to hold the same lines, and is durable; its hash
// file stays. The open segment is left alone, so a proxy may be writing. What
// was done before an error is in the list.
func Archive(ctx context.Context, dir, to string, keep int) ([]Archived, error) {
	if keep < MinKeep {
		return nil, fmt.Errorf("audit: keep %d closed segments: want %d or more, which a log reads when it starts", keep, MinKeep)
	}
	t, err := OpenTree(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	files, err := listSegmentFiles(dir)
	if err != nil {
		return nil, err
	}
	var done []Archived
	for _, file := range files[:max(0, len(files)-1-keep)] {
		if err := context.Cause(ctx); err != nil {
			return done, err
		}
		target := segmentPath{file.number, filepath.Join(to, segmentName(file.number)+gzipSuffix)}
		if file.number >= t.last.number || file.path == target.path {
			continue
		}
		one, err := t.move(file, target)
		if err != nil {
			return done, err
		}
		done = append(done, one)
	}
	return done, nil
}

// move compresses one closed segment, checks the copy and removes the segment.
func (t *Tree) move(file, target segmentPath) (Archived, error) {
	if err := t.copy(file, target); err != nil {
		return Archived{}, fmt.Errorf("audit: archive %s: %w", file.path, err)
	}
	info, err := os.Stat(target.path)
	if err != nil {
		return Archived{}, fmt.Errorf("audit: %w", err)
	}
	if err := errors.Join(os.Remove(file.path), syncDir(t.dir)); err != nil {
		return Archived{}, fmt.Errorf("audit: %w", err)
	}
	return Archived{target.path, t.prefix.files[file.number-1].head.Bytes, info.Size()}, nil
}

// copy compresses a segment, unless a copy is there from before, and checks
// the copy. A new one that is not right is removed again.
func (t *Tree) copy(file, target segmentPath) error {
	_, err := os.Stat(target.path)
	if err == nil {
		return t.checkCopy(target)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := compress(file, target.path); err != nil {
		return err
	}
	if err := t.checkCopy(target); err != nil {
		return errors.Join(err, os.Remove(target.path))
	}
	return syncDir(filepath.Dir(target.path))
}

// checkCopy reads a compressed segment and holds its lines against the hash
// file of the segment.
func (t *Tree) checkCopy(target segmentPath) error {
	before := &Tree{dir: t.dir, prefix: Prefix{files: t.prefix.files[:target.number-1]}}
	read, err := before.read(target)
	if err != nil {
		return err
	}
	want, err := os.ReadFile(filepath.Join(t.dir, hashesName(target.number)))
	if err != nil {
		return err
	}
	if !bytes.Equal(read.encode(), want) {
		return fmt.Errorf("%w: %s would hold other lines than the hash file has: run verify", ErrDamaged, target.path)
	}
	return nil
}

// compress writes a segment to a new file, durably, under a name that counts
// for nothing until all is there.
func compress(file segmentPath, path string) error {
	in, err := file.source().Open()
	if err != nil {
		return err
	}
	defer in.Close()
	temp := path + ".new"
	out, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err := errors.Join(err, z.Close(), out.Sync(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return os.Rename(temp, path)
}
