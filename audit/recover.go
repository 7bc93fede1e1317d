package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrDamaged is wrapped by the error of a directory that Open refuses because
// its lines do not form a chain. Only a torn last line is repaired; anything
// else is evidence, so keep the directory and start with another.
var ErrDamaged = errors.New("audit: log damaged")

// recovered is what Open found in a directory.
type recovered struct {
	tip  tip
	at   place // the end of the last whole line; segment 0 in an empty directory
	torn bool  // whether bytes without a newline follow it
}

// recoverDir reads a directory from the place that heads.json names, or all
// of it.
func recoverDir(dir string) (recovered, error) {
	numbers, err := listSegments(dir)
	if err != nil {
		return recovered{}, err
	}
	t, from, ok := loadHeads(dir)
	if !ok {
		t, from = tip{heads: map[string]Head{}}, place{}
	}
	if ok && (len(numbers) == 0 || numbers[len(numbers)-1] < from.segment) {
		return recovered{}, fmt.Errorf("%w: %s: %s names segment %s, which is gone",
			ErrDamaged, dir, headsFile, segmentName(from.segment))
	}
	rec := recovered{tip: t, at: from}
	for _, number := range numbers {
		if number < from.segment {
			continue
		}
		if err := rec.readSegment(dir, number); err != nil {
			return recovered{}, err
		}
	}
	return rec, nil
}

// readSegment folds one segment's lines, the first from rec.at's offset.
func (rec *recovered) readSegment(dir string, number int) error {
	path := filepath.Join(dir, segmentName(number))
	if rec.torn {
		return fmt.Errorf("%w: the last line of %s is torn, but %s follows",
			ErrDamaged, filepath.Join(dir, segmentName(rec.at.segment)), path)
	}
	if number != rec.at.segment {
		rec.at = place{segment: number}
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	err = seekWithin(f, rec.at.offset)
	if err == nil {
		err = rec.follows(f)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	err = rec.foldLines(newLineReader(f))
	var bad *LineError
	if errors.As(err, &bad) {
		bad.File = path
		bad.Line += linesBefore(path, rec.at.offset)
		return fmt.Errorf("%w: %w", ErrDamaged, bad)
	}
	return err
}

// linesBefore counts the lines up to the place from which bad lines were
// counted, so that a reason names the file's own line.
func linesBefore(path string, offset int64) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	var lines int64
	buf := make([]byte, 64<<10)
	for r := io.LimitReader(f, offset); ; {
		n, err := r.Read(buf)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		if err != nil {
			return lines
		}
	}
}

func seekWithin(f *os.File, offset int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < offset {
		return fmt.Errorf("%d bytes of receipts are gone: %s says that %d were durable; remove %s to go on without them",
			offset-info.Size(), headsFile, offset, headsFile)
	}
	_, err = f.Seek(offset, io.SeekStart)
	return err
}

// follows reports whether the last line before rec.at is the one that heads.json
// knows: where the key's holder has rewritten what is before it, it is another.
func (rec *recovered) follows(f io.ReaderAt) error {
	if rec.at.offset == 0 {
		return nil
	}
	before := make([]byte, min(rec.at.offset, MaxLineBytes+2))
	if _, err := f.ReadAt(before, rec.at.offset-int64(len(before))); err != nil {
		return err
	}
	line, whole := bytes.CutSuffix(before, []byte{'\n'})
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	if !whole || hashLine(line) != rec.tip.hash {
		return fmt.Errorf("%s says that another line %d ends at byte %d", headsFile, rec.tip.n, rec.at.offset)
	}
	return nil
}

// foldLines moves rec past every whole line. A *LineError counts lines from
// where rec.at stood before.
func (rec *recovered) foldLines(lines *lineReader) error {
	offset := rec.at.offset
	for {
		line, err := lines.next()
		switch err {
		case io.EOF:
			rec.at.offset = offset
			return nil
		case errTorn:
			rec.torn = true
			continue
		}
		r, err := parseRead(line, err)
		if err == nil && offset == 0 && rec.at.segment == 1 && r.N != 1 { // none was moved away before it
			err = fmt.Errorf("the first file begins with line %d of its chain: what was before it is gone", r.N)
		}
		if err == nil {
			err = rec.tip.fold(r)
		}
		if err != nil {
			return &LineError{Line: lines.line, Err: err}
		}
		offset += int64(len(line)) + 1
	}
}

// keepTorn moves the torn tail into a side file and cuts the segment. A side
// file of the same number is from a start that crashed before it could say so
// in a start line. It returns the file's name and size, "" if nothing is torn.
func (rec *recovered) keepTorn(dir string) (name string, size int64, err error) {
	name = fmt.Sprintf("torn-%d.bin", rec.tip.n+1)
	path := filepath.Join(dir, name)
	kept, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", 0, fmt.Errorf("audit: %w", err)
	}
	if rec.torn {
		if kept, err = rec.moveTail(dir, path, kept); err != nil {
			return "", 0, err
		}
	}
	if len(kept) == 0 {
		return "", 0, nil
	}
	return name, int64(len(kept)), nil
}

// moveTail appends the torn tail to what the side file at path holds already,
// once, and cuts it off the segment.
func (rec *recovered) moveTail(dir, path string, kept []byte) ([]byte, error) {
	segment := filepath.Join(dir, segmentName(rec.at.segment))
	tail, err := readTail(segment, rec.at.offset)
	if err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(kept, tail) {
		kept = append(kept, tail...)
	}
	if err := replaceFile(path, kept); err != nil {
		return nil, fmt.Errorf("audit: keep the torn tail: %w", err)
	}
	if err := os.Truncate(segment, rec.at.offset); err != nil {
		return nil, fmt.Errorf("audit: cut the torn tail: %w", err)
	}
	return kept, nil
}

// readTail reads what follows offset. One write tears off at most a batch.
func readTail(path string, offset int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	tail, err := io.ReadAll(io.NewSectionReader(f, offset, maxWriteBytes+1))
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if len(tail) > maxWriteBytes {
		return nil, fmt.Errorf("%w: %s: over %d bytes without a newline after byte %d, more than one write can tear",
			ErrDamaged, path, maxWriteBytes, offset)
	}
	return tail, nil
}
