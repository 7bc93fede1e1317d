package oxdeai

import (
	"cmp"
	"fmt"
)

// decideAcquire takes a slot for an action.
func decideAcquire(q *request) (ruling, error) {
	c := &q.state.Concurrency
	n := c.Active[q.agent]
	if n >= c.MaxConcurrent[q.agent] {
		return denied(ConcurrencyExceeded)
	}
	return allowed(func(w *State) { w.Concurrency.Active = with(w.Concurrency.Active, q.agent, n+1) })
}

// decideRelease gives a slot back. An authorization can be released once: the id stays among the active ones, because
// it is part of the hash, so the ids that were released are kept beside it.
func decideRelease(q *request) (ruling, error) {
	c := &q.state.Concurrency
	id, _ := q.intent.text("authorization_id")
	if _, ok := c.ActiveAuths[q.agent][id]; !ok {
		return denied(ReleaseInvalid)
	}
	if q.state.released[q.agent][id] && !q.compat.RepeatedRelease {
		return denied(ReleaseInvalid)
	}
	left := max(c.Active[q.agent]-1, 0)
	return allowed(func(w *State) {
		w.Concurrency.Active = with(w.Concurrency.Active, q.agent, left)
		w.markReleased(q.agent, id)
	})
}

func (s *State) markReleased(agent, id string) {
	s.released = with(s.released, agent, with(s.released[agent], id, true))
}

// encodeConcurrency lists in all three maps every agent that is in one of them: no slots, none active, no
// authorization.
func encodeConcurrency(e *encoder, s *State) {
	c := &s.Concurrency
	if agent, over := c.overfull(); over {
		e.fail(fmt.Errorf("%w: concurrency: %.80q has more active actions than slots", ErrStateInvalid, agent))
	}
	start := len(e.keys)
	e.keys = c.appendAgents(e.keys)
	e.raw(`{"active":`)
	encodeNamed(e, start, c.Active, (*encoder).count)
	e.raw(`,"active_auths":`)
	e.refuseTS(start)
	encodeNamed(e, start, c.ActiveAuths, (*encoder).expiries)
	e.raw(`,"max_concurrent":`)
	encodeNamed(e, start, c.MaxConcurrent, (*encoder).count)
	e.raw("}")
	e.keys = e.keys[:start]
}

func (e *encoder) expiries(auths map[string]int64) {
	encodeMap(e, auths, func(e *encoder, at int64) {
		e.raw(`{"expires_at":`)
		e.int(at)
		e.raw("}")
	})
}

// appendAgents appends every agent that is in one of the three maps, once.
func (c *Concurrency) appendAgents(names []string) []string {
	for agent := range c.MaxConcurrent {
		names = append(names, agent)
	}
	for agent := range c.Active {
		if _, ok := c.MaxConcurrent[agent]; !ok {
			names = append(names, agent)
		}
	}
	for agent := range c.ActiveAuths {
		_, slots := c.MaxConcurrent[agent]
		if _, active := c.Active[agent]; !slots && !active {
			names = append(names, agent)
		}
	}
	return names
}

// complete gives every name an entry.
func complete[T any](m map[string]T, names []string) {
	for _, name := range names {
		if _, ok := m[name]; !ok {
			var none T
			m[name] = none
		}
	}
}

func (c *Concurrency) overfull() (agent string, over bool) {
	for agent, n := range c.Active {
		if n > c.MaxConcurrent[agent] {
			return agent, true
		}
	}
	return "", false
}

func resetConcurrency(s *State) {
	s.Concurrency = Concurrency{map[string]int64{}, map[string]int64{}, map[string]map[string]int64{}}
}

func loadConcurrency(s *State, o *Object) error {
	slots, err1 := readMap(o, "max_concurrent", "concurrency.max_concurrent", readCount)
	active, err2 := readMap(o, "active", "concurrency.active", readCount)
	auths, err3 := readMaps(o, "active_auths", "concurrency.active_auths", readExpiry)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return err
	}
	s.Concurrency = Concurrency{slots, active, auths}
	agents := s.Concurrency.appendAgents(nil)
	complete(slots, agents)
	complete(active, agents)
	complete(auths, agents)
	if agent, over := s.Concurrency.overfull(); over {
		return invalid("concurrency.active." + agent)
	}
	return nil
}
