package e2e

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// TestDrain tells a proxy to stop while streams run. It says that it is not
// ready, lets them finish, settles them and ends with 0.
func TestDrain(t *testing.T) {
	for _, d := range []deployment{{"embedded", 1, false}, {"redis", 1, true}} {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, simulator.Config{CountPrompt: exactPrompt, Script: briefly}, monthly(ample))
			r := d.up(t, w)[0]
			streams := w.open(r, request{cap: outputCap, stream: true}, 3)
			r.cmd.Process.Signal(syscall.SIGTERM)
			awaitLog(t, r, `"msg":"draining"`)
			if status, why := r.ready(); status != 503 || !strings.Contains(why, "draining") {
				t.Errorf("/readyz says %d %s", status, why)
			}
			for _, s := range streams {
				body, err := io.ReadAll(s.Body)
				if err != nil || !strings.HasSuffix(string(body), "data: [DONE]\n\n") {
					t.Errorf("a stream was cut: %v, it ends with %.40q", err, body[max(0, len(body)-40):])
				}
			}
			endsWell(t, r)
			again := w.start("replica0", r.ledgerArgs()...)
			checkStanding(t, again, standing(w.billed(), 0))
			again.stop()
			verifyAll(t, []*replica{again})
		})
	}
}

// endsWell waits until a proxy that was told to has ended with 0.
func endsWell(t *testing.T, r *replica) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(stopLimit):
		t.Fatalf("the proxy did not end within %v", stopLimit)
	}
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the proxy ended with %d", code)
	}
}

// TestDrainLimit has streams outlast the drain limit. They are cut and charged
// their holds at once, which is what this provider bills.
func TestDrainLimit(t *testing.T) {
	for _, d := range []deployment{{"embedded", 1, false}, {"redis", 1, true}} {
		t.Run(d.name, func(t *testing.T) {
			q := request{cap: outputCap, stream: true}
			w := newWorld(t, simulator.Config{CountPrompt: exactPrompt, Script: lasting}, monthly(100*bound(t, q)))
			ledger := d.up(t, w)[0]
			r := w.start("replica1", append(ledger.ledgerArgs(), "--drain-limit", "500ms")...)
			streams := w.open(r, q, 3)
			r.cmd.Process.Signal(syscall.SIGTERM)
			for _, s := range streams {
				if _, err := io.Copy(io.Discard, s.Body); err == nil {
					t.Error("a stream that outlasts the drain limit seems whole")
				}
			}
			endsWell(t, r)
			w.await(simulator.Idle)
			again := w.start("replica1", ledger.ledgerArgs()...)
			checkStanding(t, again, standing(w.billed(), 0))
			again.stop()
			verifyAll(t, []*replica{again})
		})
	}
}
