package gate

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Rebuilt is what receipts give, tenant by tenant, each in its newest epoch.
type Rebuilt struct {
	States  []*budget.State // whole balances, by tenant
	Refused []Refused       // by tenant
}

// Refused is a tenant whose receipts do not give its balance: one without an event
// that is missing would be too low.
type Refused struct {
	Tenant string
	Err    error // wraps budget.ErrFold
}

// ErrParted is the error of a tenant with two histories: its ledger forgot events whose
// receipts are there, and made others of their numbers. See Join.
var ErrParted = fmt.Errorf("%w: its history has parted", budget.ErrFold)

// Err is nil if no tenant was refused.
func (r Rebuilt) Err() error {
	var errs []error
	for _, refused := range r.Refused {
		errs = append(errs, fmt.Errorf("tenant %s: %w", refused.Tenant, refused.Err))
	}
	return errors.Join(errs...)
}

// aheadEvents bounds the events that wait, in memory, for one before them: about a
// kilobyte each.
const aheadEvents = 1 << 16

// Rebuild folds the receipts of all replicas into the states of the tenants in
// them, or of those alone that are named. What one tenant lacks is no other's
// trouble. The error is one of reading.
//
// It keeps the states, and events only as long as an earlier one of their tenant is
// to come. audit.Merge brings them nearly in order. Where so many wait that there
// is no more room, those furthest ahead are let go, and found again when the
// receipts are read once more: as often as it takes.
func Rebuild(receipts iter.Seq2[audit.Receipt, error], tenants ...string) (Rebuilt, error) {
	return rebuild(receipts, aheadEvents, tenants)
}

func rebuild(receipts iter.Seq2[audit.Receipt, error], room int, tenants []string) (Rebuilt, error) {
	fs := folds{room: room, only: tenants, of: map[epoch]*fold{}}
	for more := true; more; {
		for r, err := range receipts {
			if err != nil {
				return Rebuilt{}, err
			}
			if e, ok := EventOf(r.Body); ok && fs.wanted(e.Tenant) {
				fs.take(e)
			}
		}
		more = fs.endPass()
	}
	return fs.rebuilt(), nil
}

// epoch names one life of a tenant: one that was provisioned anew began again.
type epoch struct{ tenant, epoch string }

// folds are the epochs that are being folded.
type folds struct {
	room   int      // events that may wait, of all together
	only   []string // tenants; none: all
	of     map[epoch]*fold
	ahead  int // events that wait
	recent recent
}

func (fs *folds) wanted(tenant string) bool {
	return len(fs.only) == 0 || slices.Contains(fs.only, tenant)
}

func (fs *folds) take(e budget.Event) {
	id := epoch{e.Tenant, e.Epoch}
	f := fs.of[id]
	if f == nil {
		f = &fold{state: budget.NewState(e.Tenant), ahead: map[int64]budget.Event{}, until: math.MaxInt64}
		fs.of[id] = f
	}
	before := len(f.ahead)
	f.take(e, &fs.recent)
	fs.ahead += len(f.ahead) - before
	if fs.ahead > fs.room {
		fs.ahead -= fs.largest().letGo()
	}
}

// largest is the fold with the most events that wait.
func (fs *folds) largest() *fold {
	var most *fold
	for _, f := range fs.of {
		if most == nil || len(f.ahead) > len(most.ahead) {
			most = f
		}
	}
	return most
}

// endPass reports whether reading the receipts again brings some fold further.
func (fs *folds) endPass() (again bool) {
	for _, f := range fs.of {
		again = f.endPass() || again
	}
	return again
}

// rebuilt takes each tenant's epoch with the latest event.
func (fs *folds) rebuilt() Rebuilt {
	newest := map[string]*fold{}
	for id, f := range fs.of {
		if best := newest[id.tenant]; best == nil || best.latest < f.latest {
			newest[id.tenant] = f
		}
	}
	for _, tenant := range fs.only {
		if newest[tenant] == nil {
			newest[tenant] = &fold{err: fmt.Errorf("%w: the receipts tell of no event of it", budget.ErrFold)}
		}
	}
	var r Rebuilt
	for _, tenant := range slices.Sorted(maps.Keys(newest)) {
		if f := newest[tenant]; f.err != nil {
			r.Refused = append(r.Refused, Refused{tenant, fmt.Errorf("%w; are the receipts of every replica there?", f.err)})
		} else {
			r.States = append(r.States, f.state)
		}
	}
	return r
}

// fold is the events of one epoch, folded up to where one is missing.
type fold struct {
	state  *budget.State
	ahead  map[int64]budget.Event // after that, by number
	until  int64                  // in this pass, events from this number on were let go
	latest int64                  // ledger milliseconds, of any event
	newest int64                  // number
	err    error                  // why it cannot go on
}

// take folds an event if it is its turn. One that was receipted twice, by its own
// replica and as recovered, counts once.
func (f *fold) take(e budget.Event, recent *recent) {
	f.latest, f.newest = max(f.latest, e.At), max(f.newest, e.Number)
	if f.err != nil || e.Number >= f.until {
		return
	}
	same, known := f.ahead[e.Number]
	switch {
	case known:
		f.err = agree(&same, fingerprintOf(&e), fingerprintOf(&same))
	case e.Number <= f.state.Number:
		if was, known := recent.of[eventKey{f, e.Number}]; known {
			f.err = agree(&e, fingerprintOf(&e), was)
		}
	default:
		f.ahead[e.Number] = e
	}
	for f.err == nil {
		next, there := f.ahead[f.state.Number+1]
		if !there {
			return
		}
		delete(f.ahead, next.Number)
		f.err = f.state.Apply(next)
		recent.note(eventKey{f, next.Number}, fingerprintOf(&next))
	}
	clear(f.ahead)
}

// letGo forgets the half of the waiting events that are furthest ahead, and returns
// how many.
func (f *fold) letGo() int {
	numbers := slices.Sorted(maps.Keys(f.ahead))
	gone := numbers[len(numbers)/2:]
	for _, n := range gone {
		delete(f.ahead, n)
	}
	f.until = gone[0]
	return len(gone)
}

// endPass reports whether the next event was let go, so that another pass brings
// the fold further. One that was looked for in a whole pass is nowhere.
func (f *fold) endPass() (again bool) {
	if f.err == nil && f.until == f.state.Number+1 {
		f.until = math.MaxInt64
		return true
	}
	if f.err == nil && f.newest > f.state.Number {
		f.err = fmt.Errorf("%w: event %d has no receipt, and the newest is event %d", budget.ErrFold, f.state.Number+1, f.newest)
	}
	return false
}

// recentEvents bounds the folded events that are remembered, so that another
// receipt of one is held against the first. What comes later than that is for
// verify to compare.
const recentEvents = 1 << 16

// recent remembers the newest folded events of all tenants.
type recent struct {
	of    map[eventKey]fingerprint
	order []eventKey
	next  int
}

type eventKey struct {
	fold   *fold
	number int64
}

// fingerprint is what two receipts of one event must agree on.
type fingerprint struct {
	kind          budget.EventKind
	lease, thrown string
	amount        int64
}

func fingerprintOf(e *budget.Event) fingerprint {
	return fingerprint{e.Kind, e.Lease, e.Switch, e.Amount}
}

func agree(e *budget.Event, one, other fingerprint) error {
	if one == other {
		return nil
	}
	return fmt.Errorf("%w: two receipts tell event %d differently", ErrParted, e.Number)
}

func (r *recent) note(key eventKey, what fingerprint) {
	if r.of == nil {
		r.of = map[eventKey]fingerprint{}
	}
	if len(r.order) < recentEvents {
		r.order = append(r.order, key)
	} else {
		delete(r.of, r.order[r.next])
		r.order[r.next] = key
		r.next = (r.next + 1) % recentEvents
	}
	r.of[key] = what
}

// EventOf is the ledger's event that a receipt tells of; ok is false for one
// that changed no balance.
func EventOf(body audit.Body) (e budget.Event, ok bool) {
	switch r := body.(type) {
	case audit.Decision:
		return grantOf(r), r.Verdict == audit.Allow && !r.Existing
	case audit.Settlement:
		return endOf(r), true
	case audit.Event:
		return otherOf(r), true
	}
	return budget.Event{}, false
}

func grantOf(d audit.Decision) budget.Event {
	return budget.Event{
		Tenant:  d.Facts.Tenant,
		Epoch:   d.Epoch,
		Number:  d.Event,
		Kind:    budget.Granted,
		At:      d.At,
		Lease:   d.Lease,
		Claims:  placed(d.Claims),
		Expires: d.Expires,
		Policy:  budget.PolicyVersion{Generation: d.Generation, Hash: d.Policy},
	}
}

func endOf(s audit.Settlement) budget.Event {
	return budget.Event{
		Tenant: s.Tenant,
		Epoch:  s.Epoch,
		Number: s.Event,
		Kind:   budget.EventKind(s.Outcome),
		At:     s.At,
		Lease:  s.Lease,
		Amount: s.Charge,
	}
}

func otherOf(r audit.Event) budget.Event {
	e := budget.Event{
		Tenant:  r.Tenant,
		Epoch:   r.Epoch,
		Number:  r.Event,
		Kind:    budget.EventKind(r.Name),
		At:      r.At,
		Lease:   r.Lease,
		Claims:  placed(r.Claims),
		Amount:  r.Amount,
		Expires: r.Expires,
		Policy:  budget.PolicyVersion{Generation: r.Generation, Hash: r.Policy},
		Switch:  r.Switch,
	}
	for _, limit := range r.Limits {
		e.Limits = append(e.Limits, budget.Limit(limit))
	}
	return e
}

func placed(claims []audit.Claim) []budget.Placed {
	list := make([]budget.Placed, len(claims))
	for i, c := range claims {
		span, marks := budget.Span{Start: c.Start, End: c.End}, strings.Fields(c.Marks)
		list[i] = budget.Placed{
			Claim: budget.Claim{
				Key: c.Key, Amount: c.Amount, Limit: c.Limit, AtEnd: budget.AtEnd(c.AtEnd),
				Window: budget.Window{
					Kind:    budget.WindowKind(c.Window),
					Current: span,
					Next:    after(span),
					Length:  time.Duration(c.LengthMS) * time.Millisecond,
				},
				Group: c.Group, GroupMax: c.GroupMax, Marks: marks,
			},
			Observed: budget.Observed{Span: span, Spent: c.Spent, Held: c.Held, New: newOf(&claims[i])},
		}
	}
	return list
}

// newOf is how many marks of a claim were new: its amount, if it has marks.
func newOf(c *audit.Claim) int64 {
	if c.Marks == "" {
		return 0
	}
	return c.Amount
}

// after is a span in the place of the next one, which receipts do not tell: a
// claim names two in order, and its event says which of them it was placed in.
func after(s budget.Span) budget.Span {
	if s == (budget.Span{}) {
		return s
	}
	return budget.Span{Start: s.End, End: s.End + 1}
}
