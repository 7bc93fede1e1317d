package budget

import (
	"errors"
	"fmt"
	"time"
)

// Reserve answers a reservation at the tenant's time at, or returns the event
// (PolicySeen or Granted) that must be applied before asking again. The event's
// Kind is empty where the answer or error is final.
func (s *State) Reserve(r *Reservation, at int64) (Grant, Event, error) {
	if l := s.lease(r.Lease); l != nil {
		if l.end != "" {
			return Grant{}, Event{}, fmt.Errorf("%w: %q: %s by event %d", ErrEnded, r.Lease, l.end, l.endNum)
		}
		return l.firstGrant(s.Epoch), Event{}, nil
	}
	if err := s.checkPolicy(r.Policy); err != nil {
		return Grant{}, Event{}, err
	}
	placed, err := s.place(r.Claims, at)
	if err != nil {
		return Grant{}, Event{}, err
	}
	if r.Policy.Generation > s.policy.Generation {
		e := s.next(PolicySeen, "", at)
		e.Policy = r.Policy
		return Grant{}, e, nil
	}
	if err := s.killed(r.Switches, at); err != nil {
		return Grant{}, Event{}, err
	}
	if err := s.judge(placed, at); err != nil {
		return Grant{}, Event{}, err
	}
	e := s.next(Granted, r.Lease, at)
	e.Claims, e.Policy, e.Expires = placed, r.Policy, at+r.TTL.Milliseconds()
	s.propose(&e)
	return Grant{}, e, nil
}

// next is the tenant's next event, not yet applied.
func (s *State) next(kind EventKind, lease string, at int64) Event {
	return Event{Tenant: s.Tenant, Epoch: s.Epoch, Number: s.Number + 1, Kind: kind, At: at, Lease: lease}
}

func (s *State) checkPolicy(p PolicyVersion) error {
	if p.Generation < s.policy.Generation {
		return fmt.Errorf("%w: generation %d, but the tenant has seen %d", ErrStalePolicy, p.Generation, s.policy.Generation)
	}
	if p.Generation == s.policy.Generation && p.Hash != s.policy.Hash {
		return fmt.Errorf("%w: generation %d has two hashes; raise the generation", ErrStalePolicy, p.Generation)
	}
	return nil
}

// place picks every claim's span and reads its counter there.
func (s *State) place(claims []Claim, at int64) ([]Placed, error) {
	placed := s.newPlaced(len(claims))
	s.found, s.proposed = s.found[:0], proposal{}
	for i := range claims {
		span, err := claims[i].Window.Pick(at)
		if err != nil {
			return nil, fmt.Errorf("claim %q: %w", claims[i].Key, err)
		}
		placed[i].Claim = claims[i]
		found := s.find(&claims[i], span)
		s.found = append(s.found, found)
		placed[i].Observed = observe(found.counter, claims[i].Marks, span, at)
		if len(claims[i].Marks) > 0 {
			placed[i].Amount = placed[i].New
		}
	}
	return placed, nil
}

// From someClaims to mostClaims, claims take one piece of memory with the counters
// of their lease. For fewer that would be too large.
const (
	someClaims = 4
	mostClaims = 7
)

// newPlaced is room for claims, and in holds for the counters of their lease.
func (s *State) newPlaced(n int) []Placed {
	if n < someClaims || n > mostClaims {
		s.holds = make([]*counter, n)
		return make([]Placed, n)
	}
	both := new(struct {
		placed [mostClaims]Placed
		holds  [mostClaims]*counter
	})
	s.holds = both.holds[:n]
	return both.placed[:n:n]
}

// judge is nil if all claims fit, else *Denied.
func (s *State) judge(placed []Placed, at int64) error {
	census := census{state: s}
	var reasons []Reason // nil as long as all fit
	for i := range placed {
		reason := census.judge(&placed[i].Claim, s.found[i].newest, placed[i].Observed)
		if reason != Fits && reasons == nil {
			reasons = make([]Reason, len(placed))
		}
		if reason != Fits {
			reasons[i] = reason
		}
	}
	if reasons == nil {
		return nil
	}
	observed := make([]Observed, len(placed))
	for i := range placed {
		observed[i] = placed[i].Observed
	}
	return s.denied(observed, reasons, at)
}

func (s *State) denied(observed []Observed, reasons []Reason, at int64) *Denied {
	return &Denied{Epoch: s.Epoch, Number: s.Number, At: at, Observed: observed, Reasons: reasons}
}

// census judges the claims of one reservation in order. A key that is new to
// its group counts for the claims after it. Each claim comes with the newest
// counter of its key.
type census struct {
	state *State
	added [MaxClaims]string // groups, one for each new key
	count int
}

func (n *census) judge(c *Claim, newest *counter, o Observed) Reason {
	if c.Group != "" && !newest.live(c.Group) {
		if n.state.groups[c.Group]+n.addedTo(c.Group) >= c.GroupMax {
			return Crowded
		}
		n.added[n.count] = c.Group
		n.count++
	}
	return Judge(c.Amount, c.Limit, o)
}

func (n *census) addedTo(group string) (keys int64) {
	for _, other := range n.added[:n.count] {
		if other == group {
			keys++
		}
	}
	return keys
}

// Extend answers an extension of an open lease, or returns the event (PolicySeen
// or Extended) that must be applied before asking again.
func (s *State) Extend(x *Extension, at int64) (Grant, Event, error) {
	l, err := s.openLease(x.Lease.Lease)
	if err != nil {
		return Grant{}, Event{}, err
	}
	if x.Total <= l.hold || !l.adjusts() {
		return l.grant(s.Epoch), Event{}, nil
	}
	if err := s.checkPolicy(x.Policy); err != nil {
		return Grant{}, Event{}, err
	}
	if x.Policy.Generation > s.policy.Generation {
		e := s.next(PolicySeen, "", at)
		e.Policy = x.Policy
		return Grant{}, e, nil
	}
	if err := s.killed(x.Switches, at); err != nil {
		return Grant{}, Event{}, err
	}
	observed, reasons, fits := s.judgeExtension(l, x.Total, x.Limits, at)
	if !fits {
		denied := s.denied(observed, reasons, at)
		denied.Keys, denied.Hold = l.keys(), l.hold
		return Grant{}, Event{}, denied
	}
	e := s.next(Extended, l.id, at)
	e.Amount, e.Policy, e.Limits = x.Total, x.Policy, x.Limits
	return Grant{}, e, nil
}

func (s *State) judgeExtension(l *lease, total int64, limits []Limit, at int64) ([]Observed, []Reason, bool) {
	observed := make([]Observed, len(l.claims))
	reasons := make([]Reason, len(l.claims))
	fits := true
	for i := range l.claims {
		observed[i] = l.counters[i].observe(at)
		if l.claims[i].AtEnd != Adjust {
			continue
		}
		reasons[i] = Judge(total-l.hold, limitOf(limits, l.claims[i].Key), observed[i])
		fits = fits && reasons[i] == Fits
	}
	return observed, reasons, fits
}

// Renewed is the expiry, in milliseconds, that a renewal at the instant at
// gives an open lease. SetExpiry makes it so.
func (s *State) Renewed(id string, ttl time.Duration, at int64) (int64, error) {
	l, err := s.openLease(id)
	if err != nil {
		return 0, err
	}
	return min(at+ttl.Milliseconds(), l.at+MaxLeaseLife.Milliseconds()), nil
}

// Settle answers the settlement of a lease at what was actually used, or returns
// the event (Settled, or Corrected if it has expired) that must be applied before
// asking again.
func (s *State) Settle(id string, actual Actual, at int64) (Ending, Event, error) {
	l := s.lease(id)
	if l == nil {
		return Ending{}, Event{}, fmt.Errorf("%w: %q", ErrUnknownLease, id)
	}
	switch l.end {
	case "":
		return Ending{}, s.ends(Settled, id, actual, at), nil
	case Expired:
		return Ending{}, s.ends(Corrected, id, actual, at), nil
	case Released:
		return Ending{}, Event{}, fmt.Errorf("%w: %q was released by event %d", ErrEnded, id, l.endNum)
	}
	return l.ending(s.Epoch), Event{}, nil
}

// Release answers the release of a lease, or returns the event (Released, or
// Corrected if it has expired) that must be applied before asking again. An
// unknown id is released too, which refuses a late reserve.
func (s *State) Release(id string, at int64) (Ending, Event, error) {
	l := s.lease(id)
	if l == nil || l.end == "" {
		return Ending{}, s.ends(Released, id, Actual{}, at), nil
	}
	switch l.end {
	case Expired:
		return Ending{}, s.ends(Corrected, id, Actual{}, at), nil
	case Settled:
		return Ending{}, Event{}, fmt.Errorf("%w: %q was settled by event %d", ErrEnded, id, l.endNum)
	}
	return l.ending(s.Epoch), Event{}, nil
}

func (s *State) ends(kind EventKind, id string, actual Actual, at int64) Event {
	e := s.next(kind, id, at)
	e.Amount, e.Input, e.Output = actual.Cost, actual.Input, actual.Output
	return e
}

// actual is what an event that ends a lease charges.
func (e *Event) actual() Actual { return Actual{Cost: e.Amount, Input: e.Input, Output: e.Output} }

// Expire returns the event that ends the next lease that is due at the instant
// at. Its Kind is empty if none is.
func (s *State) Expire(at int64) Event {
	if len(s.open) == 0 || s.open[0].expires > at {
		return Event{}
	}
	return s.ends(Expired, s.open[0].id, Actual{Cost: s.open[0].hold}, at)
}

// Balances reads the counters that the claims name, and the thrown switches.
func (s *State) Balances(claims []Claim, at int64) (Balances, error) {
	b := Balances{Epoch: s.Epoch, Number: s.Number, At: at, Open: int64(len(s.open)), Switches: s.thrown()}
	placed, err := s.place(claims, at)
	if err != nil {
		return Balances{}, err
	}
	for i := range placed {
		b.Observed = append(b.Observed, placed[i].Observed)
	}
	return b, nil
}

// Provision returns a tenant's first event. It is an error if the tenant
// exists.
func (s *State) Provision(epoch string, at int64) (Event, error) {
	if s.Number != 0 {
		return Event{}, errors.New("the tenant exists")
	}
	e := s.next(Provisioned, "", at)
	e.Epoch = epoch
	return e, nil
}
