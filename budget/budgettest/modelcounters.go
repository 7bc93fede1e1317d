package budgettest

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// life is the uses of a counter since it last began from nothing, none if it
// is forgotten.
func (m *model) life(n counterName) (life []use) {
	for _, u := range m.uses {
		if u.counter != n {
			continue
		}
		if m.gone(life, u.at) {
			life = nil
		}
		life = append(life, u)
	}
	if m.gone(life, m.now) {
		return nil
	}
	return life
}

// gone reports whether a counter with these uses is forgotten at an instant.
func (m *model) gone(life []use, at int64) bool {
	open, length := 0, time.Duration(0)
	for _, u := range life {
		open += u.opens
		if u.opens > 0 {
			length = u.length
		}
	}
	if len(life) == 0 || open > 0 {
		return false
	}
	last := life[len(life)-1]
	switch last.counter.kind {
	case budget.Idle:
		return at >= last.at+length.Milliseconds()
	case budget.Rolling:
		bucket := (length.Milliseconds() + 59) / 60
		return at >= last.at+length.Milliseconds()+bucket
	case budget.Fixed:
		return at >= last.counter.span.End+(6*time.Hour+24*time.Hour).Milliseconds()
	}
	return false
}

// observe sums a counter from the leases of its life.
func (m *model) observe(n counterName) budget.Observed {
	o := budget.Observed{Span: n.span}
	spent, held := m.marks(n)
	o.Spent, o.Held = int64(len(spent)), int64(len(held))
	for _, u := range m.life(n) {
		if u.opens <= 0 {
			continue
		}
		for i, c := range u.lease.claims {
			if u.lease.counters[i] == n && c.Marks == nil {
				spent, held := m.stakes(u.lease, c)
				o.Spent += spent
				o.Held += held
			}
		}
	}
	return o
}

// marks are those of a counter that count: spent ones, of leases that have ended
// and were not released, and of the others those of open leases.
func (m *model) marks(n counterName) (spent, held map[string]bool) {
	spent, held = make(map[string]bool), make(map[string]bool)
	for _, u := range m.life(n) {
		if u.opens <= 0 || u.lease.end == budget.Released {
			continue
		}
		for i, c := range u.lease.claims {
			for _, mark := range c.Marks {
				if u.lease.counters[i] == n && u.lease.end == "" {
					held[mark] = true
				} else if u.lease.counters[i] == n {
					spent[mark] = true
				}
			}
		}
	}
	for mark := range spent {
		delete(held, mark)
	}
	return spent, held
}

// sees is what a claim observes of its counter, with how many of its marks are
// new.
func (m *model) sees(n counterName, c budget.Claim) budget.Observed {
	o := m.observe(n)
	spent, held := m.marks(n)
	for _, mark := range c.Marks {
		if !spent[mark] && !held[mark] {
			o.New++
		}
	}
	return o
}

// stakes is what a lease's claim adds to its counter now.
func (m *model) stakes(l *modelLease, c budget.Claim) (spent, held int64) {
	if l.end == "" && c.AtEnd == budget.Adjust {
		return 0, l.hold
	}
	if l.end == "" {
		return 0, c.Amount
	}
	if l.end == budget.Released && c.AtEnd != budget.Spend || c.AtEnd == budget.Return || m.left(l, c) {
		return 0, 0
	}
	if c.AtEnd == budget.Keep || c.AtEnd == budget.Spend {
		return c.Amount, 0
	}
	if c.AtEnd == budget.Adjust {
		return l.ending.Charge, 0
	}
	if l.end == budget.Expired { // nobody knows how many tokens were used
		return c.Amount, 0
	}
	if c.AtEnd == budget.Input {
		return l.used.Input, 0
	}
	if c.AtEnd == budget.Output {
		return l.used.Output, 0
	}
	return l.used.Input + l.used.Output, 0
}

// left reports whether a charge is no longer in its rolling window.
func (m *model) left(l *modelLease, c budget.Claim) bool {
	if c.Window.Kind != budget.Rolling {
		return false
	}
	length := c.Window.Length.Milliseconds()
	return m.now*60/length > l.chargeAt*60/length+60
}

// members is the live keys of a group.
func (m *model) members(group string) map[string]bool {
	latest := make(map[counterName]string)
	for _, u := range m.uses {
		if u.opens > 0 {
			latest[u.counter] = u.group
		}
	}
	keys := make(map[string]bool)
	for n, g := range latest {
		if g == group && len(m.life(n)) > 0 {
			keys[n.key] = true
		}
	}
	return keys
}
