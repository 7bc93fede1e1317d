package gate

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Join is Rebuild for tenants whose history has parted: what any receipt tells counts,
// so that a balance is at least what was spent. A tenant is refused if there is a
// number up to the newest that no receipt has. All events of the tenants are in
// memory at once, about a kilobyte each.
func Join(receipts iter.Seq2[audit.Receipt, error], tenants ...string) (Rebuilt, error) {
	all := map[epoch]*histories{}
	for r, err := range receipts {
		if err != nil {
			return Rebuilt{}, err
		}
		if e, ok := EventOf(r.Body); ok && slices.Contains(tenants, e.Tenant) {
			id := epoch{e.Tenant, e.Epoch}
			if all[id] == nil {
				all[id] = &histories{events: map[told]budget.Event{}}
			}
			all[id].take(e)
		}
	}
	newest := map[string]*histories{}
	for id, h := range all {
		if best := newest[id.tenant]; best == nil || best.latest < h.latest {
			newest[id.tenant] = h
		}
	}
	var r Rebuilt
	for _, tenant := range slices.Sorted(maps.Keys(newest)) {
		if state, err := newest[tenant].join(tenant); err != nil {
			r.Refused = append(r.Refused, Refused{tenant, fmt.Errorf("%w; are the receipts of every replica there?", err)})
		} else {
			r.States = append(r.States, state)
		}
	}
	return r, nil
}

// histories are the events of one epoch, of all histories.
type histories struct {
	events map[told]budget.Event
	latest int64 // ledger milliseconds
}

// told is what makes two events differ. One that was receipted twice counts once.
type told struct {
	number int64
	what   fingerprint
}

func (h *histories) take(e budget.Event) {
	h.events[told{e.Number, fingerprintOf(&e)}] = e
	h.latest = max(h.latest, e.At)
}

func (h *histories) join(tenant string) (*budget.State, error) {
	numbers := map[int64]bool{}
	for id := range h.events {
		numbers[id.number] = true
	}
	for n := range int64(len(numbers)) {
		if !numbers[n+1] {
			return nil, fmt.Errorf("%w: event %d has no receipt", budget.ErrFold, n+1)
		}
	}
	state := budget.NewState(tenant)
	for _, e := range slices.SortedFunc(maps.Values(h.events), earlier) {
		if err := state.Join(e); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// earlier orders events by instant and number. Of two histories, numbers say nothing.
func earlier(a, b budget.Event) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Number, b.Number), cmp.Compare(a.Lease, b.Lease), cmp.Compare(a.Kind, b.Kind))
}
