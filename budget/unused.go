package budget

import "container/heap"

// unused are counters in which no lease is open, in the order in which they have
// rested long enough: that of their last use, as all of them live equally long after it or
// until the same instant. Those in which a lease is open are not forgotten, and
// stand nowhere. See restsUntil.
type unused struct {
	of    unusedFor
	first *counter
	last  *counter
	due   int64 // when to look at the first, not after it is to be forgotten
}

// unusedFor is what counters that are forgotten in order of their last use have
// in common.
type unusedFor struct {
	kind   WindowKind
	length int64 // Rolling and Idle, milliseconds
	end    int64 // Fixed, when they have rested
}

// rest puts a counter in which no lease is open at the end of its like. One that
// has no end is never forgotten.
func (s *State) rest(c *counter) {
	if c.window.kind == Forever {
		return
	}
	if c.window.kind == Fixed && c.window.span.End <= s.at {
		c.marks = nil
	}
	u := s.unusedLike(c)
	c.unused, c.before, c.after = u, u.last, nil
	if u.first == nil {
		u.first = c
	} else {
		u.last.after = c
	}
	u.last = c
}

func (s *State) unusedLike(c *counter) *unused {
	of := unusedFor{kind: c.window.kind, length: c.length}
	if of.kind == Fixed {
		of.end = c.restsUntil()
	}
	u := s.resting[of]
	if u == nil {
		u = &unused{of: of, due: c.restsUntil()}
		s.resting[of] = u
		heap.Push(&s.unused, u)
	}
	return u
}

// take takes a counter from among the unused, if it is there.
func (c *counter) take() {
	u := c.unused
	if u == nil {
		return
	}
	if c.before == nil {
		u.first = c.after
	} else {
		c.before.after = c.after
	}
	if c.after == nil {
		u.last = c.before
	} else {
		c.after.before = c.before
	}
	c.unused, c.before, c.after = nil, nil, nil
}

// touch notes the use of a counter by what opens and ends no lease.
func (s *State) touch(c *counter, at int64) {
	c.lastUse = at
	if c.unused == nil {
		return
	}
	c.take()
	s.rest(c)
}

// forgetUnused forgets the counters whose time has come.
func (s *State) forgetUnused() {
	for len(s.unused) > 0 && s.unused[0].due <= s.at {
		u := s.unused[0]
		for u.first != nil && u.first.restsUntil() <= s.at {
			s.rested(u.first)
		}
		if u.first == nil {
			heap.Pop(&s.unused)
			delete(s.resting, u.of)
			continue
		}
		u.due = u.first.restsUntil()
		heap.Fix(&s.unused, 0)
	}
}

// rested forgets a counter; of one that is kept for the corrections of its window,
// the marks.
func (s *State) rested(c *counter) {
	c.take()
	if c.forgetAt() > s.at {
		s.rest(c)
		return
	}
	s.forget(c)
}

// restsUntil is when a counter that is not used by then is forgotten, or its marks:
// nobody asks for those of a window that has passed, and there may be many.
func (c *counter) restsUntil() int64 {
	if c.window.kind == Fixed && c.marks != nil {
		return c.window.span.End
	}
	return c.forgetAt()
}

// unusedQueue is a heap by when to look at them.
type unusedQueue []*unused

func (q unusedQueue) Len() int           { return len(q) }
func (q unusedQueue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q unusedQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

func (q *unusedQueue) Push(x any) { *q = append(*q, x.(*unused)) }

func (q *unusedQueue) Pop() any {
	old := *q
	u := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return u
}
