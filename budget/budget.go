// Package budget keeps the counters that no tenant may overrun.
//
// A caller states what it may cost as a list of claims and asks the ledger
// for all of them or none, in one atomic step. What is granted is a lease: a
// set of holds that ends exactly once, as settled (the real cost replaces the
// hold), released (nothing was sent) or expired (cost unknown: the hold is
// charged). After every granted reserve,
//
//	spent + held <= limit
//
// is true for each of its claims, on any number of replicas.
//
// # Numbers
//
// Amounts are int64: nano-USD (1e-9 USD) for money, a plain count for
// requests, tokens, slots and tool calls. None exceeds MaxAmount, because Redis
// compares in doubles. Times are int64 milliseconds of the Unix epoch on the
// ledger's clock, never on the caller's.
//
// # Events
//
// Everything that changes a balance takes the tenant's next number, from 1
// without a gap, and is an Event. Folding a tenant's events in order gives its
// state, which is how the embedded ledger restarts and how any ledger is
// rebuilt from receipts. The ledger keeps an event until Acknowledge says
// that its receipt is durable.
package budget

import (
	"context"
	"time"
)

const (
	// MaxAmount is the largest amount, limit or balance: 2^53 - 1, the last
	// integer that Lua's doubles hold exactly; as money 9,007,199.25 USD.
	MaxAmount = 1<<53 - 1

	// NoLimit as a claim's limit counts without ever denying.
	NoLimit = MaxAmount

	// MaxClaims bounds the claims of one reservation: 32 limits of a tenant,
	// and one that an action is done once.
	MaxClaims = 33

	// MaxMarks bounds the marks of one claim.
	MaxMarks = 64

	// MaxMarksPerReserve bounds the marks of all claims of a reservation, so
	// that its receipt fits in a line.
	MaxMarksPerReserve = 512

	// MaxMarkedLimit is the largest limit of a claim with marks: a counter
	// remembers as many marks at most.
	MaxMarkedLimit = 10_000

	// MaxKeyBytes bounds a claim's key, a group's name, a tenant's name, a
	// lease's id, a switch's name and a mark.
	MaxKeyBytes = 128

	// MaxLeaseLife bounds how long renewals keep one lease open.
	MaxLeaseLife = 6 * time.Hour

	// RememberEnded is how long a settled or released lease is known after
	// its end, so that a repeated verb gets the first answer. It is longer
	// than any retry of a live caller.
	RememberEnded = time.Minute

	// RememberExpired is how long an expired lease is known, so that a
	// settlement journaled by a crashed replica can still correct its charge.
	RememberExpired = 24 * time.Hour

	// MaxClocksApart is how far the clock of a ledger that is shared may be from the
	// caller's, either way.
	MaxClocksApart = time.Minute

	// OverdueAfter is how long an event may wait for its receipt before
	// Sweep hands it to another replica.
	OverdueAfter = 30 * time.Second

	// RollingBuckets is the resolution of a rolling window: a charge leaves
	// at most 1/60 of the window late, never early.
	RollingBuckets = 60
)

// AtEnd says what becomes of a hold when its lease is settled. A release
// returns every hold but those to Spend; an expiry settles at the hold.
type AtEnd string

const (
	Adjust AtEnd = "adjust" // the actual cost replaces the hold: money
	Input  AtEnd = "input"  // the input tokens that were used replace it
	Output AtEnd = "output" // the output tokens do
	Tokens AtEnd = "tokens" // the tokens of both together do
	Keep   AtEnd = "keep"   // the hold becomes spent: a rate, a nonce
	Return AtEnd = "return" // the hold is given back: a concurrency slot
	Spend  AtEnd = "spend"  // the hold becomes spent, also by a release: an id that is used once
)

// Actual is what became of a call: what it cost, and the tokens that it used. Each
// claim is charged what its AtEnd names. Where a quantity is not known, the caller
// gives what was held for it.
type Actual struct {
	Cost   int64 // nano-USD
	Input  int64 // tokens
	Output int64 // tokens
}

// Of is what a claim that ends so is charged; ok is false where it is not charged by
// what was used.
func (a Actual) Of(end AtEnd) (amount int64, ok bool) {
	switch end {
	case Adjust:
		return a.Cost, true
	case Input:
		return a.Input, true
	case Output:
		return a.Output, true
	case Tokens:
		return a.Input + a.Output, true
	}
	return 0, false
}

// WindowKind says over what time a claim's limit counts.
type WindowKind string

const (
	Fixed   WindowKind = "fixed"   // calendar spans, computed by the caller
	Rolling WindowKind = "rolling" // the last Length
	Idle    WindowKind = "idle"    // until unused for Length: a run's life
	Forever WindowKind = "forever" // never reset
)

// Span is a half-open interval [Start, End) in ledger milliseconds. A span
// that does not end (Forever, Idle, Rolling) has both zero.
type Span struct{ Start, End int64 }

// Contains reports whether the span holds the instant at.
func (s Span) Contains(at int64) bool { return s.Start <= at && at < s.End }

// Window is the time over which a claim's limit counts. For Fixed the caller
// gives the span it believes current and the one after it; the ledger picks
// by its own clock and refuses with ErrWindow if neither fits.
type Window struct {
	Kind    WindowKind
	Current Span          // Fixed
	Next    Span          // Fixed
	Length  time.Duration // Rolling, Idle; whole milliseconds, at least RollingBuckets ms
}

// Claim is what one rule demands of one counter. The counter is named by Key
// and the window, never by the limit, so that changing a limit keeps the
// balance. Two claims of a reservation never share a key.
//
// A claim with Marks counts each of them once: its amount is how many of them
// the counter does not know. A mark is known while an open lease brings it, and
// once a lease that brought it was settled or has expired, as long as the
// counter lives. So what several leases bring counts once, and still counts when
// one of them is released; what only released leases brought was never there.
// The claims of a key have marks or none has.
type Claim struct {
	Key    string // what is limited, as in "usd/tenant/day": [A-Za-z0-9._:/@=*-]+
	Amount int64  // what to hold, 0 to MaxAmount; with Marks the ledger finds it
	Limit  int64  // 0 to MaxAmount; with Marks to MaxMarkedLimit
	AtEnd  AtEnd
	Window Window

	// Group, if set, is a family of keys that callers name at will (runs, end
	// users). At most GroupMax of them are live at once for the tenant.
	Group    string
	GroupMax int64

	// Marks are names that are counted once each: 1 to MaxMarks that differ. They
	// are kept at the end, in a window that does not roll.
	Marks []string
}

// PolicyVersion orders policies. A tenant refuses a lower Generation than it
// has seen, and the same one with another Hash.
type PolicyVersion struct {
	Generation int64
	Hash       string // lowercase hex SHA-256 of the policy file's bytes
}

// Reservation asks for all of its claims or none. The deadline of the
// context, read on the ledger's clock, travels with it: past it the ledger
// refuses with ErrDeadline.
type Reservation struct {
	Tenant string
	Lease  string // unique, chosen by the caller; repeats are answered alike
	Claims []Claim
	Policy PolicyVersion
	TTL    time.Duration // until the lease expires, unless renewed

	// Switches are the kill switches that would stop it: with one of them thrown
	// nothing is granted, and the ledger answers *Killed. At most
	// MaxSwitchesPerReserve.
	Switches []string
}

// Extension asks that an open lease hold Total in each of its Adjust claims. It
// is judged by the terms of today, not by those of the grant: by the newest
// policy, its limits and the kill switches.
type Extension struct {
	Lease  LeaseRef
	Total  int64
	Policy PolicyVersion

	// Limits are what the policy lets counters reach. An Adjust claim of the
	// lease whose key is not among them may reach nothing: a budget that the
	// policy dropped, or that the caller does not know to be the lease's, can
	// not be extended in. Keys that the lease does not claim are not looked at,
	// so a budget that is newer than the lease does not concern it.
	Limits []Limit // at most MaxClaims, each key once

	Switches []string // as in Reservation
}

// Limit is what the counter of a key may reach.
type Limit struct {
	Key   string
	Limit int64 // 0 to MaxAmount
}

// Observed is one claim's counter as the ledger saw it.
type Observed struct {
	Span  Span // the window it was placed in
	Spent int64
	Held  int64
	New   int64 // of a claim with marks, not by Extend: those that the counter did not know
}

// Grant is the ledger's leave. Observed is in the order of the claims and
// from before this grant.
type Grant struct {
	Lease    string
	Epoch    string
	Number   int64 // the event's number
	At       int64
	Expires  int64
	Hold     int64 // of every Adjust claim: as first granted, or after Extend the total
	Repeated bool  // Reserve: the lease was there already; Extend: nothing was changed
	Observed []Observed
	Keys     []string // Reserve, where Repeated: those of the lease's claims
}

// LeaseRef names a lease.
type LeaseRef struct{ Tenant, Lease string }

// Ending is how a lease ended. Every repeat of the verb returns the same, but
// for Repeated.
type Ending struct {
	Kind   EventKind // Settled, Released or Corrected
	Epoch  string
	Number int64
	At     int64
	Charge int64 // what every Adjust claim was charged in the end
	Hold   int64 // what every Adjust claim held

	Repeated bool // it had ended so already
}

// Balances is a tenant's counters at one instant.
type Balances struct {
	Epoch    string
	Number   int64 // of the tenant's last event
	At       int64
	Open     int64 // leases not ended
	Observed []Observed
	Switches []Switch // that are thrown, by name; nil without
}

// EventKind is what happened to a tenant.
type EventKind string

const (
	Provisioned EventKind = "provision" // number 1: the tenant exists
	PolicySeen  EventKind = "policy"    // a newer generation binds from here
	Granted     EventKind = "grant"
	Extended    EventKind = "extend"
	Settled     EventKind = "settle"
	Released    EventKind = "release"
	Expired     EventKind = "expire"
	Corrected   EventKind = "correct" // a settlement or release after expiry
	Thrown      EventKind = "kill"    // a kill switch binds from here
	Lifted      EventKind = "lift"    // and no longer
)

// Placed is a claim with the span that the ledger chose and what it saw there
// before the grant. With marks its Amount is what was New.
type Placed struct {
	Claim
	Observed
}

// Event is one change of a tenant's state, complete enough to be folded.
type Event struct {
	Tenant  string
	Epoch   string
	Number  int64
	Kind    EventKind
	At      int64
	Lease   string        // all but Provisioned, PolicySeen, Thrown and Lifted
	Claims  []Placed      // Granted
	Limits  []Limit       // Extended: as they were asked with
	Amount  int64         // Extended: the new total; Settled, Expired, Corrected: the charge
	Input   int64         // Settled and Corrected: tokens; an expiry charges each claim its hold
	Output  int64         // as Input
	Expires int64         // Granted
	Policy  PolicyVersion // PolicySeen, Granted and Extended
	Switch  string        // Thrown and Lifted
}

// Ledger is the way of a request: every verb is safe to repeat by lease id.
//
// Errors are *Denied, *Killed or *Unreplicated, or wrap one of the sentinels of this package. Any other
// error wraps ErrUnavailable: nobody knows whether the verb took effect.
type Ledger interface {
	// Reserve grants every claim or none. With *Unreplicated it has granted them,
	// and the lease must be given back.
	Reserve(ctx context.Context, r Reservation) (Grant, error)

	// Extend raises the hold of every Adjust claim of an open lease to a total.
	// One at or below the hold changes nothing, under whatever terms, and gets
	// the answer to the last extension, else to the grant.
	Extend(ctx context.Context, x Extension) (Grant, error)

	// Renew moves an open lease's expiry to ttl from now, at most to
	// MaxLeaseLife after its grant, and returns the expiry.
	Renew(ctx context.Context, lease LeaseRef, ttl time.Duration) (int64, error)

	// Settle ends the lease with what was actually used, or corrects the charge
	// of one that has expired. What is above the hold is charged in full.
	Settle(ctx context.Context, lease LeaseRef, actual Actual) (Ending, error)

	// Release ends a lease of which nothing was sent. Releasing an unknown
	// id leaves a tombstone that refuses a late reserve with ErrEnded.
	Release(ctx context.Context, lease LeaseRef) (Ending, error)

	// Acknowledge says that the receipt of a tenant's event is durable. It
	// does not block: the word travels with a later call.
	Acknowledge(tenant string, number int64)

	// Now is the ledger's clock, as far as this replica knows it.
	Now() time.Time
}

// Keeper is the upkeep of a ledger: what runs at start-up, on a timer and by
// an operator's hand.
type Keeper interface {
	// Provision makes the tenants exist, each with a random epoch. One that
	// exists is left as it is. A new one has GlobalSwitch thrown if EveryTenant
	// has when Provision begins.
	Provision(ctx context.Context, tenants ...string) error

	// Remember tells what this replica has seen of a tenant, from its
	// receipts: a ledger of another epoch or behind number is refused with
	// ErrLost.
	Remember(tenant, epoch string, number int64)

	// Sweep ends the tenant's expired leases and returns up to 1,000 events
	// whose receipts are overdue, oldest first: those that no caller owns
	// (expiries, policy changes, kill switches, the provision) at once, others
	// after OverdueAfter. An event is handed to one caller in OverdueAfter.
	Sweep(ctx context.Context, tenant string) ([]Event, error)

	// SweepAll is Sweep for who stops and comes back no more: it returns events
	// without a receipt whether or not they are overdue, also those that were
	// handed to somebody a moment ago.
	SweepAll(ctx context.Context, tenant string) ([]Event, error)

	// Throw throws a kill switch, which binds from the tenant's next reserve on
	// every replica and stays over restarts. Throwing one that is thrown changes
	// nothing and returns the event that threw it, unless it Renews: then it is
	// thrown anew, by a new event. It fails with ErrSwitches where MaxSwitches
	// are thrown.
	Throw(ctx context.Context, tenant, name string) (Switch, error)

	// Lift takes a kill switch back and returns the event. With an event other
	// than 0 it takes back the throw of that number alone. Where the switch is
	// not thrown, or by another event, nothing changes: the Number is 0 then.
	Lift(ctx context.Context, tenant, name string, event int64) (Switch, error)

	// Balances reads the counters that the claims name, and which switches are
	// thrown. Amounts and limits are ignored.
	Balances(ctx context.Context, tenant string, claims []Claim) (Balances, error)

	// Restore writes a tenant's state as folded from events. It refuses with
	// ErrExists a tenant whose record has another epoch or a higher number.
	Restore(ctx context.Context, state *State) error

	// Ready reports whether the ledger answers and is configured as it must
	// be, with ErrPartly if it could still serve some tenants.
	Ready(ctx context.Context) error

	Close() error
}
