package redis

import (
	"sync"
	"time"
)

// sampleLife is how long the best reading of the server's clock is kept, so
// that a clock that was set is noticed.
const sampleLife = 10 * time.Second

// clock estimates a server's clock from the instants in its replies. A reply
// says what the server's clock showed at some moment between sending and
// receiving; the shorter that was, the better the reading.
type clock struct {
	mu     sync.Mutex
	behind int64 // ledger minus local milliseconds, at least
	trip   time.Duration
	read   time.Time
}

// observe takes a reading of the server's clock in milliseconds.
func (c *clock) observe(sent, received time.Time, server int64) {
	trip := received.Sub(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read.IsZero() || trip <= c.trip || received.Sub(c.read) > sampleLife {
		c.behind, c.trip, c.read = server-received.UnixMilli(), trip, received
	}
}

// forget makes the next reading count whatever its trip.
func (c *clock) forget() {
	c.mu.Lock()
	c.read = time.Time{}
	c.mu.Unlock()
}

// known reports whether there was a reading.
func (c *clock) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.read.IsZero()
}

// earliest turns a local instant into the server's milliseconds, early by at
// most one trip, so that a deadline is never moved back.
func (c *clock) earliest(local time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return local.UnixMilli() + c.behind
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(time.Duration(c.behind)*time.Millisecond + c.trip/2)
}
