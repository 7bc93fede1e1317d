package proxy

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Headers that the proxy adds to responses.
const (
	decisionHeader  = "X-Aegis-Decision" // "allow", "deny" or "error"
	receiptHeader   = "X-Aegis-Receipt"
	warningHeader   = "X-Aegis-Warning"
	outputCapHeader = "X-Aegis-Output-Cap"
	betasHeader     = "X-Aegis-Betas-Removed"

	// authorizationHeader goes to upstreams that the policy marks, and holds
	// the base64 of an AuthorizationV1.
	authorizationHeader = "X-Aegis-Authorization"
)

// maxBetasBytes bounds what is said back of the betas that were taken out.
const maxBetasBytes = 1 << 10

// Values of the decision header. An answer of the upstream carries allow.
const (
	decisionAllow = "allow"
	decisionDeny  = "deny"
	decisionError = "error" // allowed, but the upstream gave no answer
)

// deny returns a denial of the proxy's own making.
func deny(class providers.Class, code string, again providers.Retry, format string, args ...any) *providers.Denial {
	return &providers.Denial{
		Class: class, Code: code, Retry: again,
		Message: "aegis: " + fmt.Sprintf(format, args...),
	}
}

var (
	errBadKey  = deny(providers.Unidentified, "unknown_key", providers.RetryNever, "this API key belongs to no tenant")
	errTwoRuns = deny(providers.Malformed, "invalid_run", providers.RetryNever, "the request names two runs; name one, in the path or in %s", runHeader)
	errLongRun = deny(providers.Malformed, "invalid_run", providers.RetryNever, "a run's name has at most %d bytes", maxRunBytes)
	errLarge   = deny(providers.TooLarge, "request_too_large", providers.RetryNever, "the request's body is larger than this proxy takes")
	errNoRun   = deny(providers.Malformed, "invalid_run", providers.RetryNever, "the run's name in the path is empty")
	errBody    = deny(providers.Malformed, "incomplete_body", providers.RetryUnsaid, "the request's body did not arrive whole")

	errStopping = deny(providers.Unavailable, "shutting_down", providers.RetrySoon, "this replica is shutting down")
)

// clip shortens what a caller wrote before it is said back.
func clip(s string) string {
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

// reject answers in the shape of the API that was called.
func (p *Proxy) reject(w http.ResponseWriter, t *target, err error) {
	d := denialOf(err)
	if d.Receipt == "" {
		p.metrics.Rejected(d.Code)
	}
	h := w.Header()
	delete(h, "Date") // the server's
	h[decisionHeader] = []string{decisionDeny}
	if d.Decision != "" {
		h[decisionHeader] = []string{d.Decision}
	}
	if d.Receipt != "" {
		h[receiptHeader] = []string{d.Receipt}
	}
	write(w, t.dialect.Deny(t.operation, t.head, d))
}

// write answers with what a dialect has made.
func write(w http.ResponseWriter, reply providers.Reply) {
	h := w.Header()
	maps.Copy(h, reply.Header)
	h.Set("Content-Length", strconv.Itoa(len(reply.Body)))
	w.WriteHeader(reply.Status)
	w.Write(reply.Body)
}

func denialOf(err error) *providers.Denial {
	if d, ok := errors.AsType[*providers.Denial](err); ok {
		return d
	}
	if e, ok := errors.AsType[*gate.Refusal](err); ok {
		return refused(e.Denial, e.Receipt)
	}
	if e, ok := errors.AsType[*providers.ParseError](err); ok {
		d := deny(providers.Malformed, "invalid_request", providers.RetryNever, "%s", e.Message)
		d.Param = e.Param
		return d
	}
	return deny(providers.Broken, "internal_error", providers.RetryUnsaid, "internal error")
}

// refused is what a client is told of a denial.
func refused(d *policy.Denial, receipt string) *providers.Denial {
	how := wires[d.Reason]
	if d.NoRetry {
		how.retry = providers.RetryNever
	}
	e := deny(how.class, how.code, how.retry, "%s", d.Message)
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
