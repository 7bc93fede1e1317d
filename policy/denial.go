package policy

import (
	"fmt"
	"strconv"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// Reasons why a request is not forwarded. internal/admission says of each how a client is
// told.
const (
	BudgetExhausted      call.Reason = "budget_exhausted"
	RequestCapExceeded   call.Reason = "request_cap_exceeded"
	BudgetHeld           call.Reason = "budget_held"
	ConcurrencyFull      call.Reason = "concurrency_full"
	RequestRate          call.Reason = "request_rate"
	ToolCallsExceeded    call.Reason = "tool_calls_exceeded"
	ReplayedRequest      call.Reason = "replayed_request"
	NonceRequired        call.Reason = "nonce_required"
	RunRequired          call.Reason = "run_required"
	UserRequired         call.Reason = "user_required"
	DepthExceeded        call.Reason = "depth_exceeded"
	TooManyNames         call.Reason = "too_many_names"
	ModelNotAllowed      call.Reason = "model_not_allowed"
	CapabilityNotAllowed call.Reason = "capability_not_allowed"
	EndpointNotAllowed   call.Reason = "endpoint_not_allowed"
	ToolNotAllowed       call.Reason = "tool_not_allowed"
	UpstreamNotAllowed   call.Reason = "upstream_not_allowed"
	NoRoute              call.Reason = "no_upstream"
	NoCredential         call.Reason = "no_credential" // the upstream takes the client's own
	NoPrice              call.Reason = "no_price"
	NoBound              call.Reason = "no_bound"
	LedgerUnavailable    call.Reason = "ledger_unavailable"
	ReceiptsUnavailable  call.Reason = "receipts_unavailable"
	StalePolicy          call.Reason = "stale_policy"
	ClientClosedRequest  call.Reason = "client_closed_request" // it hung up before it had leave
	Killed               call.Reason = "killed"
	ActionIDUsed         call.Reason = "action_id_used"
)

// Passes reports whether the request may fit once others in flight have ended.
func Passes(d *call.Denial) bool { return d.Reason == BudgetHeld || d.Reason == ConcurrencyFull }

// OfMoney reports whether a request that costs less might not be denied.
func OfMoney(d *call.Denial) bool {
	return d.Reason == BudgetExhausted || d.Reason == BudgetHeld || d.Reason == RequestCapExceeded
}

// refused is the denial of a limit, for its unit to describe.
type refused struct {
	*call.Denial
	unit *unit
}

// plain writes a count.
func plain(n int64) string { return strconv.FormatInt(n, 10) }

// subject names the limit. No message holds the words that clients take for a
// provider's rate limit.
func (d *refused) subject() string { return fmt.Sprintf("%s %q", d.unit.noun, d.Budget) }

// amounts says how far the limit is used; "" where the client may not know.
func (d *refused) amounts() string {
	if d.Redact {
		return ""
	}
	return fmt.Sprintf(": limit %s, spent %s, held %s, needed %s",
		d.Format(d.Limit), d.Format(d.Spent), d.Format(d.Held), d.Format(d.Needed))
}

func (d *refused) crowded(w budget.Window) string {
	room := d.reset(w, "names")
	if w.Kind == budget.Idle {
		room = fmt.Sprintf("room comes back when one of them has had no request for %s", short(w.Length))
	}
	return fmt.Sprintf("%s has as many live names as the policy allows; %s", d.subject(), room)
}

// reset says when there is room again. What the limit counts names it, as in "requests".
func (d *refused) reset(w budget.Window, counted string) string {
	switch {
	case w.Kind == budget.Rolling:
		return fmt.Sprintf("room comes back as %s leave its window of %s", counted, short(w.Length))
	case w.Kind == budget.Idle:
		return fmt.Sprintf("it never resets; only a higher limit, or %s without a request, makes room", short(w.Length))
	case d.ResetsAt == 0:
		return "it never resets; only a higher limit makes room"
	}
	return "it resets at " + time.UnixMilli(d.ResetsAt).UTC().Format(time.RFC3339)
}
