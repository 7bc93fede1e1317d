package audit

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const gzipSuffix = ".gz"

// segmentPath is a segment on disk, compressed or not.
type segmentPath struct {
	number int
	path   string
}

func (s segmentPath) compressed() bool { return strings.HasSuffix(s.path, gzipSuffix) }

func (s segmentPath) source() Source { return fileSource(s.path) }

// lineNumber returns the k-th line of the segment, from 1.
func (s segmentPath) lineNumber(k int64) (string, error) {
	f, err := s.source().Open()
	if err != nil {
		return "", fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	for lines := newLineReader(f); ; {
		line, err := lines.next()
		if err != nil {
			return "", fmt.Errorf("audit: %s: line %d: %w", s.path, k, err)
		}
		if lines.line == k {
			return string(line), nil
		}
	}
}

// listSegmentFiles returns a directory's segments in order. Of one that is
// there compressed and not, as after a crash in the middle of Archive, it is
// the plain one.
func listSegmentFiles(dir string) ([]segmentPath, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	var files []segmentPath
	for _, e := range entries { // sorted by name, so .jsonl comes before .jsonl.gz
		number := segmentNumber(strings.TrimSuffix(e.Name(), gzipSuffix))
		again := len(files) > 0 && files[len(files)-1].number == number
		if number > 0 && !again {
			files = append(files, segmentPath{number, filepath.Join(dir, e.Name())})
		}
	}
	slices.SortFunc(files, func(a, b segmentPath) int { return a.number - b.number })
	return files, nil
}

// findSegmentFile returns a segment of a directory, or fs.ErrNotExist.
func findSegmentFile(dir string, number int) (segmentPath, error) {
	for _, suffix := range []string{"", gzipSuffix} {
		path := filepath.Join(dir, segmentName(number)+suffix)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return segmentPath{number, path}, err
		}
	}
	return segmentPath{}, fs.ErrNotExist
}

// openGzip opens a compressed file for reading.
func openGzip(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &gzipFile{z, f}, nil
}

// gzipFile closes both halves of a compressed file.
type gzipFile struct {
	*gzip.Reader
	file *os.File
}

func (g *gzipFile) Close() error { return errors.Join(g.Reader.Close(), g.file.Close()) }
