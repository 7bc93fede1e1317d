// Package gate puts a hard stop on what calls to LLM APIs cost: before a call is
// made, the most that it can cost is held in every budget of its tenant, and what
// does not fit is denied. What it really cost is charged afterwards. Each decision
// and each charge has a signed receipt.
//
//	g, err := gate.Open(ctx, gate.Config{
//		Policy: source, // who may spend what: policy.Watch, policy.Parse
//		Ledger: ledger, // the balances: embedded.Open, embedded.InMemory, redis.Open
//		Log:    log,    // the receipts: audit.Open
//	})
//	...
//	defer g.Close()
//	result, err := gate.Call(ctx, g, gate.Request{
//		Tenant: "acme",
//		Facts:  call.Facts{Model: "gpt-4o-mini", InputTokens: tokenizer.UpperBound(prompt) + 16, OutputCap: 500},
//	}, func(ctx context.Context, grant *gate.Grant) (string, gate.Outcome, error) {
//		text, usage, err := complete(ctx, prompt, grant.OutputCap)
//		return text, gate.Used(usage), err
//	})
//
// A denied call does not run; its error is a *call.Denial. A function that fails, or
// panics, or does not say what it used is charged what was held, because nobody
// knows what it cost: never less than the truth. The hold is a bound only if
// InputTokens is one and the provider obeys the cap that is sent.
//
// # One call
//
// Call is Begin and End around a function, and the proxy in this module uses
// these two as they are: price, decide, reserve, record, run, settle, record.
// The package knows no HTTP. Between Begin and End a lease holds the call's worst
// case. It is renewed while its holder lives; one whose holder died expires within
// LeaseTTL and is charged its hold.
//
// What is no LLM call, such as a payment, asks leave through Authorize, and says
// what it cost through Settle. All draw on the same budgets.
//
// # Afterwards
//
// A Replayer makes the same decisions and charges again, from receipts alone, and
// Rebuild restores a ledger's balances from them. An Exporter says them in the
// terms of the OxDeAI protocol.
package gate

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

const (
	// LeaseTTL is how long a hold outlives its holder.
	LeaseTTL = 30 * time.Second
	// renewEvery leaves most of a lease's life for more tries, renewRetry
	// apart, where the ledger does not answer one.
	renewEvery = LeaseTTL / 3
	renewRetry = LeaseTTL / 15
	// reserveLimit bounds one request's wait for the ledger's leave.
	reserveLimit = 2 * time.Second
	// recordLimit bounds one request's wait for a durable receipt.
	recordLimit = 2 * time.Second
	// endLimit bounds the settlement of a call that has run.
	endLimit = 3 * time.Second
)

// Policies gives the policy in force. A *policy.Policy gives itself, for ever; a
// *policy.Source the newest of a file that it watches. One of your own may hold
// the policy in an atomic pointer: each call asks for it.
type Policies interface {
	// Current returns the newest policy, always the same pointer for the same
	// one. A newer one has a higher generation.
	Current() *policy.Policy
}

// Tables gives the price table in force. A *pricing.Table gives itself, for ever; a
// *pricing.Source the newest of a file that it watches.
type Tables interface {
	// Current returns the newest table, always the same pointer for the same one.
	Current() *pricing.Table
}

// Ledger keeps the balances. An *embedded.Ledger keeps those of one process, in a
// directory or in memory; a *redis.Ledger those of many replicas.
type Ledger interface {
	budget.Ledger
	budget.Keeper
}

// Log is the sink of receipts. An *audit.Log writes them into a directory, or to
// an io.Writer such as os.Stdout. Bodies that it is given may be pointers, which it must
// not keep.
type Log interface {
	// Append returns when the body is durable; unless its context ended first,
	// an error means that the body is not in the log, or that nothing can be
	// written before the log is opened again.
	Append(ctx context.Context, body audit.Body) (audit.Ref, error)

	// Post does not wait, and calls told once with what Append would have
	// returned.
	Post(body audit.Body, told func(audit.Ref, error))

	// Heads are the newest events of each tenant that the log knows of, from
	// earlier processes too: a ledger that is behind them has lost state.
	Heads() map[string]audit.Head

	// Find tells which events have receipts in the log. It fails with
	// audit.ErrWriteOnly where that cannot be known.
	Find(ctx context.Context, events ...audit.EventID) (map[audit.EventID]audit.Ref, error)

	io.Closer
}

// Config is what a gate is built from. Policy, Ledger and Log are required.
type Config struct {
	Policy Policies
	Ledger Ledger
	Log    Log

	// Prices are those that the policy's own override; nil: the built-in table.
	Prices Tables

	// Outbox keeps endings that the ledger has not taken yet; nil: in memory,
	// where a crash loses them and charges their holds.
	Outbox *Outbox

	// Authority makes authorizations, for upstreams that check them; nil: none.
	Authority *Authority

	// AcceptMissing opens the gate although receipts are missing (Open), once
	// whoever runs it knows that they will not come back.
	AcceptMissing bool

	Telemetry Telemetry    // nil: NoTelemetry
	Logger    *slog.Logger // told of trouble; nil: nobody is
}

// Gate admits calls. It is safe for concurrent use.
type Gate struct {
	ledger    Ledger
	log       Log
	outbox    *Outbox
	authority *Authority
	telemetry Telemetry
	logger    *slog.Logger
	force     force
	line      *line
	rooms     rooms
	flights   flights
	visits    visits // calls that run
	posts     visits // receipts of events that are on their way
	denials   *tally
	lost      lostTenants
	doubts    doubts

	acceptMissing bool

	complaints complaints

	stop  context.CancelFunc // of tasks
	tasks sync.WaitGroup
}

// New returns a gate that nothing is run beside, for tests: Open is what a program
// wants. It takes no policy into force, so it is for Begin alone, with the Rules in
// each Bid.
func New(c Config) *Gate {
	g := &Gate{
		ledger:    c.Ledger,
		log:       c.Log,
		outbox:    c.Outbox,
		authority: c.Authority,
		telemetry: c.Telemetry,
		logger:    c.Logger,
		force:     force{policies: c.Policy, prices: c.Prices},
		line:      newLine(),
		stop:      func() {},

		acceptMissing: c.AcceptMissing,
	}
	if g.force.prices == nil {
		g.force.prices = pricing.Builtin()
	}
	g.denials = newTally(g.recordDenials)
	if g.telemetry == nil {
		g.telemetry = NoTelemetry{}
	}
	if g.logger == nil {
		g.logger = slog.New(slog.DiscardHandler)
	}
	if g.outbox == nil {
		g.outbox = newOutbox("", g.logger)
	}
	return g
}

// active returns the tenants with calls since it was last asked.
func (g *Gate) active() []string { return g.rooms.touched() }

// Bid is a call that leave is asked for, as Begin takes it. Of its facts the gate fills
// in who asks, and what follows from the others: OutputTokens and Cost.
type Bid struct {
	Rules    *Rules
	Key      *policy.Key
	Upstream *policy.Upstream
	call.Facts

	Fit      *Fit   // of an OutputCap that the client did not ask for; nil: it stays
	LeastFor string // the member of the body because of which it has a LeastCap

	// Tighten, if set, finds a tighter bound of the input at some cost. It is asked only
	// when InputTokens may not fit.
	Tighten func() (tokens int64, how string)
	// Long says that it takes longer than to ask the ledger.
	Long bool
}
