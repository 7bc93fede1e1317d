package audit

import (
	"io"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxCount is the largest JSON number of a line.
const MaxCount = maxCount

// BlockBytes is how much of a source is read at a time.
const BlockBytes = blockBytes

// File is what the log needs of an *os.File.
type File = interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// WithFiles has the log open its segments through wrap.
func (c Config) WithFiles(wrap func(File) File) Config {
	c.open = func(path string, flag int) (file, error) {
		f, err := openSegmentFile(path, flag)
		if err != nil {
			return nil, err
		}
		return wrap(f), nil
	}
	return c
}

// ParseLine reads one line.
func ParseLine(line string) (Receipt, error) { return parseLine(line) }

// FirstLine encodes a body as the first line of a chain.
func FirstLine(body Body) (string, error) {
	encoded, err := body.encode(nil)
	if err != nil {
		return "", err
	}
	line, _ := link{chain: testChain}.appendLine(nil, body.kind(), encoded)
	return string(line), nil
}

const testChain = "00112233445566778899aabbccddeeff"

// EncodeBody appends a body to dst.
func EncodeBody(dst []byte, body Body) ([]byte, error) { return body.encode(dst) }

// Chain builds lines by hand, as an attacker with the log but without the key
// might, or as a replica would.
type Chain struct {
	link  link
	Lines []string
}

// NewChain begins a chain whose id ends in the given digit.
func NewChain(digit int) *Chain {
	return &Chain{link: link{chain: testChain[:31] + strconv.Itoa(digit)}}
}

// Add appends a line.
func (c *Chain) Add(body Body) *Chain {
	b := newBatch(c.link, nil)
	b.add(body)
	if b.err != nil {
		panic(b.err)
	}
	c.Lines = append(c.Lines, string(b.buf[:len(b.buf)-1]))
	c.link = b.link
	return c
}

// AddText appends a line with a body that no encoder would write.
func (c *Chain) AddText(kind, body string) *Chain {
	line, after := c.link.appendLine(nil, kind, []byte(body))
	c.Lines, c.link = append(c.Lines, string(line)), after
	return c
}

// Seal appends a seal.
func (c *Chain) Seal(s Signer) *Chain {
	seal, err := newSealer(s).seal(c.link)
	if err != nil {
		panic(err)
	}
	return c.Add(seal)
}

// Checkpoint is the chain so far, not signed.
func (c *Chain) Checkpoint() Checkpoint {
	var edge frontier
	for _, line := range c.Lines {
		edge.add(tlog.RecordHash([]byte(line)), nil)
	}
	return Checkpoint{c.link.chain, c.link.n, edge.root()}
}

// Hash is the last line's.
func (c *Chain) Hash() string { return c.link.hash.String() }

// Queued is how many receipts wait for whoever writes next.
func (l *Log) Queued() int { return len(l.queue) }

// Checkpoint is the log so far, not signed.
func (l *Log) Checkpoint() Checkpoint {
	t, err := OpenTree(l.cfg.Dir)
	if err != nil {
		panic(err)
	}
	c, err := t.Checkpoint()
	if err != nil {
		panic(err)
	}
	return c
}

// Words are all values that some field's list has.
func Words() (all []string) {
	for _, list := range []words{verdicts, inputBounds, ends, windows, refusals, bases, outcomes, eventNames, algorithms, startReasons} {
		all = append(all, list...)
	}
	return all
}
