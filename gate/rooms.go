package gate

import (
	"sync"
	"sync/atomic"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// ampleFactor is how many requests like this one must still fit before a
// loose bound is tried at all. A loose hold keeps others out for as long as it
// lasts, so it is only for tenants that are far from every limit.
const ampleFactor = 1024

// rooms remembers what was last left of each tenant's budgets. It chooses
// between two bounds that are both safe, never between verdicts.
type rooms struct{ byTenant sync.Map } // tenant name -> *room

type room struct {
	left    atomic.Int64 // nano-USD
	touched atomic.Bool  // since the last call of touched
}

// ample reports whether the call is far from every limit seen last. A tenant
// not seen yet is not.
func (r *rooms) ample(q *quote) bool {
	seen, ok := r.byTenant.Load(q.Key.Tenant.Name)
	if !ok {
		return false
	}
	cost, err := q.worst()
	return err == nil && cost < seen.(*room).left.Load()/ampleFactor
}

func (r *rooms) note(q *quote, observed []budget.Observed) {
	seen, ok := r.byTenant.Load(q.Key.Tenant.Name)
	if !ok {
		seen, _ = r.byTenant.LoadOrStore(q.Key.Tenant.Name, new(room))
	}
	left, _ := q.plan.Room(observed)
	seen.(*room).left.Store(left)
	seen.(*room).touched.Store(true)
}

// touched returns the tenants with calls since it was last asked.
func (r *rooms) touched() []string {
	var names []string
	r.byTenant.Range(func(name, seen any) bool {
		if seen.(*room).touched.Swap(false) {
			names = append(names, name.(string))
		}
		return true
	})
	return names
}
