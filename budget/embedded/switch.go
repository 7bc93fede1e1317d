package embedded

import (
	"context"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Throw throws a kill switch and returns when that is durable.
func (l *Ledger) Throw(ctx context.Context, tenant, name string) (budget.Switch, error) {
	return l.turn(ctx, tenant, name, func(s *budget.State, at int64) (budget.Switch, budget.Event, error) {
		return s.Throw(name, at)
	})
}

// Lift takes a kill switch back and returns when that is durable.
func (l *Ledger) Lift(ctx context.Context, tenant, name string, event int64) (budget.Switch, error) {
	return l.turn(ctx, tenant, name, func(s *budget.State, at int64) (budget.Switch, budget.Event, error) {
		lifted, e := s.Lift(name, event, at)
		return lifted, e, nil
	})
}

// turn throws or lifts a switch: it asks once, and gives that answer when what
// it told to apply is applied.
func (l *Ledger) turn(ctx context.Context, tenant, name string, once question[budget.Switch]) (budget.Switch, error) {
	if err := budget.ValidSwitch(tenant, name); err != nil {
		return budget.Switch{}, err
	}
	var turned budget.Switch
	asked := false
	return answer(ctx, l, tenant, func(s *budget.State, at int64) (budget.Switch, budget.Event, error) {
		if asked {
			return turned, budget.Event{}, nil
		}
		var e budget.Event
		var err error
		turned, e, err = once(s, at)
		asked = true
		return turned, e, err
	})
}
