// Package gate is one governed call: price it, decide, reserve its worst
// case, record the decision, let it run, settle what it cost, record that. It
// knows no HTTP.
//
//	grant, err := g.Begin(ctx, call)   // err is a *Refusal: do not run
//	defer grant.End(outcome)           // whatever happened, exactly once
//
// Between Begin and End the call's worst case is held in every budget that
// concerns it. A grant whose holder dies expires by itself and is charged its
// hold.
//
// A Replayer makes the same decisions and charges again, from receipts alone.
package gate

import (
	"context"
	"log/slog"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
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

// Log makes receipts durable. Append returns when the body is; unless its
// context ended first, an error means that the body is not in the log, or that
// nothing can be written before the log is opened again. Post does not wait, and
// calls told once with what Append would have returned.
type Log interface {
	Append(ctx context.Context, body audit.Body) (audit.Ref, error)
	Post(body audit.Body, told func(audit.Ref, error))
	Finder
}

// Config is what a gate is built from. Ledger, Log and Outbox are required.
type Config struct {
	Ledger    budget.Ledger
	Log       Log
	Outbox    *Outbox
	Authority *Authority // nil: there are no authorizations
	Telemetry Telemetry
	Logger    *slog.Logger
}

// Gate admits calls. It is safe for concurrent use.
type Gate struct {
	ledger    budget.Ledger
	log       Log
	outbox    *Outbox
	authority *Authority
	telemetry Telemetry
	logger    *slog.Logger
	line      *line
	rooms     rooms
	flights   flights

	complaints complaints
}

// New returns a gate.
func New(c Config) *Gate {
	g := &Gate{
		ledger:    c.Ledger,
		log:       c.Log,
		outbox:    c.Outbox,
		authority: c.Authority,
		telemetry: c.Telemetry,
		logger:    c.Logger,
		line:      newLine(),
	}
	if g.telemetry == nil {
		g.telemetry = NoTelemetry{}
	}
	if g.logger == nil {
		g.logger = slog.New(slog.DiscardHandler)
	}
	return g
}

// Active returns the tenants with calls since it was last asked.
func (g *Gate) Active() []string { return g.rooms.touched() }

// Rules are one policy with the price table that its overrides make.
type Rules struct {
	Policy *policy.Policy
	Prices *pricing.Table
}

// NewRules combines a policy with the built-in price table.
func NewRules(p *policy.Policy) (*Rules, error) { return RulesOn(pricing.Builtin(), p) }

// RulesOn combines a policy with another price table.
func RulesOn(table *pricing.Table, p *policy.Policy) (*Rules, error) {
	prices, err := table.With(overrides(p))
	if err != nil {
		return nil, err
	}
	return &Rules{Policy: p, Prices: prices}, nil
}

func overrides(p *policy.Policy) []pricing.Override {
	var list []pricing.Override
	for _, m := range p.Models {
		if m.Price == nil {
			continue
		}
		list = append(list, pricing.Override{
			Model:      m.Match,
			Input:      m.Price.Input,
			Cached:     m.Price.CachedInput,
			CacheWrite: m.Price.CacheWrite,
			Output:     m.Price.Output,
		})
	}
	return list
}

// Bid is a call with all that bounds its cost, as Begin takes it.
type Bid struct {
	Rules    *Rules
	Key      *policy.Key
	Upstream *policy.Upstream
	Facts    policy.Facts // Upstream, Cost and Now are filled in by the gate

	Input     Input
	OutputCap int64 // tokens of one choice, at most
	Choices   int64 // at least 1

	// ExtraOutput is output that is billed beside the cap, in tokens of all
	// choices together: rejected parts of a predicted output.
	ExtraOutput int64

	CacheWrite bool // cache writes may be billed
	Audio      bool // audio rates may apply
}

// bounded reports whether the bid's numbers are ones that can be priced.
func (b *Bid) bounded() bool {
	return b.Choices >= 1 && b.Input.Tokens >= 0 && b.ExtraOutput >= 0 &&
		b.OutputCap >= 0 && b.OutputCap <= pricing.MaxTokens/b.Choices
}

// Input bounds a call's input tokens.
type Input struct {
	Tokens int64  // at most
	How    string // "exact", "bytes" or "context"

	// Tighten, if set, finds a tighter bound at some cost. It is asked only
	// when Tokens may not fit.
	Tighten func() (tokens int64, how string)
}

// Refusal is a call that must not run.
type Refusal struct {
	*policy.Denial
	Receipt string // "" if even the receipt could not be written
}
