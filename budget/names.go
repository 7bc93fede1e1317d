package budget

import "iter"

// The counters of a key stand in a list, the newest span first, which State finds
// by the key: that is the one that requests ask for. Windows that do not end have
// the zero span, and stand last.

// spot is where the counter of a claim is, or would be.
type spot struct {
	newest  *counter // of the key; nil without
	counter *counter // of the key and window; nil without
}

// find is the counter of a claim in a span.
func (s *State) find(c *Claim, span Span) spot {
	newest := s.counters[c.Key]
	return spot{newest, newest.in(lifetimeOf(c, span))}
}

// in finds, from this counter on, the one of a window.
func (c *counter) in(window lifetime) *counter {
	for c != nil && c.window.span.Start > window.span.Start {
		c = c.older
	}
	for c != nil && c.window.span.Start == window.span.Start {
		if c.window == window {
			return c
		}
		c = c.older
	}
	return nil
}

// live reports whether the key of this counter, its newest, is one of a group's.
func (c *counter) live(group string) bool {
	for ; c != nil; c = c.older {
		if c.group == group {
			return true
		}
	}
	return false
}

// addCounter puts a counter into the list of its key, whose newest one is given.
func (s *State) addCounter(c, newest *counter) {
	if newest == nil || newest.window.span.Start < c.window.span.Start {
		c.link(nil, newest)
		s.counters[c.key] = c
		return
	}
	at := newest
	for at.older != nil && at.older.window.span.Start >= c.window.span.Start {
		at = at.older
	}
	c.link(at, at.older)
}

// each goes through all counters, in no order.
func (s *State) each() iter.Seq[*counter] {
	return func(yield func(*counter) bool) {
		for _, c := range s.counters {
			for ; c != nil; c = c.older {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// link puts a counter between two of its key.
func (c *counter) link(newer, older *counter) {
	c.newer, c.older = newer, older
	if newer != nil {
		newer.older = c
	}
	if older != nil {
		older.newer = c
	}
}

// forget drops a counter that is not among the unused.
func (s *State) forget(c *counter) {
	s.joinGroup(c, "")
	switch {
	case c.newer != nil:
		c.newer.older = c.older
	case c.older != nil:
		s.counters[c.key] = c.older
	default:
		delete(s.counters, c.key)
	}
	if c.older != nil {
		c.older.newer = c.newer
	}
}

// joinGroup makes a counter one of a group, and no longer one of another; "" is
// none. A key is live in a group as long as one of its counters is.
func (s *State) joinGroup(c *counter, group string) {
	if c.group == group {
		return
	}
	before := c.group
	c.group = ""
	if before != "" && !c.sharesIn(before) {
		s.groups[before]--
	}
	if s.groups[before] == 0 {
		delete(s.groups, before)
	}
	if group != "" && !c.sharesIn(group) {
		s.groups[group]++
	}
	c.group = group
}

// sharesIn reports whether another counter of the key is one of the group's.
func (c *counter) sharesIn(group string) bool {
	for other := c.newer; other != nil; other = other.newer {
		if other.group == group {
			return true
		}
	}
	return c.older.live(group)
}
