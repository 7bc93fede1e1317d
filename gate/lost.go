package gate

import (
	"errors"
	"fmt"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// lostTenants are those that the ledger refused when they were swept last, because it
// has lost them or they were never provisioned.
type lostTenants struct {
	mu     sync.Mutex
	served map[string]bool
	why    error // of the last that was refused
}

// note takes how the sweep of a tenant ended.
func (l *lostTenants) note(tenant string, err error) {
	lost := errors.Is(err, budget.ErrLost)
	if err != nil && !lost {
		return // it says nothing of the tenant
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.served == nil {
		l.served = make(map[string]bool)
	}
	l.served[tenant] = !lost
	if lost {
		l.why = err
	}
}

// Serves reports whether the ledger has the policy's tenants, as far as they have
// been swept: budget.ErrPartly if it lacks some, budget.ErrLost if it lacks all.
func (g *Gate) Serves() error {
	tenants := g.Rules().tenants()
	l := &g.lost
	l.mu.Lock()
	defer l.mu.Unlock()
	lost, served := 0, 0
	for _, name := range tenants {
		if has, known := l.served[name]; known && has {
			served++
		} else if known {
			lost++
		}
	}
	switch {
	case lost == 0:
		return nil
	case served == 0:
		return fmt.Errorf("the ledger has none of the policy's tenants: %w", l.why)
	}
	return fmt.Errorf("%w: the ledger lacks %d of %d: %v", budget.ErrPartly, lost, lost+served, l.why)
}

// keepTo forgets tenants that the policy no longer has.
func (l *lostTenants) keepTo(tenants []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.served) <= len(tenants) {
		return
	}
	kept := make(map[string]bool, len(tenants))
	for _, name := range tenants {
		if has, known := l.served[name]; known {
			kept[name] = has
		}
	}
	l.served = kept
}
