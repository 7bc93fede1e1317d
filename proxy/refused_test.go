package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// refusals are the shapes in which servers say no.
var refusals = []struct{ name, kind, body string }{
	{"OpenAI's error", "", `{"error":{"message":"x","type":"requests","param":null,"code":"rate_limit_exceeded"}}`},
	{"an error with a number as code", "", `{"error":{"code":402,"message":"x","metadata":{}},"user_id":"u"}`},
	{"an error that is text", "", `{"code":"The caller does not have permission","error":"x"}`},
	{"an error that is text alone", "", `{"error":"model is required"}`},
	{"an error that is null", "", `{"error":null,"message":"x"}`},
	{"vLLM's older error", "", `{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}`},
	{"a message", "", `{"message":"Unauthorized","request_id":"r"}`},
	{"a detail", "", `{"detail":"Not Found"}`},
	{"details that quote the request", "", `{"detail":[{"type":"missing","loc":["body","model"],"msg":"Field required","input":{"messages":[{"role":"user","content":"hi"}]}}]}`},
	{"errors", "", `{"errors":[{"message":"x"}],"success":false,"result":null}`},
	{"a fault", "", `{"fault":{"faultstring":"Rate limit quota violation","detail":{"errorcode":"policies.ratelimit"}}}`},
	{"problem details", "application/problem+json", `{"type":"about:blank","title":"Too Many Requests","status":429}`},
	{"a list", "", `[{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT"}}]`},
	{"an empty object", "", `{}`},
	{"an empty list", "", `[]`},
	{"no choices", "", `{"choices":[],"usage":null,"error":{"message":"x"}}`},
	{"usage of zeros", "", `{"error":{"message":"x"},"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`},
	{"a text", "text/plain", `Rate limit exceeded`},
	{"a text in quotes", "", `"slow down"`},
	{"null", "", `null`},
	{"a page", "text/html", "<html>\r\n<head><title>429</title></head>\r\n<body>\r\n<center>nginx</center>\r\n</body>\r\n</html>\r\n"},
	{"nothing", "", ""},
	{"nothing of no kind", none, ""},
	{"JSON behind blank lines", "", "\n\n{\"message\":\"x\"}\n"},
	{"a page as JSON", "", "<html></html>"},
	{"an error in a stream", sse, "data: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n"},
	{"an error as a stream's event", sse, "event: error\ndata: {\"message\":\"x\"}\n\n"},
}

// TestRefusalsAreUnbilled: an answer that came whole, without output and usage,
// costs nothing where its status says that no model answered, whatever its shape.
func TestRefusalsAreUnbilled(t *testing.T) {
	var cases []wireCase
	for _, r := range refusals {
		for status, body := range map[int]string{400: localChat, 503: strings.Replace(localChat, `"max_tokens"`, `"stream":true,"max_tokens"`, 1)} {
			cases = append(cases, wireCase{
				name: fmt.Sprintf("%s, %d", r.name, status), policy: local, body: body,
				reply: reply{status: status, kind: r.kind, body: r.body, chunks: status == 503},
				want:  want{basis: audit.BasisUnbilled},
			})
		}
	}
	play(t, cases)
}

// TestRefusedByStatus is what each status says, of a page that says nothing.
func TestRefusedByStatus(t *testing.T) {
	const page = "<html></html>"
	var cases []wireCase
	for status, basis := range map[int]string{
		301: audit.BasisUnbilled, 302: audit.BasisUnbilled, 307: audit.BasisUnbilled, 308: audit.BasisUnbilled,
		400: audit.BasisUnbilled, 401: audit.BasisUnbilled, 402: audit.BasisUnbilled, 403: audit.BasisUnbilled, 404: audit.BasisUnbilled,
		405: audit.BasisUnbilled, 406: audit.BasisUnbilled, 409: audit.BasisUnbilled, 410: audit.BasisUnbilled, 412: audit.BasisUnbilled,
		413: audit.BasisUnbilled, 415: audit.BasisUnbilled, 418: audit.BasisUnbilled, 421: audit.BasisUnbilled, 422: audit.BasisUnbilled,
		424: audit.BasisUnbilled, 425: audit.BasisUnbilled, 428: audit.BasisUnbilled, 429: audit.BasisUnbilled, 431: audit.BasisUnbilled,
		451: audit.BasisUnbilled, 498: audit.BasisUnbilled, 503: audit.BasisUnbilled, 529: audit.BasisUnbilled,
		200: audit.BasisUnknown, 202: audit.BasisUnknown, 408: audit.BasisUnknown, 499: audit.BasisUnknown, 500: audit.BasisUnknown,
		501: audit.BasisUnknown, 502: audit.BasisUnknown, 504: audit.BasisUnknown, 520: audit.BasisUnknown, 524: audit.BasisUnknown,
	} {
		cases = append(cases, wireCase{
			name: fmt.Sprint(status), policy: local, body: localChat,
			reply: reply{status: status, kind: "text/html", body: page, header: map[string]string{"Location": "/x"}}, want: want{basis: basis},
		})
	}
	play(t, cases)
}

// TestRefusalThatMayBeBilled: where something ran, or something is missing, the
// status does not count.
func TestRefusalThatMayBeBilled(t *testing.T) {
	const openAI = `{"error":{"message":"x","type":"server_error","param":null,"code":null}}`
	gzipped := map[string]string{"Content-Encoding": "gzip"}
	unknown, unbilled := want{basis: audit.BasisUnknown}, want{basis: audit.BasisUnbilled}
	lists := upstreamWith(local, "unbilled_statuses: [200, 500, 502], billed_statuses: [400]")
	localStream := strings.Replace(localChat, `"max_tokens"`, `"stream":true,"max_tokens"`, 1)
	play(t, []wireCase{
		{name: "output", policy: local, body: localChat, reply: reply{status: 400, body: says("local", "Hi.", "null")}, want: unknown},
		{name: "output beside an error", policy: local, body: localChat, want: unknown,
			reply: reply{status: 429, body: `{"error":{"message":"x"},"choices":[{"index":0,"text":"a"}]}`}},
		{name: "output by an escaped name", policy: local, body: localChat, want: unknown,
			reply: reply{status: 429, body: `{"error":{"message":"x"},"choic\u0065s":[{"index":0,"text":"a"}]}`}},
		{name: "output in a stream by an escaped name", policy: local, body: localStream, want: unknown,
			reply: reply{status: 400, kind: sse, body: events(`{"\u0063hoices":[{"index":0,"d\u0065lta":{"cont\u0065nt":"a"}}]}`)}},
		{name: "output in a stream", policy: local, body: localStream, reply: reply{status: 400, kind: sse, body: events(delta)}, want: unknown},
		{name: "usage", policy: local, body: localChat, want: want{basis: audit.BasisReported, charge: 28000},
			reply: reply{status: 400, body: `{"error":{"message":"x"},"usage":` + usage20and4 + `}`}},
		{name: "usage that is not whole", policy: local, body: localChat, reply: reply{status: 400, body: `{"usage":{"prompt_tokens":20}}`}, want: unknown},
		{name: "a filtered prompt", policy: local, body: localChat, reply: reply{status: 400, body: `{"error":{"code":"content_filter","status":400,"innererror":{}}}`}, want: unknown},
		{name: "a prompt against the guidelines", policy: local, body: localChat,
			reply: reply{status: 403, body: `{"code":"x","error":"Content violates usage guidelines."}`}, want: unknown},
		{name: "JSON that is not closed", policy: local, body: localChat, reply: reply{status: 400, body: `{"error":{"message":"x"}`}, want: unbilled},
		{name: "JSON that is not closed, in chunks", policy: local, body: localChat, reply: reply{status: 429, chunks: true, body: `{"error":{"message":"x`}, want: unbilled},
		{name: "JSON that is not closed, 500", policy: local, body: localChat, reply: reply{status: 500, body: `{"error":{"message":"x"}`}, want: unknown},
		{name: "output in JSON that is not closed", policy: local, body: localChat, reply: reply{status: 400, body: `{"choices":[{"text":"a`}, want: unknown},
		{name: "usage in JSON that is not closed", policy: local, body: localChat, reply: reply{status: 400, body: `{"usage":{"prompt_tokens":20,"completion_tokens":4}`}, want: unknown},
		{name: "JSON that ends with its connection", policy: local, body: localChat, reply: unframed(`{"error":{"message":"x"}}`), want: unbilled},
		{name: "JSON that is not closed and ends with its connection", policy: local, body: localChat, reply: unframed(`{"error":{"message":"x"}`), want: unknown},
		{name: "less than its length", policy: local, body: localChat, want: unknown, reply: reply{play: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, "<html>")
			panic(http.ErrAbortHandler)
		}}},
		{name: "chunks that break off", policy: local, body: localChat, want: unknown, reply: reply{play: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}}},

		{name: "compressed", policy: local, body: localChat, want: unbilled, reply: reply{status: 429, header: gzipped, body: zipped(`{"detail":"x"}`)}},
		{name: "compressed output", policy: local, body: localChat, want: unknown, reply: reply{status: 429, header: gzipped, body: zipped(says("local", "Hi.", "null"))}},
		{name: "compressed, and cut", policy: local, body: localChat, want: unknown, reply: reply{status: 429, header: gzipped, body: zipped("<html></html>")[:20]}},
		{name: "compressed nothing", policy: local, body: localChat, want: unbilled, reply: reply{status: 429, header: gzipped}},
		{name: "compressed as nobody knows", policy: local, body: localChat, want: unknown, reply: reply{status: 429, header: map[string]string{"Content-Encoding": "br"}, body: "x"}},

		{name: "500 as OpenAI gives it", policy: local, body: localChat, reply: reply{status: 500, body: openAI}, want: unbilled},
		{name: "500 with an error without a message", policy: local, body: localChat, reply: reply{status: 500, body: `{"error":{"code":429}}`}, want: unknown},
		{name: "500 with an error that is text", policy: local, body: localChat, reply: reply{status: 500, body: `{"error":"x"}`}, want: unknown},
		{name: "500 of another shape", policy: local, body: localChat, reply: reply{status: 500, body: `{"detail":"x"}`}, want: unknown},
		{name: "502 in OpenAI's shape", policy: local, body: localChat, reply: reply{status: 502, body: openAI}, want: unknown},
		{name: "listed 500 of another shape", policy: lists, body: localChat, reply: reply{status: 500, body: "x"}, want: unbilled},
		{name: "listed 502", policy: lists, body: localChat, reply: reply{status: 502, body: "x"}, want: unbilled},
		{name: "listed as billed", policy: lists, body: localChat, reply: reply{status: 400, body: openAI}, want: unknown},

		{name: "a stream that begins with an error", policy: local, body: localStream, reply: reply{kind: sse, body: undone(openAI)}, want: unbilled},
		{name: "a stream that begins with a refusal", policy: local, body: localStream,
			reply: reply{kind: sse, body: events(`{"error":{"message":"too long","type":"BadRequestError","code":400}}`)}, want: unbilled},
		{name: "a stream that begins with a gateway's error", policy: local, body: localStream,
			reply: reply{kind: sse, body: events(`{"error":{"message":"x","code":504}}`)}, want: unknown},
		{name: "a stream that begins with an error, and goes on", policy: local, body: localStream, reply: reply{kind: sse, body: events(openAI, delta)}, want: unknown},
		{name: "a stream with an error behind a choice without text", policy: local, body: localStream,
			reply: reply{kind: sse, body: events(`{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`, openAI)}, want: unknown},
		{name: "a stream with an error behind a choice that is finished", policy: local, body: localStream,
			reply: reply{kind: sse, body: events(`{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`, openAI)}, want: unknown},
		{name: "a stream that begins with an error beside an empty choice", policy: local, body: localStream,
			reply: reply{kind: sse, body: undone(`{"error":{"message":"x","code":429},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}`)}, want: unbilled},
		{name: "a stream with an error that is not closed", policy: local, body: localStream, reply: reply{kind: sse, body: `data: {"error":{"message":"x`}, want: unknown},
		{name: "a stream with an error behind text that nobody knows", policy: local, body: localStream, reply: reply{kind: sse, body: events(`{"thought":"so"}`, openAI)}, want: unknown},
		{name: "a stream with an error behind output", policy: local, body: localStream, reply: reply{kind: sse, body: events(delta, openAI)}, want: unknown},
		{name: "a stream with an error that breaks off", policy: local, body: localStream, reply: brokenOff(undone(openAI)), want: unknown},
		{name: "a stream that begins with an error that says nothing", policy: local, body: localStream, reply: reply{kind: sse, body: events(`{"error":{}}`)}, want: unknown},
		{name: "a stream that begins with a text as error", policy: local, body: localStream, reply: reply{kind: sse, body: events(`{"error":"too long"}`)}, want: unbilled},
		{name: "a stream with nothing in it", policy: local, body: localStream, reply: reply{kind: sse, body: events()}, want: unknown},
		{name: "200 with an error in an object", policy: local, body: localChat, reply: reply{body: openAI}, want: unknown},
		{name: "200 with an error in an object, listed", policy: lists, body: localChat, reply: reply{body: openAI}, want: unbilled},
		{name: "200 with nothing, listed", policy: lists, body: localChat, reply: reply{body: `{}`}, want: unknown},
	})
}

// unframed is a 400 without length or chunks, which ends with its connection.
func unframed(body string) reply {
	return reply{play: func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n"+body)
	}}
}

// TestErrorsThatSayNothing: under a status by which an error alone may be free, one
// that says nothing is none.
func TestErrorsThatSayNothing(t *testing.T) {
	lists := upstreamWith(local, "unbilled_statuses: [200]")
	var cases []wireCase
	for _, said := range []string{`[]`, `""`, `0`, `1`, `true`, `false`, `{}`, `null`, `[{}]`, `{"message":null}`, `{"message":""}`, `{"message":{}}`, `{"type":"x"}`} {
		body := `{"error":` + said + `}`
		cases = append(cases,
			wireCase{name: body + " under 500", policy: local, body: localChat, reply: reply{status: 500, body: body}, want: want{basis: audit.BasisUnknown}},
			wireCase{name: body + " under a listed 200", policy: lists, body: localChat, reply: reply{body: body}, want: want{basis: audit.BasisUnknown}},
			wireCase{name: body + " under 400", policy: local, body: localChat, reply: reply{status: 400, body: body}, want: want{basis: audit.BasisUnbilled}})
	}
	play(t, cases)
}

// TestRefusalsDoNotCloseABudget: four prompts that are too long did.
func TestRefusalsDoNotCloseABudget(t *testing.T) {
	play(t, []wireCase{{
		name: "six", policy: local, body: localChat, times: 6,
		reply: reply{status: 400, body: `{"object":"error","message":"prompt is longer than the context","type":"BadRequestError","param":null,"code":400}`},
		want:  want{basis: audit.BasisUnbilled},
	}})
}
