package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// version is the format's version, the field v of every line.
const version = "3"

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
	return Ref{ID: string(appendID(make([]byte, 0, maxIDBytes), chain, n)), N: n}
}

// maxIDBytes is the length of the longest id.
const maxIDBytes = 2*chainBytes + len("-") + 20

func appendID(dst []byte, chain string, n int64) []byte {
	return strconv.AppendInt(append(append(dst, chain...), '-'), n, 10)
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

// HasID reports whether id is the one in the receipt's Ref.
func (r Receipt) HasID(id string) bool {
	return string(appendID(make([]byte, 0, maxIDBytes), r.Chain, r.N)) == id
}

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
		return b.event()
	case *Decision:
		return b.event()
	case Settlement:
		return EventID{b.Tenant, b.Epoch, b.Event}, true
	case *Settlement:
		return EventID{b.Tenant, b.Epoch, b.Event}, true
	case Event:
		return EventID{b.Tenant, b.Epoch, b.Event}, true
	case *Event:
		return eventOf(*b)
	}
	return EventID{}, false
}

// event is eventOf a decision.
func (d *Decision) event() (id EventID, own bool) {
	if d.Denials.ID != "" { // written late: its ledger may have begun anew meanwhile
		return EventID{}, false
	}
	return EventID{d.Facts.Tenant, d.Epoch, d.Event}, d.Verdict == Allow && d.Lease != "" && !d.Existing
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
