package oxdeai

import "fmt"

// moduleHashes are the hashes of the payloads, in the order of the module ids.
type moduleHashes [moduleCount]hexSum

// allModules are the positions of all modules.
var allModules = []int{
	allowlistModule, budgetModule, concurrencyModule, killSwitchModule, recursionModule, replayModule, toolModule, velocityModule,
}

// hash makes the hashes of the modules in the list. After a change of the state only those that it touched have to be
// made again. It fails if the state has no hash.
func (h *moduleHashes) hash(s *State, list []int) error {
	e := newEncoder()
	defer e.release()
	for _, i := range list {
		e.buf = e.buf[:0]
		if err := e.module(s, i); err != nil {
			return err
		}
		h[i] = hexDigest(e.buf)
	}
	return nil
}

// module writes the payload of one module.
func (e *encoder) module(s *State, i int) error {
	if s == nil {
		return ErrStateInvalid
	}
	if s.unhashed != nil {
		return s.unhashed
	}
	modules[i].encode(e, s)
	if e.err != nil {
		return fmt.Errorf("%s: %w", modules[i].id, e.err)
	}
	return nil
}

// stateHash returns the hash over all modules under a policy id.
func (h *moduleHashes) stateHash(policyID string) (string, error) {
	e := newEncoder()
	defer e.release()
	e.raw(`{"engineVersion":"` + engineVersion + `","formatVersion":1,"modules":{"`)
	for i := range modules {
		if i > 0 {
			e.raw(`","`)
		}
		e.raw(modules[i].id)
		e.raw(`":"`)
		e.buf = append(e.buf, h[i][:]...)
	}
	e.member(`"},"policyId":`, policyID)
	e.raw("}")
	return hashBytes(e.buf), e.err
}

// stateHash returns the state hash under a policy id. It fails if a part of the state is missing or out of range.
func stateHash(s *State, policyID string) (string, error) {
	var h moduleHashes
	if err := h.hash(s, allModules); err != nil {
		return "", err
	}
	return h.stateHash(policyID)
}

// modulePayloads returns the payloads of all modules, as a reader of the snapshot gets them.
func (s *State) modulePayloads() (*Object, error) {
	o := &Object{Members: make([]Member, moduleCount)}
	for i := range modules {
		p, err := s.modulePayload(i)
		if err != nil {
			return nil, err
		}
		o.Members[i] = Member{modules[i].id, p}
	}
	return o, nil
}

func (s *State) modulePayload(i int) (Value, error) {
	e := newEncoder()
	defer e.release()
	if err := e.module(s, i); err != nil {
		return nil, err
	}
	return Parse(e.buf)
}
