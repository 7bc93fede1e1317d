package audit

import (
	"fmt"
	"io"
	"iter"
)

// Merge yields the receipts of several logs together, those of one log in
// their order, and among logs the one with the earliest instant first. Sources
// of one chain make one log and must come in order; each is opened twice. Lines
// that keep the chain (seals, starts, rotations) are left out, and so is the
// hash of a receipt: Verify checks it. Merge stops after the first error.
func Merge(sources ...Source) iter.Seq2[Receipt, error] {
	return func(yield func(Receipt, error) bool) {
		logs, err := groupByChain(sources)
		defer closeAll(logs)
		for err == nil {
			var first *logReader
			if first, err = earliest(logs); err != nil || first == nil {
				break
			}
			r := first.head
			if first.has, err = false, nil; !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(Receipt{}, err)
		}
	}
}

// logReader reads one log, a receipt ahead.
type logReader struct {
	sources []Source
	file    io.ReadCloser // of the first of sources; nil before it is opened
	lines   *lineReader
	head    Receipt
	at      int64 // ledger milliseconds of head
	has     bool
}

func groupByChain(sources []Source) ([]*logReader, error) {
	byChain := map[string]*logReader{}
	var logs []*logReader
	for _, src := range sources {
		chain, err := chainOf(src)
		if err != nil {
			return nil, err
		}
		if byChain[chain] == nil {
			byChain[chain] = &logReader{}
			logs = append(logs, byChain[chain])
		}
		byChain[chain].sources = append(byChain[chain].sources, src)
	}
	return logs, nil
}

// chainOf reads a source's first line; "" if it has none.
func chainOf(src Source) (string, error) {
	for r, err := range Read(src) {
		return r.Chain, err
	}
	return "", nil
}

// earliest is the log whose next receipt is the first of all, nil at the end.
func earliest(logs []*logReader) (*logReader, error) {
	var first *logReader
	for _, l := range logs {
		if !l.has {
			if err := l.advance(); err != nil {
				return nil, err
			}
		}
		if l.has && (first == nil || l.at < first.at) {
			first = l
		}
	}
	return first, nil
}

// advance reads the next receipt, if there is one.
func (l *logReader) advance() error {
	for len(l.sources) > 0 {
		err := l.line()
		if err == io.EOF {
			l.close()
			l.sources = l.sources[1:]
			continue
		}
		if err != nil || l.has {
			return err
		}
	}
	return nil
}

func (l *logReader) line() error {
	src := l.sources[0]
	if l.file == nil {
		file, err := src.Open()
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		l.file, l.lines = file, newLineReader(file)
	}
	line, err := l.lines.next()
	if err == io.EOF {
		return err
	}
	if err == nil {
		l.head, err = parseCanonical(string(line))
	}
	if err != nil {
		return &LineError{src.Name, l.lines.line, err}
	}
	l.head.File, l.head.Line = src.Name, l.lines.line
	l.at, l.has = instantOf(l.head.Body)
	return nil
}

// instantOf is the ledger's time of a receipt; false for other lines.
func instantOf(b Body) (int64, bool) {
	switch b := b.(type) {
	case Decision:
		return b.At, true
	case Settlement:
		return b.At, true
	case Event:
		return b.At, true
	}
	return 0, false
}

func (l *logReader) close() {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

func closeAll(logs []*logReader) {
	for _, l := range logs {
		l.close()
	}
}
