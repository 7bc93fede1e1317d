package gate

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// moment is an event of a tenant, and its instant in ledger milliseconds.
type moment struct{ number, at int64 }

func momentOf(event *budget.Event) moment { return moment{event.Number, event.At} }

// recheckRepeat makes a decision about a lease that was there again, as far as it
// does not depend on that lease: only an action's repeat is one, and the policy in
// force when it was asked for again has to allow it still.
func (q *quote) recheckRepeat(d *audit.Decision) *fault {
	run, leased := runOfLease(d.Lease)
	if q.action == nil || d.Verdict != audit.Allow || !leased || run != d.Facts.Run {
		return faultf(wrong(d), "only leave for an action can be about a lease that was there, and of its run")
	}
	if len(d.Claims) > 0 {
		return faultf(WrongClaims, "a lease that was there claims nothing")
	}
	denial, err := q.decide(time.UnixMilli(d.At))
	switch {
	case err != nil:
		return sameDenial(d, policy.NoBound)
	case denial != nil:
		return faultf(WrongAllow, "the policy denies it: %s", denial.Reason)
	case !slices.Equal(d.Reasons, q.broken):
		return faultf(WrongAllow, "reasons %q, want %q", d.Reasons, q.broken)
	}
	return nil
}

// revisit takes leave about a lease that was there. It waits for the event that it
// names, like a denial for the one that it observed, and is held against the lease
// then.
func (r *Replayer) revisit(e *entry, d *audit.Decision) {
	if d.Event < 1 || d.Epoch == "" {
		r.find(e, faultf(WrongSum, "it names no event of the lease that it is about"))
		return
	}
	l := r.life(e.life)
	end, ended := l.ends[d.Lease]
	switch {
	case e.faulty || l.broken:
	case ended && end+l.lag <= l.latest: // nobody writes so long after what was seen
		r.find(e, faultf(WrongAllow, "the lease %q had ended at %d", d.Lease, end))
	case d.Event < l.state.Number:
		r.judgeAgain(l, e, d)
	default:
		l.denials[d.Event] = append(l.denials[d.Event], e)
		r.wait()
		r.advance(l, false)
	}
}

// judgeAgain holds leave about a lease that was there against that lease.
func (r *Replayer) judgeAgain(l *life, e *entry, d *audit.Decision) {
	held := l.leases[d.Lease]
	switch {
	case held == nil || held.ended > 0:
		r.find(e, faultf(WrongAllow, "no event granted the lease %q, or it had ended by event %d", d.Lease, l.state.Number))
	case extends(*d):
		r.find(e, held.checkExtended(d))
	default:
		told, f := held.checkRepeat(d)
		r.find(e, f)
		if told && f == nil {
			r.report.Told++
		}
	}
}

// checkExtended holds leave for a new total against what the lease holds after
// the event that the leave names: its last extension, or its grant where it held
// so much from the start.
func (h *heldLease) checkExtended(d *audit.Decision) *fault {
	switch {
	case h.last != moment{d.Event, d.At}:
		return faultf(WrongAllow, "it tells of event %d at %d, but its lease was last raised by event %d at %d",
			d.Event, d.At, h.last.number, h.last.at)
	case d.Expires != h.expires:
		return faultf(WrongSum, "the lease expires at %d, not at %d", h.expires, d.Expires)
	case len(h.money) > 0 && d.Facts.Cost > h.hold:
		return faultf(WrongAllow, "a total of %d, but its lease holds %d", d.Facts.Cost, h.hold)
	}
	return nil
}

// checkRepeat holds a repeat against the decision that granted its lease. Where
// only a copy tells of the grant, the first repeat is believed in what the copy
// lacks, and the others are held against that one.
func (h *heldLease) checkRepeat(d *audit.Decision) (told bool, f *fault) {
	first := h.first
	if told = first.Facts.Endpoint == ""; told {
		first = completed(first, d, len(h.money) > 0)
	}
	if err := CheckRepeat(first, d); err != nil {
		return false, faultf(WrongAllow, "%v", err)
	}
	h.first = first
	return told, nil
}

// completed is what a copy tells of a grant, with a repeat's word for the rest: the
// facts, and the amount of a lease that holds no money.
func completed(first, again *audit.Decision, holds bool) *audit.Decision {
	known := *first
	known.Facts = again.Facts
	if holds {
		known.Facts.Cost = first.Facts.Cost
	}
	return &known
}

// CheckCopiedRepeat is CheckRepeat where only a recovered receipt tells of the
// grant. What that lacks is not known.
func CheckCopiedRepeat(grant *audit.Event, again *audit.Decision) error {
	e := &entry{body: *grant, told: otherOf(*grant)}
	held := grantedBy(e)
	return CheckRepeat(completed(firstOf(e, held.hold), again, len(held.money) > 0), again)
}

// firstOf is what a grant's receipt tells that every repeat of an action must tell
// too: of a copy all but the facts.
func firstOf(e *entry, hold int64) *audit.Decision {
	if d, ok := e.body.(audit.Decision); ok {
		d.Claims = nil
		return &d
	}
	event := &e.told
	return &audit.Decision{
		At: event.At, Event: event.Number, Epoch: event.Epoch, Lease: event.Lease, Expires: event.Expires,
		Facts: call.Facts{Cost: hold},
	}
}

// CheckRepeat reports in what a repeat of an action differs from the decision that
// granted its lease. Nothing may but the policy and the prices that it was judged
// by, and the name of the tool, which only some policies ask for.
func CheckRepeat(first, again *audit.Decision) error {
	asked, askedAgain := first.Facts, again.Facts
	asked.Tools, askedAgain.Tools = nil, nil
	switch {
	case again.Lease != first.Lease || again.Event != first.Event || again.Epoch != first.Epoch || again.At != first.At:
		return errors.New("a repeat of an action tells the lease, event and instant of its grant, and these are others")
	case again.Facts.Cost != first.Facts.Cost:
		return errors.New("a repeat of an action is for another amount than its lease was granted for")
	case again.Expires != first.Expires:
		return errors.New("a repeat of an action expires at another instant than its lease")
	case !reflect.DeepEqual(asked, askedAgain):
		return errors.New("a repeat of an action has other facts (its key, kind, target, tool, run or depth) than its lease was granted for")
	}
	return nil
}

// checkAsker looks for the leave that caused the extension which was folded last,
// among all that name it: it is by the key that the event's receipt tells, by whose
// limits the ledger judged, and the others asked for no more than it gave. Where it is not there, the event's receipt
// tells whether that can be.
func (r *Replayer) checkAsker(l *life, list []*entry) {
	var stranger *entry
	var raised *raise
	for _, e := range list {
		d, ok := e.body.(audit.Decision)
		if !ok || !d.Existing || !extends(d) {
			continue
		}
		held := l.leases[d.Lease]
		if held == nil || held.last.number != d.Event || held.raised == nil || e.quote == nil {
			return
		}
		if held.raised.by(e.quote) {
			return
		}
		stranger, raised = e, held.raised
	}
	switch {
	case stranger == nil:
	case raised.copy: // the leave's receipt could not be written, or its replica died
		r.report.Told++
	default:
		r.find(stranger, faultf(WrongAllow, "its key is another, or has other limits, than the extension was judged by"))
	}
}

// raise is a lease's extension.
type raise struct {
	policy budget.PolicyVersion
	limits []budget.Limit
	asker  string // the id of its key, "" where the receipt does not tell
	copy   bool   // the receipt of its event is not by the gate that gave leave
}

// raisedBy is the extension of which a receipt tells, nil where it does not follow.
func raisedBy(e *entry) *raise {
	if e.faulty {
		return nil
	}
	return &raise{e.told.Policy, e.told.Limits, e.asker(), e.copy}
}

// by reports whether the ledger can have judged it by this quote.
func (r *raise) by(q *quote) bool {
	return q.Rules.Policy.Version == r.policy && slices.Equal(q.plan.Limits(), r.limits) &&
		(r.asker == "" || r.asker == q.Key.ID)
}
