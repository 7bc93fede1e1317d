package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

const (
	// smallStep is how far the wall clock may move against one that nobody sets and
	// be followed at once, as after a correction by NTP.
	smallStep = 10 * time.Second

	// stayLimit is how long a larger leap of the wall clock must last before it is
	// believed. Until then a server that leapt with it is found to be wrong, as is one
	// on the same machine.
	stayLimit = time.Minute
)

// ownClock is this replica's clock, which every verb tells the server: a server whose
// clock is another grants nothing and expires nothing. It is the wall clock, but that
// it does not follow a leap that may not stay.
type ownClock struct {
	mu      sync.Mutex
	read    func() (wall time.Time, elapsed time.Duration) // elapsed by a clock that nobody sets
	started bool
	offset  time.Duration // of the wall clock from elapsed, as it is believed
	leapt   time.Duration // as it is since the leap
	since   time.Duration // elapsed when it leapt; 0: it did not
}

// newOwnClock reads a wall clock; nil: the system's.
func newOwnClock(wall func() time.Time) *ownClock {
	if wall == nil {
		wall = time.Now
	}
	start := time.Now()
	return &ownClock{read: func() (time.Time, time.Duration) { return wall(), time.Since(start) }}
}

// now is the time in milliseconds.
func (c *ownClock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, elapsed := c.read()
	offset := time.Duration(wall.UnixNano()) - elapsed
	switch {
	case !c.started, near(offset, c.offset):
		c.started, c.offset, c.since = true, offset, 0
	case c.since == 0 || !near(offset, c.leapt):
		c.leapt, c.since = offset, max(elapsed, 1)
	case elapsed-c.since >= stayLimit:
		c.offset, c.since = offset, 0
	}
	return (c.offset + elapsed).Milliseconds()
}

func near(a, b time.Duration) bool { return a-b <= smallStep && b-a <= smallStep }

// errApart is the refusal of a ledger whose clock is so many milliseconds ahead of
// this replica's.
func errApart(verb string, apart int64) error {
	ahead := time.Duration(apart) * time.Millisecond
	return fmt.Errorf("%w: redis: %s: it is %v ahead of this replica's, at most %v either way; set the clock that is wrong",
		budget.ErrClock, verb, ahead, budget.MaxClocksApart)
}

// apart reads by how much the clocks disagree.
func (a *answer) apart(verb string) error {
	apart := a.int()
	if err := a.finished(verb); err != nil {
		return err
	}
	return errApart(verb, apart)
}

// checkClock compares a server's clock with this replica's.
func (l *Ledger) checkClock(ctx context.Context, node *redis.Client) error {
	before := l.own.now()
	told, err := node.Time(ctx).Result()
	if err != nil {
		return unavailable("time", err)
	}
	after := l.own.now()
	const most = int64(budget.MaxClocksApart / time.Millisecond)
	if ahead := told.UnixMilli() - after; ahead > most {
		return errApart("time", ahead)
	}
	if ahead := told.UnixMilli() - before; ahead < -most {
		return errApart("time", ahead)
	}
	return nil
}
