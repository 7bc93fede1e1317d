package oxdeai

import (
	"bytes"
	"fmt"
)

// Export returns the snapshot of a state. It fails if a part of the state is missing or out of range.
func (e *Engine) Export(s *State) (*Snapshot, error) {
	return NewSnapshot(s, e.policyID)
}

// NewSnapshot is Export without an engine, for hosts that decide by other means.
func NewSnapshot(s *State, policyID string) (*Snapshot, error) {
	payloads, err := s.modulePayloads()
	if err != nil {
		return nil, err
	}
	return &Snapshot{EngineVersion: engineVersion, PolicyID: policyID, Modules: payloads}, nil
}

// Import replaces what the target counts by the content of a snapshot; the policy version, the period and the
// released authorizations of the target stay, since a snapshot does not carry them: so a target that was read from a
// state with a missing part is refused. The error is ErrImport, and then the target is unchanged.
func (e *Engine) Import(target *State, snap *Snapshot) error {
	if snap.PolicyID != e.policyID {
		return fmt.Errorf("%w: policyId mismatch (state=%s, engine=%s)", ErrImport, snap.PolicyID, e.policyID)
	}
	if snap.Modules == nil {
		return invalid("modules")
	}
	if target.structure != nil {
		return fmt.Errorf("%w: target: %w", ErrImport, target.structure)
	}
	next := target.Clone()
	next.unhashed = nil
	for _, m := range modules {
		if err := m.importInto(next, snap.Modules); err != nil {
			return err
		}
	}
	*target = *next
	return nil
}

func (m *module) importInto(s *State, payloads *Object) error {
	v, ok := payloads.Get(m.id)
	if !ok {
		m.reset(s)
		return nil
	}
	o, ok := v.(*Object)
	if !ok {
		return invalid(m.id)
	}
	return m.load(s, o)
}

// Commit writes a state to the state store and returns when it is there. The errors are those of Export, of Encode
// and of the store, or ErrNoStore.
func (e *Engine) Commit(s *State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.commit(s)
}

func (e *Engine) commit(s *State) error {
	if e.options.StateStore == nil {
		return ErrNoStore
	}
	snap, err := e.Export(s)
	if err != nil {
		return err
	}
	saved := Saved{}
	if saved.Snapshot, err = snap.Encode(); err != nil {
		return err
	}
	enc := newEncoder()
	defer enc.release()
	if enc.released(s.released); enc.err != nil {
		return enc.err
	}
	if len(enc.buf) > MaxDocumentBytes {
		return fmt.Errorf("%w: released authorizations of %d bytes, limit %d", ErrTooLarge, len(enc.buf), MaxDocumentBytes)
	}
	saved.Released = bytes.Clone(enc.buf)
	return e.options.StateStore.Save(saved)
}

// Restore reads the state store into the target and makes it the current state. It returns false, and changes
// nothing, if the store is empty. The errors are those of the store, of DecodeSnapshot and of Import, or ErrNoStore.
func (e *Engine) Restore(target *State) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.options.StateStore == nil {
		return false, ErrNoStore
	}
	saved, ok, err := e.options.StateStore.Load()
	if err != nil || !ok {
		return false, err
	}
	snap, err := DecodeSnapshot(saved.Snapshot)
	if err != nil {
		return false, err
	}
	released, err := decodeReleased(saved.Released)
	if err != nil {
		return false, err
	}
	if err := e.Import(target, snap); err != nil {
		return false, err
	}
	target.released = released
	e.current = target.Clone()
	return true, nil
}

func decodeReleased(text []byte) (map[string]map[string]bool, error) {
	if len(text) == 0 {
		return nil, nil
	}
	v, err := Parse(text)
	if err != nil {
		return nil, err
	}
	return readReleased(v)
}

func readReleased(v Value) (map[string]map[string]bool, error) {
	o, ok := v.(*Object)
	if !ok {
		return nil, invalid("released_auths")
	}
	return readEntries(o, "released_auths", func(v Value) (map[string]bool, bool) {
		list, ok := readStrings(v)
		ids := make(map[string]bool, len(list))
		for _, id := range list {
			ids[id] = true
		}
		return ids, ok
	})
}
