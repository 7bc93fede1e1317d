package embedded

import (
	"context"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Throw throws a kill switch and returns when that is durable.
func (l *Ledger) Throw(ctx context.Context, tenant, name string) (budget.Switch, error) {
	if err := budget.ValidSwitch(tenant, name); err != nil {
		return budget.Switch{}, err
	}
	return answer(ctx, l, tenant, func(s *budget.State, at int64) (budget.Switch, budget.Event, error) {
		return s.Throw(name, at)
	})
}

// Lift takes a kill switch back and returns when that is durable.
func (l *Ledger) Lift(ctx context.Context, tenant, name string) (budget.Switch, error) {
	if err := budget.ValidSwitch(tenant, name); err != nil {
		return budget.Switch{}, err
	}
	lifted := budget.Switch{Name: name}
	return answer(ctx, l, tenant, func(s *budget.State, at int64) (budget.Switch, budget.Event, error) {
		e := s.Lift(name, at)
		if e.Kind != "" {
			lifted.Number, lifted.At = e.Number, e.At
		}
		return lifted, e, nil
	})
}
