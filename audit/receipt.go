package audit

import "github.com/aegis-proxy/aegis-proxy/call"

// A Body is what one line says, apart from its place in the chain. Receipts
// are Decision, Settlement and Event; Seal, Start and Rotate keep the chain.
// Parsed bodies are values, not pointers.
type Body interface {
	kind() string
	encode(dst []byte) ([]byte, error)
}

// Verdicts of a decision.
const (
	Allow = "allow"
	Deny  = "deny"
)

// Claim is one claim of a decision with what the ledger observed before it.
// Amounts are nano-USD for money, plain counts otherwise.
type Claim struct {
	Rule     string // the limit's name in the policy
	Key      string
	Amount   int64
	Limit    int64
	AtEnd    string
	Window   string // "fixed", "rolling", "idle", "forever"
	LengthMS int64  // rolling, idle
	Start    int64  // fixed: the span's bounds, ledger milliseconds
	End      int64
	Group    string
	GroupMax int64
	Spent    int64
	Held     int64
	Marks    string // of which Amount were new, joined by spaces
	Reason   string // "", "exhausted", "held" or "crowded"
}

// Limit is what a claim's key could reach when its lease was extended.
type Limit struct {
	Key   string
	Limit int64 // nano-USD
}

// Decision is written before a request leaves, or when it is denied.
type Decision struct {
	At         int64 // ledger milliseconds
	Verdict    string
	Reasons    []string // why denied; under observe, why it would have been
	Facts      call.Facts
	Claims     []Claim
	Lease      string // allowed only
	Expires    int64  // allowed only, ledger milliseconds
	Epoch      string
	Event      int64 // the tenant's event number; of a denial, the last observed
	Existing   bool  // about a lease that was there: Event and Claims are not its own
	Policy     string
	Generation int64
	Prices     string
	PricedAt   int64 // when the price was looked up, ledger milliseconds; 0: it was not
	Denials    Denials
}

// Bases of a charge: where its figure comes from.
const (
	BasisReported = "reported" // the upstream's usage, priced
	BasisUnbilled = "unbilled" // not sent, or an error response that is not billed
	BasisUnknown  = "unknown"  // cost unknown: the hold is charged
	BasisFloor    = "floor"    // what was seen, where the upstream stops billing on cancel
)

// Settlement is written when a lease ends by this replica's hand.
type Settlement struct {
	At       int64
	Tenant   string
	Lease    string
	Decision string // the decision receipt's id
	Outcome  string // "settle", "release" or "correct"
	Status   int    // the upstream's HTTP status; 0 if there was no response
	Basis    string
	Lines    []call.Line // what the response reported, the answer's own run of a model first
	Hold     int64       // nano-USD
	Charge   int64       // nano-USD
	Overrun  int64       // nano-USD above the hold
	Epoch    string
	Event    int64
	Prices   string
}

// Event is written for what happened in the ledger without a request: a
// tenant provisioned, a newer policy seen, a lease expired, a kill switch
// thrown or lifted, and whatever another replica was to receipt and did not
// (Recovered).
type Event struct {
	At         int64
	Tenant     string
	Event      int64
	Epoch      string
	Name       string // the ledger's event kind, as in "expire"
	Lease      string
	Amount     int64
	Expires    int64
	Claims     []Claim
	Key        string  // extend: the id of the key that asked; "" where Recovered
	Limits     []Limit // extend: those that it was judged by
	Generation int64
	Policy     string
	Recovered  bool
	Switch     string // kill, lift
}
