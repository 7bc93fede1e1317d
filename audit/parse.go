package audit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parser reads lines one after the other. Whether a line is taken, and as
// what, depends on that line alone: what a parser keeps of those before only
// makes it faster.
type parser struct {
	chain       string // of the line before, known to be well-formed; "" before the first
	tail        decoder
	decisions   bodyParser[Decision, *Decision]
	settlements bodyParser[Settlement, *Settlement]
	events      bodyParser[Event, *Event]
	seals       bodyParser[Seal, *Seal]
	starts      bodyParser[Start, *Start]
	rotations   bodyParser[Rotate, *Rotate]
}

// bodyParser reads the bodies of one kind.
type bodyParser[T Body, P interface {
	*T
	record
}] struct {
	body T
	decoder
}

func (b *bodyParser[T, P]) parse(s string) (Body, error) {
	b.body = *new(T)
	if err := b.record(s, P(&b.body)); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return b.body, nil
}

// recall holds the strings of the line before, by their place among the
// strings of its kind. Most lines repeat most of them, and to compare is
// faster than to read. Only strings whose bytes in a line are their own are
// held, so one that comes again is as valid as it was.
type recall struct {
	texts  [maxRecalled]string
	next   int
	spare  string // for the places past the last
	claims int    // of the line before
}

// maxRecalled bounds the strings that are recalled. A decision with eight
// claims has as many.
const maxRecalled = 64

// slot is the place of the next string.
func (r *recall) slot() *string {
	if r.next == len(r.texts) {
		return &r.spare
	}
	r.next++
	return &r.texts[r.next-1]
}

// versionError says of which version the end of a line is.
func versionError(end string) error {
	other := strings.TrimSuffix(strings.TrimPrefix(end, `,"v":`), "}")
	if n, err := strconv.ParseUint(other, 10, 8); err == nil && end == `,"v":`+other+`}` {
		return fmt.Errorf("a line of format version %d, and this release reads version "+version+
			": verify such a log with the program that wrote it, which its start lines name, and begin another one in an empty directory", n)
	}
	return errors.New("not a line of format version " + version)
}

// parseLine reads a line without its newline. The receipt shares its memory.
func parseLine(line string) (Receipt, error) {
	r, err := new(parser).line(line)
	if err != nil {
		return Receipt{}, err
	}
	r.Hash = hashLine([]byte(line))
	return r, nil
}

// line reads a line without its newline, all but its hash. The receipt shares
// its memory.
func (p *parser) line(line string) (Receipt, error) {
	r, err := p.canonical(line)
	if err != nil {
		return Receipt{}, explain(line, err)
	}
	return r, nil
}

// canonical splits off the fields after the body first.
func (p *parser) canonical(line string) (Receipt, error) {
	body, ok := strings.CutPrefix(line, `{"body":`)
	cut := tailOf(body)
	if !ok || cut < 0 {
		return Receipt{}, errors.New("not a receipt: want body, chain, kind, n, prev, v")
	}
	r, kind, err := p.parseTail(body[cut:])
	if err != nil {
		return Receipt{}, err
	}
	r.Body, err = p.parseBody(kind, body[:cut])
	return r, err
}

// tailOf is where the fields after the body begin, -1 if nowhere. No string
// can hold the text that it looks for, because it contains bare quotes, and no
// body has such a field.
func tailOf(line string) int {
	from := max(0, len(line)-lineOverhead)
	at := strings.Index(line[from:], `,"chain":"`)
	if at < 0 {
		return -1
	}
	return from + at
}

// parseTail reads the fields of a line that follow its body.
func (p *parser) parseTail(tail string) (r Receipt, kind string, err error) {
	var prev string
	d := &p.tail
	d.begin(tail[len(`,`):])
	d.text("chain", &r.Chain)
	d.text("kind", &kind)
	d.count("n", &r.N)
	d.text("prev", &prev)
	switch {
	case d.err != nil:
		return r, "", d.err
	case d.s[d.pos:] != `,"v":`+version+`}`:
		return r, "", versionError(d.s[d.pos:])
	case (r.Chain != p.chain || p.chain == "") && !isHex(r.Chain, chainBytes):
		return r, "", fmt.Errorf("chain is not %d bytes in lowercase hex", chainBytes)
	case !unhex(r.Prev[:], prev):
		return r, "", fmt.Errorf("prev is not %d bytes in lowercase hex", len(r.Prev))
	case r.N < 1:
		return r, "", errors.New("n is below 1")
	}
	p.chain = r.Chain
	return r, kind, nil
}

func (p *parser) parseBody(kind, s string) (Body, error) {
	switch kind {
	case kindDecision:
		return p.parseDecision(s)
	case kindSettlement:
		return p.settlements.parse(s)
	case kindEvent:
		return p.events.parse(s)
	case kindSeal:
		return p.seals.parse(s)
	case kindStart:
		return p.starts.parse(s)
	case kindRotate:
		return p.rotations.parse(s)
	}
	return nil, fmt.Errorf("unknown kind %q", kind)
}

func (p *parser) parseDecision(s string) (Body, error) {
	body, err := p.decisions.parse(s)
	if err != nil {
		return nil, err
	}
	if err := p.decisions.body.checkDenials(); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return body, nil
}

func isHex(s string, size int) bool {
	if len(s) != 2*size {
		return false
	}
	for i := range len(s) {
		if nibbles[s[i]] > 15 {
			return false
		}
	}
	return true
}

// unhex fills dst from lowercase hex and reports whether s is that.
func unhex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	bad := byte(0)
	for i := range dst {
		high, low := nibbles[s[2*i]], nibbles[s[2*i+1]]
		dst[i] = high<<4 | low
		bad |= high | low
	}
	return bad <= 15
}

// nibbles are the values of lowercase hex digits, 255 for other bytes.
var nibbles = func() (of [256]byte) {
	for i := range of {
		of[i] = 255
	}
	for i, c := range "0123456789abcdef" {
		of[c] = byte(i)
	}
	return of
}()
