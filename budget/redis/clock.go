package redis

import (
	"sync"
	"time"
)

const (
	// sampleLife is how long the best reading of the server's clock is kept, so
	// that clocks that drift apart are noticed.
	sampleLife = 10 * time.Second
	// sampleSlack is how far two readings of one clock may contradict each other,
	// which are in whole milliseconds.
	sampleSlack = 2 * time.Millisecond
)

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
	behind := server - received.UnixMilli()
	if c.read.IsZero() || trip <= c.trip || received.Sub(c.read) > sampleLife || c.contradicts(behind, trip) {
		c.behind, c.trip, c.read = behind, trip, received
	}
}

// contradicts reports whether a reading and the one that is kept cannot both be true:
// then one of the clocks was set.
func (c *clock) contradicts(behind int64, trip time.Duration) bool {
	later := time.Duration(behind-c.behind) * time.Millisecond
	return later > c.trip+sampleSlack || -later > trip+sampleSlack
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
