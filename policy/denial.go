package policy

import (
	"fmt"
	"strings"
	"time"
)

// Reason is why a request was not forwarded. Receipts and metrics carry it;
// the proxy maps it to a status and to the error code of the API called.
type Reason string

const (
	BudgetExhausted      Reason = "budget_exhausted"
	RequestCapExceeded   Reason = "request_cap_exceeded"
	BudgetHeld           Reason = "budget_held"
	TooManyNames         Reason = "too_many_names"
	ModelNotAllowed      Reason = "model_not_allowed"
	CapabilityNotAllowed Reason = "capability_not_allowed"
	NoRoute              Reason = "no_upstream"
	NoPrice              Reason = "no_price"
	NoBound              Reason = "no_bound"
	LedgerUnavailable    Reason = "ledger_unavailable"
	ReceiptsUnavailable  Reason = "receipts_unavailable"
	StalePolicy          Reason = "stale_policy"
	ActionIDUsed         Reason = "action_id_used"
)

// Denial is a request that is not forwarded, and what its sender needs to
// know. Amounts are nano-USD; those that do not apply are zero.
type Denial struct {
	Reason     Reason
	Message    string // without the "aegis: " in front
	Budget     string
	Limit      int64
	Spent      int64
	Held       int64
	Needed     int64
	ResetsAt   int64 // ledger milliseconds; 0: never
	LargestCap int64 // the largest output cap that would have fit; 0: none
	Redact     bool  // amounts are not for the client
}

func (d *Denial) Error() string { return "aegis: " + d.Message }

// describe names the budget and when it resets. It avoids the words that
// clients take for a provider's rate limit.
func (d *Denial) describe() string {
	var s strings.Builder
	fmt.Fprintf(&s, "budget %q ", d.Budget)
	switch d.Reason {
	case BudgetHeld:
		s.WriteString("is held by requests in flight")
	case TooManyNames:
		s.WriteString("has as many live names as the policy allows")
	default:
		s.WriteString("has too little left for this request")
	}
	if !d.Redact && d.Reason != TooManyNames {
		fmt.Fprintf(&s, ": limit %s, spent %s, held %s, needed %s",
			USD(d.Limit), USD(d.Spent), USD(d.Held), USD(d.Needed))
	}
	s.WriteString("; ")
	s.WriteString(d.reset())
	return s.String()
}

func (d *Denial) reset() string {
	if d.ResetsAt == 0 {
		return "it does not reset at a fixed time"
	}
	return "it resets at " + time.UnixMilli(d.ResetsAt).UTC().Format(time.RFC3339)
}
