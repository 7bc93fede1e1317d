package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

const (
	crashes      = 4  // kills of each proxy
	crashClients = 20 // that ask at the same time
	crashServed  = 60 // requests served between two kills
)

// crashModels are what clients ask for. Nothing is left for the second: it is served by the first.
var crashModels = []string{"gpt-4o-mini", "gpt-4o", "gpt-4o-mini"}

// TestCrashesUnderLoad kills the proxies again and again, wherever they are in
// whatever they do, under load. In the end nothing is held, nothing that the
// provider billed is missing from what is spent, and the receipts alone give
// the same balance.
func TestCrashesUnderLoad(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		w := crashWorld(t)
		replicas := []*replica{w.start("replica0")}
		w.crash(replicas)
		w.checkCrashed(replicas, func() *replica {
			data := replicas[0].data
			if err := os.RemoveAll(filepath.Join(data, "ledger")); err != nil {
				t.Fatal(err)
			}
			if out, err := aegis(t, "ledger", "rebuild", "--data", data); err != nil {
				t.Fatalf("rebuild: %v\n%s", err, out)
			}
			return w.start("replica0")
		})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		w := crashWorld(t)
		server, replicas := w.onRedis(2)
		w.crash(replicas)
		w.checkCrashed(replicas, func() *replica { return w.rebuilt(server, replicas) })
	})
}

func crashWorld(t *testing.T) *world {
	one := bound(t, request{cap: outputCap})
	return newWorld(t, simulator.Config{
		CountPrompt: exactPrompt,
		Script:      simulator.Always(simulator.Answer{Latency: 10 * time.Millisecond}),
	}, downgrading("0.000000001", fmt.Sprintf(`{name: daily, window: month, limit_usd: "%s"}`, usd(1000*one))))
}

// rebuilt wipes Redis, rebuilds it from the receipts of replicas, and starts
// one of them.
func (w *world) rebuilt(server *redistest.Server, replicas []*replica) *replica {
	w.t.Helper()
	server.WipeData()
	server.Restart()
	if out, err := aegis(w.t, rebuildArgs(server, replicas)...); err != nil {
		w.t.Fatalf("rebuild: %v\n%s", err, out)
	}
	return w.start(filepath.Base(replicas[0].data), replicas[0].ledgerArgs()...)
}

// crash kills each replica under load and starts it again, some times over.
// The replicas in the list are replaced.
func (w *world) crash(replicas []*replica) {
	w.t.Helper()
	seed := rand.Uint64()
	w.t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range crashes {
		for i, r := range replicas {
			pause := time.Duration(random.IntN(20)) * time.Millisecond
			w.askUntilKilled(r, pause)
			replicas[i] = w.start(filepath.Base(r.data), r.ledgerArgs()...)
		}
	}
}

// askUntilKilled sends requests from many clients, and kills the replica a
// while after it has served enough.
func (w *world) askUntilKilled(r *replica, pause time.Duration) {
	client := newClient(w.t)
	var served atomic.Int64
	var group sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range crashClients {
		q := request{cap: outputCap, stream: i%2 == 0, model: crashModels[i%len(crashModels)]}
		group.Go(func() {
			for ctx.Err() == nil {
				resp, err := w.send(ctx, client, r, q)
				if err != nil || resp.err != nil {
					return // it is dead
				}
				if resp.status != 200 {
					w.t.Errorf("got %d %s", resp.status, resp.body)
					return
				}
				if served.Add(1) == crashServed {
					time.AfterFunc(pause, r.kill)
				}
			}
		})
	}
	group.Wait()
	r.kill()
}

// checkCrashed waits until all is at rest, stops the replicas and compares
// ledger, receipts and the provider's books.
func (w *world) checkCrashed(replicas []*replica, rebuild func() *replica) {
	w.t.Helper()
	w.await(simulator.Idle)
	eventuallyAtRest(w.t, replicas[0])
	awaitComplete(w.t, replicas)
	spent := replicas[0].balances()["daily"].Spent
	for _, r := range replicas {
		r.stop()
	}
	checkGranted(w.t, w, replicas)
	verifyAll(w.t, replicas)
	w.mustReplay(replicas)
	checkReported(w.t, replicas, spent)
	billed, charged := w.billed(), charges(replicas)
	w.t.Logf("spent %s, the provider billed %s", spent, standing(billed, 0).Spent)
	if want := standing(charged, 0).Spent; spent != want || charged < billed {
		w.t.Errorf("spent %s; receipts charge %s, the provider billed %d nano-USD", spent, want, billed)
	}
	r := rebuild()
	if got := r.balances()["daily"]; got.Spent != spent || got.Held != "0.00" {
		w.t.Errorf("rebuilt: spent %s, held %s; want spent %s", got.Spent, got.Held, spent)
	}
	r.stop()
}

// charges adds up what receipts say was charged, each event once.
func charges(replicas []*replica) int64 {
	seen := map[int64]bool{}
	var sum int64
	add := func(event, amount int64) {
		if !seen[event] {
			seen[event] = true
			sum += amount
		}
	}
	for _, r := range replicas {
		for _, receipt := range r.receipts() {
			switch body := receipt.Body.(type) {
			case audit.Settlement:
				add(body.Event, body.Charge)
			case audit.Event:
				if body.Name == "expire" || body.Name == "settle" {
					add(body.Event, body.Amount)
				}
			}
		}
	}
	return sum
}
