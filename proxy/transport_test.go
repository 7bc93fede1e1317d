package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
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

// TestServerThatClosesIdleConnections as soon as it has answered, without saying so in
// the answer: once that has arrived the next request has a connection of its own. Of
// one that could not be sent nothing is charged, TLS or not.
func TestServerThatClosesIdleConnections(t *testing.T) {
	const n = 20
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) {
			over := make(chan struct{}, n)
			up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":3,"completion_tokens":1}}`)
			})
			w := newWorld(t, setting{
				upstreams: []http.Handler{up}, secure: secure,
				listen: func(l net.Listener) net.Listener { return closingListener{l, over} },
				connState: func(c net.Conn, state http.ConnState) {
					if state == http.StateIdle {
						go c.Close()
					}
				},
			})
			for range n {
				mustAllow(t, w.post(chatPath, hello))
				<-over
			}
			w.upstreams[0].Close()
			if a := w.post(chatPath, hello); a.status != http.StatusBadGateway {
				t.Errorf("%+v", a)
			}
			var charged int64
			for _, s := range w.settled(n + 1) {
				charged += s.Charge
			}
			one := w.settled(1)[0].Charge
			if one == 0 || charged != n*one {
				t.Errorf("charged %d, want %d of %d each", charged, n, one)
			}
			w.mustBalance(n*one, 0)
		})
	}
}

// closingListener has connections that, when closed, wait for the other end to close
// too, and then say so.
type closingListener struct {
	net.Listener
	over chan<- struct{}
}

func (l closingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &closingConn{conn.(*net.TCPConn), l.over, new(sync.Once)}, nil
}

type closingConn struct {
	*net.TCPConn
	over chan<- struct{}
	once *sync.Once
}

func (c *closingConn) Close() error {
	c.once.Do(func() {
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(settleLimit))
		_, _ = io.Copy(io.Discard, c.TCPConn)
		c.over <- struct{}{}
	})
	return c.TCPConn.Close()
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
