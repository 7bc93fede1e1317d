package gate

import (
	"errors"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// heldLease is what is known of a lease that can still be settled.
type heldLease struct {
	receipt position // of its decision; nowhere if only a copy of the grant is there
	quote   *quote   // nil if its decision was not recomputed
	hold    int64    // nano-USD
	prices  string
	expires int64    // of the grant, ledger milliseconds
	money   []string // keys of an action's claims that an extension raises
	charge  int64    // since its expiry
	ended   int64    // when it expired
	id      string
	leave   *leave          // for a witness; nil without
	last    moment          // of its last extension, else of its grant
	raised  *raise          // its last extension
	first   *audit.Decision // of an action: what a repeat has to tell too
	request request         // of a call, where its decision tells
	counted bool            // an attempt before it has counted
}

// told adds what the decision's receipt says of the lease.
func (h *heldLease) told(e *entry, d *audit.Decision) {
	h.receipt, h.prices = e.place, d.Prices
	if ofAction(h.id) { // which holds nothing where no budget concerns it
		h.first = firstOf(e, 0)
	} else {
		h.request, h.counted = requestOf(e, &d.Facts), d.Facts.Counted
		h.hold = d.Facts.Cost
	}
	if e.quote != nil && !e.faulty {
		h.quote = e.quote
		h.quote.plan = policy.Plan{} // it is large, and settled
	}
}

// judge makes a denial of the ledger again.
func (l *life) judge(q *quote, d *audit.Decision) *fault {
	if d.At < l.folded {
		return faultf(WrongEvent, "instant %d is before that of the event it observed", d.At)
	}
	l.folded = l.state.Advance(d.At)
	switch {
	case denies(d, policy.Killed):
		return l.judgeKilled(q)
	case q.extends():
		return l.judgeExtension(q, d)
	}
	_, event, err := l.state.Reserve(&budget.Reservation{
		Tenant: l.id.tenant, Lease: "replay", Claims: q.plan.Claims,
		Policy: q.Rules.Policy.Version, TTL: LeaseTTL, Switches: q.Key.Switches(nil, &q.Facts),
	}, d.At)
	denied, refused := errors.AsType[*budget.Denied](err)
	switch {
	case refused:
		return q.checkRefusal(d, denied)
	case err != nil:
		return faultf(WrongDenial, "it could not be asked for: %v", err)
	case event.Kind != budget.Granted:
		return faultf(WrongDenial, "event %d is not there that tells of its policy", event.Number)
	case !denies(d, policy.ReceiptsUnavailable):
		return faultf(WrongDenial, "its claims fit")
	}
	return checkSeen(d.Claims, event.Claims)
}

// checkSeen compares what a receipt observed with what the events give.
func checkSeen(claims []audit.Claim, want []budget.Placed) *fault {
	for i, seen := range observedOf(claims) {
		if seen != want[i].Observed {
			return faultf(WrongSeen, "claim %q: observed %+v where the events give %+v", claims[i].Key, seen, want[i].Observed)
		}
	}
	return nil
}

func (q *quote) checkRefusal(d *audit.Decision, want *budget.Denied) *fault {
	for i, seen := range observedOf(d.Claims) {
		if seen != want.Observed[i] {
			return faultf(WrongSeen, "claim %q: observed %+v where the events give %+v", d.Claims[i].Key, seen, want.Observed[i])
		}
		if d.Claims[i].Reason != string(want.Reasons[i]) {
			return faultf(WrongDenial, "claim %q: reason %q, want %q", d.Claims[i].Key, d.Claims[i].Reason, want.Reasons[i])
		}
	}
	denial := q.plan.Explain(want)
	if !denies(d, denial.Reason) {
		return faultf(WrongDenial, "reasons %q, want %s", d.Reasons, denial.Reason)
	}
	return q.checkUnclamped(q.atLedger(denial, want.Observed))
}

// fold applies the tenant's next event, as its receipt tells it or, where that
// does not follow, as the policy gives it.
func (r *Replayer) fold(l *life, e *entry) {
	event := &e.told
	if r.witness != nil {
		r.witness.before(l, event)
	}
	held := l.leases[event.Lease]
	r.find(e, held.checkBefore(event))
	r.find(e, l.checkStopped(e, held))
	switch b := e.body.(type) {
	case audit.Decision:
		r.find(e, l.checkCounted(e))
	case audit.Event:
		r.find(e, checkFields(&b))
		r.find(e, checkNames(&b))
		r.find(e, r.checkCopied(event))
		r.extension(e, held)
	case audit.Settlement:
		r.settlement(held, e, &b)
	}
	if err := l.state.Apply(*event); err != nil {
		f, repaired := l.repair(e)
		r.find(e, f)
		r.find(e, faultf(WrongEvent, "%v", err))
		if !repaired {
			r.breakOff(l)
			return
		}
	}
	l.folded = event.At
	l.note(e, held)
	if event.Kind == budget.Granted {
		held = l.leases[event.Lease]
	}
	r.tell(l, e, held)
	r.countTold(e)
}

// tell has the witness see what became of a lease.
func (r *Replayer) tell(l *life, e *entry, held *heldLease) {
	if r.witness == nil || held == nil {
		return
	}
	if d, ok := e.body.(audit.Decision); ok {
		r.witness.granted(l, e, &d, held)
	} else if e.told.Kind == budget.Settled || e.told.Kind == budget.Corrected {
		r.witness.settled(l, e, held)
	}
}

// checkBefore checks what the fold does not.
func (h *heldLease) checkBefore(event *budget.Event) *fault {
	if event.Kind == budget.Expired && h != nil && event.At < h.expires {
		return faultf(WrongEvent, "the lease was granted until %d", h.expires)
	}
	return nil
}

// checkFields refuses what a kind of event does not tell.
func checkFields(b *audit.Event) *fault {
	kind := budget.EventKind(b.Name)
	grants := kind == budget.Granted
	charges := kind == budget.Settled || kind == budget.Expired || kind == budget.Corrected || kind == budget.Extended
	switch {
	case b.Amount != 0 && !charges:
		return faultf(WrongSum, "a %s has no amount", b.Name)
	case !grants && (b.Expires != 0 || len(b.Claims) != 0):
		return faultf(WrongSum, "a %s has no expiry and no claims", b.Name)
	case grants && ofAction(b.Lease):
		if life := b.Expires - b.At; life < 1 || life > MaxActionTTL.Milliseconds() {
			return faultf(WrongSum, "the lease lasts %d ms, an action's at most %v", life, MaxActionTTL)
		}
	case grants && b.Expires != b.At+LeaseTTL.Milliseconds():
		return faultf(WrongSum, "the lease expires at %d, want %d", b.Expires, b.At+LeaseTTL.Milliseconds())
	case !grants && kind != budget.PolicySeen && kind != budget.Extended && (b.Generation != 0 || b.Policy != ""):
		return faultf(WrongSum, "a %s has no policy", b.Name)
	case kind != budget.Extended && len(b.Limits) != 0:
		return faultf(WrongSum, "a %s has no limits", b.Name)
	case b.Key != "" && (kind != budget.Extended || b.Recovered):
		return faultf(WrongSum, "only the receipt of an extension has a key, where the gate that gave leave wrote it")
	}
	return nil
}

// repair applies the grant that should have been, and says what is wrong with
// the one that is told.
func (l *life) repair(e *entry) (f *fault, repaired bool) {
	event := &e.told
	if e.quote == nil || event.Kind != budget.Granted || event.At < l.folded {
		return nil, false
	}
	l.state.Advance(event.At)
	_, want, err := l.state.Reserve(&budget.Reservation{
		Tenant: l.id.tenant, Lease: event.Lease, Claims: e.quote.plan.Claims, Policy: event.Policy, TTL: LeaseTTL,
	}, event.At)
	if denied, refused := errors.AsType[*budget.Denied](err); refused {
		return faultf(WrongAllow, "the ledger denies it: %s", e.quote.plan.Explain(denied).Message), false
	}
	if err != nil || want.Kind != budget.Granted {
		return nil, false
	}
	if d, ok := e.body.(audit.Decision); ok && len(d.Claims) == len(want.Claims) {
		f = checkSeen(d.Claims, want.Claims)
	}
	return f, l.state.Apply(want) == nil
}

// note keeps what later receipts of the lease are held against.
func (l *life) note(e *entry, held *heldLease) {
	event := &e.told
	if e.copy && event.Kind != budget.Expired && event.Lease != "" {
		l.copied[event.Number] = event.Lease
	}
	switch event.Kind {
	case budget.Provisioned:
		l.first = e
	case budget.Granted:
		l.leases[event.Lease] = grantedBy(e)
		l.granted = true
	case budget.Extended:
		if held != nil {
			held.hold, held.last = event.Amount, momentOf(event)
			held.raised = raisedBy(e)
		}
	case budget.Settled, budget.Released:
		l.attempted(held, event)
		l.spent += event.Amount
		delete(l.leases, event.Lease)
	case budget.Expired:
		l.spent += event.Amount
		if held != nil {
			l.attempted(held, event)
			held.charge, held.ended = event.Amount, event.At
			l.expired = append(l.expired, held)
		}
	case budget.Corrected:
		if held != nil {
			l.attempted(held, event)
			l.spent += event.Amount - held.charge
			delete(l.leases, event.Lease)
		}
	}
	l.forget()
}

func grantedBy(e *entry) *heldLease {
	held := &heldLease{id: e.told.Lease, expires: e.told.Expires, last: momentOf(&e.told)}
	for _, c := range e.told.Claims {
		if c.AtEnd == budget.Adjust {
			held.hold = c.Amount
			held.keep(c.Key)
		}
	}
	if d, ok := e.body.(audit.Decision); ok {
		held.told(e, &d)
	} else if ofAction(held.id) {
		held.first = firstOf(e, held.hold)
	}
	return held
}

// forget drops expired leases that nothing can correct any more.
func (l *life) forget() {
	n := 0
	for n < len(l.expired) && l.expired[n].ended+expiredFor.Milliseconds() < l.folded {
		if held := l.expired[n]; l.leases[held.id] == held {
			delete(l.leases, held.id)
		}
		l.expired[n] = nil
		n++
	}
	l.expired = l.expired[n:]
}

// countTold counts the charges that only a copy tells of.
func (r *Replayer) countTold(e *entry) {
	if _, ok := e.body.(audit.Event); !ok {
		return
	}
	switch e.told.Kind {
	case budget.Granted, budget.Settled, budget.Corrected:
		r.report.Told++
	}
}

// settlement makes a charge again.
func (r *Replayer) settlement(held *heldLease, e *entry, s *audit.Settlement) {
	switch {
	case s.Overrun != max(0, s.Charge-s.Hold):
		r.find(e, faultf(WrongSum, "charge %d above hold %d is not an overrun of %d", s.Charge, s.Hold, s.Overrun))
	case held == nil: // the fold knows whether that can be
	case ofAction(s.Lease):
		r.find(e, held.checkAction(s))
	case s.Hold != held.hold || (held.prices != "" && s.Prices != held.prices):
		r.find(e, faultf(WrongSum, "hold %d at the prices %s, its decision has %d at %s", s.Hold, s.Prices, held.hold, held.prices))
	case !held.receipt.has(s.Decision) && (s.Decision != "" || s.Outcome == string(budget.Settled)):
		r.find(e, faultf(WrongSum, "it names the decision %q, but the lease is that of %q", s.Decision, held.receipt.id()))
	case s.Outcome == string(budget.Released) && (s.Status != 0 || len(s.Lines) > 0):
		r.find(e, faultf(WrongCharge, "what was not sent has no status and no lines"))
	case s.Basis == audit.BasisUnbilled || s.Outcome == string(budget.Released):
		r.find(e, held.checkUnbilled(s))
	case held.quote == nil:
		r.report.Unchecked[lacksDecision]++
	default:
		r.find(e, held.checkCharge(s))
	}
}

// checkAction holds an action's settlement against its lease. What it really
// cost is the caller's word.
func (h *heldLease) checkAction(s *audit.Settlement) *fault {
	switch {
	case s.Hold != h.hold:
		return faultf(WrongSum, "hold %d, its lease holds %d", s.Hold, h.hold)
	case len(s.Lines) > 0 || s.Prices != "" || s.Status != 0:
		return faultf(WrongSum, "an action has no usage, no prices and no status")
	case s.Basis == audit.BasisUnbilled || s.Outcome == string(budget.Released):
		return checkFree(s)
	case s.Basis != audit.BasisReported:
		return faultf(WrongCharge, "basis %q, an action's cost is reported", s.Basis)
	}
	return nil
}

// checkUnbilled holds a call that cost nothing against what its answer said. What
// else was in the answer, or that there was none, is believed.
func (h *heldLease) checkUnbilled(s *audit.Settlement) *fault {
	switch {
	case reports(s.Lines):
		return faultf(WrongCharge, "it is not billed, but it tells of usage")
	case s.Outcome == string(budget.Released), s.Outcome == string(budget.Corrected) && s.Status == 0:
	case h.quote != nil && !h.quote.mayBeUnbilled(s.Status):
		return faultf(WrongCharge, "it is not billed, but the policy has no status %d of upstream %q that is not", s.Status, h.quote.Facts.Upstream)
	}
	return checkFree(s)
}

func checkFree(s *audit.Settlement) *fault {
	if s.Charge != 0 || s.Basis != audit.BasisUnbilled {
		return faultf(WrongCharge, "charge %d on the basis %q, but what was not sent or is not billed costs nothing", s.Charge, s.Basis)
	}
	return nil
}

// charges are the bases that a charge other than zero can have.
var charges = []string{audit.BasisReported, audit.BasisFloor, audit.BasisUnknown}

func (h *heldLease) checkCharge(s *audit.Settlement) *fault {
	if !slices.Contains(charges, s.Basis) {
		return faultf(WrongCharge, "unknown basis %q", s.Basis)
	}
	if s.Basis == audit.BasisUnknown && uses(s.Lines) {
		return faultf(WrongCharge, "its cost is unknown, but it tells of usage")
	}
	grant := Grant{quote: h.quote}
	charge, basis := grant.charge(Outcome{Sent: true, Basis: s.Basis, Lines: s.Lines})
	if basis != s.Basis || charge != s.Charge {
		return faultf(WrongCharge, "charge %d on the basis %q, want %d on the basis %q", s.Charge, s.Basis, charge, basis)
	}
	return nil
}
