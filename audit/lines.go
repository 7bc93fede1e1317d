package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync/atomic"
)

// Source is one file or stream of receipts.
type Source struct {
	Name string
	Open func() (io.ReadCloser, error)
	once bool // what was read is gone
	log  int  // of the files of one chain the same number, from 1; 0: not known
}

// Stream is a source that can be read once, such as standard input.
func Stream(name string, r io.Reader) Source {
	return onceSource(name, func() (io.ReadCloser, error) { return io.NopCloser(r), nil })
}

// ErrReadOnce: a pipe or another stream was to be read a second time.
var ErrReadOnce = errors.New("a stream can be read once; name files")

// onceSource is a source that fails with ErrReadOnce where it is opened again.
func onceSource(name string, open func() (io.ReadCloser, error)) Source {
	var opened atomic.Bool
	return Source{Name: name, once: true, Open: func() (io.ReadCloser, error) {
		if opened.Swap(true) {
			return nil, fmt.Errorf("%s: %w", name, ErrReadOnce)
		}
		return open()
	}}
}

func fileSource(path string) Source {
	if strings.HasSuffix(path, gzipSuffix) {
		return Source{Name: path, Open: func() (io.ReadCloser, error) { return openGzip(path) }}
	}
	return Source{Name: path, Open: func() (io.ReadCloser, error) { return os.Open(path) }}
}

// LineError is a line that is not a receipt.
type LineError struct {
	File string
	Line int64 // from 1
	Err  error
}

// Error names file, line and reason.
func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap is the reason.
func (e *LineError) Unwrap() error { return e.Err }

var (
	errTorn    = errors.New("the line has no end: it is torn or cut")
	errTooLong = fmt.Errorf("the line is longer than %d bytes", MaxLineBytes)
)

// lineReader splits a stream into lines.
type lineReader struct {
	buf  *bufio.Reader
	line int64 // of the last line returned, from 1
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{buf: bufio.NewReaderSize(r, MaxLineBytes+1)}
}

// next returns the next line without its newline, valid until the next call.
// A last line without newline is errTorn, one over MaxLineBytes errTooLong.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.buf.ReadSlice('\n')
	if err == io.EOF && len(line) == 0 {
		return nil, io.EOF
	}
	l.line++
	switch err {
	case nil:
		return line[:len(line)-1], nil
	case io.EOF:
		return nil, errTorn
	case bufio.ErrBufferFull:
		return nil, l.skip()
	}
	return nil, err
}

// skip drops the rest of a line that is too long.
func (l *lineReader) skip() error {
	for {
		switch _, err := l.buf.ReadSlice('\n'); err {
		case bufio.ErrBufferFull:
		case nil:
			return errTooLong
		case io.EOF:
			return errTorn
		default:
			return err
		}
	}
}

// Read yields every line of the sources, seals and starts included, in order.
// It stops after the first error; a line that is not a receipt yields a
// *LineError. It does not check the chain or signatures: Verify does.
func Read(sources ...Source) iter.Seq2[Receipt, error] {
	return func(yield func(Receipt, error) bool) {
		for _, src := range sources {
			if !readSource(src, yield) {
				return
			}
		}
	}
}

func readSource(src Source, yield func(Receipt, error) bool) bool {
	f, err := src.Open()
	if err != nil {
		yield(Receipt{}, fmt.Errorf("audit: %w", err))
		return false
	}
	defer f.Close()
	lines := newLineReader(f)
	for {
		line, err := lines.next()
		if err == io.EOF {
			return true
		}
		r, err := parseRead(line, err)
		if err != nil {
			yield(Receipt{}, &LineError{src.Name, lines.line, err})
			return false
		}
		r.File, r.Line = src.Name, lines.line
		if !yield(r, nil) {
			return false
		}
	}
}

// parseRead parses what lineReader.next returned.
func parseRead(line []byte, err error) (Receipt, error) {
	if err != nil {
		return Receipt{}, err
	}
	return parseLine(string(line))
}
