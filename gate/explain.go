package gate

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Explanation is all that the policy says of a call.
type Explanation struct {
	policy.Explanation
	Facts    call.Facts   // as the rules saw them
	Switches []string     // that would stop it, were they thrown; the widest first
	Unpriced *call.Denial // why the cost has no bound; nil: Facts.Cost is it
}

// Explain applies every rule to a call as of an instant. It asks no ledger,
// holds nothing and writes no receipt.
func Explain(b Bid, now time.Time) Explanation {
	q := newQuote(b)
	unpriced := q.priceAt(now)
	q.Facts.OutputTokens = q.MostOutput()
	return Explanation{
		Explanation: policy.Explain(q.Key, &q.Facts, now),
		Facts:       q.Facts,
		Switches:    q.Key.Switches(nil, &q.Facts),
		Unpriced:    unpriced,
	}
}

// priceAt finds the tightest worst case of a call.
func (q *quote) priceAt(now time.Time) *call.Denial {
	if q.Upstream == nil {
		return q.unrouted()
	}
	if denial := q.open(now); denial != nil {
		return denial
	}
	q.refit()
	q.tighten()
	if err := q.cost(now); err != nil {
		return &call.Denial{Reason: policy.NoBound, Message: err.Error()}
	}
	return nil
}
