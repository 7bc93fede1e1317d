package audit

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Files are the sources for a list of paths. A directory stands for its
// segments, compressed or not; what is no regular file, such as a pipe, is read
// once. The segments of one chain come in the order of their numbers, whatever
// the order of the paths, since some may have been moved to an archive. One that
// lies in two directories counts once, if its lines are the same.
func Files(paths ...string) ([]Source, error) {
	var found segmentSet
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("audit: %w", err)
		case info.Mode().IsRegular():
			found.add(segmentPath{segmentNumber(strings.TrimSuffix(filepath.Base(path), gzipSuffix)), path})
			continue
		case !info.IsDir():
			found.other(onceSource(path, fileSource(path).Open))
			continue
		}
		files, err := listSegmentFiles(path)
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("audit: %s holds no receipts (no file like %s): no proxy has run there, or they were taken away", path, segmentName(1))
		}
		for _, file := range files {
			found.add(file)
		}
	}
	return found.sources()
}

// segmentSet gathers the sources of all paths, by chain.
type segmentSet struct {
	logs   []*segmentLog
	chains map[string]*segmentLog
}

// segmentLog is the segments of one chain, or one source that is none.
type segmentLog struct {
	files []segmentPath
	other *Source
}

func (s *segmentSet) other(src Source) { s.logs = append(s.logs, &segmentLog{other: &src}) }

// add puts a segment to those of its chain. One whose chain cannot be read goes
// with those of its directory, and what is not named like a segment stands alone.
func (s *segmentSet) add(file segmentPath) {
	if file.number == 0 {
		s.other(file.source())
		return
	}
	if s.chains == nil {
		s.chains = map[string]*segmentLog{}
	}
	dir := "directory " + filepath.Dir(file.path)
	log := s.chains[dir]
	if log == nil {
		log = s.logOf(file)
	}
	if len(log.files) == 0 {
		s.logs = append(s.logs, log)
	}
	s.chains[dir] = log
	log.files = append(log.files, file)
}

// logOf is the log of a segment's chain, a new one where none is known.
func (s *segmentSet) logOf(file segmentPath) *segmentLog {
	_, chain, ok := chainOf(file.source())
	if !ok {
		return &segmentLog{}
	}
	if s.chains[chain] == nil {
		s.chains[chain] = &segmentLog{}
	}
	return s.chains[chain]
}

func (s *segmentSet) sources() ([]Source, error) {
	var list []Source
	for n, log := range s.logs {
		if log.other != nil {
			list = append(list, *log.other)
			continue
		}
		slices.SortStableFunc(log.files, func(a, b segmentPath) int { return cmp.Compare(a.number, b.number) })
		for i, file := range log.files {
			again, err := repeats(log.files[:i], file)
			if err != nil {
				return nil, fmt.Errorf("audit: %w", err)
			}
			if !again {
				src := file.source()
				src.log = n + 1
				list = append(list, src)
			}
		}
	}
	return list, nil
}

// repeats reports whether a segment is among those before it, line by line.
func repeats(before []segmentPath, file segmentPath) (bool, error) {
	for _, other := range slices.Backward(before) {
		if other.number != file.number {
			break
		}
		if same, err := sameBytes(other.source(), file.source()); same || err != nil {
			return same, err
		}
	}
	return false, nil
}

func sameBytes(a, b Source) (bool, error) {
	x, err := a.Open()
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := b.Open()
	if err != nil {
		return false, err
	}
	defer y.Close()
	left, right := bufio.NewReaderSize(x, blockBytes), bufio.NewReaderSize(y, blockBytes)
	for {
		p, err := left.Peek(blockBytes)
		if err != nil && err != io.EOF {
			return false, nil // whoever reads it says more
		}
		q, bad := right.Peek(blockBytes)
		if bad != nil && bad != io.EOF || string(p) != string(q) {
			return false, nil
		}
		if len(p) == 0 {
			return true, nil
		}
		left.Discard(len(p))
		right.Discard(len(q))
	}
}
