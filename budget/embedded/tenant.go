package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// tenant is one tenant's state and the events of it that have no receipt.
type tenant struct {
	mu      sync.Mutex
	state   *budget.State
	pending pending
	jumped  int64          // milliseconds of leaps by which its leases were put off
	last    *batch         // that holds its latest event
	scratch []byte         // for encoding
	terms   terms          // for encoding
	leases  []budget.Lease // read before the State that they belong to
}

// wholeTenant is a tenant as one record.
type wholeTenant struct {
	State   budget.Snapshot
	Pending []budget.Event `json:",omitempty"`
}

func (t *tenant) apply(e budget.Event) error {
	if err := t.state.Apply(e); err != nil {
		return err
	}
	t.pending.add(e)
	return nil
}

// load replaces the tenant.
func (t *tenant) load(whole wholeTenant) error {
	whole.State.Leases = append(t.leases, whole.State.Leases...)
	t.leases = nil
	state, err := budget.FromSnapshot(whole.State)
	if err != nil {
		return err
	}
	t.state, t.pending = state, pending{}
	for _, e := range whole.Pending {
		t.pending.add(e)
	}
	return nil
}

func (t *tenant) whole() wholeTenant {
	return wholeTenant{State: t.state.Snapshot(), Pending: t.pending.all()}
}

// behind is ErrLost if the tenant is not what was seen before.
func (t *tenant) behind(seen sighting) error {
	if t.state.Number == 0 {
		return fmt.Errorf("%w: tenant %q has no record", budget.ErrLost, t.state.Tenant)
	}
	if seen.epoch == "" {
		return nil
	}
	if t.state.Epoch != seen.epoch || t.state.Number < seen.number {
		return fmt.Errorf("%w: tenant %q is at event %d of epoch %q, but event %d of epoch %q was seen; rebuild it from receipts",
			budget.ErrLost, t.state.Tenant, t.state.Number, t.state.Epoch, seen.number, seen.epoch)
	}
	return nil
}

// tenants is a ledger's whole content.
type tenants map[string]*tenant

func (ts tenants) make(name string) *tenant {
	t := ts[name]
	if t == nil {
		t = &tenant{state: budget.NewState(name)}
		ts[name] = t
	}
	return t
}

// replay does what a record says.
func (ts tenants) replay(r *record) error {
	switch {
	case r.Event != nil:
		return ts.make(r.Event.Tenant).apply(*r.Event)
	case r.Lease != nil:
		t := ts.make(r.Lease.Tenant)
		t.leases = append(t.leases, r.Lease.Lease)
		return nil
	case r.State != nil:
		return ts.make(r.State.State.Tenant).load(*r.State)
	case r.Ack != nil:
		ts.make(r.Ack.Tenant).pending.remove(r.Ack.Number)
		return nil
	case r.Renew != nil:
		return ts.make(r.Renew.Tenant).state.SetExpiry(r.Renew.Lease, r.Renew.Expires)
	}
	return errors.New("record of no kind")
}

// pending is a tenant's events without receipt, in order of their numbers.
type pending struct {
	whole  []pendingEvent // the memory that events is the end of
	events []pendingEvent
	live   int // events without receipt
}

type pendingEvent struct {
	event        budget.Event
	due          int64 // milliseconds; when Sweep returns it
	acknowledged bool
}

func (p *pending) add(e budget.Event) {
	due := e.At + budget.OverdueAfter.Milliseconds()
	switch e.Kind {
	case budget.Expired, budget.Provisioned, budget.PolicySeen, budget.Thrown, budget.Lifted: // no caller has it to receipt
		due = e.At
	}
	p.makeRoom()
	p.events = append(p.events, pendingEvent{event: e, due: due})
	p.live++
}

// makeRoom moves the events to the front of their memory where that is at least
// half free: events come and go at the same pace, so the next one rarely needs
// new memory.
func (p *pending) makeRoom() {
	if len(p.events) < cap(p.events) {
		return
	}
	if len(p.events) > cap(p.whole)/2 {
		grown := make([]pendingEvent, len(p.events), max(minPending, 2*len(p.events)))
		copy(grown, p.events)
		p.whole, p.events = grown, grown
		return
	}
	front := p.whole[:len(p.events)]
	copy(front, p.events)
	p.events = front
}

// minPending is how many events have room from the first on.
const minPending = 16

// remove forgets an event and reports whether it was there.
func (p *pending) remove(number int64) bool {
	i, found := slices.BinarySearchFunc(p.events, number, func(e pendingEvent, number int64) int {
		return cmp.Compare(e.event.Number, number)
	})
	if !found || p.events[i].acknowledged {
		return false
	}
	p.events[i] = pendingEvent{event: budget.Event{Number: number}, acknowledged: true}
	p.live--
	p.trim()
	return true
}

// trim drops acknowledged events from the front, and all of them once they
// are the greater part: one event without a receipt must not keep the others.
func (p *pending) trim() {
	n := 0
	for n < len(p.events) && p.events[n].acknowledged {
		n++
	}
	p.events = p.events[n:]
	if len(p.events) < 2*p.live+sweepEvents {
		return
	}
	p.whole = p.whole[:cap(p.whole)]
	kept := p.whole[:0]
	if cap(p.whole) > 4*len(p.events) {
		kept = make([]pendingEvent, 0, len(p.events)) // it was once busier
	}
	for _, e := range p.events {
		if !e.acknowledged {
			kept = append(kept, e)
		}
	}
	clear(p.whole[len(kept):])
	p.whole, p.events = kept, kept
}

func (p *pending) all() (events []budget.Event) {
	for i := range p.events {
		if !p.events[i].acknowledged {
			events = append(events, p.events[i].event)
		}
	}
	return events
}

// acknowledged is the newest event up to number that has a receipt, 0 if none has.
func (p *pending) acknowledged(number int64) int64 {
	for i := len(p.events) - 1; i >= 0 && p.events[i].event.Number == number && !p.events[i].acknowledged; i-- {
		number--
	}
	return number
}

// overdue hands out what is due at the instant at, for OverdueAfter.
func (p *pending) overdue(at int64) (events []budget.Event) {
	for i := range p.events {
		e := &p.events[i]
		if e.acknowledged || e.due > at {
			continue
		}
		if len(events) == sweepEvents {
			break
		}
		e.due = at + budget.OverdueAfter.Milliseconds()
		events = append(events, e.event)
	}
	return events
}

// expedite makes every event due at once.
func (p *pending) expedite() {
	for i := range p.events {
		p.events[i].due = 0
	}
}
