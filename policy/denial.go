package policy

import (
	"fmt"
	"strconv"
	"time"
)

// Reason is why a request was not forwarded. Receipts and metrics carry it;
// the proxy maps it to a status and to the error code of the API called.
type Reason string

const (
	BudgetExhausted      Reason = "budget_exhausted"
	RequestCapExceeded   Reason = "request_cap_exceeded"
	BudgetHeld           Reason = "budget_held"
	ConcurrencyFull      Reason = "concurrency_full"
	RequestRate          Reason = "request_rate"
	ToolCallsExceeded    Reason = "tool_calls_exceeded"
	ReplayedRequest      Reason = "replayed_request"
	NonceRequired        Reason = "nonce_required"
	DepthExceeded        Reason = "depth_exceeded"
	TooManyNames         Reason = "too_many_names"
	ModelNotAllowed      Reason = "model_not_allowed"
	CapabilityNotAllowed Reason = "capability_not_allowed"
	EndpointNotAllowed   Reason = "endpoint_not_allowed"
	ToolNotAllowed       Reason = "tool_not_allowed"
	UpstreamNotAllowed   Reason = "upstream_not_allowed"
	NoRoute              Reason = "no_upstream"
	NoPrice              Reason = "no_price"
	NoBound              Reason = "no_bound"
	LedgerUnavailable    Reason = "ledger_unavailable"
	ReceiptsUnavailable  Reason = "receipts_unavailable"
	StalePolicy          Reason = "stale_policy"
	ClientClosedRequest  Reason = "client_closed_request" // it hung up before it had leave
	Killed               Reason = "killed"
	ActionIDUsed         Reason = "action_id_used"
)

// Denial is a request that is not forwarded, and what its sender needs to
// know. Amounts are nano-USD, or plain counts where the limit is one of
// requests, slots, tool calls or nonces; those that do not apply are zero.
type Denial struct {
	Reason     Reason
	Message    string // without the "aegis: " in front
	Budget     string // the limit's name
	Limit      int64
	Spent      int64
	Held       int64
	Needed     int64
	ResetsAt   int64 // ledger milliseconds; 0: never
	LargestCap int64 // the largest output cap that would have fit; 0: none
	Redact     bool  // amounts are not for the client
	RetryAfter int64 // seconds, 1 to 60; 0: as the reason has it
	NoRetry    bool  // sending it again is of no use within 60 s

	unit *unit // nil: money
}

func (d *Denial) Error() string { return "aegis: " + d.Message }

// Passes reports whether the request may fit once others in flight have
// ended.
func (d *Denial) Passes() bool { return d.Reason == BudgetHeld || d.Reason == ConcurrencyFull }

// OfMoney reports whether a request that costs less might not be denied.
func (d *Denial) OfMoney() bool {
	return d.Reason == BudgetExhausted || d.Reason == BudgetHeld || d.Reason == RequestCapExceeded
}

// Amount writes one of the denial's amounts: as USD, or as a plain count.
func (d *Denial) Amount(n int64) string {
	if d.unit == nil {
		return USD(n)
	}
	return d.unit.write(n)
}

// plain writes a count.
func plain(n int64) string { return strconv.FormatInt(n, 10) }

// subject names the limit. No message holds the words that clients take for a
// provider's rate limit.
func (d *Denial) subject() string { return fmt.Sprintf("%s %q", d.unit.noun, d.Budget) }

// amounts says how far the limit is used; "" where the client may not know.
func (d *Denial) amounts() string {
	if d.Redact {
		return ""
	}
	return fmt.Sprintf(": limit %s, spent %s, held %s, needed %s",
		d.Amount(d.Limit), d.Amount(d.Spent), d.Amount(d.Held), d.Amount(d.Needed))
}

func (d *Denial) crowded() string {
	return fmt.Sprintf("%s has as many live names as the policy allows; %s", d.subject(), d.reset())
}

func (d *Denial) reset() string {
	if d.ResetsAt == 0 {
		return "it does not reset at a fixed time"
	}
	return "it resets at " + time.UnixMilli(d.ResetsAt).UTC().Format(time.RFC3339)
}
