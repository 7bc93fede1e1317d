package proxy

import (
	"sync/atomic"
	"time"
)

// idleWatch cuts off an upstream that is waited for longer than a limit. One
// timer runs on its own and looks now and then: to set and stop one for each
// chunk of a stream took 2 % of a proxy's CPU.
type idleWatch struct {
	limit time.Duration
	cut   func()
	begun time.Time
	since atomic.Int64 // nanoseconds after begun; or one of the two below
	timer *time.Timer
}

const (
	notWaiting = -1
	watchOver  = -2
)

// watchIdle begins to wait for the upstream.
func watchIdle(limit time.Duration, cut func()) *idleWatch {
	w := &idleWatch{limit: limit, cut: cut, begun: time.Now()}
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Reset(limit) // not before look can find the timer
	return w
}

// wait says that the upstream is waited for from now on.
func (w *idleWatch) wait() { w.since.Store(int64(time.Since(w.begun))) }

// rest says that it is not.
func (w *idleWatch) rest() { w.since.Store(notWaiting) }

// stop ends the watch.
func (w *idleWatch) stop() {
	w.since.Store(watchOver)
	w.timer.Stop()
}

func (w *idleWatch) look() {
	left := w.limit
	switch since := w.since.Load(); since {
	case watchOver:
		return
	case notWaiting:
	default:
		left -= time.Since(w.begun) - time.Duration(since)
	}
	if left <= 0 {
		w.cut()
		return
	}
	w.timer.Reset(left)
}
