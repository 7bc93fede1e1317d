package gate

import (
	"context"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// tallyFor is how long denials of one kind are counted before their receipt is
// written.
const tallyFor = time.Second

// tally counts the denials of each tenant beyond its rate, so that a tenant that is
// denied thousands of times a second does not fill the disk of all. It goes by this
// process's clock, which decides here only which receipt tells of a denial, and when.
//
// Its size is bounded by the tenants, the reasons and the policies of one second: no
// text of a client's is part of a kind.
type tally struct {
	write func(audit.Decision)

	mu    sync.Mutex
	since time.Time                      // when the second began
	told  map[string]int64               // denials with a receipt of their own, by tenant
	open  map[denialKind]*audit.Decision // the first of each kind that is counted

	writing sync.Mutex // held by whoever writes counts
	due     *time.Timer
}

// denialKind is what denials that are counted together have in common.
type denialKind struct {
	tenant string
	reason call.Reason
	policy budget.PolicyVersion
}

func newTally(write func(audit.Decision)) *tally {
	return &tally{write: write, told: map[string]int64{}, open: map[denialKind]*audit.Decision{}}
}

// exceeds reports whether the tenant has had as many denials this second as get a
// receipt of their own, and counts this one if it has not.
func (t *tally) exceeds(tenant *policy.Tenant, now time.Time) bool {
	if len(t.open) == 0 && now.Sub(t.since) >= tallyFor {
		t.since = now
		clear(t.told)
	}
	if t.told[tenant.Name] >= tenant.DenialReceipts {
		return true
	}
	t.told[tenant.Name]++
	return false
}

// count adds a denial to those of its kind if the tenant is beyond its rate, and
// returns the id of the receipt that will tell of them; "" if it is to have its own.
// The decision is made for the first of a kind alone.
func (t *tally) count(q *quote, seen budget.Grant, reason call.Reason) (id string) {
	kind := denialKind{q.Key.Tenant.Name, reason, q.Rules.Policy.Version}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.exceeds(q.Key.Tenant, time.Now()) {
		return ""
	}
	first := t.open[kind]
	if first == nil {
		own, err := q.denied(seen, reason).Clone() // the request's memory is not kept for a second
		if err != nil {
			return "" // nor has it a receipt of its own, which says why
		}
		first = t.begin(kind, own)
	}
	first.Denials.Count++
	first.Denials.Until = max(first.Denials.Until, first.At, atOf(q, seen))
	return first.Denials.ID
}

// begin opens a kind, and sees to it that its receipt is written.
func (t *tally) begin(kind denialKind, first audit.Decision) *audit.Decision {
	first.Denials.ID = audit.NewDenialsID()
	if len(t.open) == 0 {
		t.due = time.AfterFunc(tallyFor, t.flush)
	}
	t.open[kind] = &first
	return &first
}

// flush writes what was counted. When it returns, so has every flush that began
// before.
func (t *tally) flush() {
	t.writing.Lock()
	defer t.writing.Unlock()
	for _, first := range t.close() {
		t.write(*first)
	}
}

// close ends the second.
func (t *tally) close() map[denialKind]*audit.Decision {
	t.mu.Lock()
	defer t.mu.Unlock()
	counted := t.open
	if len(counted) > 0 {
		t.due.Stop()
	}
	t.open = map[denialKind]*audit.Decision{}
	t.since = time.Time{}
	return counted
}

// recordDenial has the denial's receipt written, of its own or as one of several,
// and returns the receipt's id; "" if it could not be written.
func (g *Gate) recordDenial(ctx context.Context, q *quote, seen budget.Grant, reason call.Reason) string {
	if id := g.denials.count(q, seen, reason); id != "" {
		return id
	}
	ref, err := g.recordDecision(ctx, q.denied(seen, reason))
	if err != nil {
		g.complain("receipt of a denial not written", "tenant", q.Key.Tenant.Name, "err", err)
	}
	return ref.ID
}

// recordDenials writes the receipt of several denials. Nobody waits for it, and
// one that cannot be written holds no money.
func (g *Gate) recordDenials(d audit.Decision) {
	g.log.Post(d, func(_ audit.Ref, err error) {
		if err != nil {
			g.complain("count of denials not written", "tenant", d.Facts.Tenant, "id", d.Denials.ID, "denials", d.Denials.Count, "err", err)
		}
	})
}

// denied is the receipt of a quote that was denied.
func (q *quote) denied(seen budget.Grant, reason call.Reason) *audit.Decision {
	d := q.decision(seen)
	d.Verdict = audit.Deny
	d.Reasons = []string{string(reason)}
	return d
}
