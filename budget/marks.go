package budget

import (
	"cmp"
	"fmt"
	"slices"
)

// marks are the marks that a counter knows, each with how many open leases bring
// it; spentMark if a lease that brought it has ended and was not released.
type marks map[string]int64

const spentMark = 0

// unknown counts the marks of a list that are not known.
func (m marks) unknown(list []string) int64 {
	n := int64(0)
	for _, mark := range list {
		if _, known := m[mark]; !known {
			n++
		}
	}
	return n
}

// held counts the marks that open leases bring and that are not spent.
func (m marks) held() int64 {
	n := int64(0)
	for _, leases := range m {
		if leases != spentMark {
			n++
		}
	}
	return n
}

// with adds the marks of one more open lease.
func (m marks) with(list []string) marks {
	if m == nil {
		m = make(marks)
	}
	for _, mark := range list {
		m[mark]++
	}
	return m
}

// broughtBy reports whether these are the marks that open leases bring, and spent
// ones.
func (m marks) broughtBy(open marks) bool {
	for mark, leases := range m {
		if leases != spentMark && leases != open[mark] {
			return false
		}
	}
	return open.unknownTo(m) == 0
}

// unknownTo counts the marks that others do not have.
func (m marks) unknownTo(others marks) int {
	n := 0
	for mark := range m {
		if _, known := others[mark]; !known {
			n++
		}
	}
	return n
}

// know adds the marks of a new lease, of which so many are new. What they hold is
// not its matter.
func (c *counter) know(list []string, fresh int64) {
	if c.marks == nil && len(list) > 0 {
		c.marks = make(marks, len(list))
	}
	if fresh == int64(len(list)) {
		for _, mark := range list {
			c.marks[mark] = 1
		}
		return
	}
	for _, mark := range list {
		if leases, known := c.marks[mark]; !known || leases != spentMark {
			c.marks[mark] = leases + 1
		}
	}
}

// giveBack takes what a lease holds for one of its claims off the counter, as it
// ends in a way. Marks that are not released are spent.
func (c *counter) giveBack(l *lease, claim int, end EventKind) {
	list := l.claims[claim].Marks
	if len(list) == 0 {
		c.held -= l.holdOf(claim)
		return
	}
	for _, mark := range list {
		switch leases := c.marks[mark]; {
		case leases == spentMark:
		case end != Released:
			c.marks[mark] = spentMark
			c.held--
			c.spent++
		case leases > 1:
			c.marks[mark]--
		default:
			delete(c.marks, mark)
			c.held--
		}
	}
}

// snapshot lists the marks by name.
func (m marks) snapshot() []Mark {
	if len(m) == 0 {
		return nil
	}
	list := make([]Mark, 0, len(m))
	for name, leases := range m {
		list = append(list, Mark{name, leases})
	}
	slices.SortFunc(list, func(a, b Mark) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func loadMarks(list []Mark) marks {
	if len(list) == 0 {
		return nil
	}
	m := make(marks, len(list))
	for _, one := range list {
		m[one.Name] = one.Leases
	}
	return m
}

func (c *Claim) validateMarks() error {
	if len(c.Marks) == 0 {
		return nil
	}
	if c.Limit > MaxMarkedLimit {
		return fmt.Errorf("%w: a limit of %d with marks, at most %d", ErrInvalid, c.Limit, MaxMarkedLimit)
	}
	if c.AtEnd != Keep || c.Window.Kind == Rolling {
		return fmt.Errorf("%w: marks are kept, and in no rolling window", ErrInvalid)
	}
	return nil
}

// validateMarkNames is what a counter is asked for with, too.
func (c *Claim) validateMarkNames() error {
	if len(c.Marks) > MaxMarks {
		return fmt.Errorf("%w: %d marks, at most %d", ErrInvalid, len(c.Marks), MaxMarks)
	}
	for i, mark := range c.Marks {
		if err := ValidName(mark); err != nil {
			return fmt.Errorf("mark: %w", err)
		}
		if slices.Contains(c.Marks[:i], mark) {
			return fmt.Errorf("%w: mark %q is there twice", ErrInvalid, mark)
		}
	}
	return nil
}
