package proxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	// actionPath is where agents ask leave for what is no LLM call.
	actionPath = "/aegis/v1/"
	// actionBodyLimit bounds a request's body there, in bytes.
	actionBodyLimit = 64 << 10
)

// actionRoute is one verb of the API for actions.
type actionRoute struct {
	members []member
	serve   func(*Proxy, *actionCall) (any, error)
}

// actionRoutes are the verbs by name. docs/openapi.yaml describes them.
var actionRoutes = map[string]actionRoute{
	"authorize": {authorizeMembers, (*Proxy).authorize},
	"settle":    {settleMembers, (*Proxy).settle},
	"release":   {releaseMembers, (*Proxy).release},
	"extend":    {extendMembers, (*Proxy).extend},
}

var (
	errUnknownLease = admission.Deny(call.NotFound, "unknown_lease", call.RetryNever, "this tenant has no such lease, or it ended too long ago")
	errEndedLease   = admission.Deny(call.Conflict, "lease_ended", call.RetryNever, "the lease has ended otherwise, or at another amount")
)

// actionCall is one request of the API for actions.
type actionCall struct {
	header  http.Header // of the answer
	request *http.Request
	rules   *gate.Rules
	key     *policy.Key
	actionBody
}

// actionOf returns the verb that a request names, if any.
func actionOf(r *http.Request) (actionRoute, bool) {
	verb, ok := strings.CutPrefix(admission.PlainPath(r.URL.Path), actionPath)
	route, known := actionRoutes[verb]
	return route, ok && known && r.Method == http.MethodPost
}

// act serves a request of the API for actions.
func (p *Proxy) act(w http.ResponseWriter, r *http.Request, rules *gate.Rules, key *policy.Key, t *target) error {
	room := p.intake.open(key.Tenant.Name)
	defer room.end()
	text, err := room.read(w, r, actionBodyLimit)
	if err != nil {
		return err
	}
	body, err := parseAction(text.join(), t.action.members)
	if err != nil {
		return err
	}
	if body.run, err = admission.RunOf(r.Header, body.run); err != nil {
		return err
	}
	answer, err := gate.UnderNewest(rules, p.rules, func(rules *gate.Rules) (any, error) {
		return p.actUnder(w, r, rules, t, body)
	})
	if err != nil {
		return actionError(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(admission.DecisionHeader, admission.Allowed)
	t.page.share(w.Header())
	return json.NewEncoder(w).Encode(answer)
}

func (p *Proxy) actUnder(w http.ResponseWriter, r *http.Request, rules *gate.Rules, t *target, body actionBody) (any, error) {
	key, err := t.caller.Key(rules.Policy)
	if err != nil {
		return nil, err
	}
	return t.action.serve(p, &actionCall{header: w.Header(), request: r, rules: rules, key: key, actionBody: body})
}

func actionError(err error) error {
	switch {
	case errors.Is(err, gate.ErrUnknownLease):
		return errUnknownLease
	case errors.Is(err, gate.ErrLeaseEnded):
		return errEndedLease
	}
	return err
}

// leaveAnswer is the answer to authorize.
type leaveAnswer struct {
	Decision  string            `json:"decision"`
	Lease     string            `json:"lease"`
	ExpiresAt string            `json:"expires_at"`
	Receipt   string            `json:"receipt"`
	Remaining []remainingAnswer `json:"remaining"`
	// Authorization is in canonical JSON, without a character that an encoder escapes.
	Authorization json.RawMessage `json:"authorization,omitempty"`
}

// remainingAnswer is one budget after the grant. Amounts are left out where the
// policy redacts them.
type remainingAnswer struct {
	Budget   string `json:"budget"`
	Limit    string `json:"limit_usd,omitempty"`
	Spent    string `json:"spent_usd,omitempty"`
	Held     string `json:"held_usd,omitempty"`
	Left     string `json:"left_usd,omitempty"`
	ResetsAt string `json:"resets_at,omitempty"`
}

// extendAnswer is the answer to extend.
type extendAnswer struct {
	Decision  string `json:"decision"`
	Lease     string `json:"lease"`
	Held      string `json:"held_usd"`
	ExpiresAt string `json:"expires_at"`
	Receipt   string `json:"receipt"`
}

// endAnswer is the answer to settle and release. A repeat has no receipt.
type endAnswer struct {
	Lease   string `json:"lease"`
	Outcome string `json:"outcome"`
	Charged string `json:"charged_usd"`
	Held    string `json:"held_usd"`
	Overrun string `json:"overrun_usd"`
	Receipt string `json:"receipt,omitempty"`
}

func (p *Proxy) authorize(c *actionCall) (any, error) {
	depth, err := admission.DepthOf(c.key.Tenant, c.request.Header, 0)
	if err != nil {
		return nil, err
	}
	leave, err := p.gate.Authorize(c.request.Context(), gate.Action{
		Rules: c.rules, Key: c.key, Run: c.run, ID: c.id, Kind: c.action, Amount: c.amount,
		Target: c.target, Tool: c.tool, Depth: depth, TTL: time.Duration(c.ttlSeconds) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	c.header.Set(admission.ReceiptHeader, leave.Receipt)
	admission.Warn(c.header, leave.Warnings)
	return leaveAnswer{
		Decision: admission.Allowed, Lease: leave.Lease, ExpiresAt: instant(leave.Expires), Receipt: leave.Receipt,
		Remaining:     remaining(leave.Remaining, c.key.Tenant.Redact),
		Authorization: leave.Authorization,
	}, nil
}

func remaining(list []policy.Remaining, redact bool) []remainingAnswer {
	answers := make([]remainingAnswer, len(list))
	for i, r := range list {
		a := remainingAnswer{Budget: r.Budget}
		if r.ResetsAt != 0 {
			a.ResetsAt = instant(r.ResetsAt)
		}
		if !redact {
			a.Limit, a.Spent = policy.Decimal(r.Limit), policy.Decimal(r.Spent)
			a.Held, a.Left = policy.Decimal(r.Held), policy.Decimal(r.Left)
		}
		answers[i] = a
	}
	return answers
}

func (p *Proxy) settle(c *actionCall) (any, error) {
	return c.ended(p.gate.Settle(c.request.Context(), c.leaseCall(), c.amount))
}

func (p *Proxy) release(c *actionCall) (any, error) {
	return c.ended(p.gate.Release(c.request.Context(), c.leaseCall()))
}

func (p *Proxy) extend(c *actionCall) (any, error) {
	leave, err := p.gate.Extend(c.request.Context(), c.leaseCall(), c.amount)
	if err != nil {
		return nil, err
	}
	c.header.Set(admission.ReceiptHeader, leave.Receipt)
	return extendAnswer{
		Decision: admission.Allowed, Lease: leave.Lease, Held: policy.Decimal(leave.Hold),
		ExpiresAt: instant(leave.Expires), Receipt: leave.Receipt,
	}, nil
}

func (c *actionCall) leaseCall() gate.LeaseCall {
	return gate.LeaseCall{Rules: c.rules, Key: c.key, Lease: c.lease}
}

func (c *actionCall) ended(e *gate.Ended, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if e.Receipt != "" {
		c.header.Set(admission.ReceiptHeader, e.Receipt)
	}
	return endAnswer{
		Lease: c.lease, Outcome: e.Outcome, Charged: policy.Decimal(e.Charge), Held: policy.Decimal(e.Hold),
		Overrun: policy.Decimal(e.Overrun), Receipt: e.Receipt,
	}, nil
}

// instant writes ledger milliseconds as RFC 3339.
func instant(at int64) string { return time.UnixMilli(at).UTC().Format(time.RFC3339) }
