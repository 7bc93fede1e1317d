package budget

import (
	"fmt"
	"strings"
	"time"
)

// maxHashBytes is the length of a SHA-256 in hex.
const maxHashBytes = 64

// Validate refuses, with ErrInvalid, a reservation that breaks a bound of this
// package. Every ledger calls it first, so that all refuse the same.
func (r Reservation) Validate() error {
	if err := (LeaseRef{r.Tenant, r.Lease}).Validate(); err != nil {
		return err
	}
	if err := r.Policy.validate(); err != nil {
		return err
	}
	if err := ValidTTL(r.TTL); err != nil {
		return err
	}
	if err := validateSwitches(r.Switches); err != nil {
		return err
	}
	return validateClaims(len(r.Claims), func(i int) *Claim { return &r.Claims[i] })
}

// Validate refuses, with ErrInvalid, an extension that breaks a bound of this
// package. Every ledger calls it first.
func (x Extension) Validate() error {
	if err := x.Lease.Validate(); err != nil {
		return err
	}
	if err := ValidAmount(x.Total); err != nil {
		return fmt.Errorf("total: %w", err)
	}
	if err := x.Policy.validate(); err != nil {
		return err
	}
	if err := validateSwitches(x.Switches); err != nil {
		return err
	}
	return validateLimits(x.Limits)
}

func validateLimits(limits []Limit) error {
	if len(limits) > MaxClaims {
		return fmt.Errorf("%w: %d limits, at most %d", ErrInvalid, len(limits), MaxClaims)
	}
	for i, limit := range limits {
		if err := ValidName(limit.Key); err != nil {
			return fmt.Errorf("limit %d: %w", i, err)
		}
		if err := ValidAmount(limit.Limit); err != nil {
			return fmt.Errorf("limit of %q: %w", limit.Key, err)
		}
		for _, other := range limits[:i] {
			if other.Key == limit.Key {
				return fmt.Errorf("%w: two limits for the key %q", ErrInvalid, limit.Key)
			}
		}
	}
	return nil
}

// limitOf is what a key may reach, 0 if the limits do not name it.
func limitOf(limits []Limit, key string) int64 {
	for _, limit := range limits {
		if limit.Key == key {
			return limit.Limit
		}
	}
	return 0
}

// Validate refuses, with ErrInvalid, a reference whose names are malformed.
func (l LeaseRef) Validate() error {
	if err := ValidName(l.Tenant); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	if err := ValidName(l.Lease); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}

// ValidName refuses, with ErrInvalid, a name of a tenant, lease, key or group
// that is empty, longer than MaxKeyBytes, or holds a byte outside
// [A-Za-z0-9._:/@=*-].
func ValidName(name string) error {
	if name == "" || len(name) > MaxKeyBytes {
		return fmt.Errorf("%w: a name has 1 to %d bytes, not %d", ErrInvalid, MaxKeyBytes, len(name))
	}
	var foreign byte // no branch for each byte: a reservation has hundreds
	for i := range len(name) {
		foreign |= foreignBytes[name[i]]
	}
	if foreign != 0 {
		return fmt.Errorf("%w: byte %q in name %q", ErrInvalid, strings.TrimLeft(name, nameBytes)[0], name)
	}
	return nil
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/@=*-"

// foreignBytes has a 1 for each byte that no name has.
var foreignBytes = func() (foreign [256]byte) {
	for b := range foreign {
		if strings.IndexByte(nameBytes, byte(b)) < 0 {
			foreign[b] = 1
		}
	}
	return foreign
}()

// ValidAmount refuses, with ErrInvalid, an amount outside 0 to MaxAmount.
func ValidAmount(amount int64) error {
	if amount < 0 || amount > MaxAmount {
		return fmt.Errorf("%w: amount %d is outside 0 to %d", ErrInvalid, amount, int64(MaxAmount))
	}
	return nil
}

// Validate refuses, with ErrInvalid, what is no amount.
func (a Actual) Validate() error {
	if err := ValidAmount(a.Cost); err != nil {
		return fmt.Errorf("cost: %w", err)
	}
	if err := ValidAmount(a.Input); err != nil {
		return fmt.Errorf("input tokens: %w", err)
	}
	if err := ValidAmount(a.Output); err != nil {
		return fmt.Errorf("output tokens: %w", err)
	}
	if err := ValidAmount(a.Input + a.Output); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	return nil
}

// ValidTTL refuses, with ErrInvalid, a time to live below a millisecond or
// above MaxLeaseLife.
func ValidTTL(ttl time.Duration) error {
	if ttl < time.Millisecond || ttl > MaxLeaseLife {
		return fmt.Errorf("%w: time to live %v is outside 1ms to %v", ErrInvalid, ttl, MaxLeaseLife)
	}
	return nil
}

// ValidCounters refuses, with ErrInvalid, claims that do not name counters
// well. It is what Balances demands: amounts and limits are not looked at.
func ValidCounters(claims []Claim) error {
	for i := range claims {
		if err := claims[i].validateCounter(); err != nil {
			return fmt.Errorf("claim %d: %w", i, err)
		}
	}
	return nil
}

func (c *Claim) validateCounter() error {
	if err := ValidName(c.Key); err != nil {
		return err
	}
	if err := c.validateMarkNames(); err != nil {
		return err
	}
	return c.Window.validate()
}

func (p PolicyVersion) validate() error {
	if p.Generation < 1 || p.Generation > MaxAmount {
		return fmt.Errorf("%w: policy generation %d is outside 1 to %d", ErrInvalid, p.Generation, int64(MaxAmount))
	}
	if p.Hash == "" || len(p.Hash) > maxHashBytes {
		return fmt.Errorf("%w: policy hash has %d bytes, not 1 to %d", ErrInvalid, len(p.Hash), maxHashBytes)
	}
	for _, b := range []byte(p.Hash) {
		if (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			return fmt.Errorf("%w: policy hash %q is not lowercase hex", ErrInvalid, p.Hash)
		}
	}
	return nil
}

// validateClaims checks n claims, which it is given one by one because events
// hold them within what was observed.
func validateClaims(n int, claim func(int) *Claim) error {
	if n > MaxClaims {
		return fmt.Errorf("%w: %d claims, at most %d", ErrInvalid, n, MaxClaims)
	}
	hold, marks := int64(-1), 0
	for i := range n {
		c := claim(i)
		if err := c.validate(); err != nil {
			return fmt.Errorf("claim %d %q: %w", i, c.Key, err)
		}
		if marks += len(c.Marks); marks > MaxMarksPerReserve {
			return fmt.Errorf("%w: claims have more than %d marks", ErrInvalid, MaxMarksPerReserve)
		}
		if c.AtEnd == Adjust && hold >= 0 && c.Amount != hold {
			return fmt.Errorf("%w: adjusted claims hold %d and %d, but one cost settles them all", ErrInvalid, hold, c.Amount)
		}
		if c.AtEnd == Adjust {
			hold = c.Amount
		}
		for j := range i {
			if claim(j).Key == c.Key {
				return fmt.Errorf("%w: two claims share the key %q", ErrInvalid, c.Key)
			}
		}
	}
	return nil
}

func (c *Claim) validate() error {
	if err := c.validateCounter(); err != nil {
		return err
	}
	if err := ValidAmount(c.Amount); err != nil {
		return err
	}
	if err := ValidAmount(c.Limit); err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	_, measured := Actual{}.Of(c.AtEnd)
	if !measured && c.AtEnd != Keep && c.AtEnd != Return && c.AtEnd != Spend {
		return fmt.Errorf("%w: at end %q", ErrInvalid, c.AtEnd)
	}
	if err := c.validateMarks(); err != nil {
		return err
	}
	return c.validateGroup()
}

func (c *Claim) validateGroup() error {
	if c.Group == "" {
		return nil
	}
	if err := ValidName(c.Group); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	if c.GroupMax < 1 || c.GroupMax > MaxAmount {
		return fmt.Errorf("%w: group of at most %d keys", ErrInvalid, c.GroupMax)
	}
	if c.Window.Kind == Forever {
		return fmt.Errorf("%w: keys of a group cannot live forever", ErrInvalid)
	}
	return nil
}

// minLength is the shortest Length: one millisecond per bucket.
const minLength = RollingBuckets * time.Millisecond

// maxTime bounds instants, in milliseconds, so that no sum of an instant and a
// Length overflows, nor any instant times RollingBuckets a double: about the
// year 6700.
const maxTime = MaxAmount / RollingBuckets

func (w *Window) validate() error {
	switch w.Kind {
	case Fixed:
		return w.validateSpans()
	case Rolling, Idle:
		if w.Length < minLength || w.Length%time.Millisecond != 0 || w.Length.Milliseconds() > maxTime {
			return fmt.Errorf("%w: window length %v is not whole milliseconds of at least %v", ErrInvalid, w.Length, minLength)
		}
		return nil
	case Forever:
		return nil
	}
	return fmt.Errorf("%w: window kind %q", ErrInvalid, w.Kind)
}

func (w *Window) validateSpans() error {
	ordered := 0 <= w.Current.Start && w.Current.Start < w.Current.End &&
		w.Current.End <= w.Next.Start && w.Next.Start < w.Next.End && w.Next.End <= maxTime
	if !ordered {
		return fmt.Errorf("%w: spans %v and %v are empty or out of order", ErrInvalid, w.Current, w.Next)
	}
	return nil
}

// Pick returns the span that holds the instant at, in milliseconds: Current or
// Next of a fixed window, the zero Span of any other. It fails with ErrWindow
// if neither fits.
func (w *Window) Pick(at int64) (Span, error) {
	if w.Kind != Fixed {
		return Span{}, nil
	}
	if w.Current.Contains(at) {
		return w.Current, nil
	}
	if w.Next.Contains(at) {
		return w.Next, nil
	}
	return Span{}, fmt.Errorf("%w: %d is in neither %v nor %v", ErrWindow, at, w.Current, w.Next)
}
