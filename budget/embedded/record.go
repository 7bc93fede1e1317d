package embedded

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// record is the json of one line; one member is set.
type record struct {
	Event *budget.Event
	Ack   *acknowledgement
	Renew *renewal
	Lease *leaseRecord
	State *wholeTenant
	End   *int64
}

// leaseRecord is a lease of a tenant whose State follows it.
type leaseRecord struct {
	Tenant string
	budget.Lease
}

type acknowledgement struct {
	Tenant string
	Number int64
}

type renewal struct {
	Tenant, Lease string
	Expires       int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumBytes is the length of the checksum in hex and the space after it.
const sumBytes = 9

// appendLine frames one record's json.
func appendLine(dst, payload []byte) []byte {
	dst = appendSum(dst, payload)
	dst = append(dst, payload...)
	return append(dst, '\n')
}

// appendSum appends the checksum and the space after it.
func appendSum(dst, payload []byte) []byte {
	sum := crc32.Checksum(payload, castagnoli)
	dst = hex.AppendEncode(dst, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return append(dst, ' ')
}

var errChecksum = errors.New("checksum does not match")

// decodeLine reads one record, without its LF. The record shares no memory with
// the line.
func (d *decoder) decodeLine(line []byte) (*record, error) {
	payload, ok := unframe(line)
	if !ok {
		return nil, errChecksum
	}
	if r, ok := d.decode(payload); ok {
		return r, nil
	}
	return decodeJSON(payload)
}

// decodeJSON reads any record, in any spelling.
func decodeJSON(payload []byte) (*record, error) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	var r record
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if d.More() {
		return nil, errors.New("record: more than one value")
	}
	return &r, nil
}

// unframe is the json of a line whose checksum matches.
func unframe(line []byte) ([]byte, bool) {
	if len(line) < sumBytes {
		return nil, false
	}
	payload := line[sumBytes:]
	var head [sumBytes]byte
	return payload, bytes.Equal(appendSum(head[:0], payload), line[:sumBytes])
}

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

func appendLease(dst []byte, tenant string, l *budget.Lease) []byte {
	dst = append(dst, `{"Lease":`...)
	o := object{dst: dst}
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

func appendEvent(dst []byte, e *budget.Event) []byte {
	dst = append(dst, `{"Event":`...)
	o := object{dst: dst}
	o.open()
	o.text("Tenant", e.Tenant)
	o.text("Epoch", e.Epoch)
	o.integer("Number", e.Number)
	o.text("Kind", string(e.Kind))
	o.integer("At", e.At)
	o.text("Lease", e.Lease)
	o.claims(e.Claims)
	o.integer("Amount", e.Amount)
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

func encodeState(whole *wholeTenant) ([]byte, error) {
	return json.Marshal(struct{ State *wholeTenant }{whole})
}

// object appends JSON members, leaving out those that are zero.
type object struct {
	dst   []byte
	comma bool
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
		o.claim(&claims[i])
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

func (o *object) claim(p *budget.Placed) {
	o.open()
	o.text("Key", p.Key)
	o.integer("Amount", p.Amount)
	o.integer("Limit", p.Limit)
	o.text("AtEnd", string(p.AtEnd))
	o.member("Window")
	o.open()
	o.text("Kind", string(p.Window.Kind))
	o.span("Current", p.Window.Current)
	o.span("Next", p.Window.Next)
	o.integer("Length", int64(p.Window.Length/time.Nanosecond))
	o.close()
	o.text("Group", p.Group)
	o.integer("GroupMax", p.GroupMax)
	o.marks(p.Marks)
	o.observed(p.Observed)
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
