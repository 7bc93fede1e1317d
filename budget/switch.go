package budget

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	// MaxSwitchesPerReserve bounds the switches that one reservation or extension
	// names.
	MaxSwitchesPerReserve = 8

	// MaxSwitches bounds a tenant's thrown switches.
	MaxSwitches = 1000

	// TenantSwitch stops one tenant.
	TenantSwitch = "tenant"

	// GlobalSwitch stops every tenant. It is thrown at each of them, and at
	// EveryTenant: a tenant that is provisioned while EveryTenant has it is born
	// with it.
	GlobalSwitch = "global"

	// EveryTenant is the record that says of tenants to come what holds for all.
	// It is provisioned, numbered and rebuilt as a tenant; no policy can name
	// one so.
	EveryTenant = "*"
)

// Switch is a kill switch with the event that threw it, or has just lifted it.
type Switch struct {
	Name   string
	Number int64 // of the event
	At     int64
}

// Killed is the ledger's refusal of a reservation or extension that names a
// thrown switch, the first of them if there are more. Nothing is held by it.
type Killed struct {
	Switch Switch
	Epoch  string
	Number int64 // of the tenant's last event
	At     int64
}

func (k *Killed) Error() string {
	return fmt.Sprintf("kill switch %s was thrown by event %d", k.Switch.Name, k.Switch.Number)
}

// ValidSwitch refuses, with ErrInvalid, a tenant or switch whose name is
// malformed. Every ledger calls it before it throws or lifts.
func ValidSwitch(tenant, name string) error {
	if err := ValidName(tenant); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	if err := ValidName(name); err != nil {
		return fmt.Errorf("switch: %w", err)
	}
	return nil
}

func validateSwitches(names []string) error {
	if len(names) > MaxSwitchesPerReserve {
		return fmt.Errorf("%w: %d switches, at most %d", ErrInvalid, len(names), MaxSwitchesPerReserve)
	}
	for _, name := range names {
		if err := ValidName(name); err != nil {
			return fmt.Errorf("switch: %w", err)
		}
	}
	return nil
}

// Throw answers the throwing of a switch, together with the Thrown event that
// must be applied for it. The event's Kind is empty where nothing changes.
func (s *State) Throw(name string, at int64) (Switch, Event, error) {
	thrown, ok := s.switches[name]
	if ok && !Renews(name) {
		return thrown, Event{}, nil
	}
	if !ok && len(s.switches) >= MostSwitches(name) {
		return Switch{}, Event{}, fmt.Errorf("%w: tenant %q has %d", ErrSwitches, s.Tenant, MaxSwitches)
	}
	e := s.next(Thrown, "", at)
	e.Switch = name
	return Switch{name, e.Number, e.At}, e, nil
}

// Renews reports whether throwing a thrown switch of this name throws it anew.
// The global one does: a lift that was decided before, and names the older
// event, then misses it. See Follow.
func Renews(name string) bool { return name == GlobalSwitch }

// MostSwitches bounds the thrown switches of a tenant beside which one of this
// name may be thrown: however many keys and runs are stopped, the whole tenant
// and everybody can be.
func MostSwitches(name string) int {
	if name == GlobalSwitch || name == TenantSwitch {
		return MaxSwitches + 2
	}
	return MaxSwitches
}

// Lift answers the lifting of a switch that this event threw, of any if it is 0,
// together with the Lifted event that must be applied for it. The event's Kind
// is empty where nothing changes.
func (s *State) Lift(name string, event, at int64) (Switch, Event) {
	thrown, ok := s.switches[name]
	if !ok || event != 0 && event != thrown.Number {
		return Switch{Name: name}, Event{}
	}
	e := s.next(Lifted, "", at)
	e.Switch = name
	return Switch{name, e.Number, e.At}, e
}

// killed is nil, or *Killed if one of the switches is thrown.
func (s *State) killed(names []string, at int64) error {
	if len(s.switches) == 0 {
		return nil
	}
	for _, name := range names {
		if thrown, ok := s.switches[name]; ok {
			return &Killed{Switch: thrown, Epoch: s.Epoch, Number: s.Number, At: at}
		}
	}
	return nil
}

func (s *State) applyThrown(e *Event) error {
	if err := ValidName(e.Switch); err != nil {
		return fmt.Errorf("switch: %w", err)
	}
	_, ok := s.switches[e.Switch]
	if ok && !Renews(e.Switch) {
		return fmt.Errorf("switch %q is thrown already", e.Switch)
	}
	if !ok && len(s.switches) >= MostSwitches(e.Switch) {
		return ErrSwitches
	}
	s.throw(Switch{e.Switch, e.Number, e.At})
	return nil
}

func (s *State) applyLifted(e *Event) error {
	if _, ok := s.switches[e.Switch]; !ok {
		return fmt.Errorf("switch %q is not thrown", e.Switch)
	}
	delete(s.switches, e.Switch)
	return nil
}

// throw makes the map with the first switch: most tenants never have one.
func (s *State) throw(w Switch) {
	if s.switches == nil {
		s.switches = make(map[string]Switch)
	}
	s.switches[w.Name] = w
}

// thrown lists the switches by name, nil if there are none.
func (s *State) thrown() []Switch {
	var list []Switch
	for _, w := range s.switches {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b Switch) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Stopped returns the first of these switches that is thrown, "" if none is.
func (s *State) Stopped(names []string) string {
	for _, name := range names {
		if s.IsThrown(name) {
			return name
		}
	}
	return ""
}

// AnyThrown reports whether any switch is thrown.
func (s *State) AnyThrown() bool { return len(s.switches) > 0 }

// IsThrown reports whether a switch is thrown.
func (s *State) IsThrown(name string) bool {
	_, ok := s.switches[name]
	return ok
}
