package policy

import (
	"fmt"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// slots is the unit of concurrency. The rule: each request in flight takes one
// slot of every concurrency limit that concerns it and gives it back when it
// ends. A slot is part of the request's lease, so one whose holder died comes
// back when that expires. A request that finds no slot may wait in line.
var slots = &unit{
	name:     "slots",
	noun:     "concurrency limit",
	atEnd:    budget.Return,
	amount:   one,
	write:    plain,
	reason:   func(budget.Reason) call.Reason { return ConcurrencyFull },
	final:    func(budget.Reason) bool { return false },
	describe: describeSlots,
}

func describeSlots(d *refused, _ budget.Window) string {
	if d.Redact {
		return d.subject() + " is full; a slot is free when a request in flight ends"
	}
	return fmt.Sprintf("%s is full: limit %d, in flight %d; a slot is free when a request in flight ends",
		d.subject(), d.Limit, d.Held)
}

func (l *loader) concurrency(n *yaml.Node, d *concurrencyDoc) *Budget {
	b := &Budget{Kind: Hard, Window: Period{Name: periodForever}, unit: slots}
	l.limit(n, &d.limitDoc, b)
	if l.require(n, &d.Limit.entry, "limit", "write how many requests may be in flight at once") {
		b.Limit = l.count(&d.Limit, 0, 1, maxCount)
	}
	return b
}
