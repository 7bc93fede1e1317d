package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	proofMagic = "c2sp.org/tlog-proof@v1"

	// MaxProofBytes bounds a proof file: the longest line in base64, a path
	// and a checkpoint.
	MaxProofBytes = 2*MaxLineBytes + MaxCheckpointBytes

	// maxPath bounds the hashes of a proof, as RFC 6962 trees have them.
	maxPath = 63
)

// Proof shows that one line is in a log, to somebody who has no other.
type Proof struct {
	Line       string // without its newline
	Index      int64  // of the line among all, from 0
	Path       tlog.RecordProof
	Checkpoint []byte // signed
}

// Prove proves a line of the chain, by its number. Segments that were moved
// are looked for in archives. Checkpoint is what SignCheckpoint returned.
func (t *Tree) Prove(n int64, checkpoint []byte, archives ...string) (Proof, error) {
	line, err := t.line(n, archives)
	if err != nil {
		return Proof{}, err
	}
	path, err := tlog.ProveRecord(t.tip.n, n-1, t)
	if err != nil {
		return Proof{}, fmt.Errorf("audit: %w", err)
	}
	root, err := tlog.TreeHash(t.tip.n, t)
	if err != nil {
		return Proof{}, fmt.Errorf("audit: %w", err)
	}
	if tlog.CheckRecord(path, t.tip.n, root, n-1, tlog.RecordHash([]byte(line))) != nil {
		return Proof{}, fmt.Errorf("%w: line %d is not the one that its hash file has: run verify", ErrDamaged, n)
	}
	return Proof{line, n - 1, path, checkpoint}, nil
}

// Encode is the proof file, in the form of C2SP tlog-proof.
func (p Proof) Encode() []byte {
	b := []byte(proofMagic + "\nextra ")
	b = base64.StdEncoding.AppendEncode(b, []byte(p.Line))
	b = strconv.AppendInt(append(b, "\nindex "...), p.Index, 10)
	b = append(b, '\n')
	return append(appendPath(b, p.Path), p.Checkpoint...)
}

// appendPath appends one hash a line, and an empty line.
func appendPath(b []byte, path []tlog.Hash) []byte {
	for _, h := range path {
		b = append(append(b, h.String()...), '\n')
	}
	return append(b, '\n')
}

var errProof = errors.New("audit: not a proof: want the file that prove printed")

// ParseProof reads a proof file. It checks its form alone.
func ParseProof(data []byte) (Proof, error) {
	if len(data) > MaxProofBytes {
		return Proof{}, fmt.Errorf("audit: proof: over %d bytes", MaxProofBytes)
	}
	head, checkpoint, _ := strings.Cut(string(data), "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) < 3 || lines[0] != proofMagic {
		return Proof{}, errProof
	}
	extra, hasExtra := strings.CutPrefix(lines[1], "extra ")
	index, hasIndex := strings.CutPrefix(lines[2], "index ")
	line, bad := base64.StdEncoding.DecodeString(extra)
	i, err := strconv.ParseInt(index, 10, 64)
	if err = errors.Join(err, bad); err != nil || !hasExtra || !hasIndex || i < 0 {
		return Proof{}, errProof
	}
	path, err := parsePath(lines[3:])
	if err != nil {
		return Proof{}, err
	}
	p := Proof{string(line), i, path, []byte(checkpoint)}
	if string(p.Encode()) != string(data) {
		return Proof{}, errProof
	}
	return p, nil
}

func parsePath(lines []string) ([]tlog.Hash, error) {
	if len(lines) > maxPath {
		return nil, fmt.Errorf("audit: proof: over %d hashes", maxPath)
	}
	path := make([]tlog.Hash, len(lines))
	for i, line := range lines {
		var err error
		if path[i], err = tlog.ParseHash(line); err != nil {
			return nil, fmt.Errorf("audit: proof: hash %d: %w", i+1, err)
		}
	}
	return path, nil
}

// Verify checks that the line is in the log whose checkpoint one of the keys
// signed. It returns the receipt and that checkpoint.
func (p Proof) Verify(keys Keys) (Receipt, Checkpoint, error) {
	c, err := OpenCheckpoint(p.Checkpoint, keys)
	if err != nil {
		return Receipt{}, Checkpoint{}, err
	}
	if p.Index >= c.N {
		return Receipt{}, c, fmt.Errorf("audit: proof: line %d of a log of %d", p.Index+1, c.N)
	}
	if err := tlog.CheckRecord(p.Path, c.N, c.Root, p.Index, tlog.RecordHash([]byte(p.Line))); err != nil {
		return Receipt{}, c, errors.New("audit: proof: the path does not lead from this line to the checkpoint's root")
	}
	r, err := parseLine(p.Line)
	if err != nil {
		return Receipt{}, c, fmt.Errorf("audit: proof: the line is not a receipt: %w", err)
	}
	if r.Chain != c.Chain || r.N != p.Index+1 {
		return Receipt{}, c, fmt.Errorf("audit: proof: receipt %s is not line %d of chain %s", r.Ref().ID, p.Index+1, c.Chain)
	}
	return r, c, nil
}

// Consistency shows that a log is an earlier state of itself with lines added.
type Consistency struct {
	Old        int64 // lines in the earlier state
	Path       tlog.TreeProof
	Checkpoint []byte // signed, of the later state
}

// ProveFrom proves that the tree extends an earlier checkpoint. It fails with
// ErrForked if it does not.
func (t *Tree) ProveFrom(old Checkpoint, checkpoint []byte) (Consistency, error) {
	if err := t.Extends(old); err != nil {
		return Consistency{}, err
	}
	path, err := tlog.ProveTree(t.tip.n, old.N, t)
	if err != nil {
		return Consistency{}, fmt.Errorf("audit: %w", err)
	}
	return Consistency{old.N, path, checkpoint}, nil
}

const consistencyMagic = "old "

// Encode is the proof file: what C2SP tlog-witness has logs send to witnesses.
func (p Consistency) Encode() []byte {
	b := strconv.AppendInt([]byte(consistencyMagic), p.Old, 10)
	b = append(b, '\n')
	return append(appendPath(b, p.Path), p.Checkpoint...)
}

// IsConsistency reports whether a proof file is for ParseConsistency rather
// than for ParseProof.
func IsConsistency(data []byte) bool { return strings.HasPrefix(string(data), consistencyMagic) }

// ParseConsistency reads a proof file. It checks its form alone.
func ParseConsistency(data []byte) (Consistency, error) {
	if len(data) > MaxProofBytes {
		return Consistency{}, fmt.Errorf("audit: proof: over %d bytes", MaxProofBytes)
	}
	head, checkpoint, _ := strings.Cut(string(data), "\n\n")
	lines := strings.Split(head, "\n")
	old, ok := strings.CutPrefix(lines[0], consistencyMagic)
	n, err := strconv.ParseInt(old, 10, 64)
	if !ok || err != nil || n < 1 {
		return Consistency{}, errProof
	}
	path, err := parsePath(lines[1:])
	if err != nil {
		return Consistency{}, err
	}
	p := Consistency{n, path, []byte(checkpoint)}
	if string(p.Encode()) != string(data) {
		return Consistency{}, errProof
	}
	return p, nil
}

// Verify checks that the later checkpoint, which one of the keys must have
// signed, extends old. It returns the later one.
func (p Consistency) Verify(old Checkpoint, keys Keys) (Checkpoint, error) {
	c, err := OpenCheckpoint(p.Checkpoint, keys)
	switch {
	case err != nil:
		return Checkpoint{}, err
	case c.Chain != old.Chain:
		return c, fmt.Errorf("audit: proof: it is of chain %s, the checkpoint of %s", c.Chain, old.Chain)
	case p.Old != old.N:
		return c, fmt.Errorf("audit: proof: it starts from %d lines, the checkpoint has %d", p.Old, old.N)
	case c.N < old.N:
		return c, fmt.Errorf("%w: it has %d lines, and had %d", ErrForked, c.N, old.N)
	}
	if err := tlog.CheckTree(p.Path, c.N, c.Root, old.N, old.Root); err != nil {
		return c, fmt.Errorf("%w: lines 1 to %d of the later one are not those of the earlier", ErrForked, old.N)
	}
	return c, nil
}
