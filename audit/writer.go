package audit

import (
	"errors"
	"io"
	"math"
)

// beginOn begins a chain on a writer: one segment that never ends.
func (l *Log) beginOn(w io.Writer) error {
	l.cfg.SegmentBytes = math.MaxInt64
	l.opened = Opened{Chain: l.cfg.newChain(), Reason: ReasonCreated}
	l.tip = tip{link: link{chain: l.opened.Chain}, heads: map[string]Head{}}
	l.segment = &segment{file: &writerFile{Writer: w}, number: 1}
	return l.begin()
}

// writerFile is a segment that somebody else keeps.
type writerFile struct {
	io.Writer
	size int64
}

// Write counts what was written.
func (f *writerFile) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	f.size += int64(n)
	return n, err
}

// Sync does nothing: the writer's own Write says when it is done.
func (f *writerFile) Sync() error { return nil }

// Truncate fails where something would have to be taken back.
func (f *writerFile) Truncate(size int64) error {
	if size != f.size {
		return errors.New("what was written cannot be taken back")
	}
	return nil
}

// Close leaves the writer to its owner.
func (f *writerFile) Close() error { return nil }
