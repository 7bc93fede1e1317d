package embedded

import (
	"bytes"
	"hash/maphash"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// decoder reads the records that are many in the one form that record.go
// writes by hand: members in order, zero ones left out, integers in decimal,
// names without escapes. It says nothing of what differs from that form, not
// even whether it is wrong: encoding/json reads it then. So what a decoder
// takes must mean the same there.
type decoder struct {
	payload []byte
	pos     int
	foreign bool // payload is in another form; nothing is read after it
	names   names
	placed  [budget.MaxClaims]budget.Placed // claims, until their number is known
}

func newDecoder() *decoder { return &decoder{names: names{seed: maphash.MakeSeed()}} }

// decode reads a payload; false if it is not in the form. The record shares no
// memory with it.
func (d *decoder) decode(payload []byte) (*record, bool) {
	d.payload, d.pos, d.foreign = payload, 0, false
	r := new(record)
	d.expect('{')
	switch {
	case d.has("Event"):
		r.Event = new(budget.Event)
		d.event(r.Event)
	case d.has("Ack"):
		r.Ack = new(acknowledgement)
		d.ack(r.Ack)
	case d.has("Renew"):
		r.Renew = new(renewal)
		d.renewal(r.Renew)
	case d.has("Lease"):
		r.Lease = new(leaseRecord)
		d.lease(r.Lease)
	default:
		return nil, false
	}
	d.expect('}')
	if d.foreign || d.pos != len(payload) {
		return nil, false
	}
	return r, true
}

// ack and renewal are written with every member, so none of them is optional.

func (d *decoder) ack(a *acknowledgement) {
	d.expect('{')
	d.text("Tenant", &a.Tenant)
	d.integer("Number", &a.Number)
	d.expect('}')
	d.need(a.Tenant != "" && a.Number != 0)
}

func (d *decoder) renewal(r *renewal) {
	d.expect('{')
	d.text("Tenant", &r.Tenant)
	d.text("Lease", &r.Lease)
	d.integer("Expires", &r.Expires)
	d.expect('}')
	d.need(r.Tenant != "" && r.Lease != "" && r.Expires != 0)
}

func (d *decoder) lease(l *leaseRecord) {
	d.expect('{')
	d.text("Tenant", &l.Tenant)
	d.text("ID", &l.ID)
	d.integer("Number", &l.Number)
	d.integer("At", &l.At)
	d.integer("Expires", &l.Expires)
	d.integer("Hold", &l.Hold)
	d.claims(&l.Claims)
	d.integer("Extended", &l.Extended)
	d.integer("ExtendAt", &l.ExtendAt)
	d.need(!d.has("Extends")) // rare
	d.text("End", (*string)(&l.End))
	d.integer("EndNumber", &l.EndNumber)
	d.integer("EndAt", &l.EndAt)
	d.integer("Charge", &l.Charge)
	d.integer("ExpiredAt", &l.ExpiredAt)
	d.integer("ForgetAt", &l.ForgetAt)
	d.expect('}')
}

func (d *decoder) event(e *budget.Event) {
	d.expect('{')
	d.text("Tenant", &e.Tenant)
	d.text("Epoch", &e.Epoch)
	d.integer("Number", &e.Number)
	d.text("Kind", (*string)(&e.Kind))
	d.integer("At", &e.At)
	d.text("Lease", &e.Lease)
	d.claims(&e.Claims)
	d.integer("Amount", &e.Amount)
	d.integer("Input", &e.Input)
	d.integer("Output", &e.Output)
	d.integer("Expires", &e.Expires)
	d.policy(&e.Policy)
	d.text("Switch", &e.Switch)
	d.limits(&e.Limits)
	d.expect('}')
}

func (d *decoder) limits(v *[]budget.Limit) {
	if !d.has("Limits") {
		return
	}
	d.expect('[')
	for more := true; more && len(*v) < budget.MaxClaims; more = d.next(',') {
		var limit budget.Limit
		d.expect('{')
		d.text("Key", &limit.Key)
		d.integer("Limit", &limit.Limit)
		d.expect('}')
		*v = append(*v, limit)
	}
	d.expect(']')
}

func (d *decoder) policy(p *budget.PolicyVersion) {
	if !d.has("Policy") {
		return
	}
	d.expect('{')
	d.integer("Generation", &p.Generation)
	d.text("Hash", &p.Hash)
	d.expect('}')
	d.need(*p != budget.PolicyVersion{})
}

func (d *decoder) claims(v *[]budget.Placed) {
	if !d.has("Claims") {
		return
	}
	d.expect('[')
	n := 0
	for more := true; more && n < len(d.placed); more = d.next(',') {
		d.placed[n] = budget.Placed{}
		d.claim(&d.placed[n])
		n++
	}
	d.expect(']')
	if d.foreign {
		return
	}
	*v = make([]budget.Placed, n)
	copy(*v, d.placed[:n])
}

func (d *decoder) claim(p *budget.Placed) {
	d.expect('{')
	d.text("Key", &p.Key)
	d.integer("Amount", &p.Amount)
	d.integer("Limit", &p.Limit)
	d.text("AtEnd", (*string)(&p.AtEnd))
	d.window(&p.Window)
	d.text("Group", &p.Group)
	d.integer("GroupMax", &p.GroupMax)
	d.marks(&p.Marks)
	d.span("Span", &p.Span)
	d.integer("Spent", &p.Spent)
	d.integer("Held", &p.Held)
	d.integer("New", &p.New)
	d.expect('}')
}

func (d *decoder) marks(v *[]string) {
	if !d.has("Marks") {
		return
	}
	d.expect('[')
	for more := true; more && len(*v) < budget.MaxMarks; more = d.next(',') {
		*v = append(*v, d.quoted())
	}
	d.expect(']')
}

// window is written even if it is zero.
func (d *decoder) window(w *budget.Window) {
	d.need(d.has("Window"))
	d.expect('{')
	d.text("Kind", (*string)(&w.Kind))
	d.span("Current", &w.Current)
	d.span("Next", &w.Next)
	d.integer("Length", (*int64)(&w.Length))
	d.expect('}')
}

func (d *decoder) span(name string, s *budget.Span) {
	if !d.has(name) {
		return
	}
	d.expect('{')
	d.integer("Start", &s.Start)
	d.integer("End", &s.End)
	d.expect('}')
	d.need(*s != budget.Span{})
}

func (d *decoder) text(name string, v *string) {
	if d.has(name) {
		*v = d.quoted()
	}
}

func (d *decoder) integer(name string, v *int64) {
	if d.has(name) {
		*v = d.decimal()
	}
}

// need gives up unless what the form demands is there.
func (d *decoder) need(there bool) {
	if !there {
		d.foreign = true
	}
}

// next takes the byte c if it comes next.
func (d *decoder) next(c byte) bool {
	if d.foreign || d.pos >= len(d.payload) || d.payload[d.pos] != c {
		return false
	}
	d.pos++
	return true
}

func (d *decoder) expect(c byte) { d.need(d.next(c)) }

// has takes a member's name, and the comma before it, if it comes next.
func (d *decoder) has(name string) bool {
	if d.foreign {
		return false
	}
	at := d.pos
	if d.payload[at-1] != '{' {
		if at >= len(d.payload) || d.payload[at] != ',' {
			return false
		}
		at++
	}
	end := at + len(name) + len(`"":`)
	if end > len(d.payload) || d.payload[at] != '"' ||
		string(d.payload[at+1:end-2]) != name || string(d.payload[end-2:end]) != `":` {
		return false
	}
	d.pos = end
	return true
}

// maxDigits is as many as fit in an int64, and so in a uint64 without overflow.
const maxDigits = 19

// decimal reads an integer that is not zero.
func (d *decoder) decimal() int64 {
	limit := uint64(1<<63 - 1)
	negative := d.next('-')
	if negative {
		limit++
	}
	start, v := d.pos, uint64(0)
	for d.pos < len(d.payload) && d.pos-start < maxDigits && isDigit(d.payload[d.pos]) {
		v = v*10 + uint64(d.payload[d.pos]-'0')
		d.pos++
	}
	d.need(v != 0 && v <= limit && d.payload[start] != '0')
	if negative {
		return -int64(v)
	}
	return int64(v)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// quoted reads a name: 1 to budget.MaxKeyBytes of ASCII that JSON does not
// escape.
func (d *decoder) quoted() string {
	d.expect('"')
	if d.foreign {
		return ""
	}
	rest := d.payload[d.pos:]
	n := bytes.IndexByte(rest, '"')
	if n < 1 || n > budget.MaxKeyBytes || !plain(rest[:n]) {
		d.foreign = true
		return ""
	}
	d.pos += n + 1
	return d.names.of(rest[:n])
}

func plain(name []byte) bool {
	for _, c := range name {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// names are the strings met of late, so that a tenant, epoch or key that comes
// back takes no memory again. Each is a string of its own: one that outlives
// its record must not keep the whole line.
type names struct {
	seed  maphash.Seed
	slots [1 << nameBits]string
}

// nameBits makes 4,096 slots: at most 512 KiB of names.
const nameBits = 12

func (n *names) of(name []byte) string {
	slot := &n.slots[maphash.Bytes(n.seed, name)>>(64-nameBits)]
	if *slot != string(name) {
		*slot = string(name)
	}
	return *slot
}
