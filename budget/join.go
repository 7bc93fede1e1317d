package budget

import (
	"fmt"
	"slices"
)

// Join folds an event of a tenant whose history has parted: a ledger forgot some
// events, and others took their numbers. All of them happened, so what any of them
// spent counts. Events come in order of their instants, from all histories together,
// each once; the first is the provision.
//
// Unlike Apply it does not ask whether an event follows: what was observed is another
// now, and what was granted may exceed a limit. What ends a lease that has ended is
// passed over, unless it tells the cost of one that had expired. The number becomes
// the highest of all.
func (s *State) Join(e Event) error {
	if s.Number == 0 {
		return s.Apply(e)
	}
	if e.Tenant != s.Tenant || e.Epoch != s.Epoch || e.Number < 1 || e.At > maxTime {
		return foldError(&e, fmt.Errorf("it is of another history than that of tenant %q, epoch %q", s.Tenant, s.Epoch))
	}
	e.At = s.Advance(e.At)
	if err := s.join(&e); err != nil {
		return foldError(&e, err)
	}
	s.Number = max(s.Number, e.Number)
	return nil
}

func (s *State) join(e *Event) error {
	l := s.lease(e.Lease)
	open, expired := l != nil && l.end == "", l != nil && l.end == Expired
	switch {
	case e.Kind == PolicySeen && e.Policy.Generation > s.policy.Generation:
		return s.applyPolicy(e)
	case e.Kind == Granted && l == nil:
		return s.joinGrant(e)
	case e.Kind == Extended && open && e.Amount > l.hold && l.adjusts():
		l.raise(e, s.observedBy(l, e.At))
	case e.Kind == Expired && open:
		e.Amount = l.hold
		return s.applyEnd(e)
	case e.Kind == Settled && open:
		return s.applyEnd(e)
	case e.Kind == Released && (open || l == nil):
		return s.applyReleased(e)
	case expired && (e.Kind == Settled || e.Kind == Released || e.Kind == Corrected):
		e.Kind = Corrected
		return s.applyCorrected(e)
	case e.Kind == Thrown:
		delete(s.switches, e.Switch) // one that is thrown is thrown anew
		return s.applyThrown(e)
	case e.Kind == Lifted && s.IsThrown(e.Switch):
		return s.applyLifted(e)
	}
	return nil
}

// joinGrant makes a lease that observes the counters as they are now.
func (s *State) joinGrant(e *Event) error {
	if err := ValidName(e.Lease); err != nil {
		return err
	}
	e.Claims = slices.Clone(e.Claims)
	if err := validateClaims(len(e.Claims), func(i int) *Claim { return &e.Claims[i].Claim }); err != nil {
		return err
	}
	s.found, s.holds, s.proposed = s.found[:0], nil, proposal{}
	for i := range e.Claims {
		p := &e.Claims[i]
		found := s.find(&p.Claim, p.Span)
		s.found = append(s.found, found)
		p.Observed = observe(found.counter, p.Marks, p.Span, e.At)
		if len(p.Marks) > 0 {
			p.Amount = p.New
		}
	}
	s.grant(e)
	for _, c := range s.leases[e.Lease].counters {
		c.born = min(c.born, e.Number) // the numbers of two histories are in no order
	}
	return nil
}

// observedBy is what an open lease's counters show.
func (s *State) observedBy(l *lease, at int64) []Observed {
	all := make([]Observed, len(l.counters))
	for i, c := range l.counters {
		all[i] = c.observe(at)
	}
	return all
}
