package report

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// Reporter folds receipts into a report. It is not safe for concurrent use.
type Reporter struct {
	query  Query
	rows   map[string]*Row
	leases map[leaseID]*lease
	events map[life]*numbers
	lapsed []lapse // the leases that have expired, in the order in which that was read
	lost   int64
	err    error
}

// leaseID names a lease: those of actions are named by whoever asks, in each life of each tenant anew.
type leaseID struct {
	life
	lease string
}

// life is a tenant's ledger, which one that was provisioned anew begins again.
type life struct{ tenant, epoch string }

// lease is one that can still be charged, or whose decision has not been read yet. What is read of it may come in
// any order: what it has come to is counted anew with each.
type lease struct {
	row     *Row  // where it counts; nil: its decision was not read, or is not of the query's time
	outside bool  // it is not of the query's time
	at      int64 // of the first that was read of it, ledger milliseconds
	hold    int64
	expired bool
	expiry  int64             // what its expiry charged
	ended   budget.EventKind  // how else it has ended, or was corrected; "": it has not
	charge  int64             // what that charged, in the place of the expiry
	told    *audit.Settlement // of that, until it is counted
	counted charges           // what is in the row
}

// charges are what a lease has come to.
type charges struct{ spent, expired int64 }

// charges are what it has come to so far.
func (l *lease) charges() charges {
	switch {
	case l.ended != "":
		return charges{spent: l.charge}
	case l.expired:
		return charges{l.expiry, l.expiry}
	}
	return charges{}
}

// final reports whether nothing more can be read of it, but what was read already.
func (l *lease) final() bool {
	return (l.row != nil || l.outside) && l.ended != "" && (l.ended != budget.Corrected || l.expired)
}

// lapse is when an expired lease cannot be corrected any more.
type lapse struct {
	id    leaseID
	until int64 // ledger milliseconds
}

// Add takes the next receipt.
func (r *Reporter) Add(receipt audit.Receipt) {
	if r.err != nil {
		return
	}
	switch body := receipt.Body.(type) {
	case audit.Decision:
		r.err = r.decide(&body)
	case audit.Settlement:
		r.err = r.event(body, &body)
	case audit.Event:
		r.err = r.event(body, nil)
	}
}

// Close ends the reading, and returns the report.
func (r *Reporter) Close() (*Report, error) {
	for id, l := range r.leases {
		if r.err == nil {
			r.err = r.leave(id, l)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	report := &Report{By: r.query.By, Rows: r.sorted(), Lost: r.lost, Missing: map[string]int64{}}
	for of, numbers := range r.events {
		if n := numbers.missing(); n > 0 {
			report.Missing[of.tenant] += n
		}
	}
	return report, nil
}

// decide counts a decision, and opens its lease where it granted one.
func (r *Reporter) decide(d *audit.Decision) error {
	at := r.query.zoned(d.At)
	inside := r.query.holds(at)
	if d.Verdict == audit.Deny {
		if !inside || r.query.WouldDeny {
			return nil
		}
		return r.count(d, at, func(row *Row) error { return plus(&row.Denied, 1+max(0, d.Denials.Count-1)) })
	}
	if d.Existing {
		return nil
	}
	fresh, err := r.note(d.Facts.Tenant, d.Epoch, d.Event)
	id := leaseID{life{d.Facts.Tenant, d.Epoch}, d.Lease}
	if err != nil || !fresh && r.leases[id] == nil {
		return err // told twice
	}
	r.forget(d.At)
	l, err := r.lease(id, d.At)
	if err != nil {
		return err
	}
	if l.row != nil || l.outside {
		return nil // told twice
	}
	l.hold = max(l.hold, d.Facts.Cost)
	if l.outside = !inside || r.query.WouldDeny; l.outside {
		if !inside {
			return nil
		}
		for _, reason := range d.Reasons {
			row, err := r.row(decided{&d.Facts, reason, at})
			if err != nil {
				return err
			}
			row.WouldDeny++
		}
		return nil
	}
	return r.count(d, at, func(row *Row) error {
		l.row = row
		if len(d.Reasons) > 0 {
			row.WouldDeny++
		}
		return r.place(id, l)
	})
}

// maxLeases bounds the leases that are kept: those that are open, expired within a day, or without a decision.
const maxLeases = 4 << 20

// lease returns a lease, at the latest as of now.
func (r *Reporter) lease(id leaseID, now int64) (*lease, error) {
	l := r.leases[id]
	if l == nil {
		if len(r.leases) == maxLeases {
			return nil, fmt.Errorf("%d leases have no end or no decision in these receipts; name the receipts of every replica", maxLeases)
		}
		l = &lease{at: now}
		r.leases[id] = l
	}
	return l, nil
}

// count finds the row of a decision, one for each of its reasons where these are told apart.
func (r *Reporter) count(d *audit.Decision, at time.Time, add func(*Row) error) error {
	reason := ""
	if len(d.Reasons) > 0 {
		reason = d.Reasons[0]
	}
	row, err := r.row(decided{&d.Facts, reason, at})
	if err != nil {
		return err
	}
	return add(row)
}

// place counts a lease in its row, and its end if that was read before.
func (r *Reporter) place(id leaseID, l *lease) error {
	if err := plus(&l.row.Calls, 1); err != nil {
		return err
	}
	return r.settle(id, l)
}

// event takes in what became of a lease. An event that was receipted twice, by its own replica and as
// recovered, counts once.
func (r *Reporter) event(body audit.Body, told *audit.Settlement) error {
	e, ok := gate.EventOf(body)
	if !ok {
		return nil
	}
	fresh, err := r.note(e.Tenant, e.Epoch, e.Number)
	if err != nil || !fresh || e.Lease == "" {
		return err
	}
	r.forget(e.At)
	id := leaseID{life{e.Tenant, e.Epoch}, e.Lease}
	if e.Kind == budget.Extended && r.leases[id] == nil {
		return nil // of a lease that has ended
	}
	l, err := r.lease(id, e.At)
	if err != nil {
		return err
	}
	switch e.Kind {
	case budget.Granted:
		l.hold = max(l.hold, holdOf(e.Claims))
	case budget.Extended:
		l.hold = e.Amount
	case budget.Expired:
		l.expired, l.expiry = true, e.Amount
		r.lapse(id, e.At)
	case budget.Corrected:
		l.ended, l.charge, l.told = e.Kind, e.Amount, told
		r.lapse(id, e.At)
	default:
		l.ended, l.charge, l.told = e.Kind, e.Amount, told
	}
	return r.settle(id, l)
}

// holdOf is what claims hold of money.
func holdOf(claims []budget.Placed) int64 {
	for i := range claims {
		if claims[i].AtEnd == budget.Adjust {
			return claims[i].Amount
		}
	}
	return 0
}

// settle counts what a lease has come to, once its row is known, and forgets it if nothing can follow.
func (r *Reporter) settle(id leaseID, l *lease) error {
	if l.final() {
		delete(r.leases, id)
	}
	if l.row == nil {
		return nil
	}
	told, before := l.told, l.counted
	l.told, l.counted = nil, l.charges()
	return errors.Join(
		plus(&l.row.Spent, l.counted.spent-before.spent),
		plus(&l.row.Expired, l.counted.expired-before.expired),
		l.row.tell(told))
}

// tell adds what a settlement tells of its charge; nil where its own receipt is lost.
func (row *Row) tell(s *audit.Settlement) error {
	if s == nil {
		return nil
	}
	for i := range s.Lines {
		for unit, n := range s.Lines[i].Usage {
			if err := plus(&row.Usage[unit], n); err != nil {
				return err
			}
		}
	}
	if s.Basis == audit.BasisUnknown {
		if err := plus(&row.Unknown, s.Charge); err != nil {
			return err
		}
	}
	return plus(&row.Overrun, s.Overrun)
}

// lapse notes that a lease has expired, or was corrected, which is the other of the two that are read in any order.
func (r *Reporter) lapse(id leaseID, at int64) {
	r.lapsed = append(r.lapsed, lapse{id, at + budget.RememberExpired.Milliseconds()})
}

// forget lets go of the leases that have expired so long ago that no correction comes.
func (r *Reporter) forget(now int64) {
	gone := 0
	for gone < len(r.lapsed) && r.lapsed[gone].until < now {
		if l := r.leases[r.lapsed[gone].id]; l != nil && (l.row != nil || l.outside) {
			delete(r.leases, r.lapsed[gone].id)
		}
		gone++
	}
	r.lapsed = slices.Delete(r.lapsed, 0, gone)
}

// leave counts a lease that is there at the end: one that is open, one that has expired, or one whose
// decision is in no receipt.
func (r *Reporter) leave(id leaseID, l *lease) error {
	if l.row == nil && !l.outside {
		if l.ended == budget.Released {
			return nil // it may never have been granted, and costs nothing
		}
		if err := r.found(id, l); err != nil {
			return err
		}
	}
	if l.outside || l.expired || l.ended != "" {
		return nil
	}
	if err := plus(&l.row.Open, 1); err != nil {
		return err
	}
	return plus(&l.row.Held, l.hold)
}

// found counts a lease of which only its tenant is known, at the instant of the first that is.
func (r *Reporter) found(id leaseID, l *lease) error {
	at := r.query.zoned(l.at)
	if l.outside = !r.query.holds(at) || r.query.WouldDeny; l.outside {
		return nil
	}
	row, err := r.row(decided{&call.Facts{Tenant: id.tenant}, "", at})
	if err != nil {
		return err
	}
	r.lost++
	l.row = row
	return r.place(id, l)
}
