package audit

import (
	"bytes"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// blockBytes is how much of a source one worker parses at a time. Two lines of
// the greatest length fit.
const blockBytes = 128 << 10

// block is consecutive lines of one source.
type block struct {
	source string
	raw    []byte // the lines, each behind one byte that is not its own
	ends   []int  // of each line in raw
	first  int64  // line number of the first line
	long   bool   // the first line is only the end of one that is too long
	torn   bool   // a line without an end follows the last one
	parsed []parsedLine
	ready  chan struct{} // gets one element when parsed is filled
}

// cutter cuts one source into blocks.
type cutter struct {
	file  io.Reader
	rest  []byte // the line that began in the block before
	line  int64  // of the last whole line, from 1
	long  bool   // rest was dropped, because that line is too long
	ended bool
}

// fill fills a block with the next whole lines, if there are any.
func (c *cutter) fill(b *block) error {
	b.raw = append(append(b.raw[:0], '\n'), c.rest...)
	b.long, b.first, b.torn = c.long, c.line+1, false
	if err := c.read(b); err != nil {
		return err
	}
	b.split()
	c.line += int64(len(b.ends))
	if len(b.ends) > 0 {
		c.long = false
	}
	c.keep(b)
	return nil
}

// read reads on until the block is full or the source ends. io.ReadFull would
// not tell a source that ends from a compressed one that is cut off.
func (c *cutter) read(b *block) error {
	begun := len(b.raw)
	b.raw = append(b.raw, make([]byte, blockBytes)...)
	for begun < len(b.raw) && !c.ended {
		n, err := c.file.Read(b.raw[begun:])
		begun += n
		c.ended = err == io.EOF
		if err != nil && !c.ended {
			return err
		}
	}
	b.raw = b.raw[:begun]
	return nil
}

// keep holds the begun last line back for the next block, or drops it if it is
// too long by now.
func (c *cutter) keep(b *block) {
	whole := 1
	if n := len(b.ends); n > 0 {
		whole = b.ends[n-1] + 1
	}
	c.rest = append(c.rest[:0], b.raw[whole:]...)
	b.raw = b.raw[:whole]
	b.torn = c.ended && (c.long || len(c.rest) > 0)
	if len(c.rest) > MaxLineBytes {
		c.rest, c.long = c.rest[:0], true
	}
}

// split finds the lines of the block.
func (b *block) split() {
	b.ends = b.ends[:0]
	for start := 1; ; {
		length := bytes.IndexByte(b.raw[start:], '\n')
		if length < 0 {
			return
		}
		b.ends = append(b.ends, start+length)
		start += length + 1
	}
}

// parse reads the lines. What it keeps of one shares the memory of a copy of
// that line alone, so that whoever keeps a name for long does not keep a block.
func (b *block) parse(p *parser, keys Keys, leaf leafHash) {
	b.parsed = b.parsed[:0]
	start := 1
	for i, end := range b.ends {
		line := parsedLine{err: errTooLong}
		if end-start <= MaxLineBytes && !(b.long && i == 0) {
			line = parseChecked(p, string(b.raw[start:end]), keys)
			line.Hash = hashLine(b.raw[start:end])
			line.size = int64(end-start) + 1
			if leaf != nil {
				line.leaf = leaf(b.raw[start-1 : end])
			}
		}
		b.add(line)
		start = end + 1
	}
	if b.torn {
		b.add(parsedLine{err: errTorn})
	}
}

func (b *block) add(line parsedLine) {
	line.File, line.Line = b.source, b.first+int64(len(b.parsed))
	b.parsed = append(b.parsed, line)
}

// leafHash is the hash of a line as a leaf of the Merkle tree. The line is
// behind one byte that the function may change.
type leafHash func(behind []byte) tlog.Hash

// leafOf is tlog.RecordHash, without its allocations.
func leafOf(behind []byte) tlog.Hash {
	behind[0] = 0 // what a leaf begins with, see RFC 6962
	return tlog.Hash(hashLine(behind))
}

// parseChecked also checks a seal if its key is known from the start, because
// a signature costs more than all else in a line.
func parseChecked(p *parser, text string, keys Keys) (line parsedLine) {
	line.Receipt, line.err = p.line(text)
	switch b := line.Body.(type) {
	case Seal:
		if key, known := keys[b.Kid]; known && key.canVerify() {
			line.sealChecked = true
			line.sealValid = key.Alg == b.Alg && key.verify(line.before(), b.Sig)
		}
	case Decision, Settlement, Event:
		line.at, line.speaks = instantOf(b), true
	}
	return line
}

// instantOf is the ledger's time of a receipt.
func instantOf(b Body) int64 {
	switch b := b.(type) {
	case Decision:
		return b.At
	case Settlement:
		return b.At
	case Event:
		return b.At
	}
	return 0
}
