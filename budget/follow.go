package budget

import (
	"context"
	"fmt"
)

// followTurns bounds the changes that one Follow makes.
const followTurns = 5

// Switchboard is what Follow needs of a Keeper.
type Switchboard interface {
	Balances(ctx context.Context, tenant string, claims []Claim) (Balances, error)
	Throw(ctx context.Context, tenant, name string) (Switch, error)
	Lift(ctx context.Context, tenant, name string, event int64) (Switch, error)
}

// Follow throws or lifts a tenant's GlobalSwitch until it is as EveryTenant has
// it, and returns it; its Number is 0 where it is not thrown. It changes nothing
// where either record cannot be read, and so lifts nothing either. Any number of
// callers may follow at once, whatever else is thrown or lifted meanwhile.
//
// It never undoes a global switch that an operator has just thrown. EveryTenant
// is another record than the tenant's, with a hash tag of its own, so no step of
// a ledger sees both; a lift may arrive long after what it was decided by. Two
// things make up for that. Whoever throws for all writes EveryTenant first and
// then throws at each tenant, always by a new event (Renews). And here the
// tenant's event is read first, EveryTenant second, and the lift names the event.
// Now let a lift succeed after such a throw at the tenant. The event that it
// names is then the throw's, or a later one; so EveryTenant was read later
// still, and it was lifted again by then. If the lift comes before the throw at
// the tenant, that throw is not done yet, and stops the tenant when it comes.
//
// A tenant that the thrower does not know gets no throw of its own. Its lift can
// cross the throw at EveryTenant, which is why that is read once more after
// every change.
func Follow(ctx context.Context, b Switchboard, tenant string) (Switch, error) {
	own, err := GlobalAt(ctx, b, tenant)
	for range followTurns {
		if err != nil {
			return own, err
		}
		all, err2 := GlobalAt(ctx, b, EveryTenant)
		if err2 != nil || (all.Number == 0) == (own.Number == 0) {
			return own, err2
		}
		own, err = turnTo(ctx, b, tenant, own)
	}
	return own, fmt.Errorf("%w: the global switch of tenant %q changes all the time", ErrUnavailable, tenant)
}

// turnTo lifts the switch if it is thrown, or throws it, and returns what it is
// now.
func turnTo(ctx context.Context, b Switchboard, tenant string, own Switch) (Switch, error) {
	if own.Number == 0 {
		return b.Throw(ctx, tenant, GlobalSwitch)
	}
	lifted, err := b.Lift(ctx, tenant, GlobalSwitch, own.Number)
	if err != nil {
		return own, err
	}
	if lifted.Number == 0 { // thrown anew, or lifted by another
		return GlobalAt(ctx, b, tenant)
	}
	return Switch{Name: GlobalSwitch}, nil
}

// GlobalAt reads a tenant's GlobalSwitch; its Number is 0 where it is not thrown.
func GlobalAt(ctx context.Context, b Switchboard, tenant string) (Switch, error) {
	balances, err := b.Balances(ctx, tenant, nil)
	if err != nil {
		return Switch{}, err
	}
	for _, w := range balances.Switches {
		if w.Name == GlobalSwitch {
			return w, nil
		}
	}
	return Switch{Name: GlobalSwitch}, nil
}
