package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// rawLimit bounds one exchange of bytes with the proxy.
const rawLimit = 30 * time.Second

// goodBody is a request that would be served, as it is.
const goodBody = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}],"max_completion_tokens":5,"service_tier":"default"}`

// message is a request as bytes. A line or header of it is the one of a good
// request unless it is given.
type message struct {
	line    string   // "": POST /v1/chat/completions HTTP/1.1
	headers []string // beside Host, the key and the length
	key     string   // "": acme's, "none": no header
	framing string   // in place of Content-Length
	body    string
}

func (m message) raw(secret string) string {
	var b strings.Builder
	line := m.line
	if line == "" {
		line = "POST /v1/chat/completions HTTP/1.1"
	}
	fmt.Fprintf(&b, "%s\r\nHost: aegis\r\n", line)
	switch m.key {
	case "":
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", secret)
	case "none":
	default:
		fmt.Fprintf(&b, "Authorization: %s\r\n", m.key)
	}
	for _, header := range m.headers {
		fmt.Fprintf(&b, "%s\r\n", strings.ReplaceAll(header, "SECRET", secret))
	}
	framing := m.framing
	if framing == "" {
		framing = "Content-Length: " + strconv.Itoa(len(m.body))
	}
	fmt.Fprintf(&b, "%s\r\n\r\n%s", framing, m.body)
	return b.String()
}

// dial opens a connection that the test may break.
func (w *world) dial(r *replica) net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(rawLimit))
	return conn
}

// deliver sends a message as it is and reads the answer. Without one, as after
// a panic, the test fails.
func (w *world) deliver(t *testing.T, r *replica, m message) response {
	t.Helper()
	conn := w.dial(r)
	defer conn.Close()
	if _, err := io.WriteString(conn, m.raw(w.secret)); err != nil {
		t.Fatal(err)
	}
	return answerOf(t, bufio.NewReader(conn), m.line)
}

// answerOf reads the answer to a request of that first line.
func answerOf(t *testing.T, from *bufio.Reader, line string) response {
	t.Helper()
	method, _, _ := strings.Cut(line, " ")
	resp, err := http.ReadResponse(from, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(body), err}
}

// checkDenial checks that an answer is a denial in OpenAI's shape.
func checkDenial(t *testing.T, r response, status int, code string) {
	t.Helper()
	if r.status != status || r.code() != code {
		t.Errorf("got %d %.300q, want %d with code %q", r.status, r.body, status, code)
		return
	}
	if got := r.header["X-Aegis-Decision"]; len(got) != 1 || got[0] != "deny" {
		t.Errorf("the decision header is %q", got)
	}
	var body struct {
		Error struct{ Message, Type string }
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || body.Error.Type == "" || !strings.HasPrefix(body.Error.Message, "aegis: ") {
		t.Errorf("not an error of the API: %.300q", r.body)
	}
}

// untouched checks that nothing was forwarded, allowed, spent or held, and that
// the proxy serves and then ends well.
func untouched(t *testing.T, w *world, r *replica) {
	t.Helper()
	if got := w.sim.Totals().Received; got != 0 {
		t.Errorf("the provider got %d requests", got)
	}
	for _, receipt := range r.receipts() {
		if d, ok := receipt.Body.(audit.Decision); ok && d.Verdict == audit.Allow {
			t.Errorf("a request was allowed: %+v", d.Facts)
		}
	}
	restsAt(t, r, 0)
	w.serve([]*replica{r}, request{cap: outputCap})
	endsClean(t, r)
}

// restsAt checks that so much is spent, and that nothing is held or open.
func restsAt(t *testing.T, r *replica, spent int64) {
	t.Helper()
	checkStanding(t, r, standing(spent, 0))
	status, body, err := r.ask("/admin/v1/budgets?tenant=acme")
	var view struct {
		Open *int64 `json:"open_leases"`
	}
	if err != nil || json.Unmarshal([]byte(body), &view) != nil || view.Open == nil || *view.Open != 0 {
		t.Errorf("leases are open: %d %s %v", status, body, err)
	}
}

// endsClean stops the proxy. A panic outside a handler ends it; one inside ends
// its connection without an answer, which deliver reports.
func endsClean(t *testing.T, r *replica) {
	t.Helper()
	if code := r.stop(); code != 0 || r.logged("panic") {
		t.Errorf("proxy ended with %d\n%s", code, r.log())
	}
	verifyAll(t, []*replica{r})
}

// filled is a good chat request with other members in place of the cap.
func filled(members string) string {
	return `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}],` + members + `}`
}

// saying is a good chat request whose prompt is that JSON value.
func saying(content string) string {
	return `{"model":"gpt-4o-mini","max_completion_tokens":5,"messages":[{"role":"user","content":` + content + `}]}`
}

// deep is nested 100,000 levels.
const deep = 100_000

var malformedBodies = []struct{ name, body string }{
	{"empty", ""},
	{"white space", " \r\n\t"},
	{"null", "null"},
	{"number", "1"},
	{"string", `"gpt-4o-mini"`},
	{"array", "[" + goodBody + "]"},
	{"form", "model=gpt-4o-mini&max_tokens=5"},
	{"truncated in a string", goodBody[:60]},
	{"truncated before the end", goodBody[:len(goodBody)-1]},
	{"single quotes", strings.ReplaceAll(goodBody, `"`, "'")},
	{"comment", "/* */" + goodBody},
	{"trailing comma", filled(`"max_completion_tokens":5,`)},
	{"data behind the object", goodBody + "x"},
	{"two objects", goodBody + goodBody},
	{"NUL behind the object", goodBody + "\x00"},
	{"NUL in a string", saying("\"\x00\"")},
	{"byte order mark", "\xef\xbb\xbf" + goodBody},
	{"UTF-16", "\xff\xfe" + strings.Join(strings.Split(goodBody, ""), "\x00") + "\x00"},
	{"bad UTF-8 in a value", saying("\"\xff\xfe\"")},
	{"bad UTF-8 in a name", filled("\"\xc3\x28\":1")},
	{"overlong UTF-8", saying("\"\xc0\xaf\"")},
	{"bad escape", saying(`"\x41"`)},
	{"compressed", "\x1f\x8b\x08\x00\x00\x00\x00\x00"},

	{"arrays, deep", strings.Repeat("[", deep) + strings.Repeat("]", deep)},
	{"arrays, deep, unclosed", strings.Repeat("[", deep)},
	{"objects, deep", strings.Repeat(`{"a":`, deep) + "1" + strings.Repeat("}", deep)},
	{"messages, deep", `{"model":"gpt-4o-mini","messages":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + "}"},
	{"unknown member, deep", filled(`"x":` + strings.Repeat(`[{"y":`, deep) + "1" + strings.Repeat("}]", deep))},
	{"schema, deep", filled(`"tools":[{"type":"function","function":{"name":"f","parameters":` + strings.Repeat(`{"items":`, deep) + "{}" + strings.Repeat("}", deep) + `}}]`)},

	{"second max_completion_tokens", filled(`"max_completion_tokens":1,"max_completion_tokens":100000`)},
	{"second max_tokens", filled(`"max_tokens":1,"max_tokens":100000`)},
	{"second max_completion_tokens, escaped", filled(`"max_completion_tokens":1,"max_completion_token\u0073":100000`)},
	{"second model", filled(`"model":"gpt-4o"`)},
	{"second messages", filled(`"messages":[]`)},
	{"second n", filled(`"n":1,"n":100`)},
	{"second member, nested", filled(`"stream_options":{"include_usage":true,"include_usage":false}`)},
	{"second member of a message", saying(`"a","content":"b"`)},

	{"cap beyond every float", filled(`"max_completion_tokens":1e400`)},
	{"cap beyond 64 bits", filled(`"max_completion_tokens":99999999999999999999`)},
	{"cap of a million digits", filled(`"max_completion_tokens":` + strings.Repeat("9", 1_000_000))},
	{"cap beyond 53 bits", filled(`"max_completion_tokens":9007199254740992`)},
	{"cap below zero", filled(`"max_completion_tokens":-1`)},
	{"cap of the least integer", filled(`"max_completion_tokens":-9223372036854775808`)},
	{"cap of zero", filled(`"max_completion_tokens":0`)},
	{"cap with a fraction", filled(`"max_completion_tokens":1.5`)},
	{"cap with an exponent", filled(`"max_completion_tokens":1e3`)},
	{"cap with a leading zero", filled(`"max_completion_tokens":010`)},
	{"cap as a string", filled(`"max_completion_tokens":"5"`)},
	{"cap as an array", filled(`"max_tokens":[5]`)},
	{"cap that is not a number", filled(`"max_tokens":NaN`)},
	{"choices without end", filled(`"n":1000000000`)},
	{"choices below one", filled(`"n":0`)},
	{"choices as a string", filled(`"n":"2"`)},
	{"stream as a string", filled(`"stream":"true"`)},
	{"stream as a number", filled(`"stream":1`)},
	{"stream_options as an array", filled(`"stream":true,"stream_options":[]`)},
	{"include_usage as a string", filled(`"stream":true,"stream_options":{"include_usage":"yes"}`)},

	{"no model", `{"messages":[]}`},
	{"empty model", `{"model":"","messages":[]}`},
	{"model as a number", `{"model":4,"messages":[]}`},
	{"model as null", `{"model":null,"messages":[]}`},
	{"model without end", `{"model":"` + strings.Repeat("m", 1_000_000) + `","messages":[]}`},
	{"no messages", `{"model":"gpt-4o-mini"}`},
	{"messages as a string", `{"model":"gpt-4o-mini","messages":"hello"}`},
	{"messages as an object", `{"model":"gpt-4o-mini","messages":{"role":"user"}}`},
	{"message as a string", `{"model":"gpt-4o-mini","messages":["hello"]}`},
	{"content as a number", saying("1")},
	{"content parts of numbers", saying("[1]")},
	{"tools as an object", filled(`"tools":{}`)},
}

const (
	toCompletions = "POST /v1/completions HTTP/1.1"
	toEmbeddings  = "POST /v1/embeddings HTTP/1.1"
)

var malformedElsewhere = []struct{ name, line, body string }{
	{"prompt as an object", toCompletions, `{"model":"gpt-3.5-turbo-instruct","prompt":{"a":1}}`},
	{"prompt as a number", toCompletions, `{"model":"gpt-3.5-turbo-instruct","prompt":1}`},
	{"prompt of fractions", toCompletions, `{"model":"gpt-3.5-turbo-instruct","prompt":[1.5]}`},
	{"prompt of mixed types", toCompletions, `{"model":"gpt-3.5-turbo-instruct","prompt":["a",1]}`},
	{"best_of without end", toCompletions, `{"model":"gpt-3.5-turbo-instruct","prompt":"a","best_of":1e9}`},
	{"second prompt", toCompletions, `{"model":"gpt-3.5-turbo-instruct","prompt":"a","prompt":"b"}`},
	{"no input", toEmbeddings, `{"model":"text-embedding-3-small"}`},
	{"input as a number", toEmbeddings, `{"model":"text-embedding-3-small","input":1}`},
	{"input as an object", toEmbeddings, `{"model":"text-embedding-3-small","input":{}}`},
	{"input, deep", toEmbeddings, `{"model":"text-embedding-3-small","input":` + strings.Repeat("[", deep)},
	{"second input", toEmbeddings, `{"model":"text-embedding-3-small","input":"a","input":"b"}`},
}

// TestMalformedBodies sends bodies that are no request. Each is answered 400.
func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	r := w.start("replica0")
	for _, row := range malformedBodies {
		t.Run(row.name, func(t *testing.T) {
			checkDenial(t, w.deliver(t, r, message{body: row.body}), 400, "invalid_request")
		})
	}
	for _, row := range malformedElsewhere {
		t.Run(row.name, func(t *testing.T) {
			checkDenial(t, w.deliver(t, r, message{line: row.line, body: row.body}), 400, "invalid_request")
		})
	}
	untouched(t, w, r)
}
