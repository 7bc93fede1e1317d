package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// version is the format's version, the field v of every line.
const version = "1"

// chainBytes is the length of a chain's random id; in a line it is hex.
const chainBytes = 16

// Hash is the SHA-256 of a line without its newline.
type Hash [sha256.Size]byte

// String is the hash as lines and checkpoints hold it.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Ref names a line: ID is "<chain>-<n>", unique among all logs.
type Ref struct {
	ID string
	N  int64 // the line's number in its chain
}

func newRef(chain string, n int64) Ref {
	return Ref{ID: chain + "-" + strconv.FormatInt(n, 10), N: n}
}

// Receipt is one parsed line.
type Receipt struct {
	Chain string
	N     int64
	Prev  Hash // of the line before; zero for N = 1
	Hash  Hash // of this line
	Body  Body

	File string // where the line was read, and which line of it, from 1
	Line int64
}

// Ref names the receipt.
func (r Receipt) Ref() Ref { return newRef(r.Chain, r.N) }

// EventID names one event of a tenant's ledger.
type EventID struct {
	Tenant string
	Epoch  string
	Number int64
}

// EventID is the ledger event that the receipt is of. It is false for lines
// that are of none: denials carry the number that they observed, and that is
// not theirs.
func (r Receipt) EventID() (EventID, bool) {
	id, own := eventOf(r.Body)
	return id, own && id.Number > 0
}

// eventOf returns the event number that a body carries, and whether the event
// is its own or was only observed.
func eventOf(b Body) (id EventID, own bool) {
	switch b := b.(type) {
	case Decision:
		return EventID{b.Facts.Tenant, b.Epoch, b.Event}, b.Verdict == Allow && b.Lease != "" && !b.Existing
	case *Decision:
		return eventOf(*b)
	case Settlement:
		return EventID{b.Tenant, b.Epoch, b.Event}, true
	case *Settlement:
		return eventOf(*b)
	case Event:
		return EventID{b.Tenant, b.Epoch, b.Event}, true
	case *Event:
		return eventOf(*b)
	}
	return EventID{}, false
}

// link is a place in a chain: the last line's number and hash.
type link struct {
	chain string
	n     int64
	hash  Hash
}

// appendLine appends the line that follows l, without a newline, and returns
// the link that it makes.
func (l link) appendLine(dst []byte, kind string, body []byte) ([]byte, link) {
	start := len(dst)
	dst = append(append(dst, `{"body":`...), body...)
	dst = append(append(dst, `,"chain":"`...), l.chain...)
	dst = append(append(dst, `","kind":"`...), kind...)
	dst = strconv.AppendInt(append(dst, `","n":`...), l.n+1, 10)
	dst = hex.AppendEncode(append(dst, `,"prev":"`...), l.hash[:])
	dst = append(dst, `","v":`+version+`}`...)
	return dst, link{l.chain, l.n + 1, sha256.Sum256(dst[start:])}
}

// lineOverhead is what appendLine adds to a body, at most.
const lineOverhead = 256

var errVersion = errors.New("not a line of format version " + version)

// parseLine reads a line without its newline. The receipt shares its memory.
func parseLine(line string) (Receipt, error) {
	r, err := parseCanonical(line)
	if err != nil {
		return Receipt{}, explain(line, err)
	}
	r.Hash = sha256.Sum256([]byte(line))
	return r, nil
}

// parseCanonical splits off the fields after the body first. No string can
// hold the text that it looks for, because it contains bare quotes.
func parseCanonical(line string) (Receipt, error) {
	body, ok := strings.CutPrefix(line, `{"body":`)
	cut := strings.LastIndex(body, `,"chain":"`)
	if !ok || cut < 0 {
		return Receipt{}, errors.New("not a receipt: want body, chain, kind, n, prev, v")
	}
	r, kind, err := parseTail(body[cut:])
	if err != nil {
		return Receipt{}, err
	}
	r.Body, err = parseBody(kind, body[:cut])
	return r, err
}

// parseTail reads the fields of a line that follow its body.
func parseTail(tail string) (r Receipt, kind string, err error) {
	var prev string
	d := decoder{s: tail[len(`,`):]}
	d.text("chain", &r.Chain)
	d.text("kind", &kind)
	d.count("n", &r.N)
	d.text("prev", &prev)
	switch {
	case d.err != nil:
		return r, "", d.err
	case d.s[d.pos:] != `,"v":`+version+`}`:
		return r, "", errVersion
	case !isHex(r.Chain, chainBytes):
		return r, "", fmt.Errorf("chain is not %d bytes in lowercase hex", chainBytes)
	case !isHex(prev, len(r.Prev)):
		return r, "", fmt.Errorf("prev is not %d bytes in lowercase hex", len(r.Prev))
	case r.N < 1:
		return r, "", errors.New("n is below 1")
	}
	_, err = hex.Decode(r.Prev[:], []byte(prev))
	return r, kind, err
}

func isHex(s string, size int) bool {
	if len(s) != 2*size {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func parseBody(kind, s string) (Body, error) {
	switch kind {
	case kindDecision:
		return parseAs[Decision](s)
	case kindSettlement:
		return parseAs[Settlement](s)
	case kindEvent:
		return parseAs[Event](s)
	case kindSeal:
		return parseAs[Seal](s)
	case kindStart:
		return parseAs[Start](s)
	case kindRotate:
		return parseAs[Rotate](s)
	}
	return nil, fmt.Errorf("unknown kind %q", kind)
}

func parseAs[T Body, P interface {
	*T
	record
}](s string) (Body, error) {
	var b T
	if err := decodeRecord(s, P(&b)); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return b, nil
}

// explain gives the plainest reason for which a line was refused: err is what
// the strict decoder said, which only knows that the bytes are not the ones
// expected.
func explain(line string, err error) error {
	canonical := jsontext.Value(line).Clone()
	if bad := canonical.Canonicalize(); bad != nil {
		return fmt.Errorf("not JSON: %w", bad)
	}
	if !bytes.Equal(canonical, []byte(line)) {
		return fmt.Errorf("not canonical JSON: %w", err)
	}
	return err
}
