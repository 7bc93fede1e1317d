package report

import "slices"

// maxGaps bounds the gaps in a tenant's events that are waited for. The oldest is given up for it:
// receipts come nearly in order, so that what is missing so long ago is missing for good.
const maxGaps = 4096

// numbers are those of a tenant's events that were seen.
type numbers struct {
	spans []span // in order, none touching the next
	gone  int64  // numbers in gaps that were given up
}

// span is the numbers from first to last.
type span struct{ first, last int64 }

// add notes a number, and reports whether it is new.
func (s *numbers) add(n int64) bool {
	i, in := slices.BinarySearchFunc(s.spans, n, func(at span, n int64) int {
		switch {
		case at.last < n:
			return -1
		case at.first > n:
			return 1
		}
		return 0
	})
	if in {
		return false
	}
	after := i > 0 && s.spans[i-1].last == n-1
	before := i < len(s.spans) && s.spans[i].first == n+1
	switch {
	case after && before:
		s.spans[i-1].last = s.spans[i].last
		s.spans = slices.Delete(s.spans, i, i+1)
	case after:
		s.spans[i-1].last = n
	case before:
		s.spans[i].first = n
	default:
		s.spans = slices.Insert(s.spans, i, span{n, n})
		s.giveUp()
	}
	return true
}

// giveUp closes the oldest gap where there are too many.
func (s *numbers) giveUp() {
	if len(s.spans) <= maxGaps {
		return
	}
	s.gone += s.spans[1].first - s.spans[0].last - 1
	s.spans[0].last = s.spans[1].last
	s.spans = slices.Delete(s.spans, 1, 2)
}

// missing is how many numbers are not there between the first and the last.
func (s *numbers) missing() int64 {
	n := s.gone
	for i := 1; i < len(s.spans); i++ {
		n += s.spans[i].first - s.spans[i-1].last - 1
	}
	return n
}

// note notes an event of a tenant, and reports whether it is new.
func (r *Reporter) note(tenant, epoch string, number int64) bool {
	of := life{tenant, epoch}
	known := r.events[of]
	if known == nil {
		known = &numbers{}
		r.events[of] = known
	}
	return known.add(number)
}
