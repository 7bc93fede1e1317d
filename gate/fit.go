package gate

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// Fit is how an output cap that the client did not ask for fits the model's context
// beside the input, so that the upstream does not refuse what it would have served
// without a cap.
type Fit struct {
	Cap     int64 // of one choice, in tokens: what to send where it fits
	Context int64 // tokens that a prompt and one choice have together; the upstream refuses more
	// Preset says that Cap is sent too where the input is not counted exactly and only
	// its bound leaves no room: the policy sets it, and the upstream may have no other end.
	// One of the whole context never fits, and is lowered to what the bound leaves.
	Preset bool
}

// InputExact is how an input was found that was counted by the provider's tokenizer.
const InputExact = "exact"

// refit sets the output cap by the input's bound at hand: what fits beside an exact
// input; else what is preset; else none, and the hold covers the whole context,
// since nobody else need keep to the model's own maximum.
func (q *quote) refit() {
	f := q.Fit
	if f == nil {
		return
	}
	left := f.Context - q.InputTokens
	q.OutputCap, q.Uncapped = f.Cap, false
	switch {
	case f.Cap <= left:
	case q.InputBound == InputExact && left > 0:
		q.OutputCap = left
	case f.Preset:
		if never := f.Cap >= f.Context; never && left > 0 {
			q.OutputCap = left
		}
	default:
		q.OutputCap, q.Uncapped = f.Context, true
	}
}

// overfull reports whether the cap does not fit beside the input's bound, and may
// fit beside a tighter one.
func (q *quote) overfull() bool {
	return q.Fit != nil && q.InputBound != InputExact && q.Fit.Cap > q.Fit.Context-q.InputTokens
}

// count counts the input where a looser bound would hold too much for a tenant that
// is not far from its limits, or leaves no room for the cap. What denies the call
// whatever its cost comes first, since counting can take longer than all else: a
// stateless rule is final, and what the ledger would refuse is asked of it with the
// bound at hand.
func (g *Gate) count(ctx context.Context, q *quote, now time.Time) *call.Denial {
	if q.Tighten == nil || g.rooms.ample(q) && !q.overfull() {
		return nil
	}
	if denial, err := q.decide(now); err == nil && denial != nil && !(&misfit{Denial: denial}).mayFit() {
		return denial
	}
	if !q.Long || !g.refusesAnyCost(ctx, q) {
		q.tighten()
	}
	return nil
}

// refusesAnyCost reports whether the ledger would refuse the call as planned for
// something else than money, or does not answer: no use counting then. It is a look
// at balances, no verdict.
func (g *Gate) refusesAnyCost(ctx context.Context, q *quote) bool {
	ctx, cancel := context.WithTimeout(ctx, reserveLimit)
	defer cancel()
	seen, err := g.ledger.Balances(ctx, q.Key.Tenant.Name, q.plan.Claims)
	if err != nil {
		return !errors.Is(err, budget.ErrWindow) // a window that has turned meanwhile refuses nothing
	}
	thrown := func(s budget.Switch) bool { return slices.Contains(q.switches, s.Name) }
	return slices.ContainsFunc(seen.Switches, thrown) || q.plan.RefusesAnyCost(seen.Observed)
}
