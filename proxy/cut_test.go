package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// TestCancelledStreamIsChargedWhatArrived: an upstream bills each token that it has
// written when the connection is closed, read or not. A client that stalls leaves
// most of them in the buffers between.
func TestCancelledStreamIsChargedWhatArrived(t *testing.T) {
	const tokens = 2000
	for _, row := range []struct{ name, event string }{
		{"a byte each", `{"choices":[{"index":0,"delta":{"content":"a"}}]}`},
		{"in a member that nobody knows", `{"choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.text","text":"a"}]}}]}`},
		{"in a member beside the choices", `{"choices":[{"index":0,"delta":{}}],"thought":"a"}`},
		{"in a member without choices", `{"choices":[],"thought":{"deep":["a"]}}`},
		{"as numbers", `{"choices":[{"index":0,"delta":{"token_ids":[17]}}]}`},
		{"without text", `{"choices":[{"index":0,"delta":{"content":""}}]}`},
		{"of no choice's delta", `{"choices":[{"index":0}]}`},
		{"beside a running total", `{"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			written := make(chan struct{})
			up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", sse)
				for range tokens {
					_, _ = io.WriteString(w, "data: "+row.event+"\n\n")
				}
				_ = http.NewResponseController(w).Flush()
				close(written)
				<-r.Context().Done()
			})
			w := newWorld(t, setting{upstreams: []http.Handler{up}, tenant: ampleBudget + "\non_disconnect: cancel", upstream: ", cancel_stops_billing: true"})
			hangUp := stall(t, w, strings.Replace(stream, ":20", fmt.Sprint(":", 10*tokens), 1))
			<-written
			hangUp()
			s := w.settled(1)[0]
			if s.Basis != audit.BasisFloor || s.Lines[0].Usage[call.Output] != tokens || s.Charge >= s.Hold {
				t.Errorf("settled %+v, want %d tokens", s, tokens)
			}
			w.mustBalance(s.Charge, 0)
		})
	}
}

// stall makes a call whose answer is not read, over sockets that hold little. It
// returns how the client hangs up.
func stall(t *testing.T, w *world, body string) (hangUp func()) {
	t.Helper()
	front := httptest.NewUnstartedServer(w.proxy)
	front.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
		return ctx
	}
	front.Start()
	t.Cleanup(front.Close)
	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := conn.(*net.TCPConn)
	_ = client.SetReadBuffer(4 << 10)
	if err := request(t.Context(), front.URL+chatPath, body).Write(client); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReaderSize(client, 16).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q %v", line, err)
	}
	return func() {
		_ = client.SetLinger(0)
		_ = client.Close()
	}
}

// TestCutConnectionServesNobodyElse: a connection that was closed for writing is not
// kept, even if the upstream ends its answer as if nothing had been.
func TestCutConnectionServesNobodyElse(t *testing.T) {
	up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"stream":true`) {
			_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":3,"completion_tokens":1}}`)
			return
		}
		w.Header().Set("Content-Type", sse)
		_, _ = io.WriteString(w, "data: "+delta+"\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) {
			w := newWorld(t, setting{
				upstreams: []http.Handler{up}, secure: secure,
				tenant: ampleBudget + "\non_disconnect: cancel", upstream: ", cancel_stops_billing: true",
			})
			for range 20 {
				ctx, hangUp := context.WithCancel(t.Context())
				w.readOneLine(ctx, true)
				hangUp()
				if a := w.post(chatPath, hello); a.status != 200 || a.err != nil {
					t.Fatalf("%+v", a)
				}
			}
			for _, s := range w.settled(40) {
				if s.Basis == audit.BasisUnknown {
					t.Errorf("settled %+v", s)
				}
			}
		})
	}
}
