package admission

import (
	"errors"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Instead makes the bid of another model, where a budget is exhausted for the one that was asked for and the
// policy names one: the request asks for that from then on. ok is false where it does not.
func Instead(known gate.Bid, r providers.Request, err error) (bid gate.Bid, ok bool) {
	d, denied := errors.AsType[*call.Denial](err)
	if !denied || d.Reason != policy.BudgetExhausted {
		return known, false
	}
	model, ok := known.Key.Tenant.Instead(&known.Facts)
	if !ok {
		return known, false
	}
	r.Rename(model)
	known.Facts.InsteadOf, known.Facts.Model = known.Facts.Model, model
	return known, true
}
