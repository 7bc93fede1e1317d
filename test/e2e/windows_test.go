package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// minutely is a budget of so many nano-USD a minute.
func minutely(limit int64) string {
	return fmt.Sprintf(`budgets: [{name: daily, window: minute, limit_usd: "%s"}]`, usd(limit))
}

// TestCallSpansWindow has a stream run over the end of its budget's window,
// which it fills. Its hold and its charge stay in the window that it began in:
// the next one is empty while it still runs, and after it has ended.
func TestCallSpansWindow(t *testing.T) {
	for _, d := range deployments {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			spanWindow(t, d)
		})
	}
}

func spanWindow(t *testing.T, d deployment) {
	q := request{cap: outputCap, stream: true}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt, Script: untilTurn}, minutely(one))
	replicas := d.up(t, w)
	last := replicas[len(replicas)-1]
	time.Sleep(time.Until(nextMinute().Add(-beforeTurn)))
	turn := nextMinute()
	stream := w.open(replicas[0], q, 1)[0]
	checkStanding(t, last, standing(0, one))
	if err := wantStatus(w.must(last, q), 429); err != nil {
		t.Errorf("in the stream's window: %v", err)
	}

	time.Sleep(time.Until(turn.Add(time.Second)))
	checkStanding(t, last, standing(0, 0))
	if err := wantStatus(w.must(last, q), 200); err != nil {
		t.Errorf("in the next window: %v", err)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Error(err)
	}
	checkStanding(t, last, standing(one, 0))
	for _, r := range replicas {
		r.stop()
	}
	verifyAll(t, replicas)
	checkSpans(t, replicas, turn)
}

// beforeTurn is how long before the end of its window the stream begins. It
// lasts twice as long.
const beforeTurn = 5 * time.Second

// untilTurn answers the first request over the end of a window, and others at
// once.
func untilTurn(r *simulator.Request) simulator.Answer {
	if r.Number == 1 {
		return simulator.Answer{TokenDelay: 2 * beforeTurn / outputCap}
	}
	return simulator.Answer{}
}

// nextMinute is when the current minute's window ends.
func nextMinute() time.Time { return time.Now().Truncate(time.Minute).Add(time.Minute) }

// checkSpans checks that two calls were granted, one in each window beside the
// turn, and that the first was charged after it.
func checkSpans(t *testing.T, replicas []*replica, turn time.Time) {
	t.Helper()
	at := turn.UnixMilli()
	old, late := "", false
	for _, r := range replicas {
		for _, receipt := range r.receipts() {
			if d, ok := receipt.Body.(audit.Decision); ok && d.Verdict == audit.Allow && d.Claims[0].End == at {
				old = d.Lease
			}
		}
	}
	for _, r := range replicas {
		for _, receipt := range r.receipts() {
			if s, ok := receipt.Body.(audit.Settlement); ok && s.Lease == old {
				late = s.At >= at && s.Charge > 0
			}
		}
	}
	if old == "" || !late {
		t.Errorf("no call was granted before the turn and charged after it")
	}
}

// clockAhead is how far the ledger's clock is from the replicas'.
const clockAhead = 17 * time.Minute

// TestClocksApart runs Redis with a clock that is minutes ahead of the
// replicas'. Windows follow the ledger's clock alone, so budgets work as ever.
func TestClocksApart(t *testing.T) {
	q := request{cap: outputCap}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, `budgets:
  - {name: daily, window: month, limit_usd: "`+usd(4*one)+`"}
  - {name: short, window: minute, limit_usd: "`+usd(100*one)+`"}`)
	t.Setenv("AEGIS_REDIS_SERVER", w.redisAhead(clockAhead))
	_, replicas := w.onRedis(2)
	w.serve(replicas, q)
	w.serve(replicas, q)
	for _, r := range replicas {
		if err := wantStatus(w.must(r, q), 402); err != nil {
			t.Error(err)
		}
	}
	checkStanding(t, replicas[0], standing(4*one, 0))
	for _, r := range replicas {
		r.stop()
	}
	verifyAll(t, replicas)
	ahead := time.Now().Add(clockAhead / 2).UnixMilli()
	for _, r := range replicas {
		for _, receipt := range r.receipts() {
			d, ok := receipt.Body.(audit.Decision)
			if !ok || d.Verdict != audit.Allow {
				continue
			}
			for _, c := range d.Claims {
				if d.At < ahead || d.At < c.Start || d.At >= c.End {
					t.Errorf("decided at %d in the window [%d, %d) by %s", d.At, c.Start, c.End, c.Rule)
				}
			}
		}
	}
}

// redisAhead writes a program that runs Redis with a clock of its own, by
// libfaketime.
func (w *world) redisAhead(by time.Duration) string {
	w.t.Helper()
	faketime, err := exec.LookPath("faketime")
	if err != nil {
		w.t.Fatal("no faketime on PATH: run make tools")
	}
	text := fmt.Sprintf("#!/bin/sh\nexec %s -f +%ds %s \"$@\"\n", faketime, int(by.Seconds()), redistest.Binary(w.t))
	path := filepath.Join(w.dir, "redis-ahead")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		w.t.Fatal(err)
	}
	return path
}
