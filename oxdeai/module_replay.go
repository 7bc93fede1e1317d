package oxdeai

import (
	"cmp"
	"fmt"
	"slices"
)

// decideReplay denies a nonce that the agent used in the window, and remembers it otherwise. The oldest entries of
// the list go first when it is too long, even inside the window, unless Harden.KeepNonces denies what is too much.
func decideReplay(q *request) (ruling, error) {
	if q.intent.nonce == nil {
		return ruling{}, fmt.Errorf("%w: no nonce", ErrIntentInvalid)
	}
	nonce := q.intent.nonce.String()
	since := q.now - q.state.Replay.WindowSeconds
	var keep []NonceRecord
	for _, r := range q.state.Replay.Nonces[q.agent] {
		if r.TS < since {
			continue
		}
		if r.Nonce == nonce {
			return denied(NonceReplayed)
		}
		keep = append(keep, r)
	}
	keep = append(keep, NonceRecord{nonce, q.now})
	extra := int64(len(keep)) - max(q.state.Replay.MaxNoncesPerAgent, 0)
	if extra > 0 && q.harden.KeepNonces {
		return denied(NonceReplayed)
	}
	keep = keep[max(extra, 0):]
	return allowed(func(w *State) { w.Replay.Nonces = with(w.Replay.Nonces, q.agent, keep) })
}

func encodeReplay(e *encoder, s *State) {
	encodeReplayOrdered(e, &s.Replay, func(list []NonceRecord) []NonceRecord {
		list = sortedNonces(list)
		if hasTwice(list) {
			e.fail(fmt.Errorf("%w: a nonce twice at the same time", ErrStateInvalid))
		}
		return list
	})
}

// encodeReplayOrdered writes the module with the lists in the order that is wanted: a snapshot sorts them, the state
// keeps them.
func encodeReplayOrdered(e *encoder, r *Replay, order func([]NonceRecord) []NonceRecord) {
	e.raw(`{"max_nonces_per_agent":`)
	e.count(r.MaxNoncesPerAgent)
	e.raw(`,"nonces":`)
	encodeMap(e, r.Nonces, func(e *encoder, list []NonceRecord) { encodeList(e, order(list), (*encoder).nonce) })
	e.raw(`,"window_seconds":`)
	e.window(r.WindowSeconds)
	e.raw("}")
}

func (e *encoder) nonce(r NonceRecord) {
	e.raw(`{"nonce":`)
	e.text(r.Nonce)
	e.raw(`,"ts":`)
	e.int(r.TS)
	e.raw("}")
}

// sortedNonces returns the list by time, then by nonce as text.
func sortedNonces(list []NonceRecord) []NonceRecord {
	order := func(a, b NonceRecord) int { return cmp.Or(cmp.Compare(a.TS, b.TS), compareUTF16(a.Nonce, b.Nonce)) }
	if slices.IsSortedFunc(list, order) {
		return list
	}
	out := slices.Clone(list)
	slices.SortStableFunc(out, order)
	return out
}

func hasTwice(sorted []NonceRecord) bool {
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return true
		}
	}
	return false
}

func resetReplay(s *State) {
	s.Replay = Replay{WindowSeconds: 1, Nonces: map[string][]NonceRecord{}}
}

func loadReplay(s *State, o *Object) error {
	window, err1 := readField(o, "window_seconds", "replay.window_seconds", readWindow)
	limit, err2 := readField(o, "max_nonces_per_agent", "replay.max_nonces_per_agent", readCount)
	nonces, err3 := readMap(o, "nonces", "replay.nonces", func(v Value) ([]NonceRecord, bool) {
		list, ok := readList(v, readNonce)
		list = sortedNonces(list)
		return list, ok && !hasTwice(list)
	})
	s.Replay = Replay{window, limit, nonces}
	return cmp.Or(err1, err2, err3)
}
