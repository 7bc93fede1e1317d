package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// filler is a comment of a stream, which clients pass over.
var filler = ": " + strings.Repeat("x", 32<<10) + "\n\n"

const usageEvents = `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}` + "\n\ndata: [DONE]\n\n"

// TestClientThatStopsReading while its answer goes on, and keeps its connection
// open: it is as good as gone, so the answer is drained and settled.
func TestClientThatStopsReading(t *testing.T) {
	const fillers = 1 << 10 // 32 MiB, more than sockets buffer
	w := newWorld(t, setting{
		upstream: ", stream_usage: false, idle_timeout: 300ms",
		tenant:   ampleBudget + "\ndrain_limit: 10s",
		upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			for range fillers {
				io.WriteString(w, filler)
			}
			io.WriteString(w, usageEvents)
		})},
	})
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		chatPath, tenantKey, len(stream), stream)
	if s := w.settled(1)[0]; s.Basis != audit.BasisReported || s.Lines[0].Usage[call.Input] != 3 {
		t.Errorf("settled %+v", s)
	}
	if _, held := w.balance(); held != 0 {
		t.Errorf("%d held", held)
	}
}

// TestSlowClientIsServedWhole: it takes longer than the limit for the answer,
// but never for a piece of it.
func TestSlowClientIsServedWhole(t *testing.T) {
	w := newWorld(t, setting{
		upstream: ", stream_usage: false, idle_timeout: 500ms",
		upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, filler+usageEvents)
		})},
	})
	ours, theirs := net.Pipe() // has no buffer of its own
	defer theirs.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer ours.Close()
		w.proxy.ServeHTTP(pipeWriter{ours, http.Header{}}, request(t.Context(), "http://proxy"+chatPath, stream))
	}()
	var got strings.Builder
	for err := error(nil); err == nil; {
		time.Sleep(80 * time.Millisecond)
		_, err = io.CopyN(&got, theirs, 2<<10)
	}
	<-done
	if got.String() != filler+usageEvents {
		t.Errorf("got %d bytes of %d", got.Len(), len(filler+usageEvents))
	}
}

// pipeWriter is a response writer without a server's buffer.
type pipeWriter struct {
	net.Conn
	header http.Header
}

func (w pipeWriter) Header() http.Header { return w.header }
func (pipeWriter) WriteHeader(int)       {}
func (pipeWriter) Flush()                {}

// limitedWriter checks that most of the limit is left for each write.
type limitedWriter struct {
	*httptest.ResponseRecorder
	t    *testing.T
	last time.Time
}

func (w *limitedWriter) SetWriteDeadline(at time.Time) error {
	w.last = at
	return nil
}

func (w *limitedWriter) use(what string) {
	if left := time.Until(w.last); left < 4*time.Minute || left > 5*time.Minute {
		w.t.Errorf("%s with %v left", what, left)
	}
}

func (w *limitedWriter) WriteHeader(status int) {
	w.use("header")
	w.ResponseRecorder.WriteHeader(status)
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	w.use("write")
	if len(p) > 4<<10 {
		w.t.Errorf("a piece of %d bytes", len(p))
	}
	return w.ResponseRecorder.Write(p)
}

func (w *limitedWriter) Flush() {
	w.use("flush")
	w.ResponseRecorder.Flush()
}

// TestEveryWriteHasItsLimit, and the connection has none afterwards: it may
// serve the next request much later.
func TestEveryWriteHasItsLimit(t *testing.T) {
	for name, length := range map[string]string{"stream": "", "document": fmt.Sprint(len(filler))} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setting{
				upstream: ", stream_usage: false, idle_timeout: 5m",
				upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
					w.Header().Set("Content-Type", "text/event-stream")
					if length != "" {
						w.Header().Set("Content-Length", length)
					}
					io.WriteString(w, filler)
				})},
			})
			out := &limitedWriter{ResponseRecorder: httptest.NewRecorder(), t: t}
			w.proxy.ServeHTTP(out, request(t.Context(), "http://proxy"+chatPath, stream))
			if out.Body.String() != filler || !out.Flushed {
				t.Errorf("got %d bytes, flushed: %v", out.Body.Len(), out.Flushed)
			}
			if !out.last.IsZero() {
				t.Errorf("a limit is left: %v", out.last)
			}
		})
	}
}
