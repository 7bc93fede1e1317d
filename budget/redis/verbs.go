package redis

import (
	"context"

	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Reserve grants every claim or none. The deadline is the context's, or
// Config.Timeout from now if that is sooner.
func (l *Ledger) Reserve(ctx context.Context, r budget.Reservation) (budget.Grant, error) {
	if err := r.Validate(); err != nil {
		return budget.Grant{}, err
	}
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	t := l.tenant(r.Tenant)
	lease := budget.LeaseRef{Tenant: r.Tenant, Lease: r.Lease}
	args := make([]any, 0, 6+claimArgs*len(r.Claims))
	args = append(args, r.Lease, l.deadline(ctx, t), r.TTL.Milliseconds(), r.Policy.Generation, r.Policy.Hash,
		strings.Join(r.Switches, " "))
	c := l.onLease(reserveScript, lease, appendClaims(args, r.Claims)...)
	a, short := l.do(ctx, c)
	if a == nil {
		return budget.Grant{}, short
	}
	granted, err := a.granted(c, len(r.Claims))
	if err == nil && short != nil {
		return budget.Grant{}, &budget.Unreplicated{Grant: granted, Err: short}
	}
	return granted, err
}

// Extend raises the hold of every Adjust claim of an open lease to a total.
func (l *Ledger) Extend(ctx context.Context, x budget.Extension) (budget.Grant, error) {
	if err := x.Validate(); err != nil {
		return budget.Grant{}, err
	}
	args := []any{x.Total, x.Policy.Generation, x.Policy.Hash, strings.Join(x.Switches, " ")}
	for _, limit := range x.Limits {
		args = append(args, limit.Key, limit.Limit)
	}
	c, a, err := l.doOnLease(ctx, extendScript, x.Lease, args...)
	if err != nil {
		return budget.Grant{}, err
	}
	if a.word == "denied" {
		return budget.Grant{}, a.deniedMore(c)
	}
	return a.granted(c, anyCount)
}

// Renew moves an open lease's expiry and returns it, in ledger milliseconds.
func (l *Ledger) Renew(ctx context.Context, lease budget.LeaseRef, ttl time.Duration) (int64, error) {
	if err := budget.ValidTTL(ttl); err != nil {
		return 0, err
	}
	c, a, err := l.doOnLease(ctx, renewScript, lease, ttl.Milliseconds())
	if err != nil {
		return 0, err
	}
	if a.word != "renewed" {
		return 0, misunderstood(c.script.verb, a.word)
	}
	expires := a.int()
	return expires, a.finished(c.script.verb)
}

// Settle ends the lease with what was actually used, or corrects the charge of one
// that has expired.
func (l *Ledger) Settle(ctx context.Context, lease budget.LeaseRef, actual budget.Actual) (budget.Ending, error) {
	if err := actual.Validate(); err != nil {
		return budget.Ending{}, err
	}
	c, a, err := l.doOnLease(ctx, settleScript, lease, actual.Cost, actual.Input, actual.Output)
	if err != nil {
		return budget.Ending{}, err
	}
	return a.ending(c)
}

// Release ends a lease of which nothing was sent.
func (l *Ledger) Release(ctx context.Context, lease budget.LeaseRef) (budget.Ending, error) {
	c, a, err := l.doOnLease(ctx, releaseScript, lease)
	if err != nil {
		return budget.Ending{}, err
	}
	return a.ending(c)
}

func (l *Ledger) onTenant(s *script, tenant string, args ...any) *call {
	t := l.tenant(tenant)
	return &call{script: s, tenant: t, keys: t.keys, args: args, acks: maxPerCall}
}

func (l *Ledger) onLease(s *script, lease budget.LeaseRef, args ...any) *call {
	c := l.onTenant(s, lease.Tenant, args...)
	c.keys = []string{c.keys[0], leaseKey(lease), c.keys[1]}
	return c
}

func (l *Ledger) doOnLease(ctx context.Context, s *script, lease budget.LeaseRef, args ...any) (*call, *answer, error) {
	if err := lease.Validate(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	c := l.onLease(s, lease, append([]any{lease.Lease}, args...)...)
	a, err := l.do(ctx, c)
	return c, a, err
}

// anyCount stands for as many counters as the reply has.
const anyCount = -1

// granted reads "granted" or "denied" with count counters, or "killed".
func (a *answer) granted(c *call, count int) (budget.Grant, error) {
	switch a.word {
	case "granted":
		return a.grant(c, count)
	case "denied":
		return budget.Grant{}, a.denied(c, count)
	case "killed":
		return budget.Grant{}, a.killed(c)
	}
	return budget.Grant{}, misunderstood(c.script.verb, a.word)
}

func (a *answer) grant(c *call, count int) (budget.Grant, error) {
	g := budget.Grant{Lease: c.args[0].(string), Epoch: a.epoch}
	g.Number, g.At, g.Expires, g.Hold = a.int(), a.int(), a.int(), a.int()
	g.Repeated = a.int() == 1
	for a.more() && !a.atKey() {
		g.Observed = append(g.Observed, a.observed())
	}
	for a.more() {
		g.Keys = append(g.Keys, a.key())
	}
	if count != anyCount && !tells(&g, count) {
		a.broken = true
	}
	if err := a.finished(c.script.verb); err != nil {
		return budget.Grant{}, err
	}
	return g, nil
}

// tells reports whether the answer to a reserve tells of as many claims as it
// must: those that were asked for, or where the lease was there, its own.
func tells(g *budget.Grant, asked int) bool {
	if g.Repeated {
		return len(g.Keys) == len(g.Observed)
	}
	return len(g.Observed) == asked && len(g.Keys) == 0
}

func (a *answer) denied(c *call, count int) error {
	d := &budget.Denied{Epoch: a.epoch, Number: a.number, At: a.now}
	for a.more() {
		d.Observed = append(d.Observed, a.observed())
		reason, known := reasons[a.fields.word()]
		d.Reasons = append(d.Reasons, reason)
		a.broken = a.broken || !known
	}
	if len(d.Observed) != count {
		a.broken = true
	}
	if err := a.finished(c.script.verb); err != nil {
		return err
	}
	return d
}

// deniedMore reads the denial of an extension.
func (a *answer) deniedMore(c *call) error {
	d := &budget.Denied{Epoch: a.epoch, Number: a.number, At: a.now, Hold: a.int()}
	for a.more() {
		d.Keys = append(d.Keys, a.fields.word())
		d.Observed = append(d.Observed, a.observed())
		reason, known := reasons[a.fields.word()]
		d.Reasons = append(d.Reasons, reason)
		a.broken = a.broken || !known
	}
	if err := a.finished(c.script.verb); err != nil {
		return err
	}
	return d
}

// ending reads how a lease ended.
func (a *answer) ending(c *call) (budget.Ending, error) {
	if a.word != "closed" {
		return budget.Ending{}, misunderstood(c.script.verb, a.word)
	}
	e := budget.Ending{Epoch: a.epoch, Kind: budget.EventKind(a.fields.word())}
	e.Number, e.At, e.Charge, e.Hold = a.int(), a.int(), a.int(), a.int()
	e.Repeated = a.int() == 1
	if err := a.finished(c.script.verb); err != nil {
		return budget.Ending{}, err
	}
	return e, nil
}
