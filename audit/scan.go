package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// blockBytes is how much of a source one worker parses at a time.
const blockBytes = 256 << 10

// parsedLine is a line as a worker hands it on.
type parsedLine struct {
	Receipt
	leaf        tlog.Hash // of the line, for the Merkle tree
	err         error     // not a receipt
	sealChecked bool      // the worker knew the key
	sealValid   bool
}

// before is the link that the line claims to follow.
func (p *parsedLine) before() link { return link{p.Chain, p.N - 1, p.Prev} }

// block is consecutive lines of one source.
type block struct {
	source string
	first  int64 // line number of the first line
	text   string
	ends   []int // of each line in text
	torn   error // why the line after the last one could not be read
	parsed []parsedLine
	ready  chan struct{} // closed once parsed is filled
}

// scan parses and hashes the sources' lines on all cores and hands the blocks
// to take in order. Hashing needs no order: each line holds the hash that it
// claims for the one before.
func scan(ctx context.Context, sources []Source, keys Keys, take func(*block)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	workers := runtime.GOMAXPROCS(0)
	todo := make(chan *block, workers)
	inOrder := make(chan *block, 2*workers)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for b := range todo {
				b.parse(keys)
				close(b.ready)
			}
		})
	}
	running.Go(func() {
		defer close(inOrder)
		defer close(todo)
		if err := produce(ctx, sources, todo, inOrder); err != nil {
			cancel(err)
		}
	})
	for b := range inOrder {
		<-b.ready
		take(b)
	}
	running.Wait()
	err := context.Cause(ctx)
	cancel(nil)
	return err
}

// produce cuts the sources into blocks. Each goes to a worker first, so that
// whoever takes it in order never waits for one that nobody parses.
func produce(ctx context.Context, sources []Source, todo, inOrder chan<- *block) error {
	for _, src := range sources {
		err := cutSource(src, func(b *block) error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			todo <- b
			inOrder <- b
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func cutSource(src Source, emit func(*block) error) error {
	f, err := src.Open()
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	lines := newLineReader(f)
	for {
		b, err := cutBlock(src.Name, lines)
		if err != nil && err != io.EOF {
			return fmt.Errorf("audit: read %s: %w", src.Name, err)
		}
		if bad := emit(b); bad != nil {
			return bad
		}
		if err == io.EOF {
			return nil
		}
	}
}

// cutBlock reads lines until the block is full, a line is bad or the source
// ends.
func cutBlock(name string, lines *lineReader) (*block, error) {
	b := &block{source: name, first: lines.line + 1, ready: make(chan struct{})}
	var text strings.Builder
	text.Grow(blockBytes + MaxLineBytes)
	defer func() { b.text = text.String() }()
	for text.Len() < blockBytes {
		line, err := lines.next()
		if errors.Is(err, errTorn) || errors.Is(err, errTooLong) {
			b.torn = err
			return b, nil
		}
		if err != nil {
			return b, err
		}
		text.Write(line)
		b.ends = append(b.ends, text.Len())
	}
	return b, nil
}

func (b *block) parse(keys Keys) {
	b.parsed = make([]parsedLine, len(b.ends), len(b.ends)+1)
	start := 0
	for i, end := range b.ends {
		b.parsed[i] = parseChecked(b.text[start:end], keys)
		b.parsed[i].File, b.parsed[i].Line = b.source, b.first+int64(i)
		start = end
	}
	if b.torn != nil {
		bad := parsedLine{err: b.torn}
		bad.Line = b.first + int64(len(b.ends))
		b.parsed = append(b.parsed, bad)
	}
}

// parseChecked also checks a seal if its key is known from the start, because
// a signature costs more than all else in a line.
func parseChecked(line string, keys Keys) (p parsedLine) {
	p.Receipt, p.err = parseLine(line)
	p.leaf = tlog.RecordHash([]byte(line))
	seal, ok := p.Body.(Seal)
	if !ok {
		return p
	}
	if key, known := keys[seal.Kid]; known && key.canVerify() {
		p.sealChecked = true
		p.sealValid = key.Alg == seal.Alg && key.verify(p.before(), seal.Sig)
	}
	return p
}
