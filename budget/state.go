package budget

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
	switches map[string]Switch   // that are thrown; nil before the first
	counters map[string]*counter // the newest of each key
	groups   map[string]int64    // how many keys of a group are live
	unused   unusedQueue
	resting  map[unusedFor]*unused // of the queue
	leases   map[string]*lease
	open     leaseQueue // leases by expiry
	ended    []*lease   // settled and released, in order of their end
	expired  []*lease   // expired, then perhaps corrected, in order of their expiry
	found    []spot     // of the grant that is being made or applied
	holds    []*counter // room for those of its lease; nil where it was not made here
	proposed proposal
}

// forgetPerCall bounds the ended leases that one call forgets.
const forgetPerCall = 1000

// NewState is a tenant before its first event.
func NewState(tenant string) *State {
	return &State{
		Tenant:   tenant,
		counters: make(map[string]*counter),
		groups:   make(map[string]int64),
		resting:  make(map[unusedFor]*unused),
		leases:   make(map[string]*lease),
	}
}

// Advance tells the state what time it is, in milliseconds, and returns the
// tenant's time, which never goes back. What nobody can reach any more at
// that time is forgotten.
func (s *State) Advance(now int64) int64 {
	s.at = max(s.at, now)
	s.forgetUnused()
	s.ended = s.forgetLeases(s.ended)
	s.expired = s.forgetLeases(s.expired)
	return s.at
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
