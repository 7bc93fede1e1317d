package gate

import (
	"context"
	"sync"
	"time"
)

// limited is a context that ends after a limit, whatever becomes of the
// request that it serves. Unlike context.WithTimeout it starts no timer before
// somebody waits for its end, which an embedded ledger never does.
type limited struct {
	request  context.Context // for its values
	deadline time.Time

	mu     sync.Mutex
	timer  context.Context // nil before somebody waits
	cancel context.CancelFunc
}

func limit(ctx context.Context, after time.Duration) *limited {
	l := new(limited)
	l.start(ctx, after)
	return l
}

// start begins a new one.
func (l *limited) start(ctx context.Context, after time.Duration) {
	l.request, l.deadline = ctx, time.Now().Add(after)
}

// stop ends the timer, if there is one. Nobody may use the context after it.
func (l *limited) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
}

// Deadline implements context.Context.
func (l *limited) Deadline() (time.Time, bool) { return l.deadline, true }

// Done implements context.Context.
func (l *limited) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		l.timer, l.cancel = context.WithDeadline(context.WithoutCancel(l.request), l.deadline)
	}
	return l.timer.Done()
}

// waited is the context with the timer, nil if nobody waits.
func (l *limited) waited() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.timer
}

// Err implements context.Context.
func (l *limited) Err() error {
	if timer := l.waited(); timer != nil {
		return timer.Err()
	}
	if time.Now().Before(l.deadline) {
		return nil
	}
	return context.DeadlineExceeded
}

// Value implements context.Context. A context that is made from this one finds
// the timer's by it.
func (l *limited) Value(key any) any {
	if timer := l.waited(); timer != nil {
		return timer.Value(key)
	}
	return context.WithoutCancel(l.request).Value(key)
}
