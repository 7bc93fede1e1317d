package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// Replay is the rule that a request is sent once. The rule: a request that
// names a nonce spends it, and another one with the same nonce is denied until
// the nonce was left alone for Window. SDKs send a failed request again with
// the same nonce and count their attempts: each attempt from 0 to Retries is
// spent by itself. A request that is denied, or of which no byte was sent, does
// not spend its nonce, and one that goes on to a fallback spends it once.
//
// Under Observe MaxNonces is not looked at: what the ledger remembers is bounded
// by maxNames, and one nonce more is denied in either mode.
type Replay struct {
	Window    time.Duration
	Retries   int64 // attempts after the first
	MaxNonces int64 // live ones, attempts counted each
	Required  bool  // a request without a nonce is denied

	counter counter
}

// Bounds and defaults of the rule.
const (
	// MaxNonceBytes bounds a nonce.
	MaxNonceBytes = 256
	// BadAttempt stands for an attempt that is not a number that can be
	// counted: it is beyond every policy's retries.
	BadAttempt = budget.MaxAmount

	maxRetries       = 100
	defaultWindow    = 24 * time.Hour
	defaultRetries   = 2
	defaultMaxNonces = 100_000
)

// nonces is the unit of the rule.
var nonces = &unit{
	name:     "nonce",
	noun:     "rule",
	atEnd:    budget.Keep,
	once:     true,
	amount:   one,
	write:    plain,
	reason:   func(budget.Reason) call.Reason { return ReplayedRequest },
	final:    func(budget.Reason) bool { return true },
	describe: describeReplay,
}

func describeReplay(d *refused, w budget.Window) string {
	return fmt.Sprintf("%s has seen this nonce: each can be spent once until it was unused for %s; send a new one with a new request",
		d.subject(), short(w.Length))
}

// checkNonce denies what no ledger need be asked for: no nonce where one is
// required, and an attempt that the policy does not allow. A list of models may be asked for
// again as often as rates let it: it has none.
func checkNonce(t *Tenant, f *call.Facts) *call.Denial {
	r := t.Replay
	switch {
	case r == nil || f.Action() != "" || call.Listed(f.Endpoint) || f.Nonce != "" && f.Attempt <= r.Retries:
		return nil
	case f.Nonce != "":
		return &call.Denial{
			Reason:  ReplayedRequest,
			Budget:  ruleReplay,
			Limit:   r.Retries + 1,
			Spent:   r.Retries + 1,
			Needed:  1,
			Message: fmt.Sprintf("rule %q allows a nonce %d retries, and this is not one of them; send a new nonce with a new request", ruleReplay, r.Retries),
			Format:  nonces.write,
		}
	case r.Required:
		return &call.Denial{
			Reason:  NonceRequired,
			Message: fmt.Sprintf("rule %q wants a nonce with every request: send one of your own as Idempotency-Key or X-Aegis-Nonce", ruleReplay),
		}
	}
	return nil
}

const ruleReplay = "replay"

// claim spends a request's nonce. There is none to spend where the request has
// no nonce, or an earlier attempt of it has spent it.
func (r *Replay) claim(claim *budget.Claim, who *caller, f *call.Facts) bool {
	if f.Nonce == "" || f.Counted {
		return false
	}
	*claim = budget.Claim{
		Key:      who.nonce(f),
		Amount:   1,
		Limit:    1,
		AtEnd:    nonces.atEnd,
		Window:   budget.Window{Kind: budget.Idle, Length: r.Window},
		Group:    nonces.name,
		GroupMax: r.MaxNonces,
	}
	if who.key.Tenant.Mode == Observe {
		claim.Limit, claim.GroupMax = budget.NoLimit, maxNames // as runs and end users
	}
	return true
}

// nonceBytes is room for the key of a nonce.
const nonceBytes = len("nonce/") + call.NameBytes + len("/-9223372036854775808")

// nonce is the key of the request's nonce and attempt.
func (c *caller) nonce(f *call.Facts) string {
	from := c.keys.Len()
	c.keys.WriteString(nonces.name)
	c.keys.WriteByte('/')
	c.keys.WriteString(string(f.Nonce))
	c.keys.WriteByte('/')
	var digits [20]byte
	c.keys.Write(strconv.AppendInt(digits[:0], f.Attempt, 10))
	return c.keys.String()[from:]
}

// NonceOf is the hashed nonce and the attempt that a claim's key says are spent
// once.
func NonceOf(key string) (hash string, attempt int64, ok bool) {
	rest, ok := strings.CutPrefix(key, nonces.name+"/")
	hash, number, cut := strings.Cut(rest, "/")
	attempt, err := strconv.ParseInt(number, 10, 64)
	return hash, attempt, ok && cut && err == nil
}

// replay returns the rule, with what stood before where a field is not given.
func (l *loader) replay(s *section[replayDoc], before *Replay) *Replay {
	if !s.given() {
		return before
	}
	if before == nil {
		before = &Replay{Window: defaultWindow, Retries: defaultRetries, MaxNonces: defaultMaxNonces}
	}
	d := s.read(&l.reader)
	r := &Replay{
		Window:    l.duration(&d.Window, before.Window, minLength, maxLength),
		Retries:   l.count(&d.Retries, before.Retries, 0, maxRetries),
		MaxNonces: l.count(&d.MaxNonces, before.MaxNonces, 1, maxNames),
		Required:  l.flag(&d.Required, before.Required),
	}
	r.counter.unit, r.counter.rule, r.counter.limit = nonces, ruleReplay, 1
	return r
}
