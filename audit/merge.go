package audit

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"iter"
)

// Merge yields the receipts of several logs together, those of one log in
// their order, and among logs the one with the earliest instant first. Sources
// of one chain make one log and must come in order; each of several files is
// opened twice, streams are read once. Lines that keep the chain (seals, starts, rotations) are left out. Merge stops
// after the first error, and believes what it reads: VerifyEach does not.
func Merge(sources ...Source) iter.Seq2[Receipt, error] {
	return func(yield func(Receipt, error) bool) {
		m := startMerge(context.Background(), groupByChain(sources), nil, nil)
		defer m.scan.stop()
		for {
			line, err := m.next()
			if err == nil && line == nil {
				return
			}
			if err == nil && line.err != nil {
				err = &LineError{line.File, line.Line, line.err}
			}
			if err != nil {
				yield(Receipt{}, err)
				return
			}
			if !yield(line.Receipt, nil) {
				return
			}
		}
	}
}

// merger hands on the lines of several logs.
type merger struct {
	scan *scan
	logs []*logReader
}

// logReader reads one log, a line ahead.
type logReader struct {
	*logScan
	block  *block
	taken  int         // lines of the block
	head   *parsedLine // that is next: a receipt, or what is no line; nil if not known
	ended  bool
	verify logVerifier
}

func startMerge(ctx context.Context, logs [][]Source, keys Keys, leaf leafHash) *merger {
	m := &merger{scan: startScan(ctx, logs, keys, leaf)}
	for _, l := range m.scan.logs {
		m.logs = append(m.logs, &logReader{logScan: l})
	}
	return m
}

// next returns the line that is next of all, valid until the next call; nil at
// the end.
func (m *merger) next() (*parsedLine, error) {
	var first *logReader
	for _, l := range m.logs {
		if l.head == nil && !l.ended {
			if err := m.advance(l); err != nil {
				return nil, err
			}
		}
		if l.head != nil && (first == nil || l.head.at < first.head.at) {
			first = l
		}
	}
	if first == nil {
		return nil, nil
	}
	line := first.head
	first.head = nil
	return line, nil
}

// advance finds a log's next line.
func (m *merger) advance(l *logReader) error {
	for {
		for l.block != nil && l.taken < len(l.block.parsed) {
			line := &l.block.parsed[l.taken]
			l.taken++
			if line.speaks || line.err != nil {
				l.head = line
				return nil
			}
		}
		if l.block != nil {
			m.scan.done(l.block)
		}
		var err error
		l.taken = 0
		if l.block, err = l.logScan.next(); err != nil || l.block == nil {
			l.ended = true
			return err
		}
		l.verify.block(l.block)
	}
}

// groupByChain makes one log of the sources of each chain. A source without a
// readable first line goes with the one before it. A single one is not looked at.
func groupByChain(sources []Source) [][]Source {
	if len(sources) == 1 {
		return [][]Source{sources}
	}
	var logs [][]Source
	logOf := map[string]int{}
	current := 0
	for _, src := range sources {
		src, chain, ok := chainOf(src)
		if ok || len(logs) == 0 {
			if _, known := logOf[chain]; !known {
				logOf[chain] = len(logs)
				logs = append(logs, nil)
			}
			current = logOf[chain]
		}
		logs[current] = append(logs[current], src)
	}
	return logs
}

// chainOf reads the chain from a source's first line, and returns the source to
// read from then on. What keeps it from that is found again when that is read.
func chainOf(src Source) (then Source, chain string, ok bool) {
	if src.once {
		return peekChain(src)
	}
	for r, err := range Read(src) {
		return src, r.Chain, err == nil
	}
	return src, "", false
}

// peekChain opens a source that can be read once, looks at its first line, and
// leaves it to be read whole. One that is never read is closed by whoever has it
// open at the other end, or with the process.
func peekChain(src Source) (then Source, chain string, ok bool) {
	f, err := src.Open()
	if err != nil {
		return failingSource(src.Name, err), "", false
	}
	opened := peeked{bufio.NewReaderSize(f, MaxLineBytes+1), f}
	then = onceSource(src.Name, func() (io.ReadCloser, error) { return opened, nil })
	receipt, err := parseRead(opened.line())
	return then, receipt.Chain, err == nil
}

func failingSource(name string, err error) Source {
	return Source{Name: name, once: true, Open: func() (io.ReadCloser, error) { return nil, err }}
}

// peeked is an open source of which the beginning was looked at.
type peeked struct {
	*bufio.Reader
	io.Closer
}

// line is the first line, which is still to be read.
func (p peeked) line() ([]byte, error) {
	for seen := 1; ; seen = p.Buffered() + 1 {
		_, err := p.Peek(seen) // reads what is there, if it is more
		text, _ := p.Peek(p.Buffered())
		if end := bytes.IndexByte(text, '\n'); end >= 0 {
			return text[:end], nil
		}
		if err != nil {
			return nil, err
		}
	}
}
