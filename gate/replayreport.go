package gate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Fault is in what way a receipt does not follow.
type Fault string

const (
	WrongAllow  Fault = "wrong-allow"  // the policy denies it
	WrongDenial Fault = "wrong-denial" // it would have been allowed, or denied for another reason
	WrongPrice  Fault = "wrong-price"  // the bound times the price is not the cost
	WrongClaims Fault = "wrong-claims" // not the claims that the policy gives
	WrongSeen   Fault = "wrong-seen"   // the events give other counters than a denial observed
	WrongCharge Fault = "wrong-charge" // usage times price, or the basis, gives another charge
	WrongSum    Fault = "wrong-sum"    // figures of one receipt that contradict each other or its decision
	WrongEvent  Fault = "wrong-event"  // the event could not have happened after those before it
	EventGap    Fault = "gap"          // a tenant's event number that no receipt has
	EventDouble Fault = "double"       // a tenant's event number that two receipts have
)

const (
	// maxReplayFindings bounds the findings that a report lists.
	maxReplayFindings = 100
	// maxMissing bounds the policies, and the price tables, that it names as
	// missing.
	maxMissing = 100
)

// ReplayFinding is a receipt that does not follow.
type ReplayFinding struct {
	Fault  Fault
	File   string
	Line   int64  // from 1
	ID     string // of the receipt
	At     int64  // ledger milliseconds
	Tenant string
	Reason string
}

// String is the finding on one line.
func (f ReplayFinding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s: tenant %s: %s", f.File, f.Line, f.ID, f.Fault, f.Tenant, f.Reason)
}

// TenantReplay is what the receipts of one epoch of a tenant add up to.
type TenantReplay struct {
	Tenant string
	Epoch  string
	Events int64 // folded
	Spent  int64 // nano-USD charged, corrections included
	State  *budget.State
	Open   int64     // leases that had not ended
	Oldest OpenLease // of them
}

// ReplayReport is what a Replayer found.
type ReplayReport struct {
	Receipts int64
	Allowed  int64
	Denied   map[string]int64 // by reason
	Counted  int64            // of the denied, those that only the count of a receipt tells of
	Tenants  []TenantReplay   // by name, then epoch

	Findings []ReplayFinding // by ledger's time, at most 100
	Faults   int64

	// Unchecked counts the receipts that could not be recomputed, by what
	// was missing.
	Unchecked map[string]int64

	// MissingPolicies and MissingPrices count the receipts whose policy, or
	// price table by its version, was not given: of the first 100 of each.
	MissingPolicies map[budget.PolicyVersion]int64
	MissingPrices   map[string]int64

	// Told counts what was taken as the receipt tells it, because it depends
	// on more than facts, policy and counters: an outage, a request whose
	// bound nobody knows, the charge of a settlement that only another
	// replica receipted.
	Told int64
}

func newReplayReport() ReplayReport {
	return ReplayReport{
		Denied:          map[string]int64{},
		Unchecked:       map[string]int64{},
		MissingPolicies: map[budget.PolicyVersion]int64{},
		MissingPrices:   map[string]int64{},
	}
}

// lackPolicy counts a receipt that names a policy which was not given.
func (r *ReplayReport) lackPolicy(version budget.PolicyVersion) {
	r.Unchecked[lacksPolicy]++
	version.Hash = strings.Clone(version.Hash) // not the whole line
	countMissing(r.MissingPolicies, version)
}

// lackPrices counts a receipt that names a price table which was not given.
func (r *ReplayReport) lackPrices(version string) {
	r.Unchecked[lacksPrices]++
	countMissing(r.MissingPrices, strings.Clone(version))
}

func countMissing[ID comparable](missing map[ID]int64, id ID) {
	if _, known := missing[id]; known || len(missing) < maxMissing {
		missing[id]++
	}
}

// OK reports whether everything was recomputed and follows.
func (r *ReplayReport) OK() bool { return r.Faults == 0 && len(r.Unchecked) == 0 }

// fault is what is wrong with one receipt.
type fault struct {
	kind   Fault
	reason string
}

func faultf(kind Fault, format string, args ...any) *fault {
	return &fault{kind, fmt.Sprintf(format, args...)}
}

// entry is a receipt on its way through the replay: a decision, a settlement
// or an event.
type entry struct {
	body   audit.Body // as the receipt has it: a copy for each look is cheaper than one to keep
	file   string
	line   int64
	place  position
	life   epoch
	at     int64        // ledger milliseconds
	told   budget.Event // what it tells of the ledger, if it does
	quote  *quote       // of a decision that could be recomputed
	faulty bool
	copy   bool // it may not be the only receipt of its event
}

// entryOf returns nil for a line that only keeps the chain.
func entryOf(r *audit.Receipt) *entry {
	e := &entry{body: r.Body, file: r.File, line: r.Line, place: position{r.Chain, r.N}}
	switch b := r.Body.(type) {
	case audit.Decision:
		e.life, e.at = epoch{b.Facts.Tenant, b.Epoch}, b.At
		if b.Verdict == audit.Allow {
			e.told = grantOf(b)
		}
	case audit.Settlement:
		e.life, e.at = epoch{b.Tenant, b.Epoch}, b.At
		e.told = endOf(b)
	case audit.Event:
		e.life, e.at, e.copy = epoch{b.Tenant, b.Epoch}, b.At, b.Recovered
		e.told = otherOf(b)
	default:
		return nil
	}
	return e
}

// position is where a receipt stands in its chain; the zero position is nowhere.
type position struct {
	chain string
	n     int64
}

func (p position) receipt() audit.Receipt { return audit.Receipt{Chain: p.chain, N: p.n} }

// id is the receipt's, "" of the zero position.
func (p position) id() string {
	if p == (position{}) {
		return ""
	}
	return p.receipt().Ref().ID
}

// has reports whether the receipt's id is this one.
func (p position) has(id string) bool {
	if p == (position{}) {
		return id == ""
	}
	return p.receipt().HasID(id)
}

// id is the receipt's.
func (e *entry) id() string { return e.place.id() }

// find reports the first fault of a receipt.
func (r *Replayer) find(e *entry, f *fault) {
	if f == nil || e.faulty {
		return
	}
	e.faulty = true
	r.report.Faults++
	r.report.Findings = append(r.report.Findings, ReplayFinding{
		Fault: f.kind, File: e.file, Line: e.line, ID: e.id(), At: e.at, Tenant: e.life.tenant, Reason: f.reason,
	})
	if len(r.report.Findings) >= 2*maxReplayFindings {
		r.report.trim()
	}
}

// trim keeps the earliest findings.
func (r *ReplayReport) trim() {
	slices.SortStableFunc(r.Findings, func(a, b ReplayFinding) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	r.Findings = r.Findings[:min(len(r.Findings), maxReplayFindings)]
}
