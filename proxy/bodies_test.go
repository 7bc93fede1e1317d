package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// padded is a chat of that many bytes.
func padded(size int) string {
	return hello[:len(hello)-1] + strings.Repeat(" ", size-len(hello)) + "}"
}

// emptied waits until no body takes memory any more.
func (w *world) emptied() {
	w.t.Helper()
	for end := time.Now().Add(settleLimit); w.proxy.Taken() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("bodies take %d bytes", w.proxy.Taken())
		}
	}
}

// TestMemoryOfBodiesComesBack however a request ends.
func TestMemoryOfBodiesComesBack(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{bodyLimit: 1 << 20})
	for _, row := range []struct {
		name, body string
		path       string
		status     int
	}{
		{"served", padded(500_000), chatPath, 200},
		{"streamed", stream, chatPath, 200},
		{"not JSON", strings.Repeat("x", 500_000), chatPath, 400},
		{"too large", padded(2 << 20), chatPath, 413},
		{"without bound", with(`"service_tier":"priority"`), chatPath, 403},
		{"without budget", strings.Replace(hello, "20", "900000000", 1), chatPath, 402},
		{"an action", `{"id":"a","action":"payment"}`, "/aegis/v1/authorize", 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			if a := w.post(row.path, row.body); a.status != row.status {
				t.Errorf("%d %s", a.status, a.body)
			}
			w.emptied()
		})
	}
	t.Run("broken off", func(t *testing.T) {
		conn := w.announce(1<<20, hello)
		conn.Close()
		w.emptied()
	})
}

// announce sends the head of a request with a body of that length, and the first of
// it.
func (w *world) announce(length int, first string) net.Conn {
	w.t.Helper()
	conn := w.dial()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", chatPath, tenantKey, length, first)
	return conn
}

// TestBodyBeyondTheShare is told to come again, and those before it pass.
func TestBodyBeyondTheShare(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{bodyLimit: 1 << 20, memory: 1 << 20})
	half := 1 << 19
	if a := w.post(chatPath, padded(half)); a.status != 200 {
		t.Errorf("half of the memory: %d %s", a.status, a.body)
	}
	a := w.post(chatPath, padded(half+1))
	if a.status != 503 || a.code() != "body_memory_full" || a.header.Get("Retry-After") != "1" || a.header.Get("X-Should-Retry") != "true" {
		t.Errorf("more than half of the memory: %d %v %s", a.status, a.header, a.body)
	}
	w.emptied()
}

// TestRefusedBodyIsAnswered: a client that sends the whole of a large body before it reads
// learns why it was refused, and that its connection may be used again or not.
func TestRefusedBodyIsAnswered(t *testing.T) {
	const size = 20 << 20 // more than the buffers of both ends hold
	for _, row := range []struct {
		name   string
		s      setting
		path   string
		header string
		status int
		code   string
	}{
		{"an operation that is denied", setting{bodyLimit: size, memory: 4 * size}, "/v1/files", "", 403, "route_not_allowed"},
		{"an operation that there is not", setting{bodyLimit: size, memory: 4 * size}, "/v1/nothing", "", 404, "unknown_route"},
		{"no memory", setting{bodyLimit: size, memory: 4 << 20}, chatPath, "", 503, "body_memory_full"},
		{"too large", setting{bodyLimit: size - 1, memory: 4 * size}, chatPath, "", 413, "request_too_large"},
		{"a charset that JSON cannot have", setting{bodyLimit: size, memory: 4 * size}, chatPath, "Content-Type: text/plain; charset=utf-16\r\n", 415, "unsupported_media_type"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := simulated(t, simulator.Config{}, row.s)
			conn := w.dial()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n%sAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", row.path, row.header, tenantKey, size)
			if _, err := io.WriteString(conn, padded(size)); err != nil {
				t.Fatalf("sending: %v", err)
			}
			if status, body := answerOn(t, conn); status != row.status || !strings.Contains(body, row.code) {
				t.Errorf("%d %s", status, body)
			}
			w.emptied()
		})
	}
}

// TestRefusedBeforeItIsSent: a client that waits for leave to send is refused without it.
func TestRefusedBeforeItIsSent(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{bodyLimit: 1 << 20})
	conn := w.dial()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", chatPath, tenantKey, 2<<20)
	if status, body := answerOn(t, conn); status != 413 {
		t.Errorf("%d %s", status, body)
	}
}

// dial opens a connection to the proxy.
func (w *world) dial() net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// answerOn reads the next answer of a connection.
func answerOn(t *testing.T, conn net.Conn) (status int, body string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestAnnouncedBodiesLockNobodyOut: 40 requests that announce 50 MB each and send
// next to nothing of it do not keep a large one of the same tenant out.
func TestAnnouncedBodiesLockNobodyOut(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{})
	for range 40 {
		w.announce(50<<20, "{")
	}
	for end := time.Now().Add(settleLimit); w.proxy.Taken() == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if a := w.post(chatPath, padded(50<<20)); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestEscapedTextTakesMemoryTwice: the text itself, and as the body has it.
func TestEscapedTextTakesMemoryTwice(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{bodyLimit: 1 << 20, memory: 1 << 20})
	escaped := strings.Repeat(`\n`, 1<<17)
	if a := w.post(chatPath, strings.Replace(hello, "hello", escaped[:1<<17], 1)); a.status != 200 {
		t.Errorf("with its texts within the share: %d %s", a.status, a.body)
	}
	if a := w.post(chatPath, strings.Replace(hello, "hello", escaped, 1)); a.status != 503 || a.code() != "body_memory_full" {
		t.Errorf("with its texts above the share: %d %s", a.status, a.body)
	}
	w.emptied()
}

// TestClientThatWaitsForLeaveToSend gets it, and its body is read.
func TestClientThatWaitsForLeaveToSend(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{})
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", chatPath, tenantKey, len(hello))
	from := bufio.NewReader(conn)
	if line, err := from.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q, %v", line, err)
	}
	from.ReadString('\n')
	io.WriteString(conn, hello)
	resp, err := http.ReadResponse(from, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
}

// held is an upstream whose streams begin once the body has come, and go on until
// release is closed.
type held struct {
	begun   chan struct{}
	release chan struct{}
}

func (h *held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	h.begun <- struct{}{}
	<-h.release
	io.WriteString(w, "data: [DONE]\n\n")
}

// bigStream sends a stream's request of that size, whose text has escapes, from no
// memory of its own, and returns when its answer has begun.
func (w *world) bigStream(size int64, path string) *http.Response {
	w.t.Helper()
	head, tail, _ := strings.Cut(strings.Replace(stream, "toy", "gpt-4o-mini", 1), "hello")
	r := request(w.t.Context(), w.front.URL+path, "")
	filler := io.LimitReader(new(escapes), size/2*2)
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(head), filler, strings.NewReader(tail)))
	r.ContentLength = int64(len(head)+len(tail)) + size/2*2
	resp, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// escapes is text without end, each of whose letters is an escape.
type escapes struct{ at int }

func (e *escapes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = `\t`[e.at%2]
		e.at++
	}
	return len(p), nil
}

// TestStreamsLetGoOfTheirBodies: a body that was sent takes no memory, of the heap
// or of the tenant's share, while its answer streams: also where there were
// fallbacks, and where the tokens were not counted.
func TestStreamsLetGoOfTheirBodies(t *testing.T) {
	const streams, size = 10, 4 << 20
	for _, row := range []struct {
		name      string
		fallbacks int
	}{
		{"without fallback", 0},
		{"with two fallbacks", 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			up := &held{make(chan struct{}), make(chan struct{})}
			w := newWorld(t, setting{
				upstreams: slices.Repeat([]http.Handler{up}, 1+row.fallbacks),
				tenant:    `budgets: [{name: daily, window: forever, limit_usd: "1000"}]`, // far from its limit: nothing is counted
			})
			var answers []*http.Response
			begin := func(size int64) {
				go func() { <-up.begun }()
				answers = append(answers, w.bigStream(size, chatPath))
			}
			begin(2) // the gate sees how much is left
			before := liveHeap()
			for range streams {
				begin(size)
			}
			w.emptied()
			if grown := liveHeap() - before; grown > size {
				t.Errorf("%d streams with bodies of %d bytes keep %d bytes", streams, size, grown)
			}
			close(up.release)
			for _, a := range answers {
				if _, err := io.Copy(io.Discard, a.Body); err != nil {
					t.Error(err)
				}
				a.Body.Close()
			}
			w.settled(1 + streams)
		})
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // pools keep what they have for one more
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestFallbackGetsTheBody: as long as another attempt may need the body it is kept,
// and each attempt gets it whole.
func TestFallbackGetsTheBody(t *testing.T) {
	bodies := make(chan string, 3)
	failing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
		w.WriteHeader(503)
	})
	early := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }) // reads nothing
	w := newWorld(t, setting{upstreams: []http.Handler{failing, early, failing}, tenant: ampleBudget})
	body := padded(300_000)
	if a := w.post(chatPath, body); a.status != 503 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for range 2 {
		if got := <-bodies; got != strings.Replace(body, hello[:len(hello)-1], strings.TrimSuffix(pinned(hello), "}"), 1) {
			t.Errorf("an attempt got %d bytes, want %d", len(got), len(body))
		}
	}
	w.emptied()
}
