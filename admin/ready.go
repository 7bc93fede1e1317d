package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

const (
	// lookEvery is the pause between two looks at the ledger, lookLimit how long
	// one may take.
	lookEvery = time.Second
	lookLimit = 2 * time.Second
	// lookAge is how old a look may be that is still told: one that is stuck has
	// not said that the ledger is ready.
	lookAge = 5 * time.Second
)

// Watch looks at a ledger again and again, so that readiness is told from memory:
// how often strangers ask for it costs the ledger nothing.
type Watch struct {
	look  func(context.Context) error
	first chan struct{} // closed after the first look
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu   sync.Mutex
	seen error
	at   time.Time
}

// StartWatch has look called every second until Close.
func StartWatch(look func(context.Context) error) *Watch {
	ctx, stop := context.WithCancel(context.Background())
	w := &Watch{look: look, first: make(chan struct{}), stop: stop}
	w.done.Go(func() { w.run(ctx) })
	return w
}

// Close ends the looks, and waits for one that runs.
func (w *Watch) Close() {
	w.stop()
	w.done.Wait()
}

func (w *Watch) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	w.once(ctx)
	close(w.first)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.once(ctx)
		}
	}
}

func (w *Watch) once(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	seen := w.look(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen, w.at = seen, time.Now()
}

// Ready is what was seen last. It waits for the first look, and is an error where
// the last one is too long ago.
func (w *Watch) Ready(ctx context.Context) error {
	select {
	case <-w.first:
	case <-ctx.Done():
		return fmt.Errorf("the ledger has not been looked at yet: %w", ctx.Err())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if age := time.Since(w.at); age > lookAge {
		return fmt.Errorf("the ledger has not answered a look for %s", age.Round(time.Second))
	}
	return w.seen
}

// readyLimit bounds how long an answer waits for the first look.
const readyLimit = 2 * time.Second

// readyOrNot is ready for strangers: the reason names hosts and files.
func (s server) readyOrNot(w http.ResponseWriter, r *http.Request) {
	if err := s.notReady(r); err != nil && !errors.Is(err, budget.ErrPartly) {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	w.Write([]byte("ready\n"))
}

func (s server) ready(w http.ResponseWriter, r *http.Request) {
	err := s.notReady(r)
	switch {
	case err == nil:
		w.Write([]byte("ready\n"))
	case errors.Is(err, budget.ErrPartly):
		fmt.Fprintf(w, "ready, but %v\n", err)
	default:
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
	}
}

var errDraining = errors.New("draining")

// notReady is why no request would be governed or, with budget.ErrPartly, why
// some would not. Balancers that heeded the latter would have one dead master of
// a cluster take everybody's requests away.
func (s server) notReady(r *http.Request) error {
	if s.Draining() {
		return errDraining
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyLimit)
	defer cancel()
	log, ledger := s.LogReady(), s.LedgerReady(ctx)
	if log != nil && errors.Is(ledger, budget.ErrPartly) {
		return fmt.Errorf("%w; and %v", log, ledger)
	}
	return errors.Join(log, ledger)
}
