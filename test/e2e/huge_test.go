package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

const (
	// hugeBody is twice what the proxy takes by default, in bytes.
	hugeBody = 100 << 20
	// memoryRoom is how far the proxy's memory may grow while it is sent too
	// much, in bytes: a body at its limit of 50 MiB and the pieces that it came
	// in, and as much again, because the heap may double between collections.
	memoryRoom = 300 << 20
)

// TestBrokenOffBodies: a client that leaves in the middle of its body, or sends
// one byte of a long one, costs nothing.
func TestBrokenOffBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	r := w.start("replica0")
	before := r.memory("VmRSS")
	for _, framing := range []string{
		fmt.Sprint("Content-Length: ", len(goodBody)),
		fmt.Sprint("Content-Length: ", 49<<20),
		"Transfer-Encoding: chunked",
	} {
		t.Run(framing, func(t *testing.T) {
			for range 20 {
				conn := w.dial(r)
				io.WriteString(conn, message{framing: framing, body: "10\r\n" + goodBody[:16]}.raw(w.secret))
				conn.(*net.TCPConn).CloseWrite()
				got := answerOf(t, bufio.NewReader(conn), "")
				conn.Close()
				checkDenial(t, got, 400, "incomplete_body")
			}
			for range 20 { // and does not wait for the answer
				conn := w.dial(r)
				io.WriteString(conn, message{framing: framing, body: "10\r\n" + goodBody[:16]}.raw(w.secret))
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
		})
	}
	if grown := r.memory("VmHWM") - before; grown > memoryRoom {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	untouched(t, w, r)
}

// memory is a size of the proxy's process, in bytes, as the kernel counts it:
// VmRSS now, VmHWM at most.
func (r *replica) memory(what string) int64 {
	r.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				r.t.Fatal(err)
			}
			return kib << 10
		}
	}
	r.t.Fatalf("no %s in %s", what, text)
	return 0
}

// withoutRaces has the test start proxies as they are shipped: the race
// detector keeps several bytes for each one in use. Such a test is not parallel.
func withoutRaces(t testing.TB) {
	t.Helper()
	shipped, checked := filepath.Join(t.TempDir(), "aegis-proxy"), binary
	if out, err := exec.Command("go", "build", "-o", shipped, "../../cmd/aegis-proxy").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	binary = shipped
	t.Cleanup(func() { binary = checked })
}

// TestHugeBodies sends 100 MB, in one piece and in chunks, and what is as large
// as may be but nests without end. The proxy says so and stays small.
func TestHugeBodies(t *testing.T) {
	withoutRaces(t)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	r := w.start("replica0")
	before := r.memory("VmRSS")
	length := func(n int) string { return fmt.Sprint("Content-Length: ", n) }
	for _, row := range []struct {
		name   string
		send   message
		piece  string
		bytes  int
		status int
		code   string
	}{
		{"with a length", message{framing: length(hugeBody)}, "x", hugeBody, 413, "request_too_large"},
		{"in chunks", message{framing: "Transfer-Encoding: chunked"}, "x", hugeBody, 413, "request_too_large"},
		{"without a key", message{framing: "Transfer-Encoding: chunked", key: "none"}, "x", hugeBody, 401, "invalid_api_key"},
		{"to no route", message{framing: length(hugeBody), line: "POST /v1/files HTTP/1.1"}, "x", hugeBody, 403, "route_not_allowed"},
		{"of brackets", message{framing: length(49 << 20)}, "[", 49 << 20, 400, "invalid_request"},
		{"of brackets, in chunks", message{framing: "Transfer-Encoding: chunked"}, "[", 49 << 20, 400, "invalid_request"},
		{"of spaces", message{framing: length(49 << 20)}, " ", 49 << 20, 400, "invalid_request"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := w.pour(t, r, row.send, row.piece, row.bytes)
			checkDenial(t, got, row.status, row.code)
			t.Logf("memory at most %d MiB, %d at the start", r.memory("VmHWM")>>20, before>>20)
		})
	}
	if grown := r.memory("VmHWM") - before; grown > memoryRoom {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	untouched(t, w, r)
}

// pour sends a body of so many bytes for as long as the proxy takes it, and
// returns its answer.
func (w *world) pour(t *testing.T, r *replica, m message, piece string, bytes int) response {
	t.Helper()
	conn := w.dial(r)
	defer conn.Close()
	if _, err := io.WriteString(conn, m.raw(w.secret)); err != nil {
		t.Fatal(err)
	}
	go func() {
		block := strings.Repeat(piece, 1<<20)
		end := ""
		if strings.HasPrefix(m.framing, "Transfer-Encoding") {
			block = fmt.Sprintf("%x\r\n%s\r\n", len(block), block)
			end = "0\r\n\r\n"
		}
		for range bytes >> 20 {
			if _, err := io.WriteString(conn, block); err != nil {
				return // refused before its end
			}
		}
		io.WriteString(conn, end)
	}()
	return answerOf(t, bufio.NewReader(conn), "")
}
