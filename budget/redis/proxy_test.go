package redis_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// lossy passes bytes between a client and a server, and can lose replies: the
// server has done the work, but nobody hears of it.
type lossy struct {
	listener net.Listener
	target   string
	toLose   atomic.Int64
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
	p := &lossy{listener: listener, target: target}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *lossy) url() string { return "redis://" + p.listener.Addr().String() }

// lose drops the next n replies, each with its connection.
func (p *lossy) lose(n int64) { p.toLose.Store(n) }

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
