// Package policy says who may spend what. It reads the operator's file into an
// immutable Policy, finds the tenant of an API key, and decides: Decide turns
// the facts of a request and a tenant's rules into a denial, or into the
// claims that the ledger must grant.
//
// A rule is one file. A stateless rule returns a verdict; a stateful one adds
// a claim. A decision reads facts, policy and what the ledger observed, and
// nothing else: no clock, no random number, no float.
package policy

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// Policy is one loaded version of the operator's file. It never changes; a
// reload makes another one.
type Policy struct {
	Version   budget.PolicyVersion
	Receipts  Receipts
	CORS      *CORS // nil: web pages are not looked at
	Upstreams map[string]*Upstream
	Models    []*Model // in file order; the first match rules
	Tenants   []*Tenant

	free    *Policy // as it routes what is free somewhere; nil: as all else
	byModel modelIndex
	aliases map[string]alias // by their names, folded
	byName  map[string]*Tenant
	byKey   map[[32]byte]*Key // SHA-256 of the secret
}

// Receipts says how much durability a receipt needs before a request leaves.
type Receipts struct {
	Sync bool // fsync each batch; false leaves it to the operating system
}

// Upstream is an API of a provider, and what it is known to obey.
type Upstream struct {
	Name       string
	BaseURL    string // as in https://api.openai.com/v1; a Speech may have its own
	Provider   string // the price table's name for it
	KeyHeader  string // the header that holds its key by itself, canonical; "": a bearer token
	ClientPays bool   // it takes the client's own credential, and none of ours
	Authorized bool   // it gets each request's authorization in a header
	Speaks     []Speech

	// UnbilledStatuses and BilledStatuses are what the operator knows of its answers
	// without output beyond what the dialect says: HTTP statuses, 200 to 599.
	UnbilledStatuses, BilledStatuses []int64

	ConnectLimit time.Duration
	Keepalive    time.Duration // how long a connection that is idle is kept
	HeaderLimit  time.Duration // until the response's header
	IdleLimit    time.Duration // between two reads of the body

	secret func() (string, error)
}

// Secret returns the upstream's API key, read anew from its environment
// variable or file; "" if it needs none.
func (u *Upstream) Secret() (string, error) {
	if u.secret == nil {
		return "", nil
	}
	return u.secret()
}

// Model is what the operator says of the models that a pattern matches.
type Model struct {
	Match            string
	Upstreams        []*Upstream // primary first
	Weights          []int64     // the share of each, as far as it is called first; nil: the first is
	DefaultOutputCap int64       // tokens; 0: none
	MaxOutputTokens  int64       // tokens; 0: by the built-in table
	ContextTokens    int64       // tokens; 0: by the built-in table
	MaxImageTokens   int64       // tokens of one image; 0: by the built-in rules
	MaxDocTokens     int64       // tokens of one document of pages; 0: all that the context holds

	Price *pricing.Override // nil: by the price table
}

// Mode says what a rule does when it is broken.
type Mode string

const (
	Enforce Mode = "enforce" // deny
	Observe Mode = "observe" // count and receipt, never deny
)

// Disconnect says what becomes of a request whose client has hung up.
type Disconnect string

const (
	Drain  Disconnect = "drain"  // read on to the usage, up to DrainLimit
	Cancel Disconnect = "cancel" // close the upstream connection
)

// UnknownResponse says what becomes of a request that names an earlier response, or a part
// of one, of which the process knows nothing.
type UnknownResponse string

const (
	HoldContext UnknownResponse = "hold" // it is held at the model's context
	DenyUnknown UnknownResponse = "deny"
)

// Tenant is a customer, a team or a service with budgets of its own.
type Tenant struct {
	Name           string
	Project        string
	Environment    string
	Mode           Mode
	Keys           []*Key
	Capabilities   []string // of call.Needs; nil: all
	ActionKinds    []string // beside those of ActionKinds
	AllowModels    []string // patterns; nil: all
	DenyModels     []string // patterns
	AllowEndpoints []string // patterns; nil: all
	DenyEndpoints  []string // patterns
	AllowTools     []string // patterns of the names of tools offered; nil: all
	DenyTools      []string // patterns
	HostedTools    call.HostedTools
	Upstreams      []string      // names of upstreams in order of preference; nil: the model's
	PerRequest     int64         // nano-USD; 0: no cap
	MinOutput      int64         // tokens; a cap clamped below denies instead
	Clamp          bool          // lower the output cap to what fits, instead of denying: see Clamps
	Downgrade      string        // the model that is asked for where a budget is exhausted; "": none
	WaitLimit      time.Duration // how long a held request stands in line; 0: denied at once
	Disconnect     Disconnect
	DrainLimit     time.Duration
	OnKill         OnKill
	WhenUnknown    UnknownResponse
	Redact         bool // keep amounts out of denials
	RunLifetime    time.Duration
	MaxRuns        int64     // live run names
	MaxUsers       int64     // live end-user names
	DenialReceipts int64     // a second on each replica; denials beyond are counted
	RunsFrom       []string  // what names a run that nothing names outright, the first that does: headers, canonical, RunsOfAgents, or fields behind RunsOfBodies
	UserField      string    // request field that names the end user; "" for none
	UserHeader     string    // header that names the end user, canonical, before UserField; "" for none
	RunRequired    bool      // a request without a run is denied
	UserRequired   bool      // the same of an end user
	Replay         *Replay   // nil: nonces are not looked at
	MaxDepth       int64     // -1: no limit
	Concurrency    []*Budget // of slots
	ToolCalls      []*Budget // of tool calls
	Budgets        []*Budget // of nano-USD
	Rates          []*Budget // of requests

	counters   []*counter
	namesRuns  bool // a counter has the run in its key
	namesUsers bool
}

// Key is one API key of a tenant. The key itself is not kept.
type Key struct {
	ID      string
	Hash    [32]byte // SHA-256 of the secret
	Trusted bool     // may name end users
	Tenant  *Tenant

	switches []string // ownSwitches; nil in a key that no policy was read for
}

// Limit kinds of a budget.
type LimitKind string

const (
	Hard LimitKind = "hard" // denies
	Soft LimitKind = "soft" // warns
)

// Budget limits what is used in one scope over one window: money, requests, tool
// calls, or slots of requests in flight.
type Budget struct {
	Name   string
	Scope  []string // of "key", "run", "user", "model"; empty: the whole tenant
	Models string   // pattern, with scope "model"
	Tool   string   // pattern of tools, where only their calls count
	// Endpoint is a pattern of endpoints, where only requests to them count.
	Endpoint string
	Window   Period
	Kind     LimitKind
	Limit    int64   // nano-USD; of any other a plain count
	WarnAt   []int64 // percents of the limit of money at which responses warn, ascending

	unit *unit
}

// Unit is what the limit counts: "usd", "requests", "tool_calls" or "slots".
func (b *Budget) Unit() string { return b.unit.name }

// Amount writes an amount of the limit: as USD, or as a plain count.
func (b *Budget) Amount(n int64) string { return b.unit.write(n) }

// Current returns the policy itself: one that is never reloaded is its own
// source.
func (p *Policy) Current() *Policy { return p }

// Tenant returns the tenant of that name, or nil.
func (p *Policy) Tenant(name string) *Tenant { return p.byName[name] }
