package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

// TestUpstreamWithoutAnswer: what may have been billed is charged its hold,
// what was never written costs nothing.
func TestUpstreamWithoutAnswer(t *testing.T) {
	for _, row := range []struct {
		name, upstream string
		answer         simulator.Answer
		status         int
	}{
		{"connection closed", "", simulator.Answer{Fault: simulator.CloseBeforeHeaders}, 502},
		{"no header in time", ", header_timeout: 20ms", simulator.Answer{Fault: simulator.Hang}, 504},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := simulated(t, simulator.Config{Script: simulator.Always(row.answer)}, setting{upstream: row.upstream})
			a := w.post(chatPath, hello)
			if a.status != row.status || a.code() != "upstream_failed" || a.header.Get("X-Aegis-Decision") != "error" || a.header.Get("X-Aegis-Receipt") == "" {
				t.Errorf("%+v", a)
			}
			s := w.settled(1)[0]
			if s.Basis != audit.BasisUnknown || s.Charge != s.Hold || s.Charge == 0 {
				t.Errorf("settled %+v", s)
			}
		})
	}
}

// TestWhyAnUpstreamIsNotReached: the client reads what kind of thing is the matter, and no address.
func TestWhyAnUpstreamIsNotReached(t *testing.T) {
	secure := httptest.NewTLSServer(raw(nil))
	defer secure.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	plain := httptest.NewServer(raw(nil))
	defer plain.Close()
	for url, want := range map[string]string{
		secure.URL:                        "its certificate is not trusted",
		"https" + plain.URL[len("http"):]: "what answers there speaks no TLS",
		"http://no-such-host.invalid":     "its host's name is not known",
		"http://127.0.0.1:1":              "nothing listens at its address",
	} {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			t.Fatalf("%s answers", url)
		}
		if got := proxy.Unreached(err); got != want {
			t.Errorf("%s: %q, want %q: %v", url, got, want, err)
		}
	}
}

func TestConnectionRefusedCostsNothing(t *testing.T) {
	w := newWorld(t, setting{upstreams: []http.Handler{raw(nil)}})
	w.upstreams[0].Close()
	if a := w.post(chatPath, hello); a.status != 502 || !strings.Contains(a.body, "cannot be reached: nothing listens at its address") {
		t.Errorf("%+v", a)
	}
	if s := w.settled(1)[0]; s.Basis != audit.BasisUnbilled || s.Charge != 0 || s.Outcome != "release" {
		t.Errorf("settled %+v", s)
	}
}

// TestUpstreamWithoutKey: it ends with one request, and the client reads why, but not where
// the key should have been.
func TestUpstreamWithoutKey(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{policy: `generation: 1
upstreams: [{name: keyless, base_url: "{up}/v1", api_key_env: AEGIS_NO_SUCH_KEY, provider: openai, cap_field: max_completion_tokens}]
models: [{match: "*", upstreams: [keyless], price: {input: "1", output: "1"}}]
tenants: [{name: acme, keys: [{id: acme-1, sha256: "{hash}"}], budgets: [{name: total, window: forever, limit_usd: "10"}]}]
`})
	a := w.post(chatPath, hello)
	if a.status != 502 || a.header.Get("X-Should-Retry") != "false" || !strings.Contains(a.body, `the proxy has no key for the upstream \"keyless\"; nothing was sent`) || strings.Contains(a.body, "AEGIS_NO_SUCH_KEY") {
		t.Errorf("%+v", a)
	}
	if s := w.settled(1)[0]; s.Basis != audit.BasisUnbilled || s.Charge != 0 || s.Outcome != "release" || len(sim.Calls()) != 0 {
		t.Errorf("settled %+v, upstream saw %d calls", s, len(sim.Calls()))
	}
}

func TestIdleUpstreamIsCut(t *testing.T) {
	w, _ := simulated(t, simulator.Config{Script: simulator.Always(simulator.Answer{Fault: simulator.HangMidStream})},
		setting{upstream: ", idle_timeout: 20ms"})
	if a := w.post(chatPath, stream); a.status != 200 || a.err == nil {
		t.Errorf("%+v", a)
	}
	if s := w.settled(1)[0]; s.Basis != audit.BasisUnknown || s.Charge != s.Hold {
		t.Errorf("settled %+v", s)
	}
}

// TestClientHangsUp is a client that leaves after the first event of a stream,
// or before the header, by what the policy says of it. The answer costs 53.
func TestClientHangsUp(t *testing.T) {
	const cancels = "\non_disconnect: cancel"
	for _, row := range []struct {
		name, tenant, upstream string
		stream, goesOn         bool
		basis                  string
	}{
		{"drained", "", "", true, true, audit.BasisReported},
		{"drained, the answer not yet begun", "", "", false, true, audit.BasisReported},
		{"drained, but the upstream does not end", "\ndrain_limit: 20ms", "", true, false, audit.BasisUnknown},
		{"drained, but the answer never begins", "\ndrain_limit: 20ms", "", false, false, audit.BasisUnknown},
		{"cancelled", cancels, "", true, false, audit.BasisUnknown},
		{"cancelled where that stops billing", cancels, ", cancel_stops_billing: true", true, false, audit.BasisFloor},
		{"a document cancelled in its middle", cancels, ", cancel_stops_billing: true", false, false, audit.BasisUnknown},
		{"cancelled before the answer began", cancels, ", cancel_stops_billing: true", false, false, audit.BasisUnknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			arrived, left := make(chan struct{}), make(chan struct{})
			up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if row.stream {
					w.Header().Set("Content-Type", "text/event-stream")
					io.WriteString(w, `data: {"choices":[{"delta":{"content":"one"}}]}`+"\n\n")
					http.NewResponseController(w).Flush()
				}
				if strings.Contains(row.name, "document") {
					io.WriteString(w, "{\n")
					http.NewResponseController(w).Flush()
				}
				close(arrived)
				<-left
				if !row.goesOn {
					<-r.Context().Done()
					return
				}
				if row.stream {
					io.WriteString(w, `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":25}}`+"\n\ndata: [DONE]\n\n")
				} else {
					io.WriteString(w, `{"usage":{"prompt_tokens":3,"completion_tokens":25}}`)
				}
			})
			w := newWorld(t, setting{upstreams: []http.Handler{up}, tenant: ampleBudget + row.tenant, upstream: row.upstream})
			ctx, hangUp := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); w.readOneLine(ctx, row.stream) }()
			<-arrived
			if row.stream {
				<-done
			}
			hangUp()
			<-done
			close(left)
			s := w.settled(1)[0]
			want := map[string]int64{audit.BasisReported: 53, audit.BasisUnknown: s.Hold, audit.BasisFloor: s.Hold - 20*2 + 3*2}[row.basis]
			if s.Basis != row.basis || s.Charge != want || s.Overrun != 0 {
				t.Errorf("settled %+v, want basis %s and charge %d", s, row.basis, want)
			}
		})
	}
}

// readOneLine makes a call and reads the first line of its answer, if it gets one.
func (w *world) readOneLine(ctx context.Context, streams bool) {
	body := hello
	if streams {
		body = stream
	}
	resp, err := w.client.Do(request(ctx, w.front.URL+chatPath, body))
	if err != nil {
		return
	}
	_, _ = bufio.NewReader(resp.Body).ReadString('\n')
	context.AfterFunc(ctx, func() { resp.Body.Close() })
}

// TestAnswerMayOutliveTheLimitOfTheBody: the server's ReadTimeout is for what
// the client sends.
func TestAnswerMayOutliveTheLimitOfTheBody(t *testing.T) {
	const limit = 500 * time.Millisecond // a busy machine reads a small request within it
	w, _ := simulated(t, simulator.Config{Script: simulator.Always(simulator.Answer{Latency: 2 * limit})},
		setting{tenant: ampleBudget + "\non_disconnect: cancel"})
	front := httptest.NewUnstartedServer(w.proxy)
	front.Config.ReadTimeout = limit
	front.Start()
	defer front.Close()
	for _, body := range []string{hello, stream} {
		if a := w.do(request(t.Context(), front.URL+chatPath, body)); a.status != 200 || a.err != nil {
			t.Errorf("%+v", a)
		}
	}
}

// TestSettledBeforeTheClientSeesTheEnd: the upstream leaves its answers without
// an end, so that only what is in them can tell that they are complete. Who has
// the last byte finds nothing held any more.
func TestSettledBeforeTheClientSeesTheEnd(t *testing.T) {
	for _, row := range []struct {
		name, kind, answer string
		status             int
		basis              string
		charge             int64
	}{
		{"document", "application/json", `{"usage":{"prompt_tokens":3,"completion_tokens":1}}`, 200, audit.BasisReported, 5},
		{"stream", "text/event-stream", `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}` + "\n\ndata: [DONE]\n\n", 200, audit.BasisReported, 5},
		{"error", "application/json", `{"error":{"message":"x"}}`, 400, audit.BasisUnbilled, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			over := make(chan struct{})
			w := newWorld(t, setting{upstream: ", stream_usage: false", upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", row.kind)
				w.WriteHeader(row.status)
				io.WriteString(w, row.answer)
				http.NewResponseController(w).Flush()
				<-over
			})}})
			defer close(over)
			resp, err := w.client.Do(request(t.Context(), w.front.URL+chatPath, hello))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.ReadFull(resp.Body, make([]byte, len(row.answer))); err != nil {
				t.Fatal(err)
			}
			if spent, held := w.balance(); held != 0 || spent != row.charge {
				t.Errorf("spent %d and held %d, want spent %d", spent, held, row.charge)
			}
			if s := w.settled(1)[0]; s.Basis != row.basis || s.Charge != row.charge {
				t.Errorf("settled %+v", s)
			}
		})
	}
}

// TestClientThatCannotBeWrittenToIsDrained: its context may not know yet.
func TestClientThatCannotBeWrittenToIsDrained(t *testing.T) {
	w, _ := simulated(t, simulator.Config{Script: simulator.Always(simulator.Answer{TokenDelay: time.Millisecond})}, setting{})
	func() {
		defer func() { _ = recover() }() // the copy aborts
		w.proxy.ServeHTTP(failingWriter{httptest.NewRecorder()}, serverSide(request(t.Context(), "http://proxy"+chatPath, stream)))
	}()
	if s := w.settled(1)[0]; s.Basis != audit.BasisReported {
		t.Errorf("settled %+v", s)
	}
}

// serverSide marks a request as one that came from a server, whose handlers may
// abort.
func serverSide(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, new(http.Server)))
}

type failingWriter struct{ *httptest.ResponseRecorder }

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestSequentialClientIsNeverHeld: the budget has room for one request more
// than are made, at any time, so that each must find the one before it settled.
func TestSequentialClientIsNeverHeld(t *testing.T) {
	const n = 200
	for name, body := range map[string]string{"document": hello, "stream": stream} {
		t.Run(name, func(t *testing.T) {
			probe, _ := simulated(t, simulator.Config{}, setting{})
			probe.post(chatPath, body)
			one := probe.settled(1)[0]
			limit := (n-1)*one.Charge + one.Hold
			w, sim := simulated(t, simulator.Config{}, setting{
				tenant: fmt.Sprintf(`budgets: [{name: daily, window: forever, limit_usd: "0.%09d"}]`, limit),
			})
			for i := range n {
				if a := w.post(chatPath, body); a.status != 200 || a.err != nil {
					t.Fatalf("request %d: %+v", i, a)
				}
			}
			w.mustBalance(n*one.Charge, 0)
			if got := sim.Totals().Complete; got != n {
				t.Errorf("the provider answered %d", got)
			}
		})
	}
}

func TestManyStreamsAtOnceAllArrive(t *testing.T) {
	const n = 100
	w, _ := simulated(t, simulator.Config{Script: simulator.Always(simulator.Answer{TokenDelay: time.Millisecond})}, setting{})
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			if a := w.post(chatPath, stream); a.status != 200 || a.err != nil || !strings.HasSuffix(a.body, "data: [DONE]\n\n") {
				t.Errorf("%d %v %.100q", a.status, a.err, a.body)
			}
		})
	}
	group.Wait()
	var charged int64
	for _, s := range w.settled(n) {
		if s.Basis != audit.BasisReported {
			t.Errorf("settled %+v", s)
		}
		charged += s.Charge
	}
	w.mustBalance(charged, 0)
}

// TestFallback: every attempt has a lease and a receipt of its own.
func TestFallback(t *testing.T) {
	ok := simulator.New(simulator.Config{})
	for _, row := range []struct {
		name  string
		first simulator.Answer
		basis string
		again bool
	}{
		{"500", simulator.Fail(500), audit.BasisUnbilled, true},
		{"429", simulator.RateLimited(time.Second), audit.BasisUnbilled, true},
		{"502 may have been billed", simulator.Fail(502), audit.BasisUnknown, true},
		{"no answer may have been billed", simulator.Answer{Fault: simulator.CloseBeforeHeaders}, audit.BasisUnknown, true},
		{"a client's mistake", simulator.Fail(400), audit.BasisUnbilled, false},
		{"an error too long to be held back", simulator.Answer{Status: 500, Body: []byte(`{"error":{"message":"x"},"more":"` + strings.Repeat("x", 200<<10) + `"}`)}, audit.BasisUnbilled, false},
		{"a broken answer", simulator.Answer{Fault: simulator.CloseMidJSON}, audit.BasisUnknown, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := simulated(t, simulator.Config{Script: simulator.Always(row.first)}, setting{upstreams: []http.Handler{ok}})
			a := w.post(chatPath, hello)
			if (a.status == 200 && a.err == nil) != row.again {
				t.Errorf("status %d, %v", a.status, a.err)
			}
			list := w.settled(map[bool]int{false: 1, true: 2}[row.again])
			if list[0].Basis != row.basis {
				t.Errorf("first attempt settled %+v", list[0])
			}
			if row.again && list[1].Basis != audit.BasisReported {
				t.Errorf("second attempt settled %+v", list[1])
			}
			var charged int64
			for _, s := range list {
				charged += s.Charge
			}
			w.mustBalance(charged, 0)
			if row.again {
				if d := read[audit.Decision](w); len(d) != 2 || d[0].Facts.Upstream != "up1" || d[1].Facts.Upstream != "up2" {
					t.Errorf("decisions %+v", d)
				}
			}
		})
	}
}

// TestFallbackThatIsDenied: the client gets the first upstream's error as it is.
func TestFallbackThatIsDenied(t *testing.T) {
	w, _ := simulated(t, simulator.Config{Script: simulator.Always(simulator.Fail(502))}, setting{
		upstreams: []http.Handler{simulator.New(simulator.Config{})},
		tenant:    `budgets: [{name: daily, window: forever, limit_usd: "0.000000800"}]`, // one hold
	})
	twin := httptest.NewServer(simulator.New(simulator.Config{Script: simulator.Always(simulator.Fail(502))}))
	defer twin.Close()
	want := w.do(request(t.Context(), twin.URL+chatPath, hello))
	compare(t, w.post(chatPath, hello), want)
	if d := read[audit.Decision](w); len(d) != 2 || d[1].Verdict != audit.Deny {
		t.Errorf("decisions %+v", d)
	}
}

func TestFallbackIsNotTriedForAClientThatLeft(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	var second atomic.Int64
	w := newWorld(t, setting{upstreams: []http.Handler{
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			close(arrived)
			<-left
			w.WriteHeader(500)
			io.WriteString(w, `{"error":{"message":"x"}}`)
		}),
		raw(func(http.ResponseWriter) { second.Add(1) }),
	}})
	served, begun := w.front.Config.Handler, make(chan context.Context, 1)
	w.front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- r.Context()
		served.ServeHTTP(w, r)
	})
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.readOneLine(ctx, false) }()
	<-arrived
	hangUp()
	<-done
	<-(<-begun).Done() // the server has seen it
	close(left)
	w.settled(1)
	w.front.Close()
	w.proxy.Close()
	if asked := len(read[audit.Decision](w)); second.Load() != 0 || asked != 1 {
		t.Errorf("tried again for nobody: %d requests, %d decisions", second.Load(), asked)
	}
}

// leaving is a client that hangs up just after its request was admitted.
type leaving struct{ hangUp context.CancelFunc }

func (l leaving) Added(time.Duration) { l.hangUp() }
func (l leaving) Rejected(string)     {}

func TestNothingIsSentForAClientThatLeft(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{})
	ctx, hangUp := context.WithCancel(t.Context())
	rules, err := gate.NewRules(w.policy)
	if err != nil {
		t.Fatal(err)
	}
	p := proxy.New(proxy.Config{Gate: w.gate, Dialects: dialects.All(), Rules: func() *gate.Rules { return rules }, Metrics: leaving{hangUp}})
	defer p.Close()
	p.ServeHTTP(httptest.NewRecorder(), request(ctx, "http://proxy"+chatPath, hello))
	if s := w.settled(1)[0]; s.Charge != 0 || s.Outcome != "release" || sim.Totals().Received != 0 {
		t.Errorf("settled %+v, and the upstream received %d", s, sim.Totals().Received)
	}
}

func TestCloseCutsAndSettles(t *testing.T) {
	w, sim := simulated(t, simulator.Config{Script: simulator.Always(simulator.Answer{Fault: simulator.HangMidStream})}, setting{})
	got := make(chan answer, 1)
	go func() { got <- w.post(chatPath, stream) }()
	if err := sim.Await(t.Context(), func(now simulator.Totals) bool { return now.Open == 1 }); err != nil {
		t.Fatal(err)
	}
	w.proxy.Close()
	if a := <-got; a.err == nil && a.status == 200 {
		t.Errorf("%+v", a)
	}
	if spent, held := w.balance(); spent == 0 || held != 0 {
		t.Errorf("not settled when Close returned: spent %d, held %d", spent, held)
	}
	if s := w.settled(1)[0]; s.Charge != s.Hold {
		t.Errorf("settled %+v", s)
	}
	if a := w.post(chatPath, hello); a.status != 503 {
		t.Errorf("after Close: %+v", a)
	}
}

// TestPanicInTheCopySettles: the server's connection can be gone at any byte.
func TestPanicInTheCopySettles(t *testing.T) {
	for _, behaviour := range []string{"delay=1ms", "gzip,delay=1ms"} {
		w, _ := simulated(t, simulator.Config{}, setting{})
		func() {
			defer func() { _ = recover() }()
			w.proxy.ServeHTTP(panickingWriter{httptest.NewRecorder()}, request(t.Context(), "http://proxy"+chatPath, stream, "X-Simulate", behaviour))
		}()
		s := w.settled(1)[0]
		w.mustBalance(s.Charge, 0)
	}
}

type panickingWriter struct{ *httptest.ResponseRecorder }

func (panickingWriter) Write([]byte) (int, error) { panic("broken") }

// TestRequestIsSentOnce: a connection that breaks after the request is no
// reason to send it again, whatever the client says.
func TestRequestIsSentOnce(t *testing.T) {
	var received atomic.Int64
	w := newWorld(t, setting{upstreams: []http.Handler{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if received.Add(1) > 1 { // on a connection that was used before
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, `{"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	})}})
	w.post(chatPath, hello, "Idempotency-Key", "k")
	if a := w.post(chatPath, hello, "Idempotency-Key", "k"); a.status != 502 {
		t.Errorf("%+v", a)
	}
	if n := received.Load(); n != 2 {
		t.Errorf("the upstream received %d requests of 2", n)
	}
	w.settled(2)
}

func TestUpstreamKeyThatIsMissingSendsNothing(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{})
	t.Setenv(upstreamVar, "")
	if a := w.post(chatPath, hello); a.status != 502 {
		t.Errorf("%+v", a)
	}
	if s := w.settled(1)[0]; s.Charge != 0 || sim.Totals().Received != 0 {
		t.Errorf("settled %+v", s)
	}
}
