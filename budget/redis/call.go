package redis

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// keyPrefix starts every key; the braces are the cluster's hash tag.
const keyPrefix = "aegis:{"

func tenantKey(tenant string) string { return keyPrefix + tenant + "}:tenant" }

// absentKey never exists: see slot.go.
func absentKey(tenant string) string { return keyPrefix + tenant + "}:absent" }

func leaseKey(lease budget.LeaseRef) string {
	return keyPrefix + lease.Tenant + "}:lease:" + lease.Lease
}

// call is one verb on its way to the server.
type call struct {
	script *script
	tenant *tenant
	keys   []string
	args   []any // without the first, which tell what was seen
	acks   int   // how many acknowledgements may travel along
}

// refusals are the words by which a script says no, and what they mean.
var refusals = map[string]error{
	"lost":     budget.ErrLost,
	"stale":    budget.ErrStalePolicy,
	"window":   budget.ErrWindow,
	"deadline": budget.ErrDeadline,
	"unknown":  budget.ErrUnknownLease,
	"ended":    budget.ErrEnded,
	"exists":   budget.ErrExists,
	"full":     budget.ErrSwitches,
}

// answer is the start of a reply that every verb shares, and the rest of it.
type answer struct {
	word   string
	now    int64
	epoch  string
	number int64
	digest string
	fields
}

// bounded gives a context that ends no later than the configured timeout.
func (l *Ledger) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	latest := time.Now().Add(l.config.Timeout)
	if deadline, ok := ctx.Deadline(); ok && !deadline.After(latest) {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, latest)
}

// do runs a verb that answers with one string. With an answer, the error is that
// too few replicas have what it tells of.
func (l *Ledger) do(ctx context.Context, c *call) (*answer, error) {
	reply, sent, short := l.send(ctx, c)
	if short != nil && reply == nil {
		return nil, short
	}
	text, ok := reply.(string)
	if !ok {
		return nil, unavailable(c.script.verb, fmt.Errorf("%w: %T", errReply, reply))
	}
	a, err := l.understand(c, text, sent)
	if err != nil {
		return nil, err
	}
	return a, short
}

// send runs the script. Acknowledgements that travelled with a call that
// failed are queued again.
func (l *Ledger) send(ctx context.Context, c *call) (reply any, sent time.Time, err error) {
	seen := c.tenant.seen(c.acks)
	args := append(seen.appendTo(make([]any, 0, seenArgs+len(c.args)), l.own.now()), c.args...)
	sent = time.Now()
	reply, err = l.runOn(ctx, c, args)
	if err != nil {
		c.tenant.queueUp(seen.acknowledged...)
		if redis.HasErrorPrefix(err, "LOST") { // a script found that a key is gone
			err = fmt.Errorf("%w: redis: %s: tenant %q: %v; rebuild it from receipts", budget.ErrLost, c.script.verb, c.tenant.name, err)
		}
	}
	return reply, sent, err
}

// runOn runs the script once the ledger is begun, and again while the tenant's
// slot is in motion.
func (l *Ledger) runOn(ctx context.Context, c *call, args []any) (any, error) {
	if err := l.begin(ctx, c.keys[0]); err != nil {
		return nil, err
	}
	if _, cluster := l.client.(*redis.ClusterClient); cluster {
		ctx = context.WithValue(ctx, tripKey{}, new(trip))
	}
	for {
		reply, err := l.runOnce(ctx, c, args)
		if !l.again(ctx, err) {
			return reply, err
		}
	}
}

func (l *Ledger) runOnce(ctx context.Context, c *call, args []any) (any, error) {
	if c.script == reserveScript && l.config.WaitReplicas > 0 {
		return l.runAndWait(ctx, c, args)
	}
	return c.script.run(ctx, l.scripts, c.keys, args)
}

// understand reads the shared start of a reply and learns from it. A refusal
// becomes its error.
func (l *Ledger) understand(c *call, text string, sent time.Time) (*answer, error) {
	verb := c.script.verb
	if why, lost := strings.CutPrefix(text, "lost "); lost {
		return nil, fmt.Errorf("%w: redis: %s: tenant %q: %s; %s", budget.ErrLost, verb, c.tenant.name, why, c.tenant.cure())
	}
	a := &answer{fields: fields{rest: text}}
	a.word, a.now, a.epoch, a.number, a.digest = a.fields.word(), a.fields.int(), a.fields.word(), a.fields.int(), a.fields.word()
	if a.broken || len(a.digest) != digestChars {
		return nil, misunderstood(verb, text)
	}
	if a.word == "deadline" || a.word == "window" {
		// The estimate of the server's clock may be why.
		l.clock.forget()
		c.tenant.clock.forget()
	}
	received := time.Now()
	l.clock.observe(sent, received, a.now)
	c.tenant.clock.observe(sent, received, a.now)
	c.tenant.saw(a.epoch, a.number, a.digest)
	if a.word == "clock" {
		return nil, a.apart(verb)
	}
	if refusal, ok := refusals[a.word]; ok {
		return nil, fmt.Errorf("%w: redis: %s: tenant %q", refusal, verb, c.tenant.name)
	}
	return a, nil
}

func misunderstood(verb, text string) error {
	const shown = 80
	return unavailable(verb, fmt.Errorf("%w: %.*q", errReply, shown, text))
}

// finished checks that a reply was read to its end.
func (a *answer) finished(verb string) error {
	if a.broken || a.more() {
		return misunderstood(verb, a.word+" ... "+a.rest)
	}
	return nil
}

// deadline is when the context ends on the tenant's clock, in milliseconds.
func (l *Ledger) deadline(ctx context.Context, t *tenant) int64 {
	end, _ := ctx.Deadline()
	if t.clock.known() {
		return t.clock.earliest(end)
	}
	return l.clock.earliest(end)
}
