package budget

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrUnavailable: the ledger could not be asked, or its answer was lost.
	ErrUnavailable = errors.New("ledger unavailable")
	// ErrUnreachable is an ErrUnavailable of which it is known that nothing was
	// sent: the verb did not take effect.
	ErrUnreachable = fmt.Errorf("%w: cannot be reached", ErrUnavailable)
	// ErrPartly: some tenants can be served and others cannot, as where one master
	// of a cluster is down. Only Ready says so.
	ErrPartly = errors.New("some tenants cannot be served")
	// ErrClock is an ErrUnreachable: the ledger's clock and the caller's are more than
	// MaxClocksApart apart, so one of them is wrong. Nothing is granted and nothing
	// expires until they agree.
	ErrClock = fmt.Errorf("%w: its clock and the caller's disagree", ErrUnreachable)
	// ErrLost: the tenant has no record, or one of another epoch, or one
	// behind what this replica has seen, or with another event of that number; or a
	// part of its state that must be there is not. Only a rebuild helps.
	ErrLost = errors.New("ledger lost state")
	// ErrStalePolicy: the tenant has seen a newer policy, or another one of
	// the same generation.
	ErrStalePolicy = errors.New("policy is not the newest")
	// ErrWindow: neither span of a fixed window holds the ledger's time. The
	// caller computes them again from Now.
	ErrWindow = errors.New("window does not hold the ledger's time")
	// ErrDeadline: the reservation arrived too late. Nothing is held.
	ErrDeadline = errors.New("reservation arrived after its deadline")
	// ErrUnknownLease: no such lease, or it ended too long ago.
	ErrUnknownLease = errors.New("unknown lease")
	// ErrEnded: the lease ended in another way than this verb asks.
	ErrEnded = errors.New("lease has ended")
	// ErrInvalid: the request breaks a bound of this package. A bug in the
	// caller.
	ErrInvalid = errors.New("invalid ledger request")
	// ErrSwitches: the tenant has as many thrown switches as it can. Lift one.
	ErrSwitches = errors.New("too many kill switches are thrown")
	// ErrExists: a restore would overwrite newer state.
	ErrExists = errors.New("ledger holds newer state")
)

// Unreachable makes an error an ErrUnreachable, and says no word twice of one that is
// some ErrUnavailable already.
func Unreachable(err error) error { return &unreachable{err} }

type unreachable struct{ cause error }

func (u *unreachable) Error() string { return ErrUnreachable.Error() + ": " + causeOf(u.cause) }

func (u *unreachable) Unwrap() []error { return []error{ErrUnreachable, u.cause} }

// causeOf is the text of an error without saying that the ledger is unavailable.
func causeOf(err error) string {
	text := err.Error()
	for _, known := range []error{ErrUnreachable, ErrUnavailable} {
		text = strings.TrimPrefix(text, known.Error()+": ")
	}
	return text
}

// Reason is why one claim did not fit.
type Reason string

const (
	Fits      Reason = ""
	Exhausted Reason = "exhausted" // spent + amount > limit: waiting does not help
	Held      Reason = "held"      // fits once what is in flight has ended
	Crowded   Reason = "crowded"   // GroupMax keys of the group are live
)

// Denied is the ledger's refusal. Nothing is held. Observed and Reasons are in
// the order of the claims; of an extension, of the lease's claims.
type Denied struct {
	Epoch    string
	Number   int64 // of the tenant's last event
	At       int64
	Observed []Observed
	Reasons  []Reason
	Keys     []string // by Extend: those of the lease's claims
	Hold     int64    // by Extend: what the lease holds
}

func (d *Denied) Error() string {
	return fmt.Sprintf("ledger denied: %v", d.Reasons)
}

// Unreplicated is a grant that the ledger made and that may be lost, because too few
// of its replicas have it. It must not be used; its event is the ledger's as any
// other, and is owed its receipt. It is an ErrUnavailable.
type Unreplicated struct {
	Grant Grant
	Err   error
}

func (u *Unreplicated) Error() string {
	return fmt.Sprintf("%v: granted, but what is granted may be lost: %s", ErrUnavailable, causeOf(u.Err))
}

// Unwrap makes it an ErrUnavailable.
func (u *Unreplicated) Unwrap() []error { return []error{ErrUnavailable, u.Err} }

// Judge compares one claim with its counter. It is the rule that every ledger
// follows, in Go or in Lua.
func Judge(amount, limit int64, o Observed) Reason {
	if o.Spent+amount > limit {
		return Exhausted
	}
	if o.Spent+o.Held+amount > limit {
		return Held
	}
	return Fits
}
