package budget_test

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"pgregory.net/rapid"
)

// memory is what a State must remember, kept without any queue: a counter is there
// while a lease is open in it and until its forgetAt, and nothing is dropped before
// somebody looks.
type memory struct {
	at       int64
	counters map[remembered]*total
}

// remembered names a counter.
type remembered struct {
	key    string
	kind   budget.WindowKind
	span   budget.Span
	length int64 // Rolling, milliseconds
}

// total is what a counter counts. A rolling one's charges have the bucket in which
// they are.
type total struct {
	born, used, life int64 // life: of an idle one, milliseconds
	open, held       int64
	spent            int64
	buckets          map[int64]int64
	marks            map[string]int64 // how many leases bring it, 0 if spent
	group            string
}

func nameOf(c *budget.Claim, span budget.Span) remembered {
	r := remembered{key: c.Key, kind: c.Window.Kind, span: span}
	if c.Window.Kind == budget.Rolling {
		r.length = c.Window.Length.Milliseconds()
	}
	return r
}

func (r remembered) bucket(at int64) int64 { return at * budget.RollingBuckets / r.length }

// gone reports whether nobody can reach the counter any more.
func (m *memory) gone(r remembered, c *total) bool {
	if c.open > 0 {
		return false
	}
	switch r.kind {
	case budget.Fixed:
		return r.span.End+(30*time.Hour).Milliseconds() <= m.at
	case budget.Rolling:
		return c.used+r.length+(r.length+59)/60 <= m.at
	case budget.Idle:
		return c.used+c.life <= m.at
	}
	return false
}

// of is the counter of a name, nil if there is none any more.
func (m *memory) of(r remembered) *total {
	c := m.counters[r]
	if c == nil || m.gone(r, c) {
		return nil
	}
	return c
}

func (m *memory) observe(p *budget.Placed) budget.Observed {
	r := nameOf(&p.Claim, p.Span)
	o := budget.Observed{Span: p.Span, New: int64(len(p.Marks))}
	if c := m.of(r); c != nil {
		o.Held, o.Spent = c.held, c.spent
		for b, amount := range c.buckets {
			if b >= r.bucket(m.at)-budget.RollingBuckets {
				o.Spent += amount
			}
		}
		for _, mark := range p.Marks {
			if _, known := c.marks[mark]; known {
				o.New--
			}
		}
	}
	return o
}

// crowded tells of each claim whether its key is one too many for its group. Those
// that are let in count for the claims after them.
func (m *memory) crowded(claims []budget.Claim) []bool {
	live := map[string]map[string]bool{"runs": {}, "users": {}, "": {}}
	for r, c := range m.counters {
		if !m.gone(r, c) {
			live[c.group][r.key] = true
		}
	}
	list := make([]bool, len(claims))
	for i, c := range claims {
		keys := live[c.Group]
		list[i] = c.Group != "" && !keys[c.Key] && int64(len(keys)) >= c.GroupMax
		if !list[i] {
			keys[c.Key] = true
		}
	}
	return list
}

// grown is a granted lease, for as long as anything may become of it.
type grown struct {
	number int64
	hold   int64
	claims []budget.Placed
	charge int64
	ended  int64 // when it expired
	over   bool
}

func (m *memory) grant(e *budget.Event) *grown {
	l := &grown{number: e.Number, claims: e.Claims}
	for i := range e.Claims {
		p := &e.Claims[i]
		r := nameOf(&p.Claim, p.Span)
		c := m.of(r)
		if c == nil {
			c = &total{born: e.Number, buckets: map[int64]int64{}, marks: map[string]int64{}}
			m.counters[r] = c
		}
		if p.AtEnd == budget.Adjust {
			l.hold = p.Amount
		}
		c.open, c.held, c.used, c.group = c.open+1, c.held+p.Amount, e.At, p.Group
		if r.kind == budget.Idle {
			c.life = p.Window.Length.Milliseconds()
		}
		for _, mark := range p.Marks {
			if n, known := c.marks[mark]; !known || n > 0 {
				c.marks[mark] = n + 1
			}
		}
	}
	return l
}

func (m *memory) extend(l *grown, e *budget.Event) {
	for i := range l.claims {
		if p := &l.claims[i]; p.AtEnd == budget.Adjust {
			c := m.counters[nameOf(&p.Claim, p.Span)]
			c.held, c.used = c.held+e.Amount-l.hold, e.At
		}
	}
	l.hold = e.Amount
}

func (m *memory) end(l *grown, e *budget.Event) {
	for i := range l.claims {
		p := &l.claims[i]
		r := nameOf(&p.Claim, p.Span)
		c := m.counters[r]
		c.open, c.used = c.open-1, e.At
		charge := int64(0)
		switch {
		case len(p.Marks) > 0:
			c.endMarks(p.Marks, e.Kind == budget.Released)
			continue
		case p.AtEnd == budget.Adjust:
			c.held, charge = c.held-l.hold, e.Amount
		case p.AtEnd == budget.Spend, p.AtEnd == budget.Keep && e.Kind != budget.Released:
			c.held, charge = c.held-p.Amount, p.Amount
		default:
			c.held -= p.Amount
		}
		c.charge(r, charge, e.At)
	}
	l.charge, l.ended, l.over = e.Amount, e.At, true
}

func (c *total) charge(r remembered, amount, at int64) {
	if r.kind == budget.Rolling {
		c.buckets[r.bucket(at)] += amount
	} else {
		c.spent += amount
	}
}

func (c *total) endMarks(list []string, released bool) {
	for _, mark := range list {
		switch n := c.marks[mark]; {
		case n == 0:
		case !released:
			c.marks[mark] = 0
			c.held, c.spent = c.held-1, c.spent+1
		case n > 1:
			c.marks[mark]--
		default:
			delete(c.marks, mark)
			c.held--
		}
	}
}

func (m *memory) correct(l *grown, e *budget.Event) {
	for i := range l.claims {
		p := &l.claims[i]
		r := nameOf(&p.Claim, p.Span)
		if c := m.of(r); p.AtEnd == budget.Adjust && c != nil && c.born <= l.number {
			c.charge(r, e.Amount-l.charge, l.ended)
			c.used = e.At
		}
	}
	l.claims = nil
}

// passed reports whether nobody asks for the marks of a counter.
func (m *memory) passed(r remembered, c *total) bool {
	return c.open == 0 && r.kind == budget.Fixed && r.span.End <= m.at
}

// list is the memory as a Snapshot has it.
func (m *memory) list() []budget.Counter {
	var list []budget.Counter
	for r, c := range m.counters {
		if m.gone(r, c) {
			continue
		}
		out := budget.Counter{Key: r.key, Kind: r.kind, Span: r.span, Length: max(r.length, c.life), Group: c.group, Born: c.born,
			LastUse: c.used, Open: c.open, Held: c.held, Spent: c.spent}
		for _, b := range slices.Sorted(maps.Keys(c.buckets)) {
			if b >= r.bucket(m.at)-budget.RollingBuckets && c.buckets[b] != 0 {
				out.Buckets = append(out.Buckets, budget.Bucket{Number: b, Spent: c.buckets[b]})
			}
		}
		if !m.passed(r, c) {
			for _, mark := range slices.Sorted(maps.Keys(c.marks)) {
				out.Marks = append(out.Marks, budget.Mark{Name: mark, Leases: c.marks[mark]})
			}
		}
		list = append(list, out)
	}
	slices.SortFunc(list, func(a, b budget.Counter) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Span.Start, b.Span.Start),
			cmp.Compare(a.Span.End, b.Span.End), cmp.Compare(a.Length, b.Length))
	})
	return list
}

// TestMemory lets a State and a memory live through the same random days, with many
// windows of a key, groups whose keys come and go, marks, and corrections after an
// expiry, and writes the State down and reads it back at any point: nothing is
// forgotten before its time, and nothing after.
func TestMemory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p := &past{rt: rt, state: budget.NewState("acme"), memory: &memory{counters: map[remembered]*total{}}, leases: map[string]*grown{}}
		p.apply(provisioned(t, p.state))
		p.now = start
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			p.step()
			p.compare()
		}
	})
}

// past is a State beside what it must remember.
type past struct {
	rt     *rapid.T
	state  *budget.State
	memory *memory
	leases map[string]*grown
	now    int64
	count  int
}

func (p *past) step() {
	p.now += rapid.SampledFrom([]int64{0, 0, 1, 100, 7_000, 61_000, 1_800_000, 20_000_000, 90_000_000, 110_000_000}).Draw(p.rt, "wait")
	p.memory.at = p.state.Advance(p.now)
	for e := p.state.Expire(p.now); e.Kind != ""; e = p.state.Expire(p.now) {
		p.apply(e)
	}
	if rapid.IntRange(0, 9).Draw(p.rt, "again") == 0 {
		p.reread()
	}
	lease := fmt.Sprint("lease-", rapid.IntRange(max(0, p.count-8), p.count).Draw(p.rt, "lease"))
	amount := rapid.Int64Range(0, 9).Draw(p.rt, "amount")
	switch rapid.SampledFrom([]string{"reserve", "reserve", "reserve", "extend", "settle", "settle", "release", "look"}).Draw(p.rt, "verb") {
	case "reserve":
		p.reserve(amount)
	case "extend":
		x := budget.Extension{Lease: budget.LeaseRef{Tenant: "acme", Lease: lease}, Total: amount, Policy: firstPolicy}
		if l := p.leases[lease]; l != nil {
			for i := range l.claims {
				x.Limits = append(x.Limits, budget.Limit{Key: l.claims[i].Key, Limit: 10_000})
			}
		}
		_, e, err := p.state.Extend(&x, p.now)
		p.then(e, err)
	case "settle":
		_, e, err := p.state.Settle(lease, budget.Actual{Cost: amount}, p.now)
		p.then(e, err)
	case "release":
		if p.leases[lease] != nil {
			_, e, err := p.state.Release(lease, p.now)
			p.then(e, err)
		}
	case "look": // leaves no trace
		_, _ = p.state.Balances(p.claims(amount), p.now)
	}
}

// then applies an event, if there is one.
func (p *past) then(e budget.Event, err error) {
	if err == nil && e.Kind != "" {
		p.apply(e)
	}
}

// reread writes the state down and reads it back.
func (p *past) reread() {
	again, err := budget.FromSnapshot(p.state.Snapshot())
	if err != nil {
		p.rt.Fatal(err)
	}
	p.state = again
}

func (p *past) reserve(amount int64) {
	p.count++
	r := budget.Reservation{Tenant: "acme", Lease: fmt.Sprint("lease-", p.count), Policy: firstPolicy, Claims: p.claims(amount),
		TTL: rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 6 * time.Hour}).Draw(p.rt, "ttl")}
	for range 2 {
		_, e, err := p.state.Reserve(&r, p.now)
		if denied, ok := err.(*budget.Denied); ok {
			p.checkDenied(&r, denied)
			return
		}
		if err != nil {
			p.rt.Fatal(err)
		}
		if e.Kind == budget.Granted {
			p.checkGranted(&r, &e)
		}
		p.then(e, nil)
	}
}

func (p *past) checkGranted(r *budget.Reservation, e *budget.Event) {
	for i := range r.Claims {
		if want := p.memory.observe(&e.Claims[i]); e.Claims[i].Observed != want {
			p.rt.Fatalf("claim %+v observed %+v, want %+v", r.Claims[i], e.Claims[i].Observed, want)
		}
	}
	if i := slices.Index(p.memory.crowded(r.Claims), true); i >= 0 {
		p.rt.Fatalf("claim %+v is let into a full group", r.Claims[i])
	}
}

func (p *past) checkDenied(r *budget.Reservation, denied *budget.Denied) {
	for i, crowded := range p.memory.crowded(r.Claims) {
		if crowded != (denied.Reasons[i] == budget.Crowded) {
			p.rt.Fatalf("claim %+v: %q, crowded is %v", r.Claims[i], denied.Reasons[i], crowded)
		}
		span, _ := r.Claims[i].Window.Pick(p.now)
		placed := budget.Placed{Claim: r.Claims[i], Observed: budget.Observed{Span: span}}
		if want := p.memory.observe(&placed); denied.Observed[i] != want {
			p.rt.Fatalf("claim %+v observed %+v, want %+v", r.Claims[i], denied.Observed[i], want)
		}
	}
}

// claims are up to twelve of different keys, whose windows and groups are not
// always the same.
func (p *past) claims(amount int64) []budget.Claim {
	var list []budget.Claim
	for i := range rapid.IntRange(1, 12).Draw(p.rt, "claims") {
		key := fmt.Sprint("key/", i, "/", rapid.IntRange(0, 2).Draw(p.rt, "name"))
		c := budget.Claim{Key: key, Amount: amount, Limit: 10_000, Window: p.window(),
			AtEnd: rapid.SampledFrom([]budget.AtEnd{budget.Adjust, budget.Adjust, budget.Keep, budget.Return, budget.Spend}).Draw(p.rt, "at end")}
		if i%3 == 2 {
			c.AtEnd, c.Marks = budget.Keep, rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 3, rapid.ID[string]).Draw(p.rt, "marks")
			if c.Window.Kind == budget.Rolling {
				c.Window = budget.Window{Kind: budget.Idle, Length: time.Hour}
			}
		}
		if c.Window.Kind != budget.Forever && rapid.Bool().Draw(p.rt, "grouped") {
			c.Group, c.GroupMax = rapid.SampledFrom([]string{"runs", "users"}).Draw(p.rt, "group"), 9
		}
		list = append(list, c)
	}
	return list
}

func (p *past) window() budget.Window {
	length := rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 24 * time.Hour}).Draw(p.rt, "length")
	kind := rapid.SampledFrom([]budget.WindowKind{budget.Fixed, budget.Fixed, budget.Rolling, budget.Idle, budget.Forever}).Draw(p.rt, "kind")
	if kind == budget.Forever {
		return budget.Window{Kind: kind}
	}
	if kind != budget.Fixed {
		return budget.Window{Kind: kind, Length: length}
	}
	long := length.Milliseconds()
	begun := p.now / long * long
	return budget.Window{Kind: kind, Current: budget.Span{Start: begun, End: begun + long}, Next: budget.Span{Start: begun + long, End: begun + 2*long}}
}

func (p *past) apply(e budget.Event) {
	if err := p.state.Apply(e); err != nil {
		p.rt.Fatal(err)
	}
	l := p.leases[e.Lease]
	switch e.Kind {
	case budget.Granted:
		p.leases[e.Lease] = p.memory.grant(&e)
	case budget.Extended:
		p.memory.extend(l, &e)
	case budget.Settled, budget.Released, budget.Expired:
		if !l.over { // else a lease that the state does not know any more is released
			p.memory.end(l, &e)
		}
	case budget.Corrected:
		p.memory.correct(l, &e)
	}
}

func (p *past) compare() {
	got := p.state.Snapshot().Counters
	for i := range got { // a snapshot may tell of what has left the window
		c := &got[i]
		c.Buckets = slices.DeleteFunc(c.Buckets, func(b budget.Bucket) bool {
			return b.Number < p.now*budget.RollingBuckets/c.Length-budget.RollingBuckets
		})
		if len(c.Buckets) == 0 {
			c.Buckets = nil
		}
	}
	want := p.memory.list()
	if len(got) == len(want) && len(got) == 0 || reflect.DeepEqual(got, want) {
		return
	}
	p.rt.Fatalf("at %d the state has\n%+v, want\n%+v", p.now, got, want)
}
