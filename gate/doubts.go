package gate

import (
	"slices"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// doubtLimit is how long a tenant's events may lack a receipt after trouble with
// ledger or log, before they are overdue and any replica writes it.
const doubtLimit = budget.OverdueAfter + budget.OverdueAfter/2

// doubts are the tenants of which, lately, the ledger has not answered or the log not
// taken something: they may have events that nobody has receipted. Close does not
// leave those behind. The local clock only decides whether to look.
type doubts struct {
	mu   sync.Mutex
	last map[string]time.Time // by tenant of a policy
}

// note does nothing where nobody keeps doubts.
func (d *doubts) note(tenant string) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		d.last = map[string]time.Time{}
	}
	d.last[tenant] = time.Now()
}

// recent are the tenants in doubt.
func (d *doubts) recent() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []string
	for tenant, at := range d.last {
		if time.Since(at) < doubtLimit {
			list = append(list, tenant)
		}
	}
	slices.Sort(list)
	return list
}
