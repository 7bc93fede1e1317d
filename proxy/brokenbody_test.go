package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// TestBrokenOffBodyIsNotWhole: what has arrived may be a whole JSON object, and more
// was to come all the same. Nothing of it is sent, however the body was framed.
func TestBrokenOffBodyIsNotWhole(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{bodyLimit: 1 << 20})
	long := strings.Replace(hello, "hello", strings.Repeat("hello ", 2000), 1)
	for _, row := range []struct{ name, head, body string }{
		{"in chunks", "Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n", len(hello), hello)},
		{"in a chunk", "Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s", len(hello)+1, hello)},
		{"in chunks, long", "Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n", len(long), long)},
		{"with a length", fmt.Sprint("Content-Length: ", len(hello)+1), hello},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n%s", chatPath, tenantKey, row.head, row.body)
			conn.(*net.TCPConn).CloseWrite()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 400 || !strings.Contains(string(text), `"code":"incomplete_body"`) {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
		})
	}
	w.nothingReserved()
	if n := sim.Totals().Received; n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
