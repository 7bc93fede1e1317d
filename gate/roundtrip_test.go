package gate_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestDecisionIsOneRoundTrip: with every module on, a decision sends Redis one
// command, whatever the answer.
func TestDecisionIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allModules)
	server := redistest.Start(t)
	tap := startTap(t, server.Addr())
	ledger, err := redis.Dial(redis.Config{URL: "redis://" + tap.listener.Addr().String(), AcceptDurability: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	ctx := context.Background()
	if err := ledger.Provision(ctx, "acme"); err != nil {
		t.Fatal(err)
	}
	g := gate.New(gate.Config{Ledger: ledger, Log: w.audit, Outbox: w.outbox})
	bid := everyClaim(w)
	nonce := 0
	for _, row := range []struct {
		name   string
		output int64
		before func() error
		want   call.Reason
		sends  string
	}{
		// The first sees the policy, and the server learns the script.
		{"warming up", 100, func() error { return nil }, "", ""},
		{"granted", 100, func() error { return nil }, "", "evalsha"},
		{"denied by the ledger", 100, func() error { nonce--; return nil }, policy.ReplayedRequest, "evalsha"},
		{"denied by a verdict", 1e9, func() error { return nil }, policy.RequestCapExceeded, ""},
		{"stopped by a switch", 100, func() error { _, err := ledger.Throw(ctx, "acme", policy.RunSwitch("run-1")); return err },
			policy.Killed, "evalsha"},
	} {
		if err := row.before(); err != nil {
			t.Fatal(err)
		}
		nonce++
		bid.Nonce, bid.OutputCap = call.HashName(strconv.Itoa(nonce)), row.output
		tap.forget()
		_, denial := g.Decide(ctx, bid)
		if got := denialReason(denial); got != row.want {
			t.Errorf("%s: denied with %q, want %q", row.name, got, row.want)
		}
		if sent := strings.Join(tap.forget(), " "); row.name != "warming up" && sent != row.sends {
			t.Errorf("%s: sent %q, want %q", row.name, sent, row.sends)
		}
	}
}

func denialReason(d *call.Denial) call.Reason {
	if d == nil {
		return ""
	}
	return d.Reason
}

// tap passes bytes between clients and a Redis server, and writes down the
// commands.
type tap struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	commands []string
	conns    []net.Conn
	running  sync.WaitGroup
}

func startTap(t *testing.T, target string) *tap {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{listener: listener, target: target}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *tap) close() {
	p.listener.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// forget returns the commands since it was last called.
func (p *tap) forget() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	commands := p.commands
	p.commands = nil
	return commands
}

func (p *tap) accept() {
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
		p.running.Go(func() { io.Copy(client, server); client.Close() })
		p.running.Go(func() { p.pass(client, server); server.Close() })
	}
}

// pass passes commands on, arrays of bulk strings, to the end. Each is written down
// before the server has it, and so before anybody has its answer.
func (p *tap) pass(from io.Reader, to io.Writer) {
	in := bufio.NewReader(from)
	for {
		name, raw, err := readCommand(in)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.commands = append(p.commands, name)
		p.mu.Unlock()
		if _, err := to.Write(raw); err != nil {
			return
		}
	}
}

// readCommand returns a command's first word in lower case, and all of its bytes.
func readCommand(in *bufio.Reader) (name string, raw []byte, err error) {
	words, raw, err := readSize(in, "*%d", nil)
	for i := 0; i < words && err == nil; i++ {
		var size int
		if size, raw, err = readSize(in, "$%d", raw); err != nil {
			break
		}
		word := make([]byte, size+len("\r\n"))
		if _, err = io.ReadFull(in, word); i == 0 {
			name = strings.ToLower(string(word[:size]))
		}
		raw = append(raw, word...)
	}
	return name, raw, err
}

// readSize reads a line that tells a number, and appends it to raw.
func readSize(in *bufio.Reader, form string, raw []byte) (int, []byte, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, raw, err
	}
	var n int
	_, err = fmt.Sscanf(line, form, &n)
	return n, append(raw, line...), err
}
