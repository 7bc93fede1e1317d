package audit

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Denials tells that a decision stands for several denials: of one tenant, for one
// reason, under one policy. All else that the decision says is of the first of them.
type Denials struct {
	ID    string // of NewDenialsID; "" of a decision that stands for itself
	Count int64  // with the first one
	Until int64  // ledger milliseconds of the latest
}

const (
	denialsPrefix = "denials-"
	// denialsIDBytes are random, so that no two ids of any logs are the same.
	denialsIDBytes = 16
)

// NewDenialsID is an id by which answers can name a receipt before it is written,
// and so before it has the number that its Ref tells.
func NewDenialsID() string {
	id := make([]byte, denialsIDBytes)
	rand.Read(id)
	return denialsPrefix + hex.EncodeToString(id)
}

// IsDenialsID reports whether an id is that of a receipt of several denials.
func IsDenialsID(id string) bool {
	digits, ok := strings.CutPrefix(id, denialsPrefix)
	return ok && isHex(digits, denialsIDBytes)
}

func (t *Denials) visit(f fields) {
	f.optCount("count", &t.Count)
	f.optText("id", &t.ID)
	f.optCount("until", &t.Until)
}

// Clone is the decision in memory of its own, as it will be read from its receipt.
// Names in it may share the memory of the whole request that they were read from.
// It fails with ErrInvalid for one that no receipt can hold.
func (d Decision) Clone() (Decision, error) {
	line, err := encodeRecord(nil, &d)
	if err != nil {
		return Decision{}, err
	}
	var own Decision
	err = new(decoder).record(string(line), &own)
	return own, err
}

// Told is how many decisions the receipt tells of: 1, or as many denials as it counts.
func (d *Decision) Told() int64 { return max(1, d.Denials.Count) }

// checkDenials refuses a decision that can not stand for several.
func (d *Decision) checkDenials() error {
	switch t := &d.Denials; {
	case *t == Denials{}:
		return nil
	case !IsDenialsID(t.ID):
		return fmt.Errorf("the id of denials is not %q and %d bytes in lowercase hex", denialsPrefix, denialsIDBytes)
	case t.Count < 1:
		return fmt.Errorf("denials have no count")
	case t.Until < max(1, d.At):
		return fmt.Errorf("denials until %d, but the first was at %d", t.Until, d.At)
	case d.Verdict != Deny:
		return fmt.Errorf("the verdict of denials is %q", d.Verdict)
	}
	return nil
}

// ID is the receipt's, as the answers have it that it was written for.
func (r Receipt) ID() string {
	if id := r.denialsID(); id != "" {
		return id
	}
	return r.Ref().ID
}

func (r *Receipt) denialsID() string {
	if d, ok := r.Body.(Decision); ok {
		return d.Denials.ID
	}
	return ""
}

// denialsIDs finds an id that two receipts have.
type denialsIDs map[string]struct{}

func (ids denialsIDs) add(v *verifier, p *parsedLine) {
	id := p.denialsID()
	if id == "" {
		return
	}
	if _, known := ids[id]; known {
		v.find(Conflicting, p.File, p.Line, "another receipt has the id %s", id)
		return
	}
	ids[strings.Clone(id)] = struct{}{} // not the line's memory
}

// FindDenials returns the number of the line that tells of several denials under an
// id. It reads the sealed lines, the newest segment first, and segments that were
// moved away from archives.
func (t *Tree) FindDenials(id string, archives ...string) (int64, error) {
	away := 0
	for number := t.prefix.segmentOf(t.tip.n); number > 0; number-- {
		file, err := t.segment(number, archives)
		if errors.Is(err, fs.ErrNotExist) {
			away++
			continue
		}
		if err != nil {
			return 0, err
		}
		if n, err := t.findDenials(id, file); n > 0 || err != nil {
			return n, err
		}
	}
	if away > 0 {
		return 0, fmt.Errorf("audit: no receipt with the id %s is here, but %d segments were moved away: name their directory too", id, away)
	}
	return 0, fmt.Errorf("audit: no receipt of chain %s has the id %s: it may be another replica's, or not written yet", t.tip.chain, id)
}

// findDenials returns 0 for a segment without such a line.
func (t *Tree) findDenials(id string, file segmentPath) (int64, error) {
	for r, err := range Read(file.source()) {
		switch {
		case err != nil:
			return 0, err
		case r.denialsID() == id:
			return r.N, nil
		case r.N >= t.tip.n: // what follows is still being written
			return 0, nil
		}
	}
	return 0, nil
}
