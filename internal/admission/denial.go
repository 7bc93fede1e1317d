package admission

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Deny returns a denial of our own making.
func Deny(class call.Class, code string, again call.Retry, format string, args ...any) *call.Denial {
	return &call.Denial{
		Class: class, Code: code, Retry: again,
		Message: fmt.Sprintf(format, args...),
	}
}

// Clip shortens what a caller wrote before it is said back.
func Clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// wire is how one reason looks to the client, whatever API it speaks.
type wire struct {
	class call.Class
	code  string
	retry call.Retry
}

// wires has every reason of a denial.
var wires = map[call.Reason]wire{
	policy.BudgetExhausted:      {call.Exhausted, "budget_exhausted", call.RetryNever},
	policy.RequestCapExceeded:   {call.Exhausted, "request_cap_exceeded", call.RetryNever},
	policy.BudgetHeld:           {call.Held, "budget_held", call.RetrySoon},
	policy.ConcurrencyFull:      {call.Held, "concurrency_full", call.RetrySoon},
	policy.RequestRate:          {call.TooMany, "request_rate", call.RetryUnsaid},
	policy.ToolCallsExceeded:    {call.TooMany, "tool_calls_exceeded", call.RetryUnsaid},
	policy.ReplayedRequest:      {call.Conflict, "replayed_request", call.RetryNever},
	policy.NonceRequired:        {call.Malformed, "nonce_required", call.RetryNever},
	policy.RunRequired:          {call.Malformed, "run_required", call.RetryNever},
	policy.UserRequired:         {call.Malformed, "user_required", call.RetryNever},
	policy.DepthExceeded:        {call.Forbidden, "depth_exceeded", call.RetryNever},
	policy.TooManyNames:         {call.Forbidden, "too_many_names", call.RetryNever},
	policy.ModelNotAllowed:      {call.Forbidden, "model_not_allowed", call.RetryNever},
	policy.CapabilityNotAllowed: {call.Forbidden, "capability_not_allowed", call.RetryNever},
	policy.EndpointNotAllowed:   {call.Forbidden, "endpoint_not_allowed", call.RetryNever},
	policy.ToolNotAllowed:       {call.Forbidden, "tool_not_allowed", call.RetryNever},
	policy.UpstreamNotAllowed:   {call.Forbidden, "upstream_not_allowed", call.RetryNever},
	policy.NoRoute:              {call.Forbidden, "no_upstream", call.RetryNever},
	policy.NoCredential:         {call.Unidentified, "no_credential", call.RetryNever},
	policy.NoPrice:              {call.Forbidden, "no_price", call.RetryNever},
	policy.NoBound:              {call.Forbidden, "no_bound", call.RetryNever},
	policy.LedgerUnavailable:    {call.Down, "ledger_unavailable", call.RetrySoon},
	policy.ReceiptsUnavailable:  {call.Down, "ledger_unavailable", call.RetrySoon},
	policy.ActionIDUsed:         {call.Conflict, "replayed_request", call.RetryNever},
	policy.StalePolicy:          {call.Down, "ledger_unavailable", call.RetrySoon},
	policy.Killed:               {call.Forbidden, "kill_switch", call.RetryNever},
	policy.ClientClosedRequest:  {call.Gone, "client_closed_request", call.RetryNever},
}

// DenialOf is what a client is told of an error: of a denial, with all that follows from its
// reason; of a body that does not parse; or of a failure of our own, which says nothing.
func DenialOf(err error) *call.Denial {
	if d, ok := errors.AsType[*call.Denial](err); ok {
		return told(*d)
	}
	if e, ok := errors.AsType[*providers.ParseError](err); ok {
		d := Deny(call.Malformed, "invalid_request", call.RetryNever, "%s", e.Message)
		d.Param = e.Param
		return d
	}
	return Deny(call.Broken, "internal_error", call.RetryUnsaid, "internal error")
}

// FailedAfter is what a client is told of a call that had leave, with this receipt, and whose
// upstream gave no answer.
func FailedAfter(receipt string, why *call.Denial) *call.Denial {
	d := told(*why)
	d.Decision, d.Receipt = Failed, receipt
	return d
}

// told completes a denial by its reason.
func told(d call.Denial) *call.Denial {
	if how, ok := wires[d.Reason]; ok {
		d.Class, d.Code, d.Retry = how.class, how.code, cmp.Or(d.Retry, how.retry)
	}
	return &d
}
