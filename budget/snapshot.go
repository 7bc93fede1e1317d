package budget

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
)

// Snapshot is a State as plain data, in an order that does not depend on how
// it came about, for ledgers to write down and read back.
type Snapshot struct {
	Tenant   string
	Epoch    string
	Number   int64 // of the last event
	At       int64 // the latest instant seen
	Policy   PolicyVersion
	Switches []Switch `json:",omitempty"` // that are thrown, by name
	Counters []Counter
	Leases   []Lease
}

// Counter is one counter of a Snapshot.
type Counter struct {
	Key     string
	Kind    WindowKind
	Span    Span     // Fixed
	Length  int64    // Rolling, Idle; milliseconds
	Group   string   // that the key is a live member of
	Born    int64    // number of the grant that made it
	LastUse int64    // instant of the last event that touched it
	Open    int64    // leases that hold in it
	Held    int64    // the sum of their holds
	Spent   int64    // all but Rolling
	Buckets []Bucket // Rolling: those that are not zero, oldest first
	Marks   []Mark   `json:",omitempty"` // that it knows, by name
}

// Bucket is what a rolling window spent in one 60th of its length. Number is
// the instant in milliseconds times RollingBuckets, divided by the length and
// rounded down; it counts as long as the current number is at most
// RollingBuckets higher.
type Bucket struct{ Number, Spent int64 }

// Mark is a mark that a counter knows. Leases is how many open leases bring it; 0
// if it is spent.
type Mark struct {
	Name   string
	Leases int64 `json:",omitempty"`
}

// SpentAt is what counts as spent at an instant in milliseconds, not before
// the snapshot's.
func (c *Counter) SpentAt(at int64) int64 {
	if c.Kind != Rolling {
		return c.Spent
	}
	sum := int64(0)
	for _, b := range c.Buckets {
		if b.Number >= bucketOf(at, c.Length)-RollingBuckets {
			sum += b.Spent
		}
	}
	return min(sum, MaxAmount)
}

// Lease is one lease of a Snapshot. End is empty while it is open.
type Lease struct {
	ID       string
	Number   int64 // of its grant; of its release for a tombstone
	At       int64 // of its grant
	Expires  int64
	Hold     int64      // of each Adjust claim, with extensions
	Claims   []Placed   `json:",omitempty"` // open and expired: what was granted
	Extended int64      `json:",omitempty"` // number of the last extension, 0 if none
	ExtendAt int64      `json:",omitempty"` // its instant
	Extends  []Observed `json:",omitempty"` // what it observed

	End       EventKind `json:",omitempty"`
	EndNumber int64     `json:",omitempty"`
	EndAt     int64     `json:",omitempty"`
	Charge    int64     `json:",omitempty"`
	ExpiredAt int64     `json:",omitempty"` // where its charge was stamped
	ForgetAt  int64     `json:",omitempty"`
}

// Snapshot writes the state down. Ended leases and counters that nobody can
// reach at its time are left out.
func (s *State) Snapshot() Snapshot {
	s.Advance(s.at)
	out := Snapshot{Tenant: s.Tenant, Epoch: s.Epoch, Number: s.Number, At: s.at, Policy: s.policy, Switches: s.thrown()}
	for c := range s.each() {
		out.Counters = append(out.Counters, c.snapshot())
	}
	out.Leases = make([]Lease, 0, len(s.leases))
	for _, queue := range [...][]*lease{s.ended, s.expired, s.open} { // mostly in order already
		for _, l := range queue {
			if !s.forgotten(l) {
				out.Leases = append(out.Leases, l.snapshot())
			}
		}
	}
	slices.SortFunc(out.Counters, func(a, b Counter) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Span.Start, b.Span.Start), cmp.Compare(a.Span.End, b.Span.End), cmp.Compare(a.Length, b.Length))
	})
	slices.SortFunc(out.Leases, func(a, b Lease) int {
		if order := cmp.Compare(max(a.Number, a.EndNumber), max(b.Number, b.EndNumber)); order != 0 {
			return order
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return out
}

func (c *counter) snapshot() Counter {
	out := Counter{Key: c.key, Kind: c.window.kind, Span: c.window.span, Length: c.length, Group: c.group,
		Born: c.born, LastUse: c.lastUse, Open: c.open, Held: c.held, Spent: c.spent, Marks: c.marks.snapshot()}
	if c.ring == nil {
		return out
	}
	for b := c.ring.newest - RollingBuckets; b <= c.ring.newest; b++ {
		if spent := *c.ring.slot(b); spent != 0 {
			out.Buckets = append(out.Buckets, Bucket{b, spent})
		}
	}
	return out
}

func (l *lease) snapshot() Lease {
	out := Lease{ID: l.id, Number: l.number, At: l.at, Expires: l.expires, Hold: l.hold, Claims: l.claims,
		End: l.end, EndNumber: l.endNum, EndAt: l.endAt, Charge: l.charge, ExpiredAt: l.expired, ForgetAt: l.forgetAt}
	if l.extended != nil {
		out.Extended, out.ExtendAt, out.Extends = l.extended.number, l.extended.at, l.extended.observed
	}
	return out
}

// FromSnapshot is the state that a Snapshot wrote down. It fails if the leases
// and counters of the snapshot contradict each other.
func FromSnapshot(in Snapshot) (*State, error) {
	s := NewState(in.Tenant)
	s.Epoch, s.Number, s.at, s.policy = in.Epoch, in.Number, in.At, in.Policy
	for _, w := range in.Switches {
		s.throw(w)
	}
	s.loadCounters(in.Counters)
	for i := range in.Leases {
		if err := s.loadLease(&in.Leases[i]); err != nil {
			return nil, fmt.Errorf("snapshot of tenant %q: %w", in.Tenant, err)
		}
	}
	slices.SortFunc(s.expired, func(a, b *lease) int { return cmp.Compare(a.expired, b.expired) })
	return s, s.balanced()
}

// loadCounters puts those to rest, in the order of their last use, in which no
// lease is open.
func (s *State) loadCounters(list []Counter) {
	var idle []*counter
	for i := range list {
		c := s.loadCounter(&list[i])
		if c.open == 0 {
			idle = append(idle, c)
		}
	}
	slices.SortFunc(idle, func(a, b *counter) int { return cmp.Compare(a.lastUse, b.lastUse) })
	for _, c := range idle {
		s.rest(c)
	}
}

func (s *State) loadCounter(in *Counter) *counter {
	c := &counter{key: in.Key, window: lifetime{kind: in.Kind, span: in.Span}, length: in.Length,
		born: in.Born, lastUse: in.LastUse, open: in.Open, held: in.Held, spent: in.Spent, marks: loadMarks(in.Marks)}
	if in.Kind == Rolling {
		c.window.length = in.Length
		c.ring = &ring{}
		for _, b := range in.Buckets {
			c.ring.add(b.Number, b.Spent)
		}
	}
	s.addCounter(c, s.counters[c.key])
	s.joinGroup(c, in.Group)
	return c
}

func (s *State) loadLease(in *Lease) error {
	l := &lease{id: in.ID, number: in.Number, at: in.At, expires: in.Expires, hold: in.Hold, claims: in.Claims,
		end: in.End, endNum: in.EndNumber, endAt: in.EndAt, charge: in.Charge, expired: in.ExpiredAt, forgetAt: in.ForgetAt}
	if in.Extended != 0 {
		l.extended = &extension{in.Extended, in.ExtendAt, in.Extends}
	}
	s.leases[l.id] = l
	switch l.end {
	case "":
		return s.reopen(l)
	case Expired, Corrected:
		s.expired = append(s.expired, l)
	default:
		s.ended = append(s.ended, l)
	}
	return nil
}

func (s *State) reopen(l *lease) error {
	l.counters = make([]*counter, len(l.claims))
	for i := range l.claims {
		c := s.find(&l.claims[i].Claim, l.claims[i].Span).counter
		if c == nil {
			return fmt.Errorf("lease %q holds in %q, which is not there", l.id, l.claims[i].Key)
		}
		l.counters[i] = c
	}
	heap.Push(&s.open, l)
	return nil
}

// balanced compares every counter's holds with the open leases.
func (s *State) balanced() error {
	held := make(map[*counter]int64)
	brought := make(map[*counter]marks)
	for _, l := range s.open {
		for i, c := range l.counters {
			if list := l.claims[i].Marks; len(list) > 0 {
				brought[c] = brought[c].with(list)
			} else {
				held[c] += l.holdOf(i)
			}
		}
	}
	for c := range s.each() {
		if !c.marks.broughtBy(brought[c]) {
			return fmt.Errorf("snapshot of tenant %q: %q knows other marks than its leases bring", s.Tenant, c.key)
		}
		if held[c] += c.marks.held(); c.held != held[c] {
			return fmt.Errorf("snapshot of tenant %q: %q holds %d, its leases %d", s.Tenant, c.key, c.held, held[c])
		}
	}
	return nil
}

// SetExpiry moves an open lease's expiry, in milliseconds. It is no event: a
// fold of events ends leases by the expiry of their grant.
func (s *State) SetExpiry(id string, expires int64) error {
	l, err := s.openLease(id)
	if err != nil {
		return err
	}
	l.expires = expires
	heap.Fix(&s.open, l.index)
	return nil
}

// Postpone moves the expiry of every open lease by so many milliseconds, and returns
// the new ones by lease.
func (s *State) Postpone(by int64) map[string]int64 {
	expiries := make(map[string]int64, len(s.open))
	for _, l := range s.open {
		l.expires += by // the same for all, so that the queue stays in order
		expiries[l.id] = l.expires
	}
	return expiries
}
