package budget

import "container/heap"

// State is one tenant's counters and leases, folded from its events in order.
//
// It is a plain value machine without clock, lock or random number: the same
// events give the same state. Apply folds an event. The verbs (Reserve,
// Extend, Settle, Release, Expire) do not change it; each returns either the
// answer or the event that must be applied before it asks again, so that a
// first answer and a repeated one are the same by construction.
type State struct {
	Tenant string
	Epoch  string // "" until provisioned
	Number int64  // of the last event

	at       int64 // the latest instant seen
	policy   PolicyVersion
	switches map[string]Switch // that are thrown; nil before the first
	counters map[counterRef]*counter
	groups   map[string]map[string]int // live keys of a group, with their counters
	unused   counterQueue              // counters by when they may be forgotten
	leases   map[string]*lease
	open     leaseQueue // leases by expiry
	ended    []*lease   // settled and released, in order of their end
	expired  []*lease   // expired, then perhaps corrected, in order of their expiry
	found    []*counter // of the grant that is being made or applied
	proposed proposal
}

// forgetPerCall bounds the ended leases that one call forgets.
const forgetPerCall = 1000

// NewState is a tenant before its first event.
func NewState(tenant string) *State {
	return &State{
		Tenant:   tenant,
		counters: make(map[counterRef]*counter),
		groups:   make(map[string]map[string]int),
		leases:   make(map[string]*lease),
	}
}

// Advance tells the state what time it is, in milliseconds, and returns the
// tenant's time, which never goes back. What nobody can reach any more at
// that time is forgotten.
func (s *State) Advance(now int64) int64 {
	s.at = max(s.at, now)
	for len(s.unused) > 0 && s.unused[0].queued <= s.at {
		s.reconsider(s.unused[0])
	}
	s.ended = s.forgetLeases(s.ended)
	s.expired = s.forgetLeases(s.expired)
	return s.at
}

// reconsider forgets a counter whose time has come, or queues it for when that
// may be.
func (s *State) reconsider(c *counter) {
	at := c.forgetAt()
	if at <= s.at && c.open == 0 {
		s.forget(c)
		return
	}
	if at <= s.at {
		at = s.at + c.unusedAfter()
	}
	c.queued = at
	heap.Fix(&s.unused, c.index)
}

func (s *State) forget(c *counter) {
	heap.Remove(&s.unused, c.index)
	delete(s.counters, c.ref)
	s.leaveGroup(c)
}

func (s *State) forgetLeases(queue []*lease) []*lease {
	n := 0
	for n < len(queue) && n < forgetPerCall && s.forgotten(queue[n]) {
		if l := queue[n]; s.leases[l.id] == l {
			delete(s.leases, l.id)
		}
		queue[n] = nil
		n++
	}
	return queue[n:]
}

// forgotten reports whether nobody can name the ended lease any more.
func (s *State) forgotten(l *lease) bool { return l.end != "" && l.forgetAt <= s.at }

func (s *State) lease(id string) *lease {
	l := s.leases[id]
	if l == nil || s.forgotten(l) {
		return nil
	}
	return l
}

func (s *State) joinGroup(c *counter, group string) {
	if c.group == group {
		return
	}
	s.leaveGroup(c)
	if group == "" {
		return
	}
	c.group = group
	if s.groups[group] == nil {
		s.groups[group] = make(map[string]int)
	}
	s.groups[group][c.ref.key]++
}

func (s *State) leaveGroup(c *counter) {
	if c.group == "" {
		return
	}
	keys := s.groups[c.group]
	keys[c.ref.key]--
	if keys[c.ref.key] == 0 {
		delete(keys, c.ref.key)
	}
	if len(keys) == 0 {
		delete(s.groups, c.group)
	}
	c.group = ""
}

// observe reads a counter in a span, and how many marks it does not know; one
// that does not exist is zero.
func observe(c *counter, list []string, span Span, at int64) Observed {
	if c == nil {
		return Observed{Span: span, New: int64(len(list))}
	}
	o := c.observe(at)
	if len(list) > 0 {
		o.New = c.marks.unknown(list)
	}
	return o
}
