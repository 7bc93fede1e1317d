package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
)

// TestRequestLeavesInOneWrite: header and body of a usual size together, so that the
// upstream wakes once for them. A body that is larger than the buffer follows its
// header.
func TestRequestLeavesInOneWrite(t *testing.T) {
	const small, large = 40 << 10, 2 * writeBufferBytes
	for name, row := range map[string]struct {
		prompt int
		cap    int64
		whole  bool
	}{
		"as it came":   {small, 0, true},
		"with a cap":   {small, 5, true},
		"a large body": {large, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			load := payloadOf(t, row.prompt)
			first, body := sendOnPipe(t, load, row.cap)
			if got := strings.HasSuffix(first, body[len(body)-10:]); got != row.whole {
				t.Errorf("header and body together: %v; first came %d bytes, %.80q", got, len(first), first)
			}
			if want := row.cap > 0; strings.Contains(body, `"max_tokens":5`) != want {
				t.Errorf("body %.40q ... %q", body, body[len(body)-40:])
			}
			load.finally()
			if load.room.bytes != 0 || load.leaving != nil {
				t.Errorf("%d bytes are kept of a body that was sent", load.room.bytes)
			}
		})
	}
}

// TestLateSentIsOfItsOwnAttempt: a transport that is done with the first attempt's body
// only when the second has begun does not take the body from that, nor its memory.
func TestLateSentIsOfItsOwnAttempt(t *testing.T) {
	for name, outputCap := range map[string]int64{"as it came": 0, "with a cap": 5} {
		t.Run(name, func(t *testing.T) {
			load := payloadOf(t, 100)
			load.send(outputCap)
			late := load.sent()
			_, second, size := load.send(outputCap)
			load.finally()
			late()
			if load.room.bytes == 0 {
				t.Error("the memory was given back while the second attempt's body leaves")
			}
			payloadOf(t, 200).send(outputCap) // writes to what was given back
			body, err := io.ReadAll(second)
			if err != nil || int64(len(body)) != size || !strings.Contains(string(body), `"`+strings.Repeat("a", 100)+`"`) {
				t.Errorf("%d bytes of %d, %v: %s", len(body), size, err, body)
			}
			load.sent()()
			if load.room.bytes != 0 {
				t.Errorf("%d bytes are kept", load.room.bytes)
			}
		})
	}
}

// payloadOf is a payload whose prompt has so many bytes.
func payloadOf(t *testing.T, prompt int) *payload {
	text := `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("a", prompt) + `"}]}`
	speaks := dialects.All().Default()
	head := providers.Head{Method: "POST", Path: "/v1/chat/completions"}
	op, _ := speaks.Match(head)
	request, err := speaks.Parse(op, head, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	offer, err := request.On(providers.Terms{MaxOutput: 5, Obeys: providers.Obeys{CapField: "max_tokens"}})
	if err != nil {
		t.Fatal(err)
	}
	room := newIntake(DefaultBodyMemory).open("tenant")
	if err := room.take(int64(len(text))); err != nil {
		t.Fatal(err)
	}
	return &payload{room: room, request: request, offers: []providers.Offer{offer}}
}

// sendOnPipe sends the payload over a connection on which each write is a read, and
// returns the first and the request's body.
func sendOnPipe(t *testing.T, load *payload, outputCap int64) (first, body string) {
	ours, theirs := net.Pipe()
	transport := &http.Transport{
		WriteBufferSize: writeBufferBytes,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			counted := &countedConn{Conn: ours}
			return &endingConn{Conn: counted, wire: counted}, nil
		},
	}
	answered := make(chan string)
	go func() {
		buffer := make([]byte, 4*writeBufferBytes)
		n, _ := theirs.Read(buffer)
		answered <- string(buffer[:n])
		rest := io.MultiReader(strings.NewReader(string(buffer[:n])), theirs)
		got, err := http.ReadRequest(bufio.NewReader(rest))
		if err != nil {
			t.Error(err)
			return
		}
		all, _ := io.ReadAll(got.Body)
		io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		answered <- string(all)
	}()
	request, err := http.NewRequest("POST", "http://upstream.test/v1/chat/completions", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, request.Body, request.ContentLength = load.send(outputCap)
	ctx := new(wireWatch).trace(t.Context(), load.sent())
	done := make(chan error, 1)
	go func() {
		_, err := transport.RoundTrip(request.WithContext(ctx))
		done <- err
	}()
	first, body = <-answered, <-answered
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	transport.CloseIdleConnections()
	return first, body
}
