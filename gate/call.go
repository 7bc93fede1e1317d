package gate

import (
	"context"
	"errors"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Result is what a governed call came to.
type Result[T any] struct {
	Value   T      // what the function returned
	Receipt string // of the decision; "" if not even that could be written
	Charge  int64  // nano-USD
	Basis   string // of the charge: one of package audit's

	Warnings  []policy.Warning
	Remaining []policy.Remaining // see Grant.Remaining
}

// Call asks leave for a call and runs a function under it, streaming or not.
// A denied one does not run: the error is a *call.Denial then, which says why, by
// which budget, when that resets, and what would have fit. Any other error is the
// function's own, ErrInvalid, ErrUnknownTenant, ErrUnknownKey, ErrClosed, or why ctx
// had ended before. The Result's Receipt, Charge and Remaining are there beside an
// error too.
//
// The function sends the grant's OutputCap, and returns beside its value what
// the call used:
//
//   - Used, with the usage that the provider reported: that is charged.
//   - NotSent, if nothing was sent; Unbilled, for an error that is not billed.
//     Both cost nothing.
//   - Seen, if the stream was cut: what was seen of it, where the policy
//     declares that the upstream stops billing then.
//   - The zero Outcome, if it does not know. That, a panic, and usage without a
//     single token charge all that was held: the cost is unknown then.
//
// The function may take as long as it likes, since its hold is renewed for up to
// six hours. Its context ends with ctx, or with a kill switch where the policy
// cuts calls in flight; context.Cause says which. However it ends, the call is
// settled once, whether or not ctx has ended.
func Call[T any](ctx context.Context, g *Gate, b Bidder, run func(context.Context, *Grant) (T, Outcome, error)) (Result[T], error) {
	if !g.visits.enter() {
		return Result[T]{}, ErrClosed
	}
	defer g.visits.leave()
	if ctx.Err() != nil {
		return Result[T]{}, context.Cause(ctx)
	}
	grant, err := g.ask(ctx, b)
	if refusal, ok := errors.AsType[*call.Denial](err); ok {
		return Result[T]{Receipt: refusal.Receipt}, err
	}
	if err != nil {
		return Result[T]{}, err
	}
	value, err := under(ctx, grant, run)
	return Result[T]{
		Value: value, Receipt: grant.Receipt, Charge: grant.charged, Basis: grant.basis,
		Warnings: grant.Warnings, Remaining: grant.Remaining(),
	}, err
}

// under runs a function and ends its grant, also if it panics.
func under[T any](ctx context.Context, grant *Grant, run func(context.Context, *Grant) (T, Outcome, error)) (value T, err error) {
	var outcome Outcome
	defer func() { grant.End(outcome.checked(grant.Upstream())) }()
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	grant.OnKill(func(name string) { cut(policy.KilledBy(name)) })
	value, outcome, err = run(ctx, grant)
	return value, err
}

// Used is the outcome of a call whose usage the provider has reported, in units that
// do not overlap: of OpenAI's usage, whose cached_tokens are part of prompt_tokens,
// Input is the difference and CachedInput the cached ones; of Anthropic's Input is
// input_tokens, and CachedInput and CacheWrite lie beside it.
//
// Set the line's Model too where the response names another than was asked for: that
// one's price is charged then, if it is the dearer, and the policy tells none of the
// model that was asked for.
func Used(u call.Usage) Outcome {
	return Outcome{Sent: true, Basis: audit.BasisReported, Lines: []call.Line{{Usage: u}}}
}

// Seen is the outcome of a stream that was cut: its whole input, and what was
// seen of its output.
func Seen(u call.Usage) Outcome {
	return Outcome{Sent: true, Basis: audit.BasisFloor, Lines: []call.Line{{Usage: u}}}
}

// Unbilled is the outcome of a call that was answered with an error which the
// provider does not bill, such as 429. The upstream's policy says which statuses
// those can be (policy.Upstream.Unbilled); of any other the cost is unknown.
func Unbilled(status int) Outcome {
	return Outcome{Sent: true, Basis: audit.BasisUnbilled, Status: status}
}

// NotSent is the outcome of a call of which no byte was sent.
func NotSent() Outcome { return Outcome{Basis: audit.BasisUnbilled} }

// checked is an outcome that charges nothing by oversight.
func (o Outcome) checked(u *policy.Upstream) Outcome {
	if !o.Sent && o.Basis == audit.BasisUnbilled {
		return o
	}
	o.Sent = true
	unsaid := o.Basis == audit.BasisReported && !reports(o.Lines)
	if unsaid || o.Basis == audit.BasisFloor && !u.CancelStops() {
		o.Basis = audit.BasisUnknown
	}
	return o
}
