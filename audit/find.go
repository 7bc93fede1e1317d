package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// findSegments bounds how many of the newest segments Find reads.
const findSegments = 4

// Find returns which of the ledger's events have receipts in this log. It
// reads the newest segments, newest first, until all are found, and at most
// four: an event whose receipt is older than that was acknowledged long ago.
// It is meant for start-up and takes a part of a second for each segment. It
// fails with ErrWriteOnly for a log that goes to a writer.
func (l *Log) Find(ctx context.Context, events ...EventID) (map[EventID]Ref, error) {
	if l.cfg.Writer != nil {
		return nil, ErrWriteOnly
	}
	l.mu.Lock()
	end := l.at
	l.mu.Unlock()
	missing := make(map[EventID]bool, len(events))
	for _, id := range events {
		missing[id] = true
	}
	found := make(map[EventID]Ref, len(events))
	oldest := max(1, end.segment-findSegments+1)
	for number := end.segment; number >= oldest && len(missing) > 0; number-- {
		if err := l.findIn(ctx, number, end, missing, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// findIn moves the events that one segment holds from missing to found. Lines
// past end are still being written.
func (l *Log) findIn(ctx context.Context, number int, end place, missing map[EventID]bool, found map[EventID]Ref) error {
	path := filepath.Join(l.cfg.Dir, segmentName(number))
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // archived
	}
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	var r io.Reader = f
	if number == end.segment {
		r = io.LimitReader(f, end.offset)
	}
	for receipt, err := range Read(Stream(path, r)) {
		if err != nil {
			return fmt.Errorf("audit: find: %w", err)
		}
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("audit: find: %w", err)
		}
		if id, ok := receipt.EventID(); ok && missing[id] {
			found[id] = receipt.Ref()
			delete(missing, id)
		}
	}
	return nil
}
