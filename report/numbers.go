package report

import (
	"fmt"
	"slices"
)

// maxGaps bounds the gaps in a tenant's events, which receipts that are still to come may fill.
const maxGaps = 1 << 18

// errGaps is the error of receipts that lack so much that what is there twice cannot be told any more.
var errGaps = fmt.Errorf("a tenant's events have more than %d gaps in these receipts; name the receipts of every replica", maxGaps)

// numbers are those of a tenant's events that were seen.
type numbers struct {
	spans []span // in order, none touching the next
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
	}
	return true
}

// missing is how many numbers are not there between the first and the last.
func (s *numbers) missing() (n int64) {
	for i := 1; i < len(s.spans); i++ {
		n += s.spans[i].first - s.spans[i-1].last - 1
	}
	return n
}

// note notes an event of a tenant, and reports whether it is new.
func (r *Reporter) note(tenant, epoch string, number int64) (fresh bool, err error) {
	of := life{tenant, epoch}
	known := r.events[of]
	if known == nil {
		known = &numbers{}
		r.events[of] = known
	}
	if fresh = known.add(number); len(known.spans) > maxGaps {
		return fresh, errGaps
	}
	return fresh, nil
}
