package gate

import (
	"sync/atomic"
	"time"
)

// complainEvery is how often the same kind of trouble is logged: with the
// ledger away, every request has it.
const complainEvery = time.Second

// complaints lets one line through in complainEvery and counts the others.
type complaints struct {
	next   atomic.Int64 // nanoseconds of the Unix epoch
	silent atomic.Int64
}

// complain logs trouble that many requests may share.
func (g *Gate) complain(message string, args ...any) {
	now, next := time.Now().UnixNano(), g.complaints.next.Load()
	if now < next || !g.complaints.next.CompareAndSwap(next, now+int64(complainEvery)) {
		g.complaints.silent.Add(1)
		return
	}
	g.logger.Error(message, append(args, "more_like_it", g.complaints.silent.Swap(0))...)
}
