package embedded

import (
	"strconv"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// The records of the request path, and leases, are written by hand: encoding/json would
// cost more than all else that a grant does. Names need no escaping, because
// budget.ValidName allows no byte that JSON escapes. decoder reads exactly this
// form, so a member that is added here is added there.

func appendAck(dst []byte, tenant string, number int64) []byte {
	dst = append(dst, `{"Ack":{"Tenant":"`...)
	dst = append(dst, tenant...)
	dst = append(dst, `","Number":`...)
	dst = strconv.AppendInt(dst, number, 10)
	return append(dst, `}}`...)
}

func appendRenewal(dst []byte, tenant, lease string, expires int64) []byte {
	dst = append(dst, `{"Renew":{"Tenant":"`...)
	dst = append(dst, tenant...)
	dst = append(dst, `","Lease":"`...)
	dst = append(dst, lease...)
	dst = append(dst, `","Expires":`...)
	dst = strconv.AppendInt(dst, expires, 10)
	return append(dst, `}}`...)
}

func appendLease(dst []byte, known *terms, tenant string, l *budget.Lease) []byte {
	dst = append(dst, `{"Lease":`...)
	o := object{dst: dst, terms: known}
	o.open()
	o.text("Tenant", tenant)
	o.text("ID", l.ID)
	o.integer("Number", l.Number)
	o.integer("At", l.At)
	o.integer("Expires", l.Expires)
	o.integer("Hold", l.Hold)
	o.claims(l.Claims)
	o.integer("Extended", l.Extended)
	o.integer("ExtendAt", l.ExtendAt)
	o.extends(l.Extends)
	o.text("End", string(l.End))
	o.integer("EndNumber", l.EndNumber)
	o.integer("EndAt", l.EndAt)
	o.integer("Charge", l.Charge)
	o.integer("ExpiredAt", l.ExpiredAt)
	o.integer("ForgetAt", l.ForgetAt)
	o.close()
	return append(o.dst, '}')
}

func appendEvent(dst []byte, known *terms, e *budget.Event) []byte {
	dst = append(dst, `{"Event":`...)
	o := object{dst: dst, terms: known}
	o.open()
	o.text("Tenant", e.Tenant)
	o.text("Epoch", e.Epoch)
	o.integer("Number", e.Number)
	o.text("Kind", string(e.Kind))
	o.integer("At", e.At)
	o.text("Lease", e.Lease)
	o.claims(e.Claims)
	o.integer("Amount", e.Amount)
	o.integer("Input", e.Input)
	o.integer("Output", e.Output)
	o.integer("Expires", e.Expires)
	if e.Policy != (budget.PolicyVersion{}) {
		o.member("Policy")
		o.open()
		o.integer("Generation", e.Policy.Generation)
		o.text("Hash", e.Policy.Hash)
		o.close()
	}
	o.text("Switch", e.Switch)
	o.limits(e.Limits)
	o.close()
	return append(o.dst, '}')
}

// terms remember how the claims of a tenant were written last, each in its place:
// the next request most often has the same limits and windows, and their numbers
// are most of a record.
type terms [8]term

// term is what claims of one counter have in common for a while.
type term struct {
	of   budget.Claim // without what differs from claim to claim
	text []byte       // its members
	span []byte       // its window's current span, as a member
}

// write makes it the term of a claim.
func (t *term) write(c *budget.Claim) {
	if t.text != nil && c.Limit == t.of.Limit && c.AtEnd == t.of.AtEnd && c.Window == t.of.Window &&
		c.Group == t.of.Group && c.GroupMax == t.of.GroupMax {
		return
	}
	t.of = budget.Claim{Limit: c.Limit, AtEnd: c.AtEnd, Window: c.Window, Group: c.Group, GroupMax: c.GroupMax}
	o := object{dst: t.text[:0]}
	o.integer("Limit", c.Limit)
	o.text("AtEnd", string(c.AtEnd))
	o.window(&c.Window)
	o.text("Group", c.Group)
	o.integer("GroupMax", c.GroupMax)
	t.text = o.dst
	o = object{dst: t.span[:0]}
	o.span("Span", c.Window.Current)
	t.span = o.dst
}

// object appends JSON members, leaving out those that are zero.
type object struct {
	dst   []byte
	comma bool
	terms *terms // nil where there are no claims
}

func (o *object) open() {
	o.dst = append(o.dst, '{')
	o.comma = false
}

func (o *object) close() {
	o.dst = append(o.dst, '}')
	o.comma = true
}

func (o *object) member(name string) {
	if o.comma {
		o.dst = append(o.dst, ',')
	}
	o.comma = true
	o.dst = append(o.dst, '"')
	o.dst = append(o.dst, name...)
	o.dst = append(o.dst, '"', ':')
}

func (o *object) text(name, value string) {
	if value == "" {
		return
	}
	o.member(name)
	o.dst = append(o.dst, '"')
	o.dst = append(o.dst, value...)
	o.dst = append(o.dst, '"')
}

func (o *object) integer(name string, value int64) {
	if value == 0 {
		return
	}
	o.member(name)
	o.dst = strconv.AppendInt(o.dst, value, 10)
}

func (o *object) claims(claims []budget.Placed) {
	if len(claims) == 0 {
		return
	}
	o.member("Claims")
	o.dst = append(o.dst, '[')
	for i := range claims {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.claim(&claims[i], &o.terms[i%len(o.terms)])
	}
	o.dst = append(o.dst, ']')
}

func (o *object) limits(limits []budget.Limit) {
	if len(limits) == 0 {
		return
	}
	o.member("Limits")
	o.dst = append(o.dst, '[')
	for i := range limits {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.open()
		o.text("Key", limits[i].Key)
		o.integer("Limit", limits[i].Limit)
		o.close()
	}
	o.dst = append(o.dst, ']')
}

func (o *object) extends(observed []budget.Observed) {
	if len(observed) == 0 {
		return
	}
	o.member("Extends")
	o.dst = append(o.dst, '[')
	for i, seen := range observed {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.open()
		o.observed(seen)
		o.close()
	}
	o.dst = append(o.dst, ']')
}

func (o *object) observed(seen budget.Observed) {
	o.span("Span", seen.Span)
	o.balance(seen)
}

func (o *object) balance(seen budget.Observed) {
	o.integer("Spent", seen.Spent)
	o.integer("Held", seen.Held)
	o.integer("New", seen.New)
}

func (o *object) marks(list []string) {
	if len(list) == 0 {
		return
	}
	o.member("Marks")
	o.dst = append(o.dst, '[')
	for i, mark := range list {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = append(o.dst, '"')
		o.dst = append(o.dst, mark...)
		o.dst = append(o.dst, '"')
	}
	o.dst = append(o.dst, ']')
}

func (o *object) claim(p *budget.Placed, t *term) {
	t.write(&p.Claim)
	o.open()
	o.text("Key", p.Key)
	o.integer("Amount", p.Amount)
	o.written(t.text)
	o.marks(p.Marks)
	if p.Span == p.Window.Current {
		o.written(t.span)
	} else {
		o.span("Span", p.Span)
	}
	o.balance(p.Observed)
	o.close()
}

// written appends members that are written already.
func (o *object) written(members []byte) {
	if len(members) == 0 {
		return
	}
	if o.comma {
		o.dst = append(o.dst, ',')
	}
	o.comma = true
	o.dst = append(o.dst, members...)
}

func (o *object) window(w *budget.Window) {
	o.member("Window")
	o.open()
	o.text("Kind", string(w.Kind))
	o.span("Current", w.Current)
	o.span("Next", w.Next)
	o.integer("Length", int64(w.Length/time.Nanosecond))
	o.close()
}

func (o *object) span(name string, s budget.Span) {
	if s == (budget.Span{}) {
		return
	}
	o.member(name)
	o.open()
	o.integer("Start", s.Start)
	o.integer("End", s.End)
	o.close()
}
