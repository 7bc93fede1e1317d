package budgettest

import (
	"errors"
	"slices"
	"sort"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// model is one tenant as plainly as it can be said: it keeps every lease and
// every use of every counter, and recomputes each balance from them by
// summing. It shares no code with the ledgers, not even the rule of judgement.
type model struct {
	now    int64
	number int64
	policy budget.PolicyVersion
	leases []*modelLease // in order of their grants
	uses   []use
	thrown []budget.Switch // in order of their names
}

// counterName is a counter's identity.
type counterName struct {
	key    string
	kind   budget.WindowKind
	span   budget.Span
	length time.Duration // Rolling
}

// use is one event that touched a counter.
type use struct {
	counter counterName
	at      int64
	lease   *modelLease
	opens   int // +1 at a grant, -1 at an end, 0 else
	length  time.Duration
	group   string
}

// modelLease is a lease, or the tombstone of one.
type modelLease struct {
	id       string
	claims   []budget.Claim
	counters []counterName
	grant    budget.Grant
	extended budget.Grant
	expires  int64
	hold     int64
	end      budget.EventKind // "" while open
	used     budget.Actual    // in the end, where it has not expired
	ending   budget.Ending
	chargeAt int64
}

// measured are the ends at which what was used replaces the hold.
var measured = map[budget.AtEnd]bool{budget.Adjust: true, budget.Input: true, budget.Output: true, budget.Tokens: true}

func (m *model) next() int64 {
	m.number++
	return m.number
}

func (m *model) find(id string) *modelLease {
	for _, l := range m.leases {
		if l.id == id {
			return l
		}
	}
	return nil
}

func (m *model) name(c budget.Claim) (counterName, error) {
	n := counterName{key: c.Key, kind: c.Window.Kind}
	switch c.Window.Kind {
	case budget.Rolling:
		n.length = c.Window.Length
	case budget.Fixed:
		n.span = c.Window.Current
		if m.now >= n.span.End || m.now < n.span.Start {
			n.span = c.Window.Next
		}
		if m.now >= n.span.End || m.now < n.span.Start {
			return n, budget.ErrWindow
		}
	}
	return n, nil
}

// expire ends what is due.
func (m *model) expire() {
	var due []*modelLease
	for _, l := range m.leases {
		if l.end == "" && l.expires <= m.now {
			due = append(due, l)
		}
	}
	sort.Slice(due, func(i, j int) bool {
		if due[i].expires != due[j].expires {
			return due[i].expires < due[j].expires
		}
		return due[i].id < due[j].id
	})
	for _, l := range due {
		m.finish(l, budget.Expired, budget.Actual{Cost: l.hold})
	}
}

func (m *model) finish(l *modelLease, kind budget.EventKind, used budget.Actual) budget.Ending {
	l.end, l.used, l.chargeAt = kind, used, m.now
	l.ending = budget.Ending{Kind: kind, Number: m.next(), At: m.now, Charge: used.Cost, Hold: l.hold}
	for _, n := range l.counters {
		m.uses = append(m.uses, use{counter: n, at: m.now, lease: l, opens: -1})
	}
	return l.ending
}

func (m *model) correct(l *modelLease, used budget.Actual) budget.Ending {
	for i, n := range l.counters {
		if !measured[l.claims[i].AtEnd] {
			continue
		}
		for _, u := range m.life(n) {
			if u.lease == l && u.opens > 0 {
				m.uses = append(m.uses, use{counter: n, at: m.now, lease: l})
				break
			}
		}
	}
	l.end, l.used = budget.Corrected, used
	l.ending = budget.Ending{Kind: budget.Corrected, Number: m.next(), At: m.now, Charge: used.Cost, Hold: l.hold}
	return l.ending
}

func (m *model) reserve(r budget.Reservation) (budget.Grant, error) {
	m.expire()
	if l := m.find(r.Lease); l != nil && l.end == "" {
		again := l.grant
		again.Repeated, again.Keys = true, keysOf(l.claims)
		return again, nil
	} else if l != nil {
		return budget.Grant{}, budget.ErrEnded
	}
	if m.stale(r.Policy) {
		return budget.Grant{}, budget.ErrStalePolicy
	}
	l := &modelLease{id: r.Lease, claims: r.Claims, expires: m.now + r.TTL.Milliseconds()}
	for _, c := range r.Claims {
		n, err := m.name(c)
		if err != nil {
			return budget.Grant{}, err
		}
		l.counters = append(l.counters, n)
	}
	if killed := m.underTerms(r.Policy, r.Switches); killed != nil {
		return budget.Grant{}, killed
	}
	if denied := m.judge(l); denied != nil {
		return budget.Grant{}, denied
	}
	return m.admit(l), nil
}

// stale reports whether a policy is not the newest.
func (m *model) stale(p budget.PolicyVersion) bool {
	return p.Generation < m.policy.Generation || (p.Generation == m.policy.Generation && p != m.policy)
}

// underTerms takes a policy in, and says which switch stops the verb, if any.
func (m *model) underTerms(p budget.PolicyVersion, switches []string) error {
	if p != m.policy {
		m.policy = p
		m.next()
	}
	for _, name := range switches {
		if i := m.switchAt(name); i >= 0 {
			return &budget.Killed{Switch: m.thrown[i], Number: m.number, At: m.now}
		}
	}
	return nil
}

func (m *model) judge(l *modelLease) error {
	d := &budget.Denied{Number: m.number, At: m.now}
	crowd := make(map[string]map[string]bool)
	fits := true
	for i, c := range l.claims {
		o := m.sees(l.counters[i], c)
		if c.Marks != nil {
			c.Amount = o.New
		}
		reason := m.verdict(c.Amount, c.Limit, o)
		if c.Group != "" && crowd[c.Group] == nil {
			crowd[c.Group] = m.members(c.Group)
		}
		if keys := crowd[c.Group]; c.Group != "" && !keys[c.Key] {
			if int64(len(keys)) >= c.GroupMax {
				reason = budget.Crowded
			} else {
				keys[c.Key] = true
			}
		}
		d.Observed = append(d.Observed, o)
		d.Reasons = append(d.Reasons, reason)
		fits = fits && reason == budget.Fits
	}
	if fits {
		return nil
	}
	return d
}

func (m *model) verdict(amount, limit int64, o budget.Observed) budget.Reason {
	switch {
	case o.Spent+o.Held+amount <= limit:
		return budget.Fits
	case o.Spent+amount <= limit:
		return budget.Held
	}
	return budget.Exhausted
}

func (m *model) admit(l *modelLease) budget.Grant {
	l.grant = budget.Grant{Lease: l.id, At: m.now, Expires: l.expires, Observed: []budget.Observed{}}
	for i, c := range l.claims {
		l.grant.Observed = append(l.grant.Observed, m.sees(l.counters[i], c))
		if c.AtEnd == budget.Adjust {
			l.hold = c.Amount
		}
	}
	l.grant.Number, l.grant.Hold = m.next(), l.hold
	l.extended = l.grant
	m.leases = append(m.leases, l)
	for i, c := range l.claims {
		m.uses = append(m.uses, use{counter: l.counters[i], at: m.now, lease: l, opens: 1, length: c.Window.Length, group: c.Group})
	}
	return l.grant
}

// open is a lease that has not ended.
func (m *model) open(id string) (*modelLease, error) {
	m.expire()
	l := m.find(id)
	if l == nil {
		return nil, budget.ErrUnknownLease
	}
	if l.end != "" {
		return nil, budget.ErrEnded
	}
	return l, nil
}

func (m *model) extend(x budget.Extension) (budget.Grant, error) {
	l, err := m.open(x.Lease.Lease)
	if err != nil {
		return budget.Grant{}, err
	}
	adjusts := slices.ContainsFunc(l.claims, func(c budget.Claim) bool { return c.AtEnd == budget.Adjust })
	if !adjusts || x.Total <= l.hold {
		again := l.extended
		again.Repeated = true
		return again, nil
	}
	if m.stale(x.Policy) {
		return budget.Grant{}, budget.ErrStalePolicy
	}
	if killed := m.underTerms(x.Policy, x.Switches); killed != nil {
		return budget.Grant{}, killed
	}
	if denied := m.judgeMore(l, x); denied != nil {
		return budget.Grant{}, denied
	}
	l.hold = x.Total
	l.extended.Number, l.extended.At, l.extended.Hold = m.next(), m.now, x.Total
	for i, c := range l.claims {
		if c.AtEnd == budget.Adjust {
			m.uses = append(m.uses, use{counter: l.counters[i], at: m.now, lease: l})
		}
	}
	return l.extended, nil
}

// judgeMore judges an extension. What it observes is kept as the lease's answer.
func (m *model) judgeMore(l *modelLease, x budget.Extension) error {
	limits := make(map[string]int64)
	for _, limit := range x.Limits {
		limits[limit.Key] = limit.Limit
	}
	d := &budget.Denied{Number: m.number, At: m.now, Hold: l.hold}
	fits := true
	for i, c := range l.claims {
		o, reason := m.observe(l.counters[i]), budget.Fits
		if c.AtEnd == budget.Adjust {
			reason = m.verdict(x.Total-l.hold, limits[c.Key], o)
		}
		d.Observed = append(d.Observed, o)
		d.Reasons = append(d.Reasons, reason)
		d.Keys = append(d.Keys, c.Key)
		fits = fits && reason == budget.Fits
	}
	if !fits {
		return d
	}
	l.extended = budget.Grant{Lease: l.id, Observed: d.Observed}
	return nil
}

func (m *model) renew(id string, ttl time.Duration) (int64, error) {
	l, err := m.open(id)
	if err != nil {
		return 0, err
	}
	l.expires = min(m.now+ttl.Milliseconds(), l.grant.At+(6*time.Hour).Milliseconds())
	return l.expires, nil
}

func (m *model) settle(id string, actual budget.Actual) (budget.Ending, error) {
	m.expire()
	l := m.find(id)
	if l == nil {
		return budget.Ending{}, budget.ErrUnknownLease
	}
	switch l.end {
	case "":
		return m.finish(l, budget.Settled, actual), nil
	case budget.Expired:
		return m.correct(l, actual), nil
	case budget.Released:
		return budget.Ending{}, budget.ErrEnded
	}
	return repeated(l.ending), nil
}

func repeated(e budget.Ending) budget.Ending {
	e.Repeated = true
	return e
}

func (m *model) release(id string) (budget.Ending, error) {
	m.expire()
	l := m.find(id)
	if l == nil {
		l = &modelLease{id: id}
		m.leases = append(m.leases, l)
	}
	switch l.end {
	case "":
		return m.finish(l, budget.Released, budget.Actual{}), nil
	case budget.Expired:
		return m.correct(l, budget.Actual{}), nil
	case budget.Settled:
		return budget.Ending{}, budget.ErrEnded
	}
	return repeated(l.ending), nil
}

// switchAt is where a switch stands among the thrown ones, below zero if it is
// not thrown.
func (m *model) switchAt(name string) int {
	return slices.IndexFunc(m.thrown, func(s budget.Switch) bool { return s.Name == name })
}

func (m *model) throw(name string) budget.Switch {
	m.expire()
	i := m.switchAt(name)
	if i >= 0 && name != "global" {
		return m.thrown[i]
	}
	s := budget.Switch{Name: name, Number: m.next(), At: m.now}
	if i >= 0 {
		m.thrown = slices.Delete(slices.Clone(m.thrown), i, i+1)
	}
	m.thrown = append(slices.Clone(m.thrown), s)
	sort.Slice(m.thrown, func(i, j int) bool { return m.thrown[i].Name < m.thrown[j].Name })
	return s
}

func (m *model) lift(name string, event int64) budget.Switch {
	m.expire()
	i := m.switchAt(name)
	if i < 0 || event != 0 && m.thrown[i].Number != event {
		return budget.Switch{Name: name}
	}
	m.thrown = slices.Delete(slices.Clone(m.thrown), i, i+1)
	return budget.Switch{Name: name, Number: m.next(), At: m.now}
}

func (m *model) balances(claims []budget.Claim) (budget.Balances, error) {
	m.expire()
	b := budget.Balances{Number: m.number, At: m.now, Switches: m.thrown}
	for _, l := range m.leases {
		if l.end == "" {
			b.Open++
		}
	}
	for _, c := range claims {
		n, err := m.name(c)
		if err != nil {
			return budget.Balances{}, err
		}
		b.Observed = append(b.Observed, m.sees(n, c))
	}
	return b, nil
}

// sentinel is the error of package budget that err wraps.
func sentinel(err error) error {
	for _, s := range []error{budget.ErrUnavailable, budget.ErrLost, budget.ErrStalePolicy, budget.ErrWindow,
		budget.ErrDeadline, budget.ErrUnknownLease, budget.ErrEnded, budget.ErrInvalid, budget.ErrExists} {
		if errors.Is(err, s) {
			return s
		}
	}
	return err
}
