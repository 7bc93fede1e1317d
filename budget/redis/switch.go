package redis

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Throw throws a kill switch.
func (l *Ledger) Throw(ctx context.Context, tenant, name string) (budget.Switch, error) {
	return l.turn(ctx, throwScript, "thrown", tenant, name, budget.MostSwitches(name), budget.Renews(name))
}

// Lift takes a kill switch back.
func (l *Ledger) Lift(ctx context.Context, tenant, name string, event int64) (budget.Switch, error) {
	return l.turn(ctx, liftScript, "lifted", tenant, name, event)
}

// turn runs a verb about a switch, which answers with the word and an event.
func (l *Ledger) turn(ctx context.Context, s *script, word, tenant, name string, more ...any) (budget.Switch, error) {
	if err := budget.ValidSwitch(tenant, name); err != nil {
		return budget.Switch{}, err
	}
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	c := l.onTenant(s, tenant, append([]any{name}, more...)...)
	a, err := l.do(ctx, c)
	if err != nil {
		return budget.Switch{}, err
	}
	if a.word != word {
		return budget.Switch{}, misunderstood(s.verb, a.word)
	}
	turned := budget.Switch{Name: name, Number: a.int(), At: a.int()}
	return turned, a.finished(s.verb)
}

// thrownForAll are the switches that a new tenant is born with, joined by
// spaces. Without a record that speaks for all tenants there are none; one that
// this replica has seen and that is gone was lost.
func (l *Ledger) thrownForAll(ctx context.Context) (string, error) {
	every, err := l.Balances(ctx, budget.EveryTenant, nil)
	if errors.Is(err, budget.ErrLost) && l.tenant(budget.EveryTenant).seen(0).epoch == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, w := range every.Switches {
		if w.Name == budget.GlobalSwitch {
			return w.Name, nil
		}
	}
	return "", nil
}

// killed reads "SWITCH EVENT AT".
func (a *answer) killed(c *call) error {
	k := &budget.Killed{Switch: a.fields.thrown(), Epoch: a.epoch, Number: a.number, At: a.now}
	if err := a.finished(c.script.verb); err != nil {
		return err
	}
	return k
}

func (f *fields) thrown() budget.Switch {
	return budget.Switch{Name: f.word(), Number: f.int(), At: f.int()}
}

// switches reads how many there are and then each, and returns them by name.
func (f *fields) switches() []budget.Switch {
	var list []budget.Switch
	n := f.int()
	for range min(n, budget.MaxSwitches+2) {
		list = append(list, f.thrown())
	}
	f.broken = f.broken || n != int64(len(list))
	slices.SortFunc(list, func(a, b budget.Switch) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
