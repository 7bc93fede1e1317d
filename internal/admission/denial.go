package admission

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Deny returns a denial of our own making: the message has "aegis: " put in front.
func Deny(class providers.Class, code string, again providers.Retry, format string, args ...any) *providers.Denial {
	return &providers.Denial{
		Class: class, Code: code, Retry: again,
		Message: "aegis: " + fmt.Sprintf(format, args...),
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
	class providers.Class
	code  string
	retry providers.Retry
}

// wires has every reason of a denial.
var wires = map[policy.Reason]wire{
	policy.BudgetExhausted:      {providers.Exhausted, "budget_exhausted", providers.RetryNever},
	policy.RequestCapExceeded:   {providers.Exhausted, "request_cap_exceeded", providers.RetryNever},
	policy.BudgetHeld:           {providers.Held, "budget_held", providers.RetrySoon},
	policy.ConcurrencyFull:      {providers.Held, "concurrency_full", providers.RetrySoon},
	policy.RequestRate:          {providers.TooMany, "request_rate", providers.RetryUnsaid},
	policy.ToolCallsExceeded:    {providers.TooMany, "tool_calls_exceeded", providers.RetryUnsaid},
	policy.ReplayedRequest:      {providers.Conflict, "replayed_request", providers.RetryNever},
	policy.NonceRequired:        {providers.Malformed, "nonce_required", providers.RetryNever},
	policy.DepthExceeded:        {providers.Forbidden, "depth_exceeded", providers.RetryNever},
	policy.TooManyNames:         {providers.Forbidden, "too_many_names", providers.RetryNever},
	policy.ModelNotAllowed:      {providers.Forbidden, "model_not_allowed", providers.RetryNever},
	policy.CapabilityNotAllowed: {providers.Forbidden, "capability_not_allowed", providers.RetryNever},
	policy.EndpointNotAllowed:   {providers.Forbidden, "endpoint_not_allowed", providers.RetryNever},
	policy.ToolNotAllowed:       {providers.Forbidden, "tool_not_allowed", providers.RetryNever},
	policy.UpstreamNotAllowed:   {providers.Forbidden, "upstream_not_allowed", providers.RetryNever},
	policy.NoRoute:              {providers.Forbidden, "no_upstream", providers.RetryNever},
	policy.NoPrice:              {providers.Forbidden, "no_price", providers.RetryNever},
	policy.NoBound:              {providers.Forbidden, "no_bound", providers.RetryNever},
	policy.LedgerUnavailable:    {providers.Unavailable, "ledger_unavailable", providers.RetrySoon},
	policy.ReceiptsUnavailable:  {providers.Unavailable, "ledger_unavailable", providers.RetrySoon},
	policy.ActionIDUsed:         {providers.Conflict, "replayed_request", providers.RetryNever},
	policy.StalePolicy:          {providers.Unavailable, "ledger_unavailable", providers.RetrySoon},
	policy.Killed:               {providers.Forbidden, "kill_switch", providers.RetryNever},
	policy.ClientClosedRequest:  {providers.Gone, "client_closed_request", providers.RetryNever},
}

// DenialOf is what a client is told of an error: of one that tells of a request, of a refusal
// of the gate, or of a failure of our own, which says nothing.
func DenialOf(err error) *providers.Denial {
	if d, ok := errors.AsType[*providers.Denial](err); ok {
		return d
	}
	if e, ok := errors.AsType[*gate.Refusal](err); ok {
		return Refused(e.Denial, e.Receipt)
	}
	if e, ok := errors.AsType[*providers.ParseError](err); ok {
		d := Deny(providers.Malformed, "invalid_request", providers.RetryNever, "%s", e.Message)
		d.Param = e.Param
		return d
	}
	return Deny(providers.Broken, "internal_error", providers.RetryUnsaid, "internal error")
}

// Refused is what a client is told of a denial that has this receipt, "" for none.
func Refused(d *policy.Denial, receipt string) *providers.Denial {
	how := wires[d.Reason]
	if d.NoRetry {
		how.retry = providers.RetryNever
	}
	e := Deny(how.class, how.code, how.retry, "%s", d.Message)
	e.Receipt, e.After, e.Details = receipt, d.RetryAfter, details(d)
	return e
}

func details(d *policy.Denial) providers.Details {
	out := providers.Details{Budget: d.Budget}
	if d.ResetsAt != 0 {
		out.ResetsAt = time.UnixMilli(d.ResetsAt).UTC().Format(time.RFC3339)
	}
	if d.LargestCap > 0 {
		out.LargestCap = strconv.FormatInt(d.LargestCap, 10)
	}
	if d.Redact || d.Budget == "" {
		return out
	}
	out.Limit = d.Amount(d.Limit)
	out.Spent = d.Amount(d.Spent)
	out.Held = d.Amount(d.Held)
	out.Needed = d.Amount(d.Needed)
	return out
}
