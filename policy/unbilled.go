package policy

import (
	"slices"
)

// Unbilled says when an answer costs nothing: one that came whole, with neither
// output nor usage in it.
type Unbilled uint8

const (
	// Never: its cost is unknown, whatever it says.
	Never Unbilled = iota
	// ByStream: where it is a stream that begins with an error, by the status that
	// the error names, or as a 500 without one.
	ByStream
	// ByError: where it carries an error that says something.
	ByError
	// ByErrorObject: where that is an error as the dialect writes one, an object with
	// a message.
	ByErrorObject
	// Always, whatever it says.
	Always
)

// The statuses that can be listed as unbilled or billed.
const (
	minStatus = 200
	maxStatus = 599
)

// Unbilled is what an HTTP status says of the bill. What the policy lists goes
// first; the rest holds in every dialect. A request that was refused (3xx, 4xx) or
// never begun (503, and 529 where a service is overloaded) was not answered by
// a model. A 500 says so where it is an error of the dialect's own shape, which a
// vendor's servers give in place of an answer; a gateway's does not. 408, 499, 502 and
// 504 never do: somebody stopped waiting for an answer that may have been generated.
func (u *Upstream) Unbilled(status int) Unbilled {
	success := 200 <= status && status <= 299
	switch {
	case slices.Contains(u.BilledStatuses, int64(status)):
		return Never
	case slices.Contains(u.UnbilledStatuses, int64(status)):
		if success {
			return ByError
		}
		return Always
	case success:
		return ByStream
	case status == 408 || status == 499:
		return Never
	case 300 <= status && status <= 499, status == 503, status == 529:
		return Always
	case status == 500:
		return ByErrorObject
	}
	return Never
}

// MayBeUnbilled reports whether an answer of that status, a stream or not, can
// cost nothing.
func (u *Upstream) MayBeUnbilled(status int, stream bool) bool {
	switch u.Unbilled(status) {
	case Never:
		return false
	case ByStream:
		return stream
	}
	return true
}

// statuses returns a list of HTTP statuses.
func (r *reader) statuses(w *words) []int64 {
	var list []int64
	for _, s := range r.each(w) {
		if n := r.count(&s, 0, minStatus, maxStatus); n > 0 {
			list = append(list, n)
		}
	}
	return list
}

// billing reads which statuses are billed, beside what the dialect says.
func (l *loader) billing(u *Upstream, d *upstreamDoc) {
	u.UnbilledStatuses, u.BilledStatuses = l.statuses(&d.UnbilledStatuses), l.statuses(&d.BilledStatuses)
	for _, status := range u.BilledStatuses {
		if slices.Contains(u.UnbilledStatuses, status) {
			l.refuse(&d.BilledStatuses.entry, "%d is in unbilled_statuses too; remove it from one of them", status)
		}
	}
}
