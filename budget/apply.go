package budget

import (
	"container/heap"
	"errors"
	"fmt"
	"strings"
)

// ErrFold: an event does not follow from the state before it.
var ErrFold = errors.New("event does not follow")

var errNotNewest = errors.New("its policy is not the newest seen")

// Apply folds the tenant's next event. It changes no balance and wraps ErrFold,
// saying what does not follow, if the event has another tenant, epoch or
// number, goes back in time, or could not have happened in this state.
func (s *State) Apply(e Event) error {
	if err := s.follows(&e); err != nil {
		return foldError(&e, err)
	}
	s.Advance(e.At)
	if err := s.transition(&e); err != nil {
		return foldError(&e, err)
	}
	s.Number = e.Number
	return nil
}

func foldError(e *Event, err error) error {
	return fmt.Errorf("%w: tenant %q, event %d (%s): %w", ErrFold, e.Tenant, e.Number, e.Kind, err)
}

func (s *State) follows(e *Event) error {
	if e.Tenant != s.Tenant {
		return fmt.Errorf("the tenant is %q", s.Tenant)
	}
	if e.Number != s.Number+1 {
		return fmt.Errorf("the number after %d is %d", s.Number, s.Number+1)
	}
	if s.Number > 0 && e.Epoch != s.Epoch {
		return fmt.Errorf("epoch %q is not %q", e.Epoch, s.Epoch)
	}
	if e.At < s.at || e.At > maxTime {
		return fmt.Errorf("instant %d is before %d or out of bounds", e.At, s.at)
	}
	return nil
}

func (s *State) transition(e *Event) error {
	if s.Number == 0 && e.Kind != Provisioned {
		return errors.New("the first event provisions")
	}
	switch e.Kind {
	case Provisioned:
		return s.applyProvisioned(e)
	case PolicySeen:
		return s.applyPolicy(e)
	case Granted:
		return s.applyGranted(e)
	case Extended:
		return s.applyExtended(e)
	case Settled, Expired:
		return s.applyEnd(e)
	case Released:
		return s.applyReleased(e)
	case Corrected:
		return s.applyCorrected(e)
	case Thrown:
		return s.applyThrown(e)
	case Lifted:
		return s.applyLifted(e)
	}
	return errors.New("unknown kind of event")
}

func (s *State) applyProvisioned(e *Event) error {
	if s.Number != 0 {
		return errors.New("the tenant exists")
	}
	if err := ValidName(e.Epoch); err != nil {
		return fmt.Errorf("epoch: %w", err)
	}
	s.Epoch = e.Epoch
	return nil
}

func (s *State) applyPolicy(e *Event) error {
	if err := e.Policy.validate(); err != nil {
		return err
	}
	if e.Policy.Generation <= s.policy.Generation {
		return fmt.Errorf("generation %d is not above %d", e.Policy.Generation, s.policy.Generation)
	}
	s.policy = e.Policy
	return nil
}

func (s *State) applyGranted(e *Event) error {
	if err := s.checkGranted(e); err != nil {
		return err
	}
	s.grant(e)
	return nil
}

// grant makes a lease whose counters are in found.
func (s *State) grant(e *Event) {
	l := &lease{id: e.Lease, number: e.Number, at: e.At, expires: e.Expires, claims: e.Claims}
	l.counters = s.takeHolds(len(e.Claims))
	for i := range e.Claims {
		p := &e.Claims[i]
		if p.AtEnd == Adjust {
			l.hold = p.Amount
		}
		c := s.counterFor(p, s.found[i], e)
		c.held += p.Amount
		c.know(p.Marks, p.New)
		c.take()
		c.open++
		c.lastUse = e.At
		l.counters[i] = c
	}
	s.leases[l.id] = l
	heap.Push(&s.open, l)
}

// takeHolds is room for the counters of a lease: that which came with its claims,
// where Reserve has made them.
func (s *State) takeHolds(n int) []*counter {
	room := s.holds
	s.holds = nil
	if len(room) != n {
		return make([]*counter, n)
	}
	return room
}

// proposal is the grant that Reserve made last, whose counters are in found.
type proposal struct {
	claims  *Placed // the first
	lease   string
	number  int64
	at      int64
	expires int64
	policy  PolicyVersion
}

func proposalOf(e *Event) proposal {
	if len(e.Claims) == 0 {
		return proposal{}
	}
	return proposal{&e.Claims[0], e.Lease, e.Number, e.At, e.Expires, e.Policy}
}

// propose notes a grant that Reserve has made. Where that event is applied next,
// at an instant that the state has reached already, nothing can have changed: it
// need not be checked again, as an event from elsewhere must.
func (s *State) propose(e *Event) {
	if e.At == s.at {
		s.proposed = proposalOf(e)
	}
}

func (s *State) checkGranted(e *Event) error {
	if p := proposalOf(e); p != (proposal{}) && p == s.proposed {
		return nil
	}
	if e.Policy != s.policy {
		return errNotNewest
	}
	if err := ValidName(e.Lease); err != nil {
		return err
	}
	if s.lease(e.Lease) != nil {
		return fmt.Errorf("lease %q is known", e.Lease)
	}
	if e.Expires <= e.At || e.Expires > e.At+MaxLeaseLife.Milliseconds() {
		return fmt.Errorf("expiry %d is not within %v of the grant", e.Expires, MaxLeaseLife)
	}
	if err := validateClaims(len(e.Claims), func(i int) *Claim { return &e.Claims[i].Claim }); err != nil {
		return err
	}
	return s.checkPlaced(e)
}

// checkPlaced compares what the ledger says it observed with the fold, and
// that the claims fitted. It leaves each claim's counter in found, nil where
// there is none yet.
func (s *State) checkPlaced(e *Event) error {
	census := census{state: s}
	s.found, s.holds, s.proposed = s.found[:0], nil, proposal{}
	for i := range e.Claims {
		p := &e.Claims[i]
		if p.Window.Kind == Fixed && (!p.Span.Contains(e.At) || (p.Span != p.Window.Current && p.Span != p.Window.Next)) {
			return fmt.Errorf("claim %q: span %v is not one of its window that holds %d", p.Key, p.Span, e.At)
		}
		if p.Window.Kind != Fixed && p.Span != (Span{}) {
			return fmt.Errorf("claim %q: a %s window has no span", p.Key, p.Window.Kind)
		}
		found := s.find(&p.Claim, p.Span)
		s.found = append(s.found, found)
		if want := observe(found.counter, p.Marks, p.Span, e.At); p.Observed != want {
			return fmt.Errorf("claim %q: observed %+v where the events give %+v", p.Key, p.Observed, want)
		}
		if len(p.Marks) > 0 && p.Amount != p.New {
			return fmt.Errorf("claim %q: amount %d where %d of its marks are new", p.Key, p.Amount, p.New)
		}
		if reason := census.judge(&p.Claim, found.newest, p.Observed); reason != Fits {
			return fmt.Errorf("claim %q: it does not fit: %s", p.Key, reason)
		}
	}
	return nil
}

// counterFor is the counter of a claim: the one that was found, or a new one.
func (s *State) counterFor(p *Placed, found spot, e *Event) *counter {
	c := found.counter
	if c == nil {
		c = newCounter(&p.Claim, p.Span, e)
		s.addCounter(c, found.newest)
	}
	if c.window.kind == Idle {
		c.length = p.Window.Length.Milliseconds()
	}
	s.joinGroup(c, p.Group)
	return c
}

// newCounter has a key of its own: the claim's may be part of a larger text, which
// the counter would keep for as long as it lives.
func newCounter(claim *Claim, span Span, e *Event) *counter {
	c := &counter{key: strings.Clone(claim.Key), window: lifetimeOf(claim, span), born: e.Number, lastUse: e.At}
	c.length = c.window.length
	if c.window.kind == Rolling {
		c.ring = &ring{newest: bucketOf(e.At, c.length)}
	}
	return c
}

// openLease is a lease that has not ended, or why there is none.
func (s *State) openLease(id string) (*lease, error) {
	l := s.lease(id)
	if l == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownLease, id)
	}
	if l.end != "" {
		return nil, fmt.Errorf("%w: %q: %s by event %d", ErrEnded, id, l.end, l.endNum)
	}
	return l, nil
}

func (s *State) applyExtended(e *Event) error {
	l, err := s.openLease(e.Lease)
	if err != nil {
		return err
	}
	if err := ValidAmount(e.Amount); err != nil {
		return err
	}
	if err := validateLimits(e.Limits); err != nil {
		return err
	}
	if e.Policy != s.policy {
		return errNotNewest
	}
	if e.Amount <= l.hold || !l.adjusts() {
		return fmt.Errorf("total %d extends nothing above the hold %d", e.Amount, l.hold)
	}
	observed, reasons, fits := s.judgeExtension(l, e.Amount, e.Limits, e.At)
	if !fits {
		return fmt.Errorf("it does not fit: %v", reasons)
	}
	l.raise(e, observed)
	return nil
}

// raise makes an open lease hold more in its Adjust claims.
func (l *lease) raise(e *Event, observed []Observed) {
	for i, c := range l.counters {
		if l.claims[i].AtEnd == Adjust {
			c.held += e.Amount - l.hold
			c.lastUse = e.At
		}
	}
	l.hold = e.Amount
	l.extended = &extension{number: e.Number, at: e.At, observed: observed}
}

// applyEnd settles: by its holder at what was actually used, or by expiry at the
// hold.
func (s *State) applyEnd(e *Event) error {
	l, err := s.openLease(e.Lease)
	if err != nil {
		return err
	}
	if err := e.actual().Validate(); err != nil {
		return err
	}
	if e.Kind == Expired && e.Amount != l.hold {
		return fmt.Errorf("expiry charges the hold %d, not %d", l.hold, e.Amount)
	}
	if e.Kind == Expired && (e.Input != 0 || e.Output != 0) {
		return errors.New("expiry tells no tokens, it charges those that were held")
	}
	for i, c := range l.counters {
		switch l.claims[i].AtEnd {
		case Adjust, Input, Output, Tokens:
			c.charge(l.used(i, e), e.At)
		case Keep:
			if len(l.claims[i].Marks) == 0 {
				c.charge(l.claims[i].Amount, e.At)
			}
		case Spend:
			c.charge(l.claims[i].Amount, e.At)
		}
	}
	s.end(l, e)
	return nil
}

// used is what an end charges a claim that is charged by what was used: all of its
// hold, where nobody knows what that was.
func (l *lease) used(claim int, e *Event) int64 {
	if e.Kind == Expired {
		return l.holdOf(claim)
	}
	amount, _ := e.actual().Of(l.claims[claim].AtEnd)
	return amount
}

func (s *State) applyReleased(e *Event) error {
	if err := ValidName(e.Lease); err != nil {
		return err
	}
	if s.lease(e.Lease) == nil {
		s.bury(e)
		return nil
	}
	l, err := s.openLease(e.Lease)
	if err != nil {
		return err
	}
	if e.Amount != 0 {
		return fmt.Errorf("a release charges nothing, not %d", e.Amount)
	}
	if e.Input != 0 || e.Output != 0 {
		return fmt.Errorf("a release charges no tokens, not %d and %d", e.Input, e.Output)
	}
	for i, c := range l.counters {
		if l.claims[i].AtEnd == Spend {
			c.charge(l.claims[i].Amount, e.At)
		}
	}
	s.end(l, e)
	return nil
}

// bury leaves a tombstone that refuses a late reserve.
func (s *State) bury(e *Event) {
	l := &lease{id: e.Lease, number: e.Number, at: e.At}
	s.leases[l.id] = l
	s.remember(l, e)
}

// end returns the holds of an open lease and remembers how it ended.
func (s *State) end(l *lease, e *Event) {
	for i, c := range l.counters {
		c.giveBack(l, i, e.Kind)
		c.open--
		c.lastUse = e.At
		s.leave(c)
	}
	heap.Remove(&s.open, l.index)
	l.counters, l.extended = nil, nil
	if e.Kind != Expired {
		l.claims = nil
	}
	s.remember(l, e)
}

// leave notes that a lease has left a counter. A window may be long past.
func (s *State) leave(c *counter) {
	switch {
	case c.open > 0:
	case c.forgetAt() <= c.lastUse:
		s.forget(c)
	default:
		s.rest(c)
	}
}

func (s *State) remember(l *lease, e *Event) {
	l.end, l.endNum, l.endAt, l.charge = e.Kind, e.Number, e.At, e.Amount
	switch e.Kind {
	case Expired:
		l.expired = e.At
		l.forgetAt = e.At + RememberExpired.Milliseconds()
		s.expired = append(s.expired, l)
	case Corrected: // is in the queue of its expiry
		l.forgetAt = max(l.forgetAt, e.At+RememberEnded.Milliseconds())
	default:
		l.forgetAt = e.At + RememberEnded.Milliseconds()
		s.ended = append(s.ended, l)
	}
}

// applyCorrected replaces the charge of an expired lease, where that charge
// still counts.
func (s *State) applyCorrected(e *Event) error {
	l := s.lease(e.Lease)
	if l == nil {
		return fmt.Errorf("%w: %q", ErrUnknownLease, e.Lease)
	}
	if l.end != Expired {
		return fmt.Errorf("lease %q has not expired uncorrected", e.Lease)
	}
	if err := e.actual().Validate(); err != nil {
		return err
	}
	for i := range l.claims {
		p := &l.claims[i]
		c := s.find(&p.Claim, p.Span).counter
		amount, measured := e.actual().Of(p.AtEnd)
		if !measured || c == nil || c.born > l.number {
			continue
		}
		c.roll(e.At) // a charge that has left its window by now is no longer corrected
		c.charge(amount-l.holdOf(i), l.expired)
		s.touch(c, e.At)
	}
	l.claims = nil
	s.remember(l, e)
	return nil
}
