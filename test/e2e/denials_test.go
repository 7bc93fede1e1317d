package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

const (
	floodDenials = 640
	floodClients = 16
	// toldEach is how many receipts tell of a second of denials for one reason: the
	// policy's default, and that which counts the others.
	toldEach = 10 + 1
)

// TestFloodOfDenials has a tenant without budget ask on and on. Every answer names
// a receipt that is there after a clean stop, all together tell of every denial, and
// they are few. A proxy that is killed owes a last second of counts at most, and its
// receipts verify and replay.
func TestFloodOfDenials(t *testing.T) {
	for _, d := range deployments {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(1))
			replicas := d.up(t, w)
			named, most := map[string]bool{}, 0
			for _, r := range replicas {
				most += toldEach * (w.flood(r, named) + 1)
				r.stop()
			}
			told, receipts := int64(0), 0
			for _, r := range replicas {
				for _, receipt := range r.receipts() {
					if decision, ok := receipt.Body.(audit.Decision); ok {
						told, receipts = told+decision.Told(), receipts+1
						delete(named, receipt.ID())
					}
				}
			}
			if want := int64(floodDenials * d.replicas); told != want || len(named) > 0 {
				t.Errorf("told of %d denials, want %d; %d named receipts are not there: %v", told, want, len(named), named)
			}
			if receipts > most {
				t.Errorf("%d receipts, want at most %d", receipts, most)
			}
			again := w.start("replica0", replicas[0].ledgerArgs()...)
			w.flood(again, named)
			again.kill()
			again = w.start("replica0", replicas[0].ledgerArgs()...)
			again.stop()
			replicas[0] = again
			verifyAll(t, replicas)
			args := []string{"replay", "--policy", w.policy}
			for _, r := range replicas {
				args = append(args, r.data)
			}
			if out, err := aegis(t, args...); err != nil || !strings.Contains(out, "denied") {
				t.Errorf("replay: %v\n%s", err, out)
			}
		})
	}
}

// flood has a replica deny many requests, and notes which receipts its answers name.
// It returns the seconds that were begun meanwhile.
func (w *world) flood(r *replica, named map[string]bool) int {
	w.t.Helper()
	start := time.Now()
	client := newClient(w.t)
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var clients sync.WaitGroup
	for range floodClients {
		clients.Go(func() {
			for range floodDenials / floodClients {
				resp, err := w.send(context.Background(), client, r, request{cap: outputCap})
				if err == nil {
					err = wantStatus(resp, 402)
				}
				id := resp.header.Get("X-Aegis-Receipt")
				if err != nil || id == "" {
					w.t.Error(fmt.Sprint("receipt ", id), err)
					return
				}
				mu.Lock()
				named[id] = true
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	return int(time.Since(start)/time.Second) + 1
}
