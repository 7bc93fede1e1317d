package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// rule is a tenant with an ample budget and one more rule.
func rule(text string) setting { return setting{tenant: ampleBudget + "\n" + text} }

// mustDeny checks a denial's status, code, retry headers and message.
func mustDeny(t *testing.T, a answer, status int, code, shouldRetry, says string) {
	t.Helper()
	if a.status != status || a.code() != code || !strings.Contains(a.body, `"message":"aegis: `) || !strings.Contains(a.body, says) {
		t.Errorf("got %d %s\nwant %d %s with %q", a.status, a.body, status, code, says)
	}
	if got := a.header.Get("X-Should-Retry"); got != shouldRetry || a.header.Get("X-Aegis-Decision") != "deny" {
		t.Errorf("x-should-retry %q, headers %v", got, a.header)
	}
	if lower := strings.ToLower(a.body); strings.Contains(lower, "rate limit") || strings.Contains(lower, "://") {
		t.Errorf("body %s", a.body)
	}
}

func mustAllow(t *testing.T, answers ...answer) {
	t.Helper()
	for i, a := range answers {
		if a.status != 200 {
			t.Errorf("request %d: %d %s", i, a.status, a.body)
		}
	}
}

// TestVerdictsOnTheWire: stateless rules by what the client sees. Nothing of a
// denied request is reserved.
func TestVerdictsOnTheWire(t *testing.T) {
	tools := with(`"tools":[{"type":"function","function":{"name":"search"}},{"type":"function","function":{"name":"shell"}}]`)
	for _, row := range []struct {
		name, rule, path, body string
		headers                []string
		status                 int
		code, says             string
	}{
		{"endpoint", "endpoints: {allow: [embeddings]}", chatPath, hello, nil, 403, "endpoint_not_allowed", `endpoint \"chat/completions\"`},
		{"tool", "tools: {allow: [search]}", chatPath, tools, nil, 403, "tool_not_allowed", `tool \"shell\"`},
		{"depth in a header", "max_depth: 2", chatPath, hello, []string{"X-Aegis-Depth", "3"}, 403, "depth_exceeded", "has depth 3"},
		{"depth in baggage", "max_depth: 2", chatPath, hello, []string{"Baggage", "user=x;p=1, aegis.depth = %34 ;p"}, 403, "depth_exceeded", "has depth 4"},
		{"depth in the path", "max_depth: 2", "/run/r/depth/5" + chatPath, hello, nil, 403, "depth_exceeded", "has depth 5"},
		{"the largest depth", "max_depth: 2", "/run/r/depth/1" + chatPath, hello, []string{"X-Aegis-Depth", "2", "Baggage", "aegis.depth=1,aegis.depth=6"}, 403, "depth_exceeded", "has depth 6"},
		{"a depth of text", "max_depth: 2", chatPath, hello, []string{"X-Aegis-Depth", "two"}, 400, "invalid_depth", "whole number"},
		{"a negative depth", "max_depth: 2", chatPath, hello, []string{"X-Aegis-Depth", "-1"}, 400, "invalid_depth", ""},
		{"an empty depth", "max_depth: 2", chatPath, hello, []string{"X-Aegis-Depth", ""}, 400, "invalid_depth", ""},
		{"a huge depth", "max_depth: 2", chatPath, hello, []string{"X-Aegis-Depth", "4294967296"}, 400, "invalid_depth", ""},
		{"a depth of text in baggage", "max_depth: 2", chatPath, hello, []string{"Baggage", "aegis.depth"}, 400, "invalid_depth", ""},
		{"a broken escape in baggage", "max_depth: 2", chatPath, hello, []string{"Baggage", "aegis.depth=%zz"}, 400, "invalid_depth", ""},
		{"a depth of text in the path", "mode: enforce", "/run/r/depth/x" + chatPath, hello, nil, 400, "invalid_depth", ""},
		{"two nonces", "replay: {}", chatPath, hello, []string{"Idempotency-Key", "a", "X-Aegis-Nonce", "b"}, 400, "invalid_nonce", "two nonces"},
		{"an empty nonce", "replay: {}", chatPath, hello, []string{"X-Aegis-Nonce", ""}, 400, "invalid_nonce", "1 to 256 bytes"},
		{"a long nonce", "replay: {}", chatPath, hello, []string{"X-Aegis-Nonce", strings.Repeat("n", 257)}, 400, "invalid_nonce", "1 to 256 bytes"},
		{"no nonce", "replay: {required: true}", chatPath, hello, nil, 400, "nonce_required", "Idempotency-Key"},
		{"an attempt too many", "replay: {}", chatPath, hello, []string{"Idempotency-Key", "a", "X-Stainless-Retry-Count", "3"}, 409, "replayed_request", "2 retries"},
		{"a malformed attempt", "replay: {}", chatPath, hello, []string{"Idempotency-Key", "a", "X-Stainless-Retry-Count", "1.0"}, 409, "replayed_request", "2 retries"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, rule(row.rule))
			a := w.post(row.path, row.body, row.headers...)
			mustDeny(t, a, row.status, row.code, "false", row.says)
			if malformed := strings.HasPrefix(row.code, "invalid_"); malformed == (a.header.Get("X-Aegis-Receipt") != "") {
				t.Errorf("receipt %q", a.header.Get("X-Aegis-Receipt"))
			}
			w.nothingReserved()
			if sim.Totals().Received != 0 {
				t.Error("the request left")
			}
		})
	}
}

// TestWhatNoRuleLooksAtMayHoldAnything: headers that only rules give a meaning.
func TestWhatNoRuleLooksAtMayHoldAnything(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{})
	for range 2 {
		mustAllow(t, w.post(chatPath, hello,
			"Idempotency-Key", strings.Repeat("k", 999), "X-Aegis-Nonce", "b", "X-Stainless-Retry-Count", "many",
			"X-Aegis-Depth", "deep", "Baggage", "aegis.depth=%zz"))
	}
	for _, d := range read[audit.Decision](w) {
		if d.Facts.Nonce != "" || d.Facts.Attempt != 0 || d.Facts.Depth != 0 || len(d.Claims) != 1 {
			t.Errorf("%+v", d.Facts)
		}
	}
}

func TestDepthWithinItsLimit(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, rule("max_depth: 2"))
	mustAllow(t,
		w.post(chatPath, hello),
		w.post(chatPath, hello, "X-Aegis-Depth", "2"),
		w.post("/run/r/depth/2"+chatPath, hello, "X-Aegis-Run", "r", "Baggage", "a=b"))
	var depths []string
	for _, d := range read[audit.Decision](w) {
		depths = append(depths, fmt.Sprint(d.Facts.Depth, d.Facts.Run != ""))
	}
	if got := strings.Join(depths, ","); got != "0 false,2 false,2 true" {
		t.Errorf("receipts %s", got)
	}
}

func TestReplayOnTheWire(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, rule("replay: {}"))
	key := []string{"Idempotency-Key", "secret-nonce"}
	retry := func(n string) []string { return append(key, "X-Stainless-Retry-Count", n) }
	mustAllow(t, w.post(chatPath, hello, key...))
	a := w.post(chatPath, hello, key...)
	mustDeny(t, a, 409, "replayed_request", "false", `rule \"replay\" has seen this nonce`)
	if a.header.Get("Retry-After") != "" || !strings.Contains(a.body, `"limit":"1"`) {
		t.Errorf("%v %s", a.header, a.body)
	}
	// The SDK's own retries pass once each, and another header is the same nonce.
	mustAllow(t, w.post(chatPath, hello, retry("1")...), w.post(chatPath, hello, retry("2")...))
	mustDeny(t, w.post(chatPath, hello, retry("1")...), 409, "replayed_request", "false", "")
	mustDeny(t, w.post(chatPath, hello, "X-Aegis-Nonce", "secret-nonce"), 409, "replayed_request", "false", "")
	// Both headers may say the same.
	mustAllow(t, w.post(chatPath, hello, "X-Aegis-Nonce", "n", "Idempotency-Key", "n"), w.post(chatPath, hello), w.post(chatPath, hello))
	if got := sim.Totals().Received; got != 6 {
		t.Errorf("%d requests left", got)
	}
	for _, d := range read[audit.Decision](w) {
		if strings.Contains(fmt.Sprint(d), "secret-nonce") {
			t.Errorf("the nonce stands in a receipt: %+v", d)
		}
	}
	if d := read[audit.Decision](w)[2]; d.Facts.Nonce != call.HashName("secret-nonce") || d.Facts.Attempt != 1 || d.Claims[0].Rule != "replay" {
		t.Errorf("receipt %+v", d)
	}
}

// TestNonceReachesNoUpstream, but the provider's own header does.
func TestNonceReachesNoUpstream(t *testing.T) {
	var seen http.Header
	w := newWorld(t, setting{tenant: ampleBudget + "\nreplay: {}", upstreams: []http.Handler{
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = r.Header
			io.WriteString(w, `{"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
		}),
	}})
	mustAllow(t, w.post(chatPath, hello, "X-Aegis-Nonce", "n", "Idempotency-Key", "n", "X-Aegis-Depth", "1", "Baggage", "a=b"))
	if seen.Get("Idempotency-Key") != "n" || seen.Get("Baggage") != "a=b" {
		t.Errorf("headers %v", seen)
	}
	for name := range seen {
		if strings.HasPrefix(name, "X-Aegis-") {
			t.Errorf("the upstream sees %s", name)
		}
	}
}

// TestWhatIsNotSentSpendsNoNonce: neither a denial nor a request that never
// reached its upstream.
func TestWhatIsNotSentSpendsNoNonce(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, rule("replay: {}\nrates: [{name: burst, window: forever, limit: 2}]"))
	key := []string{"Idempotency-Key", "n"}
	big := strings.Replace(hello, "20", "900000000", 1)
	mustDeny(t, w.post(chatPath, big, key...), 402, "insufficient_quota", "false", "")
	w.upstreams[0].Close()
	for range 3 {
		if a := w.post(chatPath, hello, key...); a.status != 502 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// TestFallbackCountsOnce: a request that was sent and goes on to a fallback
// counts once and spends its nonce once; one that never left the first upstream
// counts with the second.
func TestFallbackCountsOnce(t *testing.T) {
	failing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	answering := raw(func(w http.ResponseWriter) {
		io.WriteString(w, `{"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	})
	for _, sent := range []bool{true, false} {
		t.Run(fmt.Sprintf("sent=%v", sent), func(t *testing.T) {
			w := newWorld(t, setting{
				tenant:    ampleBudget + "\nreplay: {required: true}\nrates: [{name: burst, window: forever, limit: 2}]",
				upstreams: []http.Handler{failing, answering},
			})
			if !sent {
				w.upstreams[0].Close()
			}
			mustAllow(t, w.post(chatPath, hello, "Idempotency-Key", "a"))
			mustDeny(t, w.post(chatPath, hello, "Idempotency-Key", "a"), 409, "replayed_request", "false", "")
			mustAllow(t, w.post(chatPath, hello, "Idempotency-Key", "b"))
			mustDeny(t, w.post(chatPath, hello, "Idempotency-Key", "c"), 429, "rate_limit_exceeded", "false", "")
			if second := read[audit.Decision](w)[1]; second.Facts.Counted != sent || len(second.Claims) == 1 != sent {
				t.Errorf("the fallback's receipt: %+v", second)
			}
		})
	}
}

// blocking answers once it is let go.
type blocking struct {
	arrived chan struct{}
	let     chan struct{}
}

func newBlocking() *blocking {
	return &blocking{arrived: make(chan struct{}, 16), let: make(chan struct{})}
}

func (b *blocking) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.arrived <- struct{}{}
	<-b.let
	io.WriteString(w, `{"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
}

func TestConcurrencyOnTheWire(t *testing.T) {
	up := newBlocking()
	w := newWorld(t, setting{
		tenant:    ampleBudget + "\nconcurrency: [{name: parallel, limit: 2}, {name: run, scope: run, limit: 1}]",
		upstreams: []http.Handler{up},
	})
	var running sync.WaitGroup
	for _, run := range []string{"a", "b"} {
		running.Go(func() { mustAllow(t, w.post("/run/"+run+chatPath, hello)) })
		<-up.arrived
	}
	a := w.post(chatPath, hello)
	mustDeny(t, a, 429, "rate_limit_exceeded", "true", `concurrency limit \"parallel\" is full: limit 2, in flight 2`)
	if a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, `"held":"2"`) {
		t.Errorf("%v %s", a.header, a.body)
	}
	close(up.let)
	running.Wait()
	mustAllow(t, w.post("/run/a"+chatPath, hello), w.post("/run/a"+chatPath, hello))
	for _, d := range read[audit.Decision](w) {
		if d.Verdict == audit.Deny && (len(d.Reasons) != 1 || d.Reasons[0] != "concurrency_full") {
			t.Errorf("receipt %+v", d)
		}
	}
}

// TestConcurrencyMayWaitInLine under when_held: wait.
func TestConcurrencyMayWaitInLine(t *testing.T) {
	up := newBlocking()
	w := newWorld(t, setting{
		tenant:    ampleBudget + "\nconcurrency: [{name: parallel, limit: 1}]\nwhen_held: wait\nwait_limit: 1m",
		upstreams: []http.Handler{up},
	})
	var running sync.WaitGroup
	running.Go(func() { mustAllow(t, w.post(chatPath, hello)) })
	<-up.arrived
	running.Go(func() { mustAllow(t, w.post(chatPath, hello)) })
	select {
	case <-up.arrived:
		t.Error("two requests in flight")
	case <-time.After(20 * time.Millisecond):
	}
	close(up.let)
	running.Wait()
	for _, d := range read[audit.Decision](w) {
		if d.Verdict != audit.Allow {
			t.Errorf("%+v", d)
		}
	}
}

func TestRatesOnTheWire(t *testing.T) {
	zone := "UTC"
	if time.Now().UTC().Hour() == 23 {
		zone = "Asia/Tokyo" // where the day does not end soon
	}
	for _, row := range []struct {
		name, rate  string
		shouldRetry string
		after       func(seconds int) bool
		says        string
	}{
		{"minute", "window: minute", "", func(s int) bool { return 1 <= s && s <= 60 }, "it resets at "},
		{"day", "window: day, timezone: " + zone, "false", func(s int) bool { return s == 0 }, "it resets at "},
		{"rolling", "window: rolling, length: 5m", "", func(s int) bool { return s == 5 }, "as requests leave its window of 5m"},
		{"forever", "window: forever", "false", func(s int) bool { return s == 0 }, "it never resets; only a higher limit makes room"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, rule("rates: [{name: burst, limit: 2, "+row.rate+"}]"))
			mustAllow(t, w.post(chatPath, hello), w.post(chatPath, stream))
			a := w.post(chatPath, hello)
			for n := 0; a.status == 200 && n < 2; n++ { // another minute has begun
				a = w.post(chatPath, hello)
			}
			mustDeny(t, a, 429, "rate_limit_exceeded", row.shouldRetry, `request limit \"burst\" has no request left: limit 2, spent 2, held 0, needed 1; `)
			if seconds, _ := strconv.Atoi(a.header.Get("Retry-After")); !row.after(seconds) || !strings.Contains(a.body, row.says) {
				t.Errorf("Retry-After %q: %s", a.header.Get("Retry-After"), a.body)
			}
			if sim.Totals().Received < 2 {
				t.Errorf("%d requests left", sim.Totals().Received)
			}
		})
	}
}

// TestObserveDeniesNothingOfAnyModule: it is all counted and receipted.
func TestObserveDeniesNothingOfAnyModule(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, rule(strings.Join([]string{
		"mode: observe", "endpoints: {allow: []}", "replay: {retries: 0, max_nonces: 1, required: true}", "max_depth: 0",
		"concurrency: [{name: parallel, limit: 1}]", "rates: [{name: burst, window: forever, limit: 1}]",
	}, "\n")))
	mustAllow(t,
		w.post(chatPath, hello, "Idempotency-Key", "n"),
		w.post(chatPath, hello, "Idempotency-Key", "n"),
		w.post(chatPath, hello, "Idempotency-Key", "n", "X-Stainless-Retry-Count", "9"),
		w.post(chatPath, hello, "X-Aegis-Depth", "1", "Idempotency-Key", "m"))
	var reasons []string
	for _, d := range read[audit.Decision](w) {
		reasons = append(reasons, strings.Join(d.Reasons, ","))
	}
	// The first broken verdict is told, then every claim.
	want := "endpoint_not_allowed|endpoint_not_allowed,replayed_request,request_rate|" +
		"endpoint_not_allowed,request_rate|endpoint_not_allowed,request_rate"
	if got := strings.Join(reasons, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if sim.Totals().Received != 4 {
		t.Errorf("%d requests left", sim.Totals().Received)
	}
}

// FuzzOrigin: no header makes the proxy panic or answer anything but a
// grant, a denial or a complaint.
func FuzzOrigin(f *testing.F) {
	f.Add("1", "a=b,aegis.depth=2", "n", "0")
	f.Add("", "aegis.depth=%34;x", "", "9999999999999999999")
	w := newWorld(f, setting{tenant: ampleBudget + "\nreplay: {}\nmax_depth: 3", upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
		io.WriteString(w, `{"usage":{"prompt_tokens":0,"completion_tokens":0}}`)
	})}})
	f.Fuzz(func(t *testing.T, depth, baggage, nonce, attempt string) {
		if strings.ContainsFunc(depth+baggage+nonce+attempt, unicode.IsControl) {
			t.Skip("no HTTP server lets it in")
		}
		r := request(context.Background(), "http://proxy"+chatPath, hello)
		r.Header["X-Aegis-Depth"], r.Header["Baggage"] = []string{depth}, []string{baggage}
		r.Header["X-Aegis-Nonce"], r.Header["X-Stainless-Retry-Count"] = []string{nonce}, []string{attempt}
		recorder := httptest.NewRecorder()
		w.proxy.ServeHTTP(recorder, r)
		switch recorder.Code {
		case 200, 400, 403, 409:
		default:
			t.Errorf("%d %s", recorder.Code, recorder.Body)
		}
	})
}
