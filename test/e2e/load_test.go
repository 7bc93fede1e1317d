package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load sends requests from many clients until it is told to stop, and counts
// what they got.
type load struct {
	served, refused atomic.Int64
	stop            context.CancelFunc
	group           sync.WaitGroup
}

// loadClients is how many clients a load has.
const loadClients = 40

// start runs the load. Served or exhausted are right at any time, and a 503
// that says that the ledger is unavailable is while it is.
func (w *world) startLoad(replicas []*replica, seed uint64, q func(*rand.Rand) request) *load {
	l := new(load)
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = func() { cancel(); l.group.Wait() }
	w.t.Cleanup(l.stop)
	client := newClient(w.t)
	for i := range loadClients {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		l.group.Go(func() {
			for ctx.Err() == nil {
				resp, err := w.send(context.Background(), client, replicas[random.IntN(len(replicas))], q(random))
				l.count(w.t, resp, err)
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			}
		})
	}
	return l
}

func (l *load) count(t testing.TB, r response, err error) {
	switch {
	case err != nil || r.err != nil:
		t.Errorf("no answer: %v", errors.Join(err, r.err))
	case r.status == 200:
		l.served.Add(1)
	case r.status == 503 && r.code() == "ledger_unavailable" && r.header.Get("Retry-After") != "":
		l.refused.Add(1)
	case r.status == 402, r.status == 429:
	default:
		t.Errorf("unexpected answer: %d %s", r.status, r.body)
	}
}

// awaitServed waits until the load was served n more times.
func (l *load) awaitServed(t *testing.T, n int64) {
	t.Helper()
	from := l.served.Load()
	eventually(t, restLimit, func() error {
		if got := l.served.Load() - from; got < n {
			return fmt.Errorf("served %d, want %d", got, n)
		}
		return nil
	})
}

// awaitRefused is awaitServed for refusals.
func (l *load) awaitRefused(t *testing.T, n int64) {
	t.Helper()
	from := l.refused.Load()
	eventually(t, restLimit, func() error {
		if got := l.refused.Load() - from; got < n {
			return fmt.Errorf("refused %d, want %d", got, n)
		}
		return nil
	})
}
