package oxdeai

import (
	"errors"
	"sync"
)

// MaxConsumedIDs bounds the ids that ConsumedIDs keeps at once, in entries.
const MaxConsumedIDs = 1 << 20

// ErrTooManyIDs: a ConsumedIDs holds MaxConsumedIDs ids that have not expired.
var ErrTooManyIDs = errors.New("too many used ids that have not expired")

// ConsumedIDs is a record of used ids in memory, for one process. The zero value is empty and ready. It is safe for concurrent use.
type ConsumedIDs struct {
	mu     sync.Mutex
	expiry map[string]int64
	swept  int64 // the time of the last sweep, Unix seconds; 0 before the first
	limit  int   // entries; 0 is MaxConsumedIDs
}

// Consume is a ConsumeFunc. A full record forgets expired ids, at most once for each second of now, and fails if none goes.
func (c *ConsumedIDs) Consume(id string, expiry, now int64) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, used := c.expiry[id]; used || expiry <= c.swept {
		return false, nil // what a sweep may have forgotten counts as used, even if the clock went back
	}
	if c.full() {
		c.sweep(now)
	}
	if c.full() {
		return false, ErrTooManyIDs
	}
	if c.expiry == nil {
		c.expiry = make(map[string]int64)
	}
	c.expiry[id] = expiry
	return true, nil
}

func (c *ConsumedIDs) full() bool {
	limit := c.limit
	if limit == 0 {
		limit = MaxConsumedIDs
	}
	return len(c.expiry) >= limit
}

// sweep forgets ids that no verifier accepts any more: an artifact is expired from its expiry on.
func (c *ConsumedIDs) sweep(now int64) {
	if now <= c.swept {
		return
	}
	c.swept = now
	for id, expiry := range c.expiry {
		if expiry <= now {
			delete(c.expiry, id)
		}
	}
}
