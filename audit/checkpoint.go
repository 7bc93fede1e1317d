package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// originPrefix and the chain's id are a checkpoint's first line.
	originPrefix = "aegis-proxy/"

	checkpointFile = "checkpoint"

	// MaxCheckpointBytes bounds a checkpoint with all its signatures: there
	// is room for a hundred witnesses.
	MaxCheckpointBytes = 32 << 10
)

// Checkpoint is the first N lines of a chain, by the root of their Merkle
// tree. Keep one where nobody who can write the log can reach it: no later
// log can have other first lines without Verify finding it.
type Checkpoint struct {
	Chain string
	N     int64
	Root  tlog.Hash
}

// String is the checkpoint's text, as it is signed: origin, N and root, each
// ended by a newline.
func (c Checkpoint) String() string {
	return originPrefix + c.Chain + "\n" + strconv.FormatInt(c.N, 10) + "\n" + c.Root.String() + "\n"
}

// ErrSecretKey is returned where something for strangers is to be signed with an
// HMAC key: only who could also forge it could check it.
var ErrSecretKey = errors.New("the log is sealed with " + AlgHMAC + ", and nobody without its secret could check what that signs. " +
	"Go over to " + AlgEd25519 + ": make a key, and open the log with the old one as the retiring key")

// Sign is the checkpoint as a signed note. It fails with ErrSecretKey for an
// HMAC key.
func (c Checkpoint) Sign(s Signer) ([]byte, error) {
	key := s.Key()
	if key.Alg != AlgEd25519 {
		return nil, fmt.Errorf("audit: checkpoint: %w. For your own use, verify can save a checkpoint that is not signed", ErrSecretKey)
	}
	name, err := key.noteKey(c.Chain)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: c.String()}, noteSigner{name, s})
}

// noteKey checks the notes of one chain.
func (k Key) noteKey(chain string) (note.Verifier, error) {
	text, err := note.NewEd25519VerifierKey(originPrefix+chain, k.Public)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(text)
}

// noteSigner signs notes.
type noteSigner struct {
	note.Verifier
	signer Signer
}

// Sign implements note.Signer.
func (s noteSigner) Sign(msg []byte) ([]byte, error) { return s.signer.Sign(msg) }

// noteKeys finds the key that signed a note.
type noteKeys struct {
	keys  Keys
	chain string
}

// Verifier implements note.Verifiers.
func (ks noteKeys) Verifier(name string, hash uint32) (note.Verifier, error) {
	for _, k := range ks.keys {
		if k.Alg != AlgEd25519 {
			continue
		}
		v, err := k.noteKey(ks.chain)
		if err == nil && v.Name() == name && v.KeyHash() == hash {
			return v, nil
		}
	}
	return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
}

// OpenCheckpoint reads a signed checkpoint. One of the keys must have signed
// it; signatures of others, such as witnesses, are not looked at.
func OpenCheckpoint(signed []byte, keys Keys) (Checkpoint, error) {
	if len(signed) > MaxCheckpointBytes {
		return Checkpoint{}, fmt.Errorf("audit: checkpoint: over %d bytes", MaxCheckpointBytes)
	}
	c, err := parseCheckpoint(textOf(string(signed)))
	if err != nil {
		return Checkpoint{}, err
	}
	n, err := note.Open(signed, noteKeys{keys, c.Chain})
	var unknown *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unknown):
		return Checkpoint{}, fmt.Errorf("audit: checkpoint of chain %s: %w", c.Chain, errUnknownSigner)
	case err != nil:
		return Checkpoint{}, fmt.Errorf("audit: checkpoint of chain %s: %w", c.Chain, err)
	case n.Text != c.String():
		return Checkpoint{}, errCheckpoint
	}
	return c, checkSpelling(n.Sigs)
}

// checkSpelling refuses a signature in another base64 spelling than the one
// that Sign writes.
func checkSpelling(sigs []note.Signature) error {
	for _, s := range sigs {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return fmt.Errorf("audit: checkpoint: signature: %w", err)
		}
	}
	return nil
}

var errUnknownSigner = errors.New("no signature by a key that was given")

var errCheckpoint = errors.New("audit: not a checkpoint: want the lines " + originPrefix +
	"<chain>, the number of lines (from 1) and the root (base64)")

// parseCheckpoint reads a checkpoint's text.
func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return Checkpoint{}, errCheckpoint
	}
	chain, ok := strings.CutPrefix(lines[0], originPrefix)
	n, err := strconv.ParseInt(lines[1], 10, 64)
	root, bad := tlog.ParseHash(lines[2])
	c := Checkpoint{chain, n, root}
	if !ok || err != nil || bad != nil || c.Validate() != nil || c.String() != text {
		return Checkpoint{}, errCheckpoint
	}
	return c, nil
}

// Validate reports what is wrong with a checkpoint that was read from outside.
func (c Checkpoint) Validate() error {
	if !isHex(c.Chain, chainBytes) || c.N < 1 || c.N > maxCount {
		return errCheckpoint
	}
	return nil
}

// ParseCheckpoints reads any number of checkpoints, one after the other, as a
// verifier keeps them. One without any signature is taken as it is: whoever
// kept it vouches for it.
func ParseCheckpoints(data []byte, keys Keys) ([]Checkpoint, error) {
	var list []Checkpoint
	for _, one := range splitCheckpoints(string(data)) {
		c, err := parseCheckpoint(one)
		if err != nil {
			c, err = OpenCheckpoint([]byte(one), keys)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errCheckpoint
	}
	return list, nil
}

// SignedCheckpoint is a checkpoint with its note, whose signature was not checked.
type SignedCheckpoint struct {
	Checkpoint Checkpoint
	Note       []byte
}

// ParseCheckpointsToVerify is ParseCheckpoints for whoever goes on to verify the
// chains: these may announce the keys that signed. Such checkpoints are in both
// lists.
func ParseCheckpointsToVerify(data []byte, keys Keys) (list []Checkpoint, unproven []SignedCheckpoint, err error) {
	for _, one := range splitCheckpoints(string(data)) {
		found, err := ParseCheckpoints([]byte(one), keys)
		if errors.Is(err, errUnknownSigner) {
			found, err = ParseCheckpointTexts([]byte(one))
			for _, c := range found {
				unproven = append(unproven, SignedCheckpoint{c, []byte(one)})
			}
		}
		if err != nil {
			return nil, nil, err
		}
		list = append(list, found...)
	}
	if len(list) == 0 {
		return nil, nil, errCheckpoint
	}
	return list, unproven, nil
}

// ParseCheckpointTexts reads checkpoints like ParseCheckpoints, but looks at
// no signature.
func ParseCheckpointTexts(data []byte) ([]Checkpoint, error) {
	var list []Checkpoint
	for _, one := range splitCheckpoints(string(data)) {
		c, err := parseCheckpoint(textOf(one))
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// textOf is a checkpoint without its signatures.
func textOf(signed string) string {
	if text, _, ok := strings.Cut(signed, "\n\n"); ok {
		return text + "\n"
	}
	return signed
}

// splitCheckpoints cuts before every origin line.
func splitCheckpoints(text string) (list []string) {
	start := 0
	for start < len(text) {
		next := strings.Index(text[start+1:], "\n"+originPrefix)
		if next < 0 {
			return append(list, text[start:])
		}
		end := start + 1 + next + 1
		list = append(list, text[start:end])
		start = end
	}
	return list
}

// SignCheckpoint signs the tree as it is and keeps the checkpoint in the
// log's directory. It refuses with ErrForked a tree that does not extend the
// checkpoint kept there before, because a log must never sign two histories.
func (t *Tree) SignCheckpoint(s Signer) ([]byte, error) {
	c, err := t.Checkpoint()
	if err != nil {
		return nil, err
	}
	signed, err := c.Sign(s)
	if err != nil {
		return nil, err
	}
	if key := s.Key(); t.tip.seal.Kid != key.ID || !key.verify(t.tip.before, t.tip.seal.Sig) {
		return nil, fmt.Errorf("audit: line %d of %s is not a valid seal by key %s: sign with the key that seals the log, and run verify",
			t.tip.n, t.dir, s.Key().ID)
	}
	if err := t.extendsLast(); err != nil {
		return nil, err
	}
	return signed, replaceFile(filepath.Join(t.dir, checkpointFile), signed)
}

// extendsLast holds the tree against the checkpoint that was signed last.
func (t *Tree) extendsLast() error {
	last, err := lastCheckpoint(t.dir)
	if last == (Checkpoint{}) || err != nil {
		return err
	}
	if err := t.Extends(last); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(t.dir, checkpointFile), err)
	}
	return nil
}

// lastCheckpoint is the checkpoint in a log's directory, the zero one if none was
// signed there. Its signature is not looked at: whoever can write the log can also
// take the checkpoint away.
func lastCheckpoint(dir string) (Checkpoint, error) {
	path := filepath.Join(dir, checkpointFile)
	signed, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Checkpoint{}, nil
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("audit: %w", err)
	}
	last, err := parseCheckpoint(textOf(string(signed)))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%s: %w", path, err)
	}
	return last, nil
}

// extendsLast holds the lines of a directory against the checkpoint beside them. A
// log that went on without what it has signed would soon have two histories.
func extendsLast(dir string) error {
	last, err := lastCheckpoint(dir)
	if last == (Checkpoint{}) || err != nil {
		return err
	}
	tree, err := outlineTree(dir)
	if err == nil {
		err = tree.extendsLast()
	}
	if err != nil && !errors.Is(err, ErrForked) { // a hash file is damaged: make it anew
		if tree, err = OpenTree(dir); err == nil {
			err = tree.extendsLast()
		}
	}
	if err != nil {
		return fmt.Errorf("%w; bring back the receipts that were signed, or keep this directory and begin another", err)
	}
	return nil
}
