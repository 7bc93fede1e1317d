package audit

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// parsedLine is a line as a worker hands it on.
type parsedLine struct {
	Receipt
	at          int64     // ledger milliseconds, of a receipt
	speaks      bool      // it is a receipt, not a line that keeps the chain
	leaf        tlog.Hash // of the line, for the Merkle tree
	size        int64     // bytes, with its newline
	err         error     // not a line of the format
	sealChecked bool      // the worker knew the key
	sealValid   bool
}

// before is the link that the line claims to follow.
func (p *parsedLine) before() link { return link{p.Chain, p.N - 1, p.Prev} }

// scan parses and hashes the lines of one or more logs on all cores. Hashing
// needs no order: each line holds the hash that it claims for the one before.
type scan struct {
	keys    Keys
	leaf    leafHash
	todo    chan *block
	spare   sync.Pool // of *block
	cancel  context.CancelFunc
	running sync.WaitGroup
	logs    []*logScan
}

// logScan is one log on its way through a scan, block by block and in order.
type logScan struct {
	sources []Source
	inOrder chan *block
	err     error // why it ends early, once inOrder is closed
}

// startScan begins to read the logs. Whoever starts a scan stops it.
func startScan(ctx context.Context, logs [][]Source, keys Keys, leaf leafHash) *scan {
	workers := runtime.GOMAXPROCS(0)
	ctx, cancel := context.WithCancel(ctx)
	s := &scan{keys: keys, leaf: leaf, todo: make(chan *block, workers), cancel: cancel}
	var producing sync.WaitGroup
	for _, sources := range logs {
		l := &logScan{sources: sources, inOrder: make(chan *block, max(1, 2*workers/len(logs)))}
		s.logs = append(s.logs, l)
		producing.Go(func() {
			defer close(l.inOrder)
			l.err = s.produce(ctx, l)
		})
	}
	for range workers {
		s.running.Go(s.work)
	}
	s.running.Go(func() {
		producing.Wait()
		close(s.todo)
	})
	return s
}

// stop ends the scan and waits until nothing of it runs.
func (s *scan) stop() {
	s.cancel()
	s.running.Wait()
}

func (s *scan) work() {
	var p parser
	for b := range s.todo {
		b.parse(&p, s.keys, s.leaf)
		b.ready <- struct{}{}
	}
}

// produce cuts a log's sources into blocks. Each goes to a worker first, so
// that whoever takes it in order never waits for one that nobody parses.
func (s *scan) produce(ctx context.Context, l *logScan) error {
	for _, src := range l.sources {
		err := s.cut(src, func(b *block) error {
			for _, next := range []chan *block{s.todo, l.inOrder} {
				select {
				case next <- b:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) cut(src Source, emit func(*block) error) error {
	f, err := src.Open()
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	c := cutter{file: f}
	for !c.ended {
		b := s.block(src.Name)
		if err := c.fill(b); err != nil {
			return fmt.Errorf("audit: read %s: %w", src.Name, err)
		}
		if err := emit(b); err != nil {
			return err
		}
	}
	return nil
}

// block returns an empty block.
func (s *scan) block(source string) *block {
	b, ok := s.spare.Get().(*block)
	if !ok {
		b = &block{ready: make(chan struct{}, 1)}
	}
	b.source = source
	return b
}

// done takes a block back whose lines nobody needs any more.
func (s *scan) done(b *block) { s.spare.Put(b) }

// next returns the log's next block, nil at its end.
func (l *logScan) next() (*block, error) {
	b, ok := <-l.inOrder
	if !ok {
		return nil, l.err
	}
	<-b.ready
	return b, nil
}
