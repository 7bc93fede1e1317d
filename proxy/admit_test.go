package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// with is a chat request with one more member.
func with(member string) string { return strings.Replace(hello, `"messages"`, member+`,"messages"`, 1) }

// TestRefusedBeforeTheLedger: whatever is wrong with a request, nothing of it
// is reserved or sent.
func TestRefusedBeforeTheLedger(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*http.Request)
		path   string
		body   string
		status int
		code   string
	}{
		{"no key", func(r *http.Request) { r.Header.Del("Authorization") }, chatPath, hello, 401, "invalid_api_key"},
		{"an unknown key", func(r *http.Request) { r.Header.Set("Authorization", "Bearer aegis-other") }, chatPath, hello, 401, "invalid_api_key"},
		{"another scheme", func(r *http.Request) { r.Header.Set("Authorization", "Basic "+tenantKey) }, chatPath, hello, 401, "invalid_api_key"},
		{"two keys", func(r *http.Request) { r.Header.Add("Authorization", "Bearer x") }, chatPath, hello, 401, "invalid_api_key"},
		{"a route that is denied", nil, "/v1/images/variations", hello, 403, "route_not_allowed"},
		{"a stored answer of an API that is governed", func(r *http.Request) { r.Method = http.MethodGet }, chatPath + "/c1", hello, 403, "route_not_allowed"},
		{"an unknown route", nil, "/v1/respond", hello, 404, "unknown_route"},
		{"a route that only looks like one", nil, "/v1/x/../chat/completions", hello, 404, "unknown_route"},
		{"another method", func(r *http.Request) { r.Method = http.MethodPut }, chatPath, hello, 404, "unknown_route"},
		{"a run without a name", nil, "/run//v1/chat/completions", hello, 400, "invalid_run"},
		{"two runs", func(r *http.Request) { r.Header.Set("X-Aegis-Run", "b") }, "/run/a/v1/chat/completions", hello, 400, "invalid_run"},
		{"a run twice", func(r *http.Request) { r.Header["X-Aegis-Run"] = []string{"a", "b"} }, chatPath, hello, 400, "invalid_run"},
		{"a long run", func(r *http.Request) { r.Header.Set("X-Aegis-Run", strings.Repeat("r", 300)) }, chatPath, hello, 400, "invalid_run"},
		{"no body", nil, chatPath, "", 400, "invalid_request"},
		{"a body cut short", nil, chatPath, hello[:30], 400, "invalid_request"},
		{"two caps", nil, chatPath, with(`"max_completion_tokens":1`), 400, "invalid_request"},
		{"a cap of text", nil, chatPath, strings.Replace(hello, "20", `"20"`, 1), 400, "invalid_request"},
		{"nested too deep", nil, chatPath, strings.Repeat("[", 100_000), 400, "invalid_request"},
		{"bad UTF-8", nil, chatPath, strings.Replace(hello, "hello", "\xff", 1), 400, "invalid_request"},
		{"a body too large", nil, chatPath, with(`"x":"` + strings.Repeat("x", 1<<20) + `"`), 413, "request_too_large"},
		{"a dearer service tier", nil, chatPath, with(`"service_tier":"priority"`), 403, "no_bound"},
		{"an unknown service tier", nil, chatPath, with(`"service_tier":"scale"`), 403, "no_bound"},
		{"a tool that runs at the provider", nil, chatPath, with(`"tools":[{"type":"web_search"}]`), 403, "no_bound"},
		{"an image of unknown size", nil, chatPath, with(`"x":1`)[:len(with(`"x":1`))-2] +
			`,{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]}`, 403, "no_bound"},
		{"audio without an audio price", nil, chatPath, strings.Replace(with(`"modalities":["text","audio"]`), "toy", "gpt-4o-audio-preview", 1), 403, "no_price"},
		{"a model without a price", nil, chatPath, strings.Replace(hello, "toy", "gpt-99", 1), 403, "no_price"},
		{"a cap beyond counting", nil, chatPath, strings.Replace(hello, "20", "9007199254740991", 1), 403, "no_bound"},
		{"more than the budget", nil, chatPath, strings.Replace(hello, "20", "900000000", 1), 402, "insufficient_quota"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, setting{bodyLimit: 1 << 20})
			r := request(t.Context(), w.front.URL+row.path, row.body)
			if row.change != nil {
				row.change(r)
			}
			a := w.do(r)
			if a.status != row.status || a.code() != row.code || !strings.Contains(a.body, `"message":"aegis: `) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if again := a.header.Get("X-Should-Retry"); again != "false" || a.header.Get("Retry-After") != "" {
				t.Errorf("x-should-retry %q, Retry-After %q", again, a.header.Get("Retry-After"))
			}
			if got := a.header.Get("X-Aegis-Decision"); got != "deny" {
				t.Errorf("decision %q", got)
			}
			if recorded := len(read[audit.Decision](w)) == 1; recorded != (row.status == 402 || strings.HasPrefix(row.code, "no_")) {
				t.Errorf("recorded: %v", recorded)
			} else if recorded && a.header.Get("X-Aegis-Receipt") == "" {
				t.Error("the client is not told the receipt")
			}
			w.nothingReserved()
			if n := sim.Totals().Received; n != 0 {
				t.Errorf("%d requests left", n)
			}
		})
	}
}

// TestServiceTiersOfTheStandardPrice pass, and receipts say which one was sent.
func TestServiceTiersOfTheStandardPrice(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{})
	for _, tier := range []string{"null", `"auto"`, `"default"`, `"flex"`} {
		if a := w.post(chatPath, with(`"service_tier":`+tier)); a.status != 200 {
			t.Errorf("%s: %d %s", tier, a.status, a.body)
		}
	}
	var sent, told []string
	for _, c := range sim.Calls() {
		var body struct {
			Tier string `json:"service_tier"`
		}
		if err := json.Unmarshal(c.Body, &body); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, body.Tier)
	}
	for _, d := range read[audit.Decision](w) {
		told = append(told, d.Facts.Service)
	}
	if want := []string{"default", "default", "default", "flex"}; !slices.Equal(sent, want) || !slices.Equal(told, want) {
		t.Errorf("sent %q, receipts say %q, want %q", sent, told, want)
	}
}

// TestCapabilities: each request needs just these.
func TestCapabilities(t *testing.T) {
	for _, row := range []struct {
		path, body string
		needs      []string
	}{
		{chatPath, hello, []string{call.NeedChat}},
		{"/v1/completions", `{"model":"toy","prompt":"x"}`, []string{call.NeedCompletions}},
		{"/v1/embeddings", `{"model":"toy","input":"x"}`, []string{call.NeedEmbeddings}},
		{chatPath, stream, []string{call.NeedChat, call.NeedStream}},
		{chatPath, with(`"tools":[{"type":"function","function":{"name":"f"}}]`), []string{call.NeedChat, call.NeedTools}},
		{chatPath, with(`"response_format":{"type":"json_schema","json_schema":{"name":"x"}}`), []string{call.NeedChat, call.NeedJSONSchema}},
		{chatPath, with(`"response_format":{"type":"json_object"}`), []string{call.NeedChat}},
		{chatPath, with(`"logprobs":true`), []string{call.NeedChat, call.NeedLogprobs}},
		{chatPath, with(`"logprobs":false`), []string{call.NeedChat}},
		{"/v1/completions", `{"model":"toy","prompt":"x","logprobs":3}`, []string{call.NeedCompletions, call.NeedLogprobs}},
		{chatPath, with(`"prediction":{"type":"content","content":"x"}`), []string{call.NeedChat, call.NeedPredictedOutput}},
		{chatPath, with(`"n":2`), []string{call.NeedChat, call.NeedMultipleChoices}},
		{"/v1/completions", `{"model":"toy","prompt":"x","best_of":2}`, []string{call.NeedCompletions, call.NeedMultipleChoices}},
		{"/v1/completions", `{"model":"toy","prompt":["x","y"]}`, []string{call.NeedCompletions}},
		{chatPath, `{"model":"gpt-4o","max_tokens":9,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x","detail":"low"}}]}]}`,
			[]string{call.NeedChat, call.NeedImages}},
	} {
		t.Run(strings.Join(row.needs, "+")+" "+row.path, func(t *testing.T) {
			give := func(list []string) answer {
				w, _ := simulated(t, simulator.Config{}, setting{tenant: ampleBudget + "\ncapabilities: [" + strings.Join(list, ", ") + "]"})
				return w.post(row.path, row.body)
			}
			if a := give(row.needs); a.status != 200 {
				t.Errorf("with %v: %d %s", row.needs, a.status, a.body)
			}
			for i, missing := range row.needs {
				rest := append(append([]string{}, row.needs[:i]...), row.needs[i+1:]...)
				if a := give(rest); a.status != 403 || a.code() != "capability_not_allowed" || !strings.Contains(a.body, missing) {
					t.Errorf("without %s: %d %s", missing, a.status, a.body)
				}
			}
		})
	}
}

// TestCacheWritesAreHeldWhereTheyCanHappen: Anthropic writes to its cache only where the
// request says so; other providers may by default.
func TestCacheWritesAreHeldWhereTheyCanHappen(t *testing.T) {
	plain := `{"model":"claude-sonnet-4-5","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"` + strings.Repeat("x", 4000) + `"%s}]}]}`
	hold := func(mark string) int64 {
		w, _ := simulated(t, simulator.Config{}, setting{provider: "anthropic"})
		if a := w.post(chatPath, fmt.Sprintf(plain, mark)); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return w.settled(1)[0].Hold
	}
	without, marked := hold(""), hold(`,"cache_control":{"type":"ephemeral"}`)
	if marked <= without {
		t.Errorf("hold %d with a cache mark, %d without", marked, without)
	}
}

func TestRunIsFromPathOrHeader(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{})
	w.post("/run/r1/v1/chat/completions", hello)
	w.post(chatPath, hello, "X-Aegis-Run", "r1")
	w.post("/run/r1/chat/completions", hello, "X-Aegis-Run", "r1")
	w.post(chatPath, hello)
	var runs []string
	for _, d := range read[audit.Decision](w) {
		runs = append(runs, string(d.Facts.Run))
	}
	h := string(call.HashName("r1"))
	if got := strings.Join(runs, ","); got != strings.Join([]string{h, h, h, ""}, ",") {
		t.Errorf("runs %s", got)
	}
}

func TestDenialSaysWhy(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: `budgets: [{name: daily, window: forever, limit_usd: "0.000000600"}]`})
	a := w.post(chatPath, strings.Replace(hello, "20", "500", 1))
	for _, want := range []string{`"budget":"daily"`, `"limit":"0.0000006 USD"`, `"spent":"0.00 USD"`, `"largest_cap":"34"`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("%s is not in %s", want, a.body)
		}
	}
	if a.status != 402 || a.header.Get("X-Should-Retry") != "false" || a.header.Get("Retry-After") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	if b := w.post(chatPath, strings.Replace(hello, "20", "34", 1)); b.status != 200 {
		t.Errorf("the largest cap does not fit: %s", b.body)
	}
}

func TestHeldDenialIsRetriedSoon(t *testing.T) {
	more := make(chan struct{})
	arrived := make(chan struct{}, 1)
	w := newWorld(t, setting{
		tenant: `budgets: [{name: daily, window: forever, limit_usd: "0.000000600"}]`,
		upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
			arrived <- struct{}{}
			<-more
			io.WriteString(w, `{"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
		})},
	})
	first := make(chan answer, 1)
	go func() { first <- w.post(chatPath, hello) }()
	<-arrived
	a := w.post(chatPath, hello)
	if a.status != 429 || a.code() != "rate_limit_exceeded" || a.header.Get("Retry-After") != "1" || a.header.Get("X-Should-Retry") != "true" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	close(more)
	if a := <-first; a.status != 200 {
		t.Errorf("%+v", a)
	}
}

func TestClampIsSaidInAHeader(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{tenant: `budgets: [{name: daily, window: forever, limit_usd: "0.000000600"}]` + "\nwhen_exhausted: clamp"})
	a := w.post(chatPath, strings.Replace(hello, "20", "500", 1))
	if a.status != 200 || a.header.Get("X-Aegis-Output-Cap") != "34" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if got := sim.Calls()[0].Cap; got != 34 {
		t.Errorf("sent a cap of %d", got)
	}
}

func TestSoftBudgetIsSaidInAHeader(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: `budgets: [{name: hint, window: forever, limit_usd: "0.000000010", kind: soft}]`})
	a := w.post(chatPath, hello)
	if a.status != 200 || !strings.Contains(a.header.Get("X-Aegis-Warning"), "hint") {
		t.Errorf("%d %v", a.status, a.header)
	}
}

func TestObserveDeniesNothing(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: `budgets: [{name: daily, window: forever, limit_usd: "0.000000010"}]` + "\nmode: observe\ncapabilities: []"})
	if a := w.post(chatPath, hello); a.status != 200 || a.header.Get("X-Aegis-Decision") != "allow" {
		t.Errorf("%d %v", a.status, a.header)
	}
	if d := read[audit.Decision](w); len(d) != 1 || strings.Join(d[0].Reasons, ",") != "capability_not_allowed,budget_exhausted" {
		t.Errorf("decisions %+v", d)
	}
}

// TestModelsComeFromThePolicy and reserve nothing.
func TestModelsComeFromThePolicy(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{tenant: ampleBudget + "\nmodels: {allow: [\"gpt-4o*\"]}"})
	r, _ := http.NewRequest(http.MethodGet, w.front.URL+"/v1/models", nil)
	r.Header.Set("Authorization", "Bearer "+tenantKey)
	a := w.do(r)
	if a.status != 200 || !strings.Contains(a.body, `"id":"gpt-4o-mini"`) || strings.Contains(a.body, "gpt-5") {
		t.Errorf("%d %.300s", a.status, a.body)
	}
	w.nothingReserved()
	if sim.Totals().Received != 0 {
		t.Error("the upstream was asked")
	}
}

// zeros is a body without end.
type zeros struct{ read int64 }

func (z *zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	z.read += int64(len(p))
	return len(p), nil
}

// TestHugeBodiesCostBoundedMemory: of 100 MB no more is read than the limit,
// and none if the length says it beforehand.
func TestHugeBodiesCostBoundedMemory(t *testing.T) {
	const limit, huge = 4 << 20, 100 << 20
	w, _ := simulated(t, simulator.Config{}, setting{bodyLimit: limit})
	for _, row := range []struct {
		name           string
		length         int64
		mostRead, most uint64 // bytes
	}{
		{"announced", huge, 0, 1 << 20},
		{"chunked", -1, 2 * limit, 8 * limit},
	} {
		t.Run(row.name, func(t *testing.T) {
			body := new(zeros)
			r := request(context.Background(), "http://proxy"+chatPath, "")
			r.Body, r.ContentLength = io.NopCloser(io.LimitReader(body, huge)), row.length
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			recorder := httptest.NewRecorder()
			w.proxy.ServeHTTP(recorder, r)
			runtime.ReadMemStats(&after)
			if recorder.Code != 413 {
				t.Errorf("%d %s", recorder.Code, recorder.Body)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > row.most || uint64(body.read) > row.mostRead {
				t.Errorf("read %d and allocated %d bytes", body.read, got)
			}
		})
	}
	w.nothingReserved()
}

// FuzzServeHTTP: no body makes the proxy panic, and none that it refuses is
// reserved.
func FuzzServeHTTP(f *testing.F) {
	for _, seed := range []string{hello, stream, with(`"n":3`), with(`"tools":[{}]`), `{`, `null`, `{"model":"toy","input":"x","prompt":[1,2]}`, "\xff\x00"} {
		f.Add(uint8(0), []byte(seed))
		f.Add(uint8(2), []byte(seed))
	}
	w := newWorld(f, setting{upstreams: []http.Handler{raw(func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusUnauthorized) // which costs nothing
		io.WriteString(w, `{"error":{"message":"x"}}`)
	})}})
	paths := []string{chatPath, "/v1/completions", "/v1/embeddings", "/run/x/v1/chat/completions"}
	f.Fuzz(func(t *testing.T, path uint8, body []byte) {
		r := request(context.Background(), "http://proxy"+paths[int(path)%len(paths)], "")
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		recorder := httptest.NewRecorder()
		w.proxy.ServeHTTP(recorder, r)
		if recorder.Code < 400 || recorder.Code > 403 {
			t.Errorf("%d %s", recorder.Code, recorder.Body)
		}
		w.t = t
		if spent, held := w.balance(); spent != 0 || held != 0 {
			t.Errorf("spent %d, held %d", spent, held)
		}
	})
}
