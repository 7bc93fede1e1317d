package redis_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lossy passes bytes between a client and a server, and can lose replies or hold
// them: the server has done the work, but nobody hears of it.
type lossy struct {
	listener net.Listener
	target   string
	toLose   atomic.Int64
	holding  atomic.Bool
	held     atomic.Int64 // connections whose reply is held
	released chan struct{}
	mu       sync.Mutex
	conns    []net.Conn
	running  sync.WaitGroup
}

func startLossy(t testing.TB, target string) *lossy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &lossy{listener: listener, target: target, released: make(chan struct{})}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *lossy) url() string { return "redis://" + p.listener.Addr().String() }

// lose drops the next n replies, each with its connection.
func (p *lossy) lose(n int64) { p.toLose.Store(n) }

// hold keeps every reply from now on, until release.
func (p *lossy) hold() { p.holding.Store(true) }

// release passes the held replies on. It is called once.
func (p *lossy) release() {
	p.holding.Store(false)
	close(p.released)
}

// mustHold waits until the replies of so many connections are held.
func (p *lossy) mustHold(t testing.TB, n int64) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); p.held.Load() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d replies are held, want %d", p.held.Load(), n)
		}
	}
}

func (p *lossy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.running.Go(func() {
			io.Copy(server, client)
			server.Close()
		})
		p.running.Go(func() {
			p.replies(client, server)
			client.Close()
		})
	}
}

func (p *lossy) replies(client, server net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if p.toLose.Add(-1) >= 0 {
			return
		}
		p.toLose.Store(0)
		if p.holding.Load() {
			p.held.Add(1)
			<-p.released
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *lossy) close() {
	p.listener.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}
