package proxy_test

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// TestIdleConnectionIsClosedHereFirst: not by the upstream, whose closing might meet
// the next request.
func TestIdleConnectionIsClosedHereFirst(t *testing.T) {
	closed := make(chan struct{}, 8)
	w, sim := simulated(t, simulator.Config{}, setting{
		upstream: ", keepalive_timeout: 50ms",
		connState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				closed <- struct{}{}
			}
		},
	})
	for range 2 {
		mustAllow(t, w.post(chatPath, hello))
		select {
		case <-closed:
		case <-time.After(30 * time.Second):
			t.Fatal("the idle connection is kept")
		}
	}
	if sim.Totals().Received != 2 {
		t.Errorf("%d requests arrived", sim.Totals().Received)
	}
}

// TestConnectionsAreKeptForLessThanServersDo: uvicorn and Node close after 5 s.
func TestConnectionsAreKeptForLessThanServersDo(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{})
	for name, upstream := range w.policy.Upstreams {
		if upstream.Keepalive <= 0 || upstream.Keepalive >= 5*time.Second {
			t.Errorf("%s: idle connections are kept for %v", name, upstream.Keepalive)
		}
	}
}
