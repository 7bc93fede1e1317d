package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestQuietConnectionsGiveWay: however many connections ask for nothing, one that
// asks is served, and one that is busy is not cut off.
func TestQuietConnectionsGiveWay(t *testing.T) {
	const most = 4
	busy, finish := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			close(busy)
			<-finish
		}
		io.WriteString(w, "served")
	}))
	kept := newConnections(most)
	server.Config.ConnState = kept.watch
	server.Start()
	defer server.Close()

	long := dial(t, server, "GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
	<-busy
	var quiet []net.Conn
	for range 3 * most {
		quiet = append(quiet, dial(t, server, ""))
	}
	for i := range 2 * most { // quiet for longer than the others
		mustBeClosed(t, quiet[i])
	}
	mustServe(t, dial(t, server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	close(finish)
	mustServe(t, long)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if len(kept.open) > most {
		t.Errorf("%d are open, at most %d may be", len(kept.open), most)
	}
}

// TestNewConnectionGivesWayToBusyOnes: none of those is closed for it.
func TestNewConnectionGivesWayToBusyOnes(t *testing.T) {
	c := newConnections(2)
	a, b, late := new(net.TCPConn), new(net.UDPConn), new(net.UnixConn)
	for _, conn := range []net.Conn{a, b} {
		if c.note(conn, http.StateNew) != nil || c.note(conn, http.StateActive) != nil {
			t.Fatal("closed below the limit")
		}
	}
	if got := c.note(late, http.StateNew); got != late {
		t.Errorf("closed %v", got)
	}
	if c.note(late, http.StateClosed) != nil || len(c.open) != 2 {
		t.Errorf("%d are open", len(c.open))
	}
	c.note(a, http.StateIdle)
	if got := c.note(late, http.StateNew); got != a {
		t.Errorf("closed %v, not the one between two requests", got)
	}
	c.note(a, http.StateClosed)
	c.note(late, http.StateClosed)
	if got := c.note(late, http.StateNew); got != nil || c.quiet.Len() != 1 {
		t.Errorf("closed %v, though there is room; %d are quiet", got, c.quiet.Len())
	}
}

func TestConnectionsWithinFiles(t *testing.T) {
	for files, want := range map[uint64]int{0: 1, 130: 1, 256: 64, 1024: 448, 1 << 20: defaultConnections, 1<<64 - 1: defaultConnections} {
		if got := connectionsWithin(files); got != want {
			t.Errorf("%d files are enough for %d connections, want %d", files, got, want)
		}
	}
}

func dial(t *testing.T, server *httptest.Server, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

func mustServe(t *testing.T, conn net.Conn) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("not served: %v", err)
	}
}

func mustBeClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, nil) || isTimeout(err) {
		t.Fatalf("still open: %v", err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
