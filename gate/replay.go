package gate

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	// replayLag is how much ledger time may lie between an event and a later
	// line of its tenant that observed what was before it. Requests write
	// their receipts within reserveLimit and recordLimit; those of several
	// denials may be tallyFor later.
	replayLag = 2*(reserveLimit+recordLimit) + tallyFor
	// leapLag is how much later a line can be for a leap of the ledger's clock: a shared
	// ledger grants while it is budget.MaxClocksApart from its callers, ahead or behind, and
	// receipts of several replicas are told by its instants.
	leapLag = 2 * budget.MaxClocksApart
	// maxPatient is how many receipts wait at most for what a leap has delayed.
	maxPatient = 1 << 16
	// maxWaiting bounds the receipts that wait for the numbers before theirs.
	maxWaiting = 1 << 20
)

// What a receipt can lack to be recomputed.
const (
	lacksPolicy   = "policy not given"
	lacksPrices   = "price table not given"
	lacksDecision = "decision receipt not recomputed"
	lacksOrder    = "observed what later events have changed already"
)

// Replayer recomputes decisions, charges and balances from receipts. It is fed
// the receipts of every replica, about in the order of their instants (as
// audit.VerifyEach and audit.Merge give them), and reads no clock: the same
// receipts give the same report. It keeps a state for each tenant, what is
// known of open leases, and the receipts of the last seconds of ledger time, at
// most 1,048,576, or of the last two minutes if they are no more than 65,536.
//
// Signatures and chains are not its matter: audit.Verify checks them.
type Replayer struct {
	books   map[rulesID]*rulesBook
	known   map[budget.PolicyVersion]*rulesBook // with any price table
	lives   map[epoch]*life
	last    *life // of the receipt before, whose tenant is often the same
	waiting int
	most    int // of waiting
	report  ReplayReport
	witness witness        // nil: nobody
	decided audit.Decision // the one at hand: each on its own would be memory
}

// witness is told of what a replay takes in.
type witness interface {
	// before an event of the tenant is folded, in order of the events.
	before(l *life, e *budget.Event)
	// granted has the decision's receipt, after the event.
	granted(l *life, e *entry, d *audit.Decision, held *heldLease)
	// settled tells what a lease really cost, in time or after its expiry.
	settled(l *life, e *entry, held *heldLease)
	denied(e *entry, d *audit.Decision)
}

// NewReplayer returns a replayer that holds receipts against these rules.
func NewReplayer(rules ...*Rules) *Replayer {
	r := &Replayer{
		books:  map[rulesID]*rulesBook{},
		known:  map[budget.PolicyVersion]*rulesBook{},
		lives:  map[epoch]*life{},
		most:   maxWaiting,
		report: newReplayReport(),
	}
	for _, one := range rules {
		book := bookOf(one)
		r.books[rulesID{one.Policy.Version, one.Prices.Version()}] = book
		r.known[one.Policy.Version] = book
	}
	return r
}

// Add takes the next receipt. Lines that only keep the chain are ignored.
func (r *Replayer) Add(receipt audit.Receipt) {
	e := entryOf(&receipt)
	if e == nil {
		return
	}
	r.report.Receipts++
	if d, ok := e.body.(audit.Decision); ok {
		r.decided = d
		r.decision(e, &r.decided)
	} else {
		r.event(e)
	}
}

func (r *Replayer) decision(e *entry, d *audit.Decision) {
	r.report.decided(d)
	r.recompute(e, d)
	r.find(e, checkForm(d))
	if r.witness != nil && d.Verdict == audit.Deny {
		r.witness.denied(e, d)
	}
	switch {
	case d.Existing && d.Verdict == audit.Allow:
		r.revisit(e, d)
	case d.Verdict == audit.Allow:
		r.event(e)
	case d.Event > 0:
		r.denial(e, d)
	case observes(d):
		r.find(e, faultf(WrongSum, "it tells what the ledger said, but not after which event"))
	}
}

func (r *Replayer) recompute(e *entry, d *audit.Decision) {
	version := budget.PolicyVersion{Generation: d.Generation, Hash: d.Policy}
	book := r.books[rulesID{version, d.Prices}]
	switch {
	case book == nil && r.known[version] == nil:
		r.report.lackPolicy(version)
		return
	case book == nil:
		r.report.lackPrices(d.Prices)
		return
	}
	q, told, f := book.recompute(d)
	r.find(e, f)
	if told && f == nil {
		r.report.Told++
	}
	e.quote = q
}

// life is what was folded of one epoch of a tenant.
type life struct {
	id       epoch
	state    *budget.State
	folded   int64              // ledger milliseconds of what was folded last
	latest   int64              // the latest of all receipts
	lag      int64              // milliseconds
	events   map[int64]*entry   // not folded yet, by number
	head     *entry             // of them the next to be folded, once it is known
	denials  map[int64][]*entry // and leave about leases that were there, by the number that they observed
	leases   map[string]*heldLease
	ends     map[string]int64 // instants of events not folded yet, by the lease that they end
	expired  []*heldLease     // in order of their expiry
	attempts []attempt        // that ended lately, behind
	stale    int              // that did not
	copied   map[int64]string // lease by number: folded from a copy, its own receipt may follow
	first    *entry           // of its first event
	granted  bool             // anything
	broken   bool             // a receipt does not follow; nothing after it is folded
	spent    int64
}

func (r *Replayer) life(id epoch) *life {
	if r.last != nil && r.last.id == id {
		return r.last
	}
	r.last = r.lifeOf(id)
	return r.last
}

func (r *Replayer) lifeOf(id epoch) *life {
	l := r.lives[id]
	if l == nil {
		l = &life{
			id: epoch{strings.Clone(id.tenant), strings.Clone(id.epoch)}, lag: r.lagOf(id.tenant),
			events: map[int64]*entry{}, denials: map[int64][]*entry{},
			leases: map[string]*heldLease{}, ends: map[string]int64{}, copied: map[int64]string{},
		}
		l.state = budget.NewState(l.id.tenant)
		r.lives[l.id] = l
	}
	return l
}

// lagOf is how late a receipt of a tenant can be, in milliseconds.
func (r *Replayer) lagOf(tenant string) int64 {
	lag := replayLag
	for _, book := range r.books {
		if t := book.Policy.Tenant(tenant); t != nil {
			lag = max(lag, replayLag+t.WaitLimit)
		}
	}
	return lag.Milliseconds()
}

// event takes the receipt of a ledger's event.
func (r *Replayer) event(e *entry) {
	event := &e.told
	if event.Number < 1 || event.Epoch == "" {
		r.find(e, faultf(WrongEvent, "it has no event number or no epoch"))
		return
	}
	l := r.life(e.life)
	l.latest = max(l.latest, event.At)
	switch {
	case l.broken:
	case event.Number <= l.state.Number:
		r.again(l, e)
	case l.events[event.Number] != nil:
		r.double(l, e)
	default:
		l.events[event.Number] = e
		if ends(event.Kind) {
			l.ends[event.Lease] = event.At
		}
		r.wait()
	}
	r.advance(l, false)
}

// wait counts one more receipt that waits. Where there are too many, the
// epoch that has most of them is folded now, and given up if a number is
// missing.
func (r *Replayer) wait() {
	r.waiting++
	if r.waiting <= r.most {
		return
	}
	var longest *life
	for _, l := range r.lives {
		if longest == nil || l.waits() > longest.waits() ||
			(l.waits() == longest.waits() && compareEpochs(l.id, longest.id) < 0) {
			longest = l
		}
	}
	r.advance(longest, true)
	r.gap(longest)
}

// waits is how many event numbers have receipts that wait.
func (l *life) waits() int { return len(l.events) + len(l.denials) }

// denial takes a denial that observed the state after an event.
func (r *Replayer) denial(e *entry, d *audit.Decision) {
	l := r.life(e.life)
	l.latest = max(l.latest, e.at)
	if e.quote == nil || e.faulty || l.broken || !observes(d) {
		return
	}
	after := d.Event
	if denies(d, policy.ReceiptsUnavailable) { // the number of its own grant
		after--
	}
	if after < l.state.Number {
		r.report.Unchecked[lacksOrder]++
		return
	}
	l.denials[after] = append(l.denials[after], e)
	r.wait()
	r.advance(l, false)
}

// observes reports whether a denial rests on what the ledger said.
func observes(d *audit.Decision) bool { return len(d.Claims) > 0 || denies(d, policy.Killed) }

// double takes another receipt of an event that waits.
func (r *Replayer) double(l *life, e *entry) {
	event, before := &e.told, l.events[e.told.Number]
	other := &before.told
	switch {
	case !before.copy && !e.copy:
		r.find(e, faultf(EventDouble, "event %d has a receipt already: %s", event.Number, before.id()))
	case other.Kind != event.Kind || other.Lease != event.Lease || other.Amount != event.Amount || other.At != event.At:
		r.find(e, faultf(EventDouble, "event %d is told otherwise by %s", event.Number, before.id()))
	case before.copy:
		l.events[event.Number], l.head = e, nil
	}
}

// again takes a receipt of an event that was folded already.
func (r *Replayer) again(l *life, e *entry) {
	event := &e.told
	if e.copy {
		return // that they agree is audit.Verify's matter
	}
	lease, late := l.copied[event.Number]
	if !late || lease != event.Lease {
		r.find(e, faultf(EventDouble, "event %d has a receipt already", event.Number))
		return
	}
	delete(l.copied, event.Number)
	switch b := e.body.(type) {
	case audit.Settlement:
		r.report.Unchecked[lacksDecision]++
	case audit.Decision:
		if held := l.leases[event.Lease]; held != nil {
			held.told(e, &b)
			r.tell(l, e, held)
		}
	}
}

// advance folds what has its turn: events whose predecessors are folded, once
// no denial that observed the state before them can follow.
func (r *Replayer) advance(l *life, all bool) {
	for !l.broken {
		next := l.next()
		if next == nil {
			return
		}
		if !all && next.at+r.patience(l) > l.latest {
			return
		}
		r.judgeDenials(l, next.at)
		delete(l.events, l.state.Number+1)
		if ends(next.told.Kind) {
			delete(l.ends, next.told.Lease)
		}
		l.head = nil
		r.waiting--
		r.fold(l, next)
	}
}

// ends reports whether an event of this kind ends its lease.
func ends(kind budget.EventKind) bool {
	return kind == budget.Settled || kind == budget.Released || kind == budget.Expired
}

// patience is how long to wait for what observed the state before an event, in
// milliseconds of ledger time.
func (r *Replayer) patience(l *life) int64 {
	if r.waiting > maxPatient {
		return l.lag
	}
	return l.lag + leapLag.Milliseconds()
}

// next is the event whose turn it is, nil if it has not come.
func (l *life) next() *entry {
	if l.head == nil {
		l.head = l.events[l.state.Number+1]
	}
	return l.head
}

// judgeDenials looks at the denials that observed the state as it is now. The
// next event is at an instant, in ledger milliseconds. The clock of a shared ledger may
// have been set back between a denial and that: then the denial is judged on a copy of the
// state, which is as late as the denial.
func (r *Replayer) judgeDenials(l *life, next int64) {
	list := l.denials[l.state.Number]
	if len(list) == 0 {
		return
	}
	delete(l.denials, l.state.Number)
	r.waiting -= len(list)
	slices.SortStableFunc(list, func(a, b *entry) int { return cmp.Compare(a.at, b.at) })
	now := l
	for _, e := range list {
		d := e.body.(audit.Decision)
		switch {
		case d.Existing && d.Verdict == audit.Allow:
			r.judgeAgain(l, e, &d)
			continue
		case e.at > next && now == l:
			if now = l.aside(); now == nil {
				r.report.Unchecked[lacksOrder]++
				return
			}
		}
		r.find(e, now.judge(e.quote, &d))
	}
	r.checkAsker(l, list)
}

// aside is the life as it is now, to look at without changing it; nil where that cannot
// be.
func (l *life) aside() *life {
	state, err := budget.FromSnapshot(l.state.Snapshot())
	if err != nil {
		return nil
	}
	copied := *l
	copied.state = state
	return &copied
}

// gap reports the number that a tenant's waiting receipts wait for.
func (r *Replayer) gap(l *life) {
	var first *entry
	at := int64(0)
	for number, e := range l.events {
		if first == nil || number < at {
			first, at = e, number
		}
	}
	for number, list := range l.denials {
		if number > l.state.Number && (first == nil || number < at) {
			first, at = list[0], number+1
		}
	}
	if first != nil {
		r.find(first, faultf(EventGap, "events %d to %d are in no receipt", l.state.Number+1, at-1))
		r.breakOff(l)
	}
}

// breakOff gives a tenant's epoch up.
func (r *Replayer) breakOff(l *life) {
	l.broken = true
	r.waiting -= len(l.events)
	for _, list := range l.denials {
		r.waiting -= len(list)
	}
	clear(l.events)
	clear(l.ends)
	l.head = nil
	clear(l.denials)
}

// Close ends the replay and returns the report.
func (r *Replayer) Close() ReplayReport {
	for _, id := range slices.SortedFunc(maps.Keys(r.lives), compareEpochs) {
		l := r.lives[id]
		r.advance(l, true)
		if !l.broken {
			r.judgeDenials(l, endOfTime)
			r.gap(l)
		}
		open, oldest := l.open()
		r.report.Tenants = append(r.report.Tenants, TenantReplay{
			Tenant: id.tenant, Epoch: id.epoch, Events: l.state.Number, Spent: l.spent, State: l.state, Open: open, Oldest: oldest,
		})
	}
	r.checkLives()
	r.report.trim()
	return r.report
}

// endOfTime is later than any instant of a receipt.
const endOfTime = 1<<63 - 1

func compareEpochs(a, b epoch) int {
	return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.epoch, b.epoch))
}

// expiredFor is how long an expired lease can still be corrected, with the
// time that its receipts may be late.
const expiredFor = budget.RememberExpired + time.Hour
