package gate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// MaxActionTTL bounds the life of an action's lease, which is never renewed.
const MaxActionTTL = budget.MaxLeaseLife

// leasePrefix begins the id of every lease of an action, and of no other. A hash
// of the action follows, and "-" and that of its run, if it has one: so an
// extension is one of that run, whoever asks for it.
const leasePrefix = "act-"

var (
	// ErrUnknownLease: the tenant has no such lease, or it ended too long ago.
	ErrUnknownLease = errors.New("unknown lease")
	// ErrLeaseEnded: the lease ended in another way, or at another amount.
	ErrLeaseEnded = errors.New("the lease has ended otherwise")

	errOtherRules = fmt.Errorf("%w: the key is not of the rules that it is to be judged by", ErrInvalid)
)

// Action is something other than an LLM call that leave is asked for.
type Action struct {
	Rules  *Rules
	Key    *policy.Key   // of the rules
	Run    string        // "" without
	ID     string        // as the caller names it; used once
	Kind   string        // of policy.ActionKinds, or one that the tenant's policy names
	Amount int64         // nano-USD, 0 to budget.MaxAmount
	Target string        // what it is done to; "" if that does not matter
	Tool   string        // "" without
	Depth  int64         // of the recursion that it comes from
	TTL    time.Duration // at most MaxActionTTL
}

// Leave is a granted action: the amount is held until its lease ends.
type Leave struct {
	Lease     string
	Receipt   string
	Expires   int64 // ledger milliseconds
	Hold      int64 // nano-USD; 0 where no budget concerns the action
	Warnings  []policy.Warning
	Remaining []policy.Remaining
	// Authorization is what whoever does the action can check, in canonical JSON;
	// nil where the gate has no Authority, and of an extension.
	Authorization []byte
}

// LeaseCall is who asks about which lease. The key is of the rules.
type LeaseCall struct {
	Rules *Rules
	Key   *policy.Key
	Lease string
}

// Ended is how an action's lease ended. Amounts are nano-USD.
type Ended struct {
	Receipt string // "" in the answer to a repeat
	Outcome string // "settle", "release" or "correct"
	Charge  int64
	Hold    int64
	Overrun int64 // charge above the hold
}

// Authorize holds an action's amount in every budget that concerns it. The error,
// if any, is a *call.Denial, or ErrInvalid where the key is not of the rules.
//
// While the lease is open the same action again gets the same lease, whatever its
// TTL; another one of that id is refused. Once the lease has ended, in whatever
// way, so is every action of that id, for policy.ActionIDLife.
//
// A grant whose answer is lost, or whose receipt is not written, is not given
// back: a repeat may have been told of it. It can be asked for again, released,
// or left to expire.
func (g *Gate) Authorize(ctx context.Context, a Action) (*Leave, error) {
	if !a.Rules.have(a.Key) {
		return nil, errOtherRules
	}
	if a.Kind == policy.Extension {
		return nil, fmt.Errorf("%w: %q is no kind of action: see Extend", ErrInvalid, a.Kind)
	}
	q := a.quote()
	granted, denial := g.admit(ctx, q)
	if denial != nil {
		return nil, g.refuse(ctx, q, granted, denial)
	}
	leave, err := g.recordLeave(ctx, q, granted)
	if err != nil {
		return nil, err
	}
	plan, seen := q.observed(granted)
	leave.Warnings, leave.Remaining = plan.Warnings(seen), plan.Remaining(seen)
	return leave, nil
}

func (a *Action) quote() *quote {
	q := newQuote(Bid{Rules: a.Rules, Key: a.Key, Facts: call.Facts{
		Run:      call.HashName(a.Run),
		Endpoint: call.ActionEndpoint + a.Kind,
		Needs:    []string{call.NeedActions},
		Tools:    a.tools(),
		Depth:    a.Depth,
		ActionID: a.hash(),
		Target:   call.HashName(a.Target),
		Tool:     call.HashName(a.Tool),
		Cost:     a.Amount,
	}})
	q.action = a
	return q
}

// tools are the tools that the action uses, for the rule that limits them.
func (a *Action) tools() []string {
	if a.Tool == "" {
		return nil
	}
	return []string{a.Tool}
}

// hash makes ids of different tenants different: the outbox names files by
// their lease.
func (a *Action) hash() call.Name { return call.HashName(a.Key.Tenant.Name + "/" + a.ID) }

func (q *quote) newLease() string {
	if q.action == nil {
		return rand.Text()
	}
	lease := leasePrefix + q.action.fingerprint()
	if q.Facts.Run != "" {
		lease += "-" + string(q.Run)
	}
	return lease
}

// fingerprint differs where the intent does: another one under the same id finds
// that the id is taken, not the first one's lease. What callers write freely is
// hashed, so that no text stands for another.
func (a *Action) fingerprint() string {
	return string(call.HashName(strings.Join([]string{
		a.Key.Tenant.Name, a.Key.ID, a.ID, a.Kind, strconv.FormatInt(a.Amount, 10), strconv.FormatInt(a.Depth, 10),
		string(call.HashName(a.Run)), string(call.HashName(a.Target)), string(call.HashName(a.Tool)),
	}, "\x00")))
}

func (q *quote) ttl() time.Duration {
	if q.action == nil {
		return LeaseTTL
	}
	return q.action.TTL
}

// worst is the most that the quote can cost, in nano-USD.
func (q *quote) worst() (int64, error) {
	switch {
	case q.free():
		return 0, nil
	case q.action == nil:
		return q.worstServed()
	}
	return q.action.Amount, nil
}

// repeats reports whether a grant is one that another request has had. A call's
// lease is its own: what looks repeated was sent twice on the way.
func (q *quote) repeats(granted budget.Grant) bool { return q.action != nil && granted.Repeated }

// observed are the claims that were granted and what was observed of them. Since
// a first grant the rules may have changed: what they do not have any more is
// left out of a repeat.
func (q *quote) observed(granted budget.Grant) (policy.Plan, []budget.Observed) {
	if !granted.Repeated {
		return q.plan, granted.Observed
	}
	plan := q.plan.Among(granted.Keys)
	var seen []budget.Observed
	for _, c := range plan.Claims {
		seen = append(seen, granted.Observed[slices.Index(granted.Keys, c.Key)])
	}
	return plan, seen
}

// recordLeave makes the decision to allow durable. Only the first answer's
// receipt is that of the ledger's event.
func (g *Gate) recordLeave(ctx context.Context, q *quote, granted budget.Grant) (*Leave, error) {
	if granted.Repeated {
		granted.Observed = nil // of claims that need not be those of the plan
	}
	decision := q.allowed(granted)
	decision.Existing = granted.Repeated
	ref, err := g.recordDecision(ctx, decision)
	tenant := q.Key.Tenant.Name
	if err != nil {
		g.complain("receipt of an action not written", "tenant", tenant, "lease", q.lease, "err", err)
		return nil, g.refuse(ctx, q, budget.Grant{}, &call.Denial{
			Reason:  policy.ReceiptsUnavailable,
			Message: "the receipt log cannot be written; repeat the request, or the hold is charged when its lease expires",
		})
	}
	if !granted.Repeated {
		g.ledger.Acknowledge(tenant, granted.Number)
	}
	g.telemetry.Decided(tenant, audit.Allow, "")
	return &Leave{
		Lease: q.lease, Receipt: ref.ID, Expires: granted.Expires, Hold: granted.Hold,
		Authorization: g.leaveAuthorization(ref.ID, *decision),
	}, nil
}

// leaveAuthorization is the authorization of an action. Leave without one is
// still leave: it can be made from the receipt.
func (g *Gate) leaveAuthorization(receipt string, d audit.Decision) []byte {
	if g.authority == nil || extends(d) {
		return nil
	}
	auth, err := g.authorization(receipt, d)
	if err != nil {
		g.complain("authorization of an action not signed", "tenant", d.Facts.Tenant, "lease", d.Lease, "err", err)
	}
	return auth
}

// Settle ends an action's lease at its real cost in nano-USD, or corrects the
// charge of one that has expired. A repeat gets the same answer. The error, if
// any, is a *call.Denial, ErrUnknownLease or ErrLeaseEnded.
func (g *Gate) Settle(ctx context.Context, c LeaseCall, amount int64) (*Ended, error) {
	return g.endAction(ctx, c, pending{Verb: verbSettle, Settlement: audit.Settlement{
		Tenant: c.Key.Tenant.Name, Lease: c.Lease, Basis: audit.BasisReported, Charge: amount,
	}})
}

// Release ends the lease of an action that did not happen. Its errors are those
// of Settle.
func (g *Gate) Release(ctx context.Context, c LeaseCall) (*Ended, error) {
	// The ledger would remember an unknown lease as released.
	_, err := g.lookUp(ctx, c)
	if err != nil && !errors.Is(err, budget.ErrEnded) {
		return nil, leaseError(err)
	}
	return g.endAction(ctx, c, pending{Verb: verbRelease, Settlement: audit.Settlement{
		Tenant: c.Key.Tenant.Name, Lease: c.Lease, Basis: audit.BasisUnbilled,
	}})
}

// endAction ends a lease and waits for the receipt. What fails is not retried
// here: the caller repeats it, and may say something else then.
func (g *Gate) endAction(ctx context.Context, c LeaseCall, p pending) (*Ended, error) {
	if !c.ofAction() {
		return nil, ErrUnknownLease
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	asked := p.Settlement.Charge
	ending, err := g.endLease(ctx, &p)
	if err != nil {
		return nil, leaseError(err)
	}
	if ending.Charge != asked {
		return nil, ErrLeaseEnded
	}
	p.Settlement.Hold = ending.Hold
	p.complete(ending)
	s := &p.Settlement
	ended := &Ended{Outcome: s.Outcome, Charge: s.Charge, Hold: s.Hold, Overrun: s.Overrun}
	if ending.Repeated {
		return ended, g.recorded(ctx, c.Lease)
	}
	g.telemetry.Charged(s.Tenant, "", s.Charge, call.Usage{})
	g.line.poke(s.Tenant)
	ended.Receipt, err = g.postAndWait(ctx, p)
	return ended, err
}

// postAndWait posts a settlement's receipt and returns its id once it is
// durable. Where that takes too long it is written all the same.
func (g *Gate) postAndWait(ctx context.Context, p pending) (string, error) {
	type told struct {
		id  string
		err error
	}
	answer := make(chan told, 1)
	g.postReceipt(p.Settlement, func(ref audit.Ref, err error) {
		g.posted(p, err)
		answer <- told{ref.ID, err}
	})
	select {
	case t := <-answer:
		if t.err == nil {
			return t.id, nil
		}
	case <-ctx.Done():
	}
	return "", notRecorded()
}

// recorded fails while the ending of a lease, which was asked for before, waits
// in the outbox for its receipt.
func (g *Gate) recorded(ctx context.Context, lease string) error {
	if g.outbox.has(lease) {
		g.deliver(ctx)
	}
	if g.outbox.has(lease) {
		return notRecorded()
	}
	return nil // its receipt is written by whoever ended it
}

func notRecorded() *call.Denial {
	return &call.Denial{
		Reason:  policy.ReceiptsUnavailable,
		Message: "the lease has ended, but the receipt log cannot be written yet; repeat the request",
	}
}

// ofAction reports whether the lease can be one of an action.
func (c *LeaseCall) ofAction() bool { return ofAction(c.Lease) }

func ofAction(lease string) bool {
	_, ok := runOfLease(lease)
	return ok
}

// runOfLease is the hashed run of an action's lease, "" if it has none; ok is
// false where no action has such a lease.
func runOfLease(lease string) (run call.Name, ok bool) {
	hashes, ok := strings.CutPrefix(lease, leasePrefix)
	action, named, has := strings.Cut(hashes, "-")
	return call.Name(named), ok && isHash(action) && (!has || isHash(named))
}

// isHash reports whether a text is what call.HashName gives.
func isHash(text string) bool {
	return len(text) == call.NameBytes && strings.Trim(text, "0123456789abcdef") == ""
}

func (c *LeaseCall) ref() budget.LeaseRef {
	return budget.LeaseRef{Tenant: c.Key.Tenant.Name, Lease: c.Lease}
}

// leaseError is what a ledger's error about a lease means to the caller.
func leaseError(err error) error {
	switch {
	case errors.Is(err, budget.ErrUnknownLease), errors.Is(err, ErrUnknownLease):
		return ErrUnknownLease
	case errors.Is(err, budget.ErrEnded):
		return ErrLeaseEnded
	}
	return ledgerDenial(err)
}
