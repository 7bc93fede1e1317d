package oxdeai

import (
	"errors"
	"fmt"
)

// The constants of a snapshot and of a state hash.
const (
	formatVersion = 1
	engineVersion = "unknown"
)

// ErrSnapshotInvalid is the text with which every failure of DecodeSnapshot starts.
var ErrSnapshotInvalid = errors.New("invalid canonical state")

// ErrImport: a snapshot cannot become a state. The message names the member.
var ErrImport = errors.New("importState")

// Snapshot is an exported state: the payload of each module under its id. Modules holds the payloads as they were
// read, not yet checked; Import checks them.
type Snapshot struct {
	EngineVersion string
	PolicyID      string
	Modules       *Object
}

// Object returns the snapshot with the member names of the protocol.
func (s *Snapshot) Object() *Object { return outerObject(s.EngineVersion, s.PolicyID, s.Modules) }

func outerObject(engine, policyID string, modules *Object) *Object {
	return NewObject(
		Member{"engineVersion", engine}, Member{"formatVersion", Int(formatVersion)},
		Member{"modules", modules}, Member{"policyId", policyID},
	)
}

// Encode returns the canonical bytes of the snapshot. It fails with an error of Canonical, or with ErrTooLarge, since
// a text beyond MaxDocumentBytes could not be read back.
func (s *Snapshot) Encode() ([]byte, error) {
	b, err := Canonical(s.Object())
	if err == nil && len(b) > MaxDocumentBytes {
		return nil, fmt.Errorf("%w: snapshot of %d bytes, limit %d", ErrTooLarge, len(b), MaxDocumentBytes)
	}
	return b, err
}

// DecodeSnapshot reads a snapshot. The text need not be canonical, and members that the protocol does not name are
// dropped. The errors are those of Parse, or ErrSnapshotInvalid with the first member that is wrong.
func DecodeSnapshot(text []byte) (*Snapshot, error) {
	v, err := Parse(text)
	if err != nil {
		return nil, err
	}
	o, ok := v.(*Object)
	if !ok {
		return nil, ErrSnapshotInvalid
	}
	version, ok := o.Get("formatVersion")
	if !ok {
		return nil, fmt.Errorf("%w: missing formatVersion", ErrSnapshotInvalid)
	}
	if version != Int(formatVersion) {
		return nil, fmt.Errorf("%w: unsupported formatVersion", ErrSnapshotInvalid)
	}
	var s Snapshot
	if v, _ := o.Get("engineVersion"); !assign(&s.EngineVersion, v) {
		return nil, fmt.Errorf("%w: engineVersion", ErrSnapshotInvalid)
	}
	if v, _ := o.Get("policyId"); !assign(&s.PolicyID, v) {
		return nil, fmt.Errorf("%w: policyId", ErrSnapshotInvalid)
	}
	if v, _ := o.Get("modules"); !assign(&s.Modules, v) {
		return nil, fmt.Errorf("%w: modules", ErrSnapshotInvalid)
	}
	return &s, nil
}

// assign stores v in dst if v has the type of dst.
func assign[T any](dst *T, v Value) bool {
	t, ok := v.(T)
	if ok {
		*dst = t
	}
	return ok
}

// ModulesHash returns the state hash of a snapshot: the hash of an object with the hash of each payload that is
// there. Nothing says that all modules are there or that their payloads make sense. The errors are those of
// Canonical, or ErrSnapshotInvalid for a snapshot without modules.
func ModulesHash(s *Snapshot) (string, error) {
	if s.Modules == nil {
		return "", fmt.Errorf("%w: modules", ErrSnapshotInvalid)
	}
	hashes := &Object{Members: make([]Member, 0, len(s.Modules.Members))}
	for _, m := range s.Modules.Members {
		h, err := Hash(m.Value)
		if err != nil {
			return "", fmt.Errorf("%s: %w", m.Name, err)
		}
		hashes.Members = append(hashes.Members, Member{m.Name, h})
	}
	return Hash(outerObject(s.EngineVersion, s.PolicyID, hashes))
}
