package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// route is a good request to another first line.
func route(line string) message { return message{line: line + " HTTP/1.1", body: goodBody} }

// get is a request without a body.
func get(line string) message { return message{line: line + " HTTP/1.1"} }

const overLong = 128 << 10 // bytes of a header, twice what is taken

// headerTricks are refused by the proxy with a denial or, where code is empty,
// by the HTTP server before it.
var headerTricks = []struct {
	name   string
	send   message
	status int
	code   string
}{
	{"no key", message{key: "none", body: goodBody}, 401, "invalid_api_key"},
	{"empty key", message{key: "Bearer", body: goodBody}, 401, "invalid_api_key"},
	{"other scheme", message{key: "Basic c2s6", body: goodBody}, 401, "invalid_api_key"},
	{"unknown key", message{key: "Bearer sk-unknown", body: goodBody}, 401, "invalid_api_key"},
	{"key without scheme", message{key: "none", headers: []string{"Authorization: SECRET"}, body: goodBody}, 401, "invalid_api_key"},
	{"key and more", message{key: "none", headers: []string{"Authorization: Bearer SECRET, Bearer SECRET"}, body: goodBody}, 401, "invalid_api_key"},
	{"two keys", message{headers: []string{"Authorization: Bearer SECRET"}, body: goodBody}, 401, "invalid_api_key"},
	{"a wrong key behind", message{headers: []string{"authorization: Bearer sk-unknown"}, body: goodBody}, 401, "invalid_api_key"},
	{"key in another header", message{key: "none", headers: []string{"Api-Key: SECRET", "X-Api-Key: SECRET"}, body: goodBody}, 401, "invalid_api_key"},
	{"key in the query", message{key: "none", line: "POST /v1/chat/completions?api_key=sk HTTP/1.1", body: goodBody}, 401, "invalid_api_key"},
	{"key as a trailer", message{key: "none", framing: "Transfer-Encoding: chunked\r\nTrailer: Authorization", body: "0\r\nAuthorization: Bearer sk\r\n\r\n"}, 401, "invalid_api_key"},

	{"two runs", message{headers: []string{"X-Aegis-Run: a", "X-Aegis-Run: b"}, body: goodBody}, 400, "invalid_run"},
	{"another run in the path", message{line: "POST /run/a/v1/chat/completions HTTP/1.1", headers: []string{"X-Aegis-Run: b"}, body: goodBody}, 400, "invalid_run"},
	{"long run", message{headers: []string{"X-Aegis-Run: " + strings.Repeat("r", 257)}, body: goodBody}, 400, "invalid_run"},
	{"long run in the path", route("POST /run/" + strings.Repeat("r", 257) + "/v1/chat/completions"), 400, "invalid_run"},
	{"empty run in the path", route("POST /run//v1/chat/completions"), 400, "invalid_run"},
	{"empty run in the path, without version", route("POST /run//chat/completions"), 400, "invalid_run"},
	{"a decision of the client's", message{headers: []string{"X-Aegis-Decision: allow", "X-Aegis-Receipt: 1"}, body: "{}"}, 400, "invalid_request"},

	{"chunk size beyond 64 bits", message{framing: "Transfer-Encoding: chunked", body: "fffffffffffffffff\r\n"}, 400, "incomplete_body"},
	{"chunk size that is no number", message{framing: "Transfer-Encoding: chunked", body: "x\r\n"}, 400, "incomplete_body"},
	{"chunk longer than it says", message{framing: "Transfer-Encoding: chunked", body: "2\r\n" + goodBody + "\r\n0\r\n\r\n"}, 400, "incomplete_body"},
	{"length beyond the limit", message{framing: "Content-Length: 9223372036854775807"}, 413, "request_too_large"},

	{"length beyond 64 bits", message{framing: "Content-Length: 99999999999999999999", body: goodBody}, 400, ""},
	{"length below zero", message{framing: "Content-Length: -1", body: goodBody}, 400, ""},
	{"length with a sign", message{framing: "Content-Length: +5", body: goodBody}, 400, ""},
	{"two lengths", message{framing: "Content-Length: 5\r\nContent-Length: 6", body: goodBody}, 400, ""},
	{"unknown transfer encoding", message{framing: "Transfer-Encoding: xchunked", body: goodBody}, 501, ""},
	{"two transfer encodings", message{framing: "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", body: "0\r\n\r\n"}, 501, ""},
	{"space before the colon", message{headers: []string{"X-A : b"}, body: goodBody}, 400, ""},
	{"no colon", message{headers: []string{"X-A"}, body: goodBody}, 400, ""},
	{"NUL in a header", message{headers: []string{"X-A: \x00"}, body: goodBody}, 400, ""},
	{"two hosts", message{headers: []string{"Host: other"}, body: goodBody}, 400, ""},
	{"long header", message{headers: []string{"X-A: " + strings.Repeat("a", overLong)}, body: goodBody}, 431, ""},
	{"many headers", message{headers: []string{strings.Repeat("X-A: a\r\n", overLong/8) + "X-B: b"}, body: goodBody}, 431, ""},
	{"long path", route("POST /" + strings.Repeat("a", overLong)), 431, ""},
	{"another protocol", message{line: "POST /v1/chat/completions HTTP/9.9", body: goodBody}, 505, ""},
	{"no protocol", message{line: "POST /v1/chat/completions", body: goodBody}, 400, ""},
	{"no request", message{line: "\x16\x03\x01\x02\x00\x01\x00", body: goodBody}, 400, ""},
	{"unknown expectation", message{headers: []string{"Expect: the unexpected"}, body: goodBody}, 417, ""},
	{"relative path", message{line: "POST chat/completions HTTP/1.1", body: goodBody}, 400, ""},
	{"bad escape in the path", route("POST /v1/chat%2/completions"), 400, ""},
}

// TestHeaderTricks sends good requests in bad headers. Each gets a 4xx, or the
// HTTP server's 501 or 505.
func TestHeaderTricks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	r := w.start("replica0")
	for _, row := range headerTricks {
		t.Run(row.name, func(t *testing.T) {
			got := w.deliver(t, r, row.send)
			if row.code != "" {
				checkDenial(t, got, row.status, row.code)
			} else if got.status != row.status {
				t.Errorf("got %d %.300q, want %d", got.status, got.body, row.status)
			}
		})
	}
	untouched(t, w, r)
}

// forbidden are operations of the API that nobody here could bound, or that reach what
// others have stored.
var forbidden = []message{
	route("POST /v1/images/variations"),
	route("POST /v1/audio/voices"),
	route("POST /v1/batches"),
	route("POST /v1/fine_tuning/jobs"),
	get("GET /v1/files"),
	get("GET /v1/chat/completions"),
	get("DELETE /v1/models/gpt-4o-mini"),
	{line: "GET /v1/responses/r1 HTTP/1.1", headers: []string{
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}},
	{line: "GET /v1/realtime HTTP/1.1", headers: []string{
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}},
}

// unknown are routes that would pass for an operation of the API.
var unknown = []message{
	route("POST /v1/../v1/chat/completions"),
	route("POST /v1/./chat/completions"),
	route("POST /../v1/chat/completions"),
	route("POST /v1/chat/completions/.."),
	route("POST /v1/chat/completions%00"),
	route("POST /v1/chat/completions%20"),
	route("POST /v1/chat%252fcompletions"),
	route("POST /v1/chat%2Fcompletions"),
	route("POST /v1/%2e%2e/v1/chat/completions"),
	route("POST /v1/chat/completions;x=1"),
	route("POST /V1/Chat/Completions"),
	route("POST /v1/v1/chat/completions"),
	route("POST /v2/chat/completions"),
	route("POST /run/a"),
	route("POST /run/a/b"),
	route("POST /run/a/b/v1/chat/completions"),
	route("POST /run/a/run/b/v1/chat/completions"),

	route("POST /v1/models"),
	route("PUT /v1/chat/completions"),
	route("PATCH /v1/chat/completions"),
	route("post /v1/chat/completions"),
	route("TRACE /v1/chat/completions"),
	get("GET /"),
	get("GET /metrics"),
	get("GET /debug/pprof/"),
	get("GET /admin/v1/budgets?tenant=acme"),
	get("HEAD /v1/embeddings"),
	get("OPTIONS /v1/chat/completions"),
	get("CONNECT example.com:443"),
}

// TestUnservedRoutes: what is no operation that is served is denied, whatever it looks
// like.
func TestUnservedRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	r := w.start("replica0")
	for _, row := range forbidden {
		t.Run(strings.TrimSuffix(row.line, " HTTP/1.1"), func(t *testing.T) {
			checkDenial(t, w.deliver(t, r, row), 403, "route_not_allowed")
		})
	}
	for _, row := range unknown {
		t.Run(strings.TrimSuffix(row.line, " HTTP/1.1"), func(t *testing.T) {
			got := w.deliver(t, r, row)
			if !strings.HasPrefix(row.line, "HEAD ") {
				checkDenial(t, got, 404, "unknown_route")
			} else if got.status != 404 || got.header.Get("X-Aegis-Decision") != "deny" {
				t.Errorf("got %d %v", got.status, got.header)
			}
		})
	}
	untouched(t, w, r)
}

// TestOddRequestsAreServed: what is odd but clear is served, once, at its
// price, and no trick in it reaches the provider.
func TestOddRequestsAreServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	r := w.start("replica0")
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(goodBody), goodBody)
	for _, row := range []struct {
		name string
		send message
	}{
		{"other content type", message{headers: []string{"Content-Type: text/plain"}, body: goodBody}},
		{"two content types", message{headers: []string{"Content-Type: image/png", "Content-Type: text/plain"}, body: goodBody}},
		{"no content type", message{body: goodBody}},
		{"lower-case scheme", message{key: "none", headers: []string{"authorization: bearer SECRET"}, body: goodBody}},
		{"spaces around the key", message{key: "none", headers: []string{"Authorization: Bearer    SECRET  "}, body: goodBody}},
		{"absolute address", message{line: "POST http://elsewhere.example/v1/chat/completions HTTP/1.1", body: goodBody}},
		{"escaped path", route("POST /v1/ch%61t/completion%73")},
		{"run with dots", route("POST /run/%2e%2e/v1/chat/completions")},
		{"HTTP/1.0", message{line: "POST /v1/chat/completions HTTP/1.0", body: goodBody}},
		{"chunks", message{framing: "Transfer-Encoding: chunked", body: chunked}},
		{"chunks and a length", message{framing: "Content-Length: 3\r\nTransfer-Encoding: chunked", body: chunked}},
		{"websocket", message{headers: []string{"Connection: Upgrade", "Upgrade: websocket"}, body: goodBody}},
		{"h2c", message{headers: []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"}, body: goodBody}},
		{"headers of the proxy's own", message{headers: []string{"X-Aegis-Decision: deny", "X-Aegis-Output-Cap: 100000", "X-Aegis-Tenant: other", "x-aegis-receipt: 1"}, body: goodBody}},
		{"hop-by-hop key", message{headers: []string{"Connection: Authorization, X-Aegis-Run", "X-Aegis-Run: a"}, body: goodBody}},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := w.sim.Totals().Received
			got := w.deliver(t, r, row.send)
			if got.status != 200 || len(got.header["X-Aegis-Decision"]) != 1 || got.header.Get("X-Aegis-Decision") != "allow" {
				t.Errorf("got %d %v %.300q", got.status, got.header, got.body)
			}
			if n := w.sim.Totals().Received - before; n != 1 {
				t.Errorf("the provider got %d requests", n)
			}
		})
	}
	for _, call := range w.sim.Calls() {
		if call.Method != "POST" || call.Path != "/v1/chat/completions" || string(call.Body) != goodBody {
			t.Errorf("the provider got %s %s %.300q", call.Method, call.Path, call.Body)
		}
		for name := range call.Header {
			if strings.HasPrefix(name, "X-Aegis-") || name == "Upgrade" || name == "Connection" || name == "Http2-Settings" {
				t.Errorf("the provider got a header %s", name)
			}
		}
	}
	if leaks := w.sim.Leaks(w.secret); len(leaks) > 0 {
		t.Errorf("the tenant's key reached the provider: %v", leaks)
	}
	restsAt(t, r, w.billed())
	endsClean(t, r)
}

// TestRequestInABody: a request that hides in the body of a refused one is not
// taken for the next on the connection.
func TestRequestInABody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	r := w.start("replica0")
	hidden := message{body: goodBody}.raw(w.secret)
	for _, row := range []struct {
		name   string
		send   message
		status int
		code   string
	}{
		{"no key", message{key: "none", body: hidden}, 401, "invalid_api_key"},
		{"no route", message{line: "POST /v1/files HTTP/1.1", body: hidden}, 403, "route_not_allowed"},
		{"no request", message{body: hidden}, 400, "invalid_request"},
		{"no chunks", message{framing: "Transfer-Encoding: chunked", body: hidden}, 400, "incomplete_body"},
		{"chunks and a length", message{key: "none", framing: "Content-Length: 5\r\nTransfer-Encoding: chunked",
			body: fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)}, 401, "invalid_api_key"},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn := w.dial(r)
			defer conn.Close()
			io.WriteString(conn, row.send.raw(w.secret))
			conn.(*net.TCPConn).CloseWrite()
			from := bufio.NewReader(conn)
			checkDenial(t, answerOf(t, from, ""), row.status, row.code)
			if more, err := io.ReadAll(from); len(more) > 0 {
				t.Errorf("behind the answer came %.300q, %v", more, err)
			}
		})
	}
	untouched(t, w, r)
}

// TestContinue: a client that waits for leave to send its body gets it if the
// request may be served, and the denial at once if not.
func TestContinue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	r := w.start("replica0")
	expect := []string{"Expect: 100-continue"}
	length := "Content-Length: " + strconv.Itoa(len(goodBody))

	for _, row := range []struct {
		name   string
		send   message
		status int
		code   string
	}{
		{"unknown key", message{headers: expect, framing: length, key: "Bearer sk-unknown"}, 401, "invalid_api_key"},
		{"unknown route", message{headers: expect, framing: length, line: "POST /v1/respond HTTP/1.1"}, 404, "unknown_route"},
		{"denied route", message{headers: expect, framing: length, line: "POST /v1/images/variations HTTP/1.1"}, 403, "route_not_allowed"},
		{"too large", message{headers: expect, framing: fmt.Sprint("Content-Length: ", hugeBody)}, 413, "request_too_large"},
	} {
		t.Run(row.name, func(t *testing.T) {
			checkDenial(t, w.deliver(t, r, row.send), row.status, row.code)
		})
	}

	conn := w.dial(r)
	defer conn.Close()
	from := bufio.NewReader(conn)
	io.WriteString(conn, message{headers: expect, framing: length}.raw(w.secret))
	if leave := answerOf(t, from, ""); leave.status != 100 {
		t.Fatalf("got %d instead of leave to go on", leave.status)
	}
	io.WriteString(conn, goodBody)
	if got := answerOf(t, from, ""); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	restsAt(t, r, w.billed())
	endsClean(t, r)
}
