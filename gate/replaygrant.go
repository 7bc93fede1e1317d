package gate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// checkCopied holds a grant of which no decision tells against what its policy
// gives any request of the tenant.
func (r *Replayer) checkCopied(event *budget.Event) *fault {
	if event.Kind != budget.Granted {
		return nil
	}
	book := r.known[event.Policy]
	if book == nil {
		r.report.lackPolicy(event.Policy)
		return nil
	}
	t := book.Policy.Tenant(event.Tenant)
	if t == nil {
		return faultf(WrongAllow, "the policy has no such tenant")
	}
	if err := t.CheckGranted(ofAction(event.Lease), time.UnixMilli(event.At), event.Claims); err != nil {
		return faultf(WrongClaims, "%v", err)
	}
	return nil
}

// request is what all attempts at one request have in common: they are made by one
// replica, for one caller.
type request struct {
	chain, key, dialect, endpoint string
	run, user, nonce              call.Name
	attempt, depth                int64
}

func requestOf(e *entry, f *call.Facts) request {
	return request{e.place.chain, f.Key, f.Dialect, f.Endpoint, f.Run, f.User, f.Nonce, f.Attempt, f.Depth}
}

// attempt is the latest that was sent of a request, and has ended.
type attempt struct {
	request request
	at      int64 // of its end, ledger milliseconds
}

// checkCounted refuses an attempt that says an earlier one counted in rates, where
// no attempt at the same request is open, has expired, or ended just now.
func (l *life) checkCounted(e *entry) *fault {
	d, ok := e.body.(audit.Decision)
	if !ok || !d.Facts.Counted {
		return nil
	}
	same := requestOf(e, &d.Facts)
	if slices.ContainsFunc(l.attempts[l.stale:], func(a attempt) bool { return a.request == same }) {
		return nil
	}
	for _, held := range l.leases {
		if held.request == same { // one that has expired may run still
			return nil
		}
	}
	return faultf(WrongClaims, "it says that an earlier attempt at its request has counted, and there is none")
}

// attempted notes the end of a call that a fallback may follow. One that was not
// sent counts only where an attempt before it did.
func (l *life) attempted(held *heldLease, event *budget.Event) {
	if held == nil || held.request == (request{}) || event.Kind == budget.Released && !held.counted {
		return
	}
	l.attempts = append(l.attempts, attempt{held.request, event.At})
	for l.stale < len(l.attempts) && l.attempts[l.stale].at+l.lag < l.folded {
		l.stale++
	}
	if l.stale > len(l.attempts)/2 { // seldom, since the others move
		l.attempts = slices.Delete(l.attempts, 0, l.stale)
		l.stale = 0
	}
}

// checkLives finds tenants whose ledger began anew: with one of another epoch
// nobody goes on who has the receipts of the one before, and a ledger that is
// rebuilt keeps its epoch. One that was provisioned by mistake, granted nothing
// and gave way to the rebuilt one is no fault.
func (r *Replayer) checkLives() {
	byTenant := map[string][]*life{}
	for _, l := range r.lives {
		if l.first != nil {
			byTenant[l.id.tenant] = append(byTenant[l.id.tenant], l)
		}
	}
	for _, tenant := range slices.Sorted(maps.Keys(byTenant)) {
		lives := byTenant[tenant]
		slices.SortFunc(lives, func(a, b *life) int {
			return cmp.Or(cmp.Compare(a.first.at, b.first.at), compareEpochs(a.id, b.id))
		})
		for i, l := range lives[1:] {
			if before := lives[i]; !l.granted && before.folded >= l.first.at {
				continue
			}
			r.find(l.first, faultf(WrongEvent, "the tenant's ledger begins anew in the epoch %s, after event %d of the epoch %s",
				l.id.epoch, lives[i].state.Number, lives[i].id.epoch))
		}
	}
}

// OpenLease is a lease whose end is in no receipt.
type OpenLease struct {
	Lease string
	Event int64 // of its grant, or of its last extension
	At    int64 // of that, ledger milliseconds
}

// open counts the leases that have not ended, and finds the oldest.
func (l *life) open() (n int64, oldest OpenLease) {
	for _, held := range l.leases {
		if held.ended > 0 {
			continue
		}
		n++
		if oldest.Lease == "" || held.last.number < oldest.Event {
			oldest = OpenLease{held.id, held.last.number, held.last.at}
		}
	}
	return n, oldest
}
