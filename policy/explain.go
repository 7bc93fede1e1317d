package policy

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// Explanation is all that a tenant's rules say of a request, where Decide
// stops at the first denial.
type Explanation struct {
	Verdicts []Verdict // of every stateless rule, in the order of decision
	Plan     Plan      // what the request would claim if no verdict denied it
}

// Verdict is what one stateless rule says.
type Verdict struct {
	Module string       // its field in the policy
	Denial *call.Denial // nil: allowed
}

// Explain applies every rule of a key's tenant to the facts, as of an instant.
func Explain(k *Key, f *call.Facts, now time.Time) Explanation {
	e := Explanation{Plan: plan(k, f, now)}
	for _, v := range verdicts {
		d := v.rule(k.Tenant, f)
		if d != nil {
			d.Redact = k.Tenant.Redact
		}
		e.Verdicts = append(e.Verdicts, Verdict{v.module, d})
	}
	return e
}

// AtMost is the most that claim i can need: of one with marks, all of them.
func (p Plan) AtMost(i int) int64 {
	return max(p.Claims[i].Amount, int64(len(p.Claims[i].Marks)))
}

// Preview returns for claim i the denial that these balances, read at an
// instant in ledger milliseconds, would bring; nil if it fits.
func (p Plan) Preview(i int, seen budget.Observed, at int64) *call.Denial {
	claim := p.Claims[i]
	claim.Limit = p.Limit(i)
	why := budget.Judge(p.Needs(i, seen), claim.Limit, seen)
	if why == budget.Fits {
		return nil
	}
	return p.deny(i, why, refusal{claim, seen, at})
}
