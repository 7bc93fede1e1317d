package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// behaviours are the ways in which a provider answers, and on what basis each
// is charged, without a stream and with one.
var behaviours = []struct{ name, basis, streamBasis string }{
	{"", audit.BasisReported, audit.BasisReported},
	{"400", audit.BasisUnbilled, audit.BasisUnbilled},
	{"401", audit.BasisUnbilled, audit.BasisUnbilled},
	{"403", audit.BasisUnbilled, audit.BasisUnbilled},
	{"404", audit.BasisUnbilled, audit.BasisUnbilled},
	{"408", audit.BasisUnknown, audit.BasisUnknown},
	{"409", audit.BasisUnbilled, audit.BasisUnbilled},
	{"413", audit.BasisUnbilled, audit.BasisUnbilled},
	{"422", audit.BasisUnbilled, audit.BasisUnbilled},
	{"429,retry-after=7s", audit.BasisUnbilled, audit.BasisUnbilled},
	{"429,chunked", audit.BasisUnbilled, audit.BasisUnbilled},
	{"500", audit.BasisUnbilled, audit.BasisUnbilled},
	{"500,gzip", audit.BasisUnbilled, audit.BasisUnbilled},
	{"500,close-mid-json", audit.BasisUnknown, audit.BasisUnknown},
	{"502", audit.BasisUnknown, audit.BasisUnknown},
	{"503", audit.BasisUnbilled, audit.BasisUnbilled},
	{"504", audit.BasisUnknown, audit.BasisUnknown},
	{"odd-whitespace", audit.BasisReported, audit.BasisReported},
	{"gzip", audit.BasisReported, audit.BasisReported},
	{"gzip,chunked", audit.BasisReported, audit.BasisReported},
	{"chunked", audit.BasisReported, audit.BasisReported},
	{"content-length", audit.BasisReported, audit.BasisReported},
	{"pad=300000", audit.BasisReported, audit.BasisReported},
	{"trickle=7", audit.BasisReported, audit.BasisReported},
	{"tokens=15,reasoning=10,cached=1", audit.BasisReported, audit.BasisReported},
	{"no-usage", audit.BasisUnknown, audit.BasisUnknown},
	{"no-done", audit.BasisReported, audit.BasisReported},
	{"usage-beside-choices", audit.BasisReported, audit.BasisReported},
	{"close-after-headers", audit.BasisUnknown, audit.BasisUnknown},
	{"close-mid-stream", audit.BasisUnknown, audit.BasisUnknown},
	{"close-mid-json", audit.BasisUnknown, audit.BasisUnknown},
	{"error-mid-stream", audit.BasisUnknown, audit.BasisUnknown},
	{"continue", audit.BasisReported, audit.BasisReported},
	{"ignore-cap,tokens=500", audit.BasisReported, audit.BasisReported},
}

// TestClientGetsWhatTheUpstreamSends compares every behaviour with and without
// the proxy, byte for byte, on two providers that count alike.
func TestClientGetsWhatTheUpstreamSends(t *testing.T) {
	for _, b := range behaviours {
		for body, basis := range map[string]string{hello: b.basis, stream: b.streamBasis} {
			t.Run(fmt.Sprintf("%s/stream=%v", b.name, body == stream), func(t *testing.T) {
				twin := httptest.NewServer(simulator.New(simulator.Config{}))
				defer twin.Close()
				w, _ := simulated(t, simulator.Config{}, setting{})
				asked := body
				if strings.Contains(b.name, "gzip") { // the proxy's own usage cannot be taken out of it again
					asked = strings.Replace(body, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
				}
				want := w.do(request(t.Context(), twin.URL+chatPath, asked, "X-Simulate", b.name))
				got := w.post(chatPath, body, "X-Simulate", b.name)
				// The comments of the event that was taken out stay.
				got.body = strings.Replace(got.body, ": still here\r\ndata:[DONE]", "data:[DONE]", 1)
				if breaks(b.name) {
					compareBroken(t, got, want)
				} else {
					compare(t, got, want)
				}
				s := w.settled(1)[0]
				if s.Basis != basis {
					t.Errorf("charged on basis %s, want %s", s.Basis, basis)
				}
				w.mustBalance(s.Charge, 0)
			})
		}
	}
}

// breaks reports whether the answer does not come to its end. Where that is
// depends on how many events there are, one of which the proxy has asked for.
func breaks(name string) bool {
	return strings.Contains(name, "close") || strings.Contains(name, "error-mid")
}

// compareBroken compares the whole events that both answers have.
func compareBroken(t *testing.T, got, want answer) {
	t.Helper()
	if got.status != want.status || (got.err == nil) != (want.err == nil) {
		t.Errorf("status %d, want %d; answer ends with %v, want %v", got.status, want.status, got.err, want.err)
	}
	a, b := strings.Split(got.body, "\n\n"), strings.Split(want.body, "\n\n")
	for i := range min(len(a), len(b)) - 2 {
		if a[i] != b[i] {
			t.Errorf("event %d\n%s\nwant\n%s", i, a[i], b[i])
		}
	}
}

// ours are headers that the proxy sets or that say when something was sent.
var ours = []string{"Date", "X-Aegis-Decision", "X-Aegis-Receipt"}

func compare(t *testing.T, got, want answer) {
	t.Helper()
	if got.header.Get("X-Aegis-Decision") != "allow" || got.header.Get("X-Aegis-Receipt") == "" || len(got.header["Date"]) != 1 {
		t.Errorf("headers %v", got.header)
	}
	if strings.HasPrefix(want.header.Get("Content-Type"), "text/event-stream") {
		got.header.Del("Content-Length") // a stream from which usage is taken has none
		want.header.Del("Content-Length")
	}
	for _, name := range ours {
		got.header.Del(name)
		want.header.Del(name)
	}
	if got.status != want.status {
		t.Errorf("status %d, want %d", got.status, want.status)
	}
	if at := differ(got.body, want.body); at >= 0 {
		t.Errorf("at byte %d: %.80q, want %.80q", at, got.body[at:], want.body[at:])
	}
	if !reflect.DeepEqual(got.header, want.header) {
		t.Errorf("headers\n%v\nwant\n%v", got.header, want.header)
	}
	if (got.err == nil) != (want.err == nil) {
		t.Errorf("body ends with %v, want %v", got.err, want.err)
	}
}

// differ is where two texts part, -1 if they do not.
func differ(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) == len(b) {
		return -1
	}
	return min(len(a), len(b))
}

// raw answers every request alike.
func raw(answer func(w http.ResponseWriter)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w)
	})
}

// TestOddAnswersPass are answers that the simulator does not give.
func TestOddAnswersPass(t *testing.T) {
	for name, h := range map[string]http.Handler{
		"no body":         raw(func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }),
		"no content type": raw(func(w http.ResponseWriter) { w.Header()["Content-Type"] = nil; io.WriteString(w, "<html>") }),
		"no content type behind a hint": raw(func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "<html>")
		}),
		"a redirect": raw(func(w http.ResponseWriter) { w.Header().Set("Location", "/x"); w.WriteHeader(307) }),
		"HTML from a load balancer": raw(func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(503)
			io.WriteString(w, "<html>busy</html>")
		}),
		"trailers": raw(func(w http.ResponseWriter) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, `{"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
			w.Header().Set("X-Sum", "42")
		}),
		"many cookies": raw(func(w http.ResponseWriter) {
			w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
			io.WriteString(w, `{}`)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			direct := httptest.NewServer(h)
			defer direct.Close()
			w := newWorld(t, setting{upstreams: []http.Handler{h}})
			w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			want := w.do(request(t.Context(), direct.URL+chatPath, hello))
			compare(t, w.post(chatPath, hello), want)
		})
	}
}

// TestRequestLeavesAsItCame: what no rule touches is not touched.
func TestRequestLeavesAsItCame(t *testing.T) {
	body := "{ \"model\" : \"toy\",\r\n\t\"max_completion_tokens\":20,\"stop_token_ids\":[1.50,null] ,\"service_tier\": \"default\",\"messages\":[]}\n"
	w, sim := simulated(t, simulator.Config{}, setting{})
	w.post(chatPath+"?api-version=a%20b&", body, "X-Custom", "kept", "User-Agent", "me/1", "Idempotency-Key", "k1")
	call := sim.Calls()[0]
	if string(call.Body) != body || call.Query != "api-version=a%20b&" {
		t.Errorf("body %q, query %q", call.Body, call.Query)
	}
	for name, want := range map[string]string{
		"X-Custom": "kept", "User-Agent": "me/1", "Idempotency-Key": "k1", "Accept-Encoding": "identity", "Authorization": "Bearer " + upstreamKey,
	} {
		if got := call.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestClientsHeadersStayHere(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{})
	a := w.post(chatPath, hello, "Api-Key", tenantKey, "X-Api-Key", tenantKey, "OpenAI-Organization", "org", "OpenAI-Project", "p",
		"X-Aegis-Run", "r1", "X-Aegis-Decision", "deny", "Upgrade", "h2c", "Connection", "Upgrade, HTTP2-Settings", "HTTP2-Settings", "AAMA",
		"Accept-Encoding", "gzip", "X-Forwarded-For", "10.0.0.1")
	if a.status != 200 {
		t.Fatalf("%+v", a)
	}
	if leaks := sim.Leaks(tenantKey); len(leaks) > 0 {
		t.Errorf("the tenant's key left: %v", leaks)
	}
	for name := range sim.Calls()[0].Header {
		switch name {
		case "Accept-Encoding", "Authorization", "Content-Length", "Content-Type", "User-Agent":
		default:
			t.Errorf("%s left for the upstream", name)
		}
	}
	for name, values := range a.header {
		if strings.Contains(fmt.Sprint(values), upstreamKey) {
			t.Errorf("the upstream's key came back in %s", name)
		}
	}
}

func TestUpstreamCannotSpeakForTheProxy(t *testing.T) {
	early := make(chan textproto.MIMEHeader, 1)
	w := newWorld(t, setting{upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
		w.Header().Set("X-Aegis-Decision", "deny")
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("X-Aegis-Receipt", "forged")
		w.Header().Set("X-Aegis-Warning", "forged")
		io.WriteString(w, `{}`)
	})}})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		early <- h
		return nil
	}})
	a := w.do(request(ctx, w.front.URL+chatPath, hello))
	if hint := <-early; hint.Get("Link") == "" || hint.Get("X-Aegis-Decision") != "" {
		t.Errorf("early headers %v", hint)
	}
	if a.header.Get("X-Aegis-Decision") != "allow" || a.header.Get("X-Aegis-Receipt") == "forged" || a.header.Get("X-Aegis-Warning") != "" {
		t.Errorf("headers %v", a.header)
	}
}

// TestUpstreamCannotSpeakForTheProxyInTrailers: announced ones and others, of
// answers with and without a stream.
func TestUpstreamCannotSpeakForTheProxyInTrailers(t *testing.T) {
	for _, row := range []struct{ name, contentType, announced, body string }{
		{"announced", "application/json", "X-Sum, X-Aegis-Decision", `{}`},
		{"announced in a stream", "text/event-stream", "X-Aegis-Decision, X-Sum", "data: [DONE]\n\n"},
		{"announced alone", "application/json", "X-Aegis-Receipt", `{}`},
		{"not announced", "application/json", "X-Sum", `{}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, setting{upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", row.contentType)
				w.Header().Set("Trailer", row.announced)
				io.WriteString(w, row.body)
				w.(http.Flusher).Flush()
				for _, name := range []string{"X-Aegis-Decision", "X-Aegis-Receipt"} {
					if !strings.Contains(row.announced, name) {
						name = http.TrailerPrefix + name
					}
					w.Header().Set(name, "forged")
				}
				w.Header().Set("X-Sum", "42")
			})}})
			resp, err := w.client.Do(request(t.Context(), w.front.URL+chatPath, hello))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			if resp.Header.Get("X-Aegis-Decision") != "allow" {
				t.Errorf("header %v", resp.Header)
			}
			want := http.Header{"X-Sum": {"42"}}
			if !strings.Contains(row.announced, "X-Sum") {
				want = nil
			}
			if !reflect.DeepEqual(resp.Trailer, want) {
				t.Errorf("trailers %v, want %v", resp.Trailer, want)
			}
		})
	}
}

// TestFirstByteIsNotBuffered: the client has chunk 1 before the upstream sends
// chunk 2.
func TestFirstByteIsNotBuffered(t *testing.T) {
	more := make(chan struct{})
	w := newWorld(t, setting{upstreams: []http.Handler{streaming(func(send func(string)) {
		send(`data: {"choices":[{"delta":{"content":"one"}}],"usage":null}`)
		<-more
		send(`data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}`)
		send(`data: [DONE]`)
	})}})
	resp, err := w.client.Do(request(t.Context(), w.front.URL+chatPath, stream))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); line != `data: {"choices":[{"delta":{"content":"one"}}]}`+"\n" {
		t.Errorf("%q %v", line, err)
	}
	close(more)
	rest, err := io.ReadAll(lines)
	if string(rest) != "\ndata: [DONE]\n\n" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
	if s := w.settled(1)[0]; s.Charge != 5 {
		t.Errorf("settled %+v", s)
	}
}

// streaming is an upstream that sends events one by one.
func streaming(run func(send func(event string))) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		run(func(event string) {
			io.WriteString(w, event+"\n\n")
			http.NewResponseController(w).Flush()
		})
	})
}

// TestEventWithoutItsEndPasses, whether the stream just ends there or breaks.
func TestEventWithoutItsEndPasses(t *testing.T) {
	const event = `data: {"choices":[{"delta":{"content":"one"}}]}`
	for name, broken := range map[string]bool{"ended": false, "broken": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setting{upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, event)
				http.NewResponseController(w).Flush()
				if broken {
					panic(http.ErrAbortHandler)
				}
			})}})
			if a := w.post(chatPath, stream); a.body != event || (a.err != nil) != broken {
				t.Errorf("%q, then %v", a.body, a.err)
			}
		})
	}
}

func TestUsageThatTheClientAskedForStays(t *testing.T) {
	body := strings.Replace(stream, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	twin := httptest.NewServer(simulator.New(simulator.Config{}))
	defer twin.Close()
	w, sim := simulated(t, simulator.Config{}, setting{})
	want := w.do(request(t.Context(), twin.URL+chatPath, body))
	compare(t, w.post(chatPath, body), want)
	if got := string(sim.Calls()[0].Body); got != pinned(body) {
		t.Errorf("sent %s", got)
	}
}

func TestUpstreamThatRefusesStreamOptionsIsNotAsked(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{upstream: ", stream_usage: false"})
	w.post(chatPath, stream)
	if got := string(sim.Calls()[0].Body); got != pinned(stream) {
		t.Errorf("sent %s", got)
	}
	if s := w.settled(1)[0]; s.Basis != audit.BasisUnknown || s.Charge != s.Hold {
		t.Errorf("settled %+v", s)
	}
}

func TestSwitchedProtocolsIsAnError(t *testing.T) {
	w := newWorld(t, setting{upstreams: []http.Handler{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	})}})
	a := w.post(chatPath, hello, "Upgrade", "websocket", "Connection", "Upgrade")
	if a.status != http.StatusBadGateway {
		t.Errorf("%+v", a)
	}
	if s := w.settled(1)[0]; s.Basis != audit.BasisUnknown {
		t.Errorf("settled %+v", s)
	}
}

func TestExpectContinueIsAnsweredHere(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{})
	a := w.post(chatPath, hello, "Expect", "100-continue")
	if a.status != 200 || sim.Calls()[0].Header.Get("Expect") != "" {
		t.Errorf("%+v", a)
	}
}
