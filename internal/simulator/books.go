package simulator

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Usage counts tokens.
type Usage struct {
	Prompt     int64
	Completion int64
	Cached     int64 // of Prompt
	Reasoning  int64 // of Completion

	CacheWrites int64 // of Prompt
	Searches    int64 // of the web
}

// Total is what the API calls total_tokens.
func (u Usage) Total() int64 { return u.Prompt + u.Completion }

func (u *Usage) add(v Usage) {
	u.Prompt += v.Prompt
	u.Completion += v.Completion
	u.Cached += v.Cached
	u.Reasoning += v.Reasoning
	u.CacheWrites += v.CacheWrites
	u.Searches += v.Searches
}

// Call is one request and what became of it. It is entered before the client
// can see its end: who has a complete answer finds it in the books.
type Call struct {
	Request
	Status     int   // sent, 0 where the connection ended before
	Billed     Usage // an answer below 300 is billed whether or not it arrives; see Config.StopsOnCancel
	SentBytes  int64 // of the body, handed to the connection
	SentTokens int64 // completion tokens in them
	Complete   bool  // the whole answer was handed to the connection
	HungUp     bool  // the client left first

	entered bool
}

// Totals sums every call that ended, and counts those under way.
type Totals struct {
	Received int64 // ended or under way
	Open     int64 // under way
	Peak     int64 // the most that were ever under way at once
	Complete int64
	HungUp   int64
	ByStatus map[int]int64 // calls that ended, by status sent
	Billed   Usage
}

// books are the provider's own record. Their zero value keeps no call.
type books struct {
	mu      sync.Mutex
	changed sync.Cond
	keep    int
	calls   []Call
	totals  Totals
}

// open enters a request that has just arrived.
func (b *books) open(r *http.Request) *Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.totals.Received++
	b.totals.Open++
	b.totals.Peak = max(b.totals.Peak, b.totals.Open)
	b.changed.Broadcast()
	return &Call{Request: Request{
		Number: b.totals.Received,
		Began:  time.Now(),
		Method: r.Method,
		Path:   r.URL.Path,
		Query:  r.URL.RawQuery,
		Header: r.Header.Clone(),
	}}
}

// close enters how the call ended, once.
func (b *books) close(c *Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.entered {
		return
	}
	c.entered = true
	b.totals.Open--
	b.totals.Billed.add(c.Billed)
	if c.Complete {
		b.totals.Complete++
	}
	if c.HungUp {
		b.totals.HungUp++
	}
	if b.totals.ByStatus == nil {
		b.totals.ByStatus = map[int]int64{}
	}
	b.totals.ByStatus[c.Status]++
	if c.Number <= int64(b.keep) {
		b.calls = append(b.calls, *c)
	}
	b.changed.Broadcast()
}

// Calls are the calls that ended, in the order of their arrival.
func (s *Server) Calls() []Call {
	s.books.mu.Lock()
	calls := slices.Clone(s.books.calls)
	s.books.mu.Unlock()
	slices.SortFunc(calls, func(a, b Call) int { return int(a.Number - b.Number) })
	return calls
}

// Totals are the sums at this moment.
func (s *Server) Totals() Totals {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	return s.books.snapshot()
}

func (b *books) snapshot() Totals {
	totals := b.totals
	totals.ByStatus = maps.Clone(b.totals.ByStatus)
	return totals
}

// Await waits until the totals satisfy a condition. The error says what they
// were when ctx ended.
func (s *Server) Await(ctx context.Context, condition func(Totals) bool) error {
	b := &s.books
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changed.Broadcast()
	})
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for !condition(b.snapshot()) {
		if ctx.Err() != nil {
			return fmt.Errorf("simulator still at %+v: %w", b.totals, ctx.Err())
		}
		b.changed.Wait()
	}
	return nil
}

// Idle is a condition for Await: nothing is under way.
func Idle(t Totals) bool { return t.Open == 0 }

// Leaks names every place in the kept calls where a secret was received: in a
// path, a query, a header or a body. A test gives it the clients' keys.
func (s *Server) Leaks(secret string) []string {
	var places []string
	for _, c := range s.Calls() {
		place := func(where string) { places = append(places, fmt.Sprintf("call %d: %s", c.Number, where)) }
		if strings.Contains(c.Path, secret) {
			place("path")
		}
		if strings.Contains(c.Query, secret) {
			place("query")
		}
		for _, name := range slices.Sorted(maps.Keys(c.Header)) {
			if strings.Contains(name+strings.Join(c.Header[name], ","), secret) {
				place("header " + name)
			}
		}
		if bytes.Contains(c.Body, []byte(secret)) {
			place("body")
		}
	}
	return places
}
