package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// Headers that the proxy adds to responses.
const (
	decisionHeader  = "X-Aegis-Decision" // "allow", "deny" or "error"
	receiptHeader   = "X-Aegis-Receipt"
	warningHeader   = "X-Aegis-Warning"
	outputCapHeader = "X-Aegis-Output-Cap"
	betasHeader     = "X-Aegis-Betas-Removed"
	retryHeader     = "X-Should-Retry"

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

// retryAfter is what Retry-After says, in seconds, where retrying helps and
// nothing better is known: official SDKs ignore values above 60.
const retryAfter = 1

// rejection is an answer that the proxy gives in place of the upstream.
type rejection struct {
	body     openai.Error
	decision string
	receipt  string
	retry    retry
	after    int64 // seconds, for Retry-After where a retry helps; 0: by retry
}

func (e *rejection) Error() string { return e.body.Message }

// retry tells SDKs whether to send the request again.
type retry string

const (
	retryUnsaid retry = ""      // the status says enough
	retryNever  retry = "false" // no use before something changes
	retrySoon   retry = "true"  // after retryAfter, or after what the denial says
)

// deny returns a rejection of the proxy's own making.
func deny(status int, kind, code string, again retry, format string, args ...any) *rejection {
	return &rejection{
		body: openai.Error{
			Status: status, Type: kind, Code: code,
			Message: "aegis: " + fmt.Sprintf(format, args...),
		},
		decision: decisionDeny,
		retry:    again,
	}
}

var (
	errNoKey   = deny(401, "invalid_request_error", "invalid_api_key", retryNever, "no API key: send one tenant key as Authorization: Bearer")
	errBadKey  = deny(401, "invalid_request_error", "invalid_api_key", retryNever, "this API key belongs to no tenant")
	errTwoRuns = deny(400, "invalid_request_error", "invalid_run", retryNever, "the request names two runs; name one, in the path or in %s", runHeader)
	errLongRun = deny(400, "invalid_request_error", "invalid_run", retryNever, "a run's name has at most %d bytes", maxRunBytes)
	errLarge   = deny(413, "invalid_request_error", "request_too_large", retryNever, "the request's body is larger than this proxy takes")
	errNoRun   = deny(400, "invalid_request_error", "invalid_run", retryNever, "the run's name in the path is empty")
	errBody    = deny(400, "invalid_request_error", "incomplete_body", retryUnsaid, "the request's body did not arrive whole")

	errStopping = deny(503, "server_error", "shutting_down", retrySoon, "this replica is shutting down")
)

func noRoute(r *http.Request) *rejection {
	return deny(403, "invalid_request_error", "unknown_route", retryNever,
		"%s %s is not a governed route, and what it costs is not bounded; governed are chat/completions, completions, embeddings and GET models", r.Method, clip(r.URL.Path))
}

// clip shortens what a caller wrote before it is said back.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// wire is how one reason looks to the client.
type wire struct {
	status int
	kind   string
	code   string
	retry  retry
}

// statusClientClosed is what servers log of a request whose client has gone: no
// standard has a status for it, and nobody reads it.
const statusClientClosed = 499

// wires maps every reason of a denial to the status and code that official
// SDKs turn into the right error. 402 and 403 are never retried by them;
// LangChain stops on insufficient_quota.
var wires = map[policy.Reason]wire{
	policy.BudgetExhausted:      {402, "insufficient_quota", "insufficient_quota", retryNever},
	policy.RequestCapExceeded:   {402, "insufficient_quota", "insufficient_quota", retryNever},
	policy.BudgetHeld:           {429, "requests", "rate_limit_exceeded", retrySoon},
	policy.ConcurrencyFull:      {429, "requests", "rate_limit_exceeded", retrySoon},
	policy.RequestRate:          {429, "requests", "rate_limit_exceeded", retryUnsaid},
	policy.ToolCallsExceeded:    {429, "requests", "rate_limit_exceeded", retryUnsaid},
	policy.ReplayedRequest:      {409, "invalid_request_error", "replayed_request", retryNever},
	policy.NonceRequired:        {400, "invalid_request_error", "nonce_required", retryNever},
	policy.DepthExceeded:        {403, "invalid_request_error", "depth_exceeded", retryNever},
	policy.TooManyNames:         {403, "invalid_request_error", "too_many_names", retryNever},
	policy.ModelNotAllowed:      {403, "invalid_request_error", "model_not_allowed", retryNever},
	policy.CapabilityNotAllowed: {403, "invalid_request_error", "capability_not_allowed", retryNever},
	policy.EndpointNotAllowed:   {403, "invalid_request_error", "endpoint_not_allowed", retryNever},
	policy.ToolNotAllowed:       {403, "invalid_request_error", "tool_not_allowed", retryNever},
	policy.UpstreamNotAllowed:   {403, "invalid_request_error", "upstream_not_allowed", retryNever},
	policy.NoRoute:              {403, "invalid_request_error", "no_upstream", retryNever},
	policy.NoPrice:              {403, "invalid_request_error", "no_price", retryNever},
	policy.NoBound:              {403, "invalid_request_error", "no_bound", retryNever},
	policy.LedgerUnavailable:    {503, "server_error", "ledger_unavailable", retrySoon},
	policy.ReceiptsUnavailable:  {503, "server_error", "ledger_unavailable", retrySoon},
	policy.ActionIDUsed:         {409, "invalid_request_error", "replayed_request", retryNever},
	policy.StalePolicy:          {503, "server_error", "ledger_unavailable", retrySoon},
	policy.Killed:               {403, "invalid_request_error", "kill_switch", retryNever},
	policy.ClientClosedRequest:  {statusClientClosed, "invalid_request_error", "client_closed_request", retryNever},
}

// reject answers in the shape of the API that was called.
func (p *Proxy) reject(w http.ResponseWriter, err error) {
	e := rejectionOf(err)
	if e.receipt == "" {
		p.metrics.Rejected(e.body.Code)
	}
	h := w.Header()
	delete(h, "Date") // the server's
	h.Set("Content-Type", "application/json")
	h.Set(decisionHeader, e.decision)
	if e.receipt != "" {
		h.Set(receiptHeader, e.receipt)
	}
	if e.retry != retryUnsaid {
		h.Set(retryHeader, string(e.retry))
	}
	if after := e.retryAfter(); after > 0 {
		h.Set("Retry-After", strconv.FormatInt(after, 10))
	}
	body := openai.AppendError(nil, &e.body)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.body.Status)
	w.Write(body)
}

// retryAfter is what Retry-After says; 0 for none. Beside an x-should-retry of
// false there is none: some clients sleep it out before they give up.
func (e *rejection) retryAfter() int64 {
	switch {
	case e.retry == retryNever:
		return 0
	case e.after == 0 && e.retry == retrySoon:
		return retryAfter
	}
	return e.after
}

func rejectionOf(err error) *rejection {
	if e, ok := errors.AsType[*rejection](err); ok {
		return e
	}
	if e, ok := errors.AsType[*gate.Refusal](err); ok {
		return refused(e.Denial, e.Receipt)
	}
	if e, ok := errors.AsType[*providers.ParseError](err); ok {
		r := deny(400, "invalid_request_error", "invalid_request", retryNever, "%s", e.Message)
		r.body.Param = e.Param
		return r
	}
	return deny(500, "server_error", "internal_error", retryUnsaid, "internal error")
}

// refused is the answer to a denial.
func refused(d *policy.Denial, receipt string) *rejection {
	how := wires[d.Reason]
	if d.NoRetry {
		how.retry = retryNever
	}
	e := deny(how.status, how.kind, how.code, how.retry, "%s", d.Message)
	e.receipt, e.after = receipt, d.RetryAfter
	e.body.Details = details(d)
	return e
}

func details(d *policy.Denial) openai.Details {
	out := openai.Details{Budget: d.Budget}
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
