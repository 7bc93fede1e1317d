package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

const (
	chatPath  = "/v1/chat/completions"
	hello     = `{"model":"toy","messages":[{"role":"user","content":"Say hello."}]}`
	streaming = `{"model":"toy","stream":true,"messages":[{"role":"user","content":"Say hello."}]}`
)

func simulated(t *testing.T, config simulator.Config, s setting) (*world, *simulator.Server) {
	t.Helper()
	sim := simulator.New(config)
	t.Cleanup(sim.Close)
	s.handler = sim
	return newWorld(t, s), sim
}

// TestAnswersPassAndAreCharged: what the provider sends is what the program gets, and what
// it bills is what is charged.
func TestAnswersPassAndAreCharged(t *testing.T) {
	for _, row := range []struct{ name, path, body string }{
		{"chat", chatPath, hello},
		{"stream", chatPath, streaming},
		{"stream with its usage", chatPath, strings.Replace(streaming, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)},
		{"completion", "/v1/completions", `{"model":"toy","prompt":"Say hello.","max_tokens":7}`},
		{"response", "/v1/responses", `{"model":"toy","input":"Say hello."}`},
		{"response, streamed", "/v1/responses", `{"model":"toy","input":"Say hello.","stream":true}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, setting{})
			resp, body := w.do(w.request(t.Context(), row.path, row.body))
			if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Aegis-Decision") != "allow" || resp.Header.Get("X-Aegis-Receipt") == "" {
				t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, body)
			}
			billed := sim.Totals().Billed
			if end := w.mustHaveEnded(audit.BasisReported); end.Charge != billed.Prompt+2*billed.Completion || end.Charge == 0 {
				t.Errorf("charged %d, billed %+v", end.Charge, billed)
			}
			resp, err := http.Post(w.up.URL+row.path, "application/json", strings.NewReader(string(sim.Calls()[0].Body)))
			w.must(err)
			defer resp.Body.Close()
			direct, err := io.ReadAll(resp.Body)
			w.must(err)
			want := unnamed(string(direct))
			if row.path == chatPath && !strings.Contains(row.body, "include_usage") {
				want = withoutUsage(want)
			}
			if got := unnamed(body); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

var answerID = regexp.MustCompile(`"(?:item_)?id": ?"[^"]*"`)

// unnamed is an answer without its id, which no two have.
func unnamed(body string) string { return answerID.ReplaceAllString(body, "") }

// withoutUsage is a stream as a program sees it that did not ask for usage.
func withoutUsage(stream string) string {
	var kept []string
	for event := range strings.SplitAfterSeq(stream, "\n\n") {
		if !strings.Contains(event, `"choices":[]`) {
			kept = append(kept, event)
		}
	}
	return strings.ReplaceAll(strings.Join(kept, ""), `,"usage":null`, "")
}

// TestReceiptsAreTheProxys: the same call tells the same of itself through either door.
func TestReceiptsAreTheProxys(t *testing.T) {
	for _, row := range []struct{ name, tenant, body string }{
		{"chat", ample, hello},
		{"stream", ample, streaming},
		{"clamped", `when_exhausted: clamp, budgets: [{name: daily, window: forever, limit_usd: "0.0000006"}]`, hello},
		{"another model", `when_exhausted: {use: cheap}, budgets: [{name: toys, scope: model, models: toy, window: forever, limit_usd: "0.000000001"}]`, hello},
		{"denied twice", `when_exhausted: {use: cheap}, budgets: [{name: daily, window: forever, limit_usd: "0.000000001"}]`, hello},
		{"denied, and the other for another reason", `when_exhausted: {use: text-embedding-3-small}, budgets: [{name: daily, window: forever, limit_usd: "0.000000001"}]`, hello},
		{"denied", `budgets: [{name: daily, window: forever, limit_usd: "0.000000001"}]`, hello},
		{"without a bound", ample, strings.Replace(hello, `"model"`, `"unheard_of":{"a":1},"model"`, 1)},
		{"without an upstream", ample, strings.Replace(hello, "toy", "nobody's", 1)},
	} {
		t.Run(row.name, func(t *testing.T) {
			tenant := row.tenant + `, keys: [{id: k, sha256: "` + proxyKeyHash + `"}]`
			ours, _ := simulated(t, simulator.Config{}, setting{tenant: tenant})
			ours.client.Key = "k"
			mine, body := ours.do(ours.request(t.Context(), chatPath, row.body))
			ours.close()
			theirs, _ := simulated(t, simulator.Config{}, setting{tenant: tenant})
			front := proxy.New(proxy.Config{Gate: theirs.gate, Dialects: dialects.All(), Rules: theirs.gate.Rules})
			request := theirs.request(t.Context(), chatPath, row.body)
			request.Header.Set("Authorization", "Bearer "+proxyKey)
			answer := httptest.NewRecorder()
			front.ServeHTTP(answer, request)
			front.Close()
			theirs.close()
			if mine.StatusCode != answer.Code || unnamed(body) != unnamed(answer.Body.String()) || mine.Header.Get("X-Should-Retry") != answer.Header().Get("X-Should-Retry") {
				t.Errorf("got %d %s\nwant %d %s", mine.StatusCode, body, answer.Code, answer.Body)
			}
			if got, want := told(t, ours), told(t, theirs); got != want {
				t.Errorf("told\n%s\nthe proxy\n%s", got, want)
			}
		})
	}
}

// told is what the receipts tell of calls, without what differs from one to another: who,
// when, which.
func told(t *testing.T, w *world) string {
	t.Helper()
	var out strings.Builder
	for _, d := range read[audit.Decision](w) {
		fmt.Fprintln(&out, d.Verdict, d.Reasons, asJSON(t, d.Facts))
	}
	for _, s := range read[audit.Settlement](w) {
		fmt.Fprintln(&out, s.Status, s.Basis, s.Hold, s.Charge, asJSON(t, s.Lines))
	}
	return out.String()
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRefused: nothing is sent, and the SDK is told not to try again.
func TestRefused(t *testing.T) {
	for _, row := range []struct {
		name, path, body, tenant string
		status                   int
		code                     string
	}{
		{"budget exhausted", chatPath, hello, `budgets: [{name: daily, window: forever, limit_usd: "0.000000001"}]`, 402, "insufficient_quota"},
		{"model not allowed", chatPath, hello, ample + `, models: {allow: ["other"]}`, 403, "model_not_allowed"},
		{"no such operation", "/v1/unheard/of", hello, ample, 404, "unknown_route"},
		{"a denied operation", "/v1/images/variations", hello, ample, 403, "route_not_allowed"},
		{"an upstream that the policy does not have", "/elsewhere/v1/chat/completions", hello, ample, 403, "no_upstream"},
		{"an upstream that does not serve the model", "/other/v1/chat/completions", strings.Replace(hello, "toy", "text-embedding-3-small", 1), ample, 403, "no_upstream"},
		{"what is only alike a base URL", "/v1x/chat/completions", hello, ample, 403, "no_upstream"},
		{"no bound", chatPath, strings.Replace(hello, `"model"`, `"unheard_of":{"a":1},"model"`, 1), ample, 403, "no_bound"},
		{"no JSON", chatPath, `{"model":`, ample, 400, "invalid_request"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, setting{tenant: row.tenant})
			resp, body := w.do(w.request(t.Context(), row.path, row.body))
			var said struct {
				Error struct{ Code, Message string }
			}
			w.must(json.Unmarshal([]byte(body), &said))
			if resp.StatusCode != row.status || said.Error.Code != row.code || !strings.HasPrefix(said.Error.Message, "aegis: ") {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if resp.Header.Get("X-Should-Retry") != "false" || resp.Header.Get("X-Aegis-Decision") != "deny" || resp.ContentLength != int64(len(body)) {
				t.Errorf("%d bytes, %v", resp.ContentLength, resp.Header)
			}
			if n := len(sim.Calls()); n != 0 {
				t.Errorf("%d requests were sent", n)
			}
			w.close()
			if spent, held := w.balance(); spent != 0 || held != 0 {
				t.Errorf("spent %d, held %d", spent, held)
			}
			w.mustReplay()
		})
	}
}

// TestWhatLeaves: the cap that is held is in the body, and the rest is the program's, less
// what is for us alone.
func TestWhatLeaves(t *testing.T) {
	for _, row := range []struct{ name, upstream, key, account string }{
		{"the program's key", "", programKey, ""},
		{"the policy's key", ", api_key_env: " + keyVar, policyKey, ""},
		{"the program's key and account, which pay", ", credential: client", programKey, "org"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, setting{upstream: row.upstream})
			r := w.request(t.Context(), chatPath, hello)
			r.Header.Set("X-Aegis-Run", "nightly")
			r.Header.Set("X-Mine", "stays")
			r.Header.Set("OpenAI-Organization", "org")
			before := r.Header.Clone()
			if resp, body := w.do(r); resp.StatusCode != http.StatusOK {
				t.Fatal(body)
			}
			sent := sim.Calls()[0]
			if want := strings.TrimSuffix(hello, "}") + `,"max_completion_tokens":100,"service_tier":"default"}`; string(sent.Body) != want {
				t.Errorf("sent %s\nwant %s", sent.Body, want)
			}
			h := sent.Header
			if h.Get("Authorization") != "Bearer "+row.key || h.Get("X-Mine") != "stays" || h.Get("OpenAI-Organization") != row.account ||
				h["X-Aegis-Run"] != nil || h.Get("Accept-Encoding") != "identity" {
				t.Errorf("sent %v", h)
			}
			if fmt.Sprint(before) != fmt.Sprint(r.Header) {
				t.Errorf("the program's own request became %v", r.Header)
			}
			w.close()
			if d := read[audit.Decision](w)[0]; d.Facts.Run == "" || d.Facts.Upstream != "sim" {
				t.Errorf("told of as %+v", d.Facts)
			}
		})
	}
}

// TestNamesOfHeaders: a name in another case is the same name, as it is on the wire.
func TestNamesOfHeaders(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{upstream: ", api_key_env: " + keyVar})
	r := w.request(t.Context(), chatPath, hello)
	r.Header = http.Header{
		"authorization": {"Bearer " + programKey}, "x-api-key": {programKey}, "accept-encoding": {"gzip"},
		"x-aegis-run": {"nightly"}, "openai-beta": {"unheard-of=v9"}, "x-mine": {"stays"},
	}
	resp, body := w.do(r)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Aegis-Betas-Removed") != "unheard-of=v9" {
		t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	h := sim.Calls()[0].Header
	if strings.Contains(fmt.Sprint(h), programKey) || !slices.Equal(h["Authorization"], []string{"Bearer " + policyKey}) ||
		!slices.Equal(h["Accept-Encoding"], []string{"identity"}) || h["X-Aegis-Run"] != nil || h["Openai-Beta"] != nil || h.Get("X-Mine") != "stays" {
		t.Errorf("sent %v", h)
	}
	w.close()
	if d := read[audit.Decision](w)[0]; d.Facts.Run == "" {
		t.Errorf("told of as %+v", d.Facts)
	}
}

// TestURLChoosesTheUpstream: also where it is not the model's first.
func TestURLChoosesTheUpstream(t *testing.T) {
	sim := simulator.New(simulator.Config{})
	defer sim.Close()
	w := newWorld(t, setting{handler: http.StripPrefix("/other", sim)})
	if resp, body := w.do(w.request(t.Context(), "/other"+chatPath, hello)); resp.StatusCode != http.StatusOK {
		t.Fatal(body)
	}
	w.close()
	if d := read[audit.Decision](w)[0]; d.Facts.Upstream != "other" {
		t.Errorf("told of as %+v", d.Facts)
	}
}

// TestListOfModels: the policy tells it, and nothing is sent: neither the program's key nor
// what else it says.
func TestListOfModels(t *testing.T) {
	get := func(w *world, method, path string, header ...string) (*http.Response, string) {
		r := w.request(t.Context(), path, "")
		r.Method, r.Body, r.ContentLength = method, nil, 0
		for _, name := range header {
			r.Header.Set(name, "2023-06-01")
		}
		return w.do(r)
	}
	for _, row := range []struct {
		name, tenant, method, path string
		header                     []string
		status                     int
		says                       string
	}{
		{"all", ample, "GET", "/v1/models", nil, 200, `"id":"toy"`},
		{"those of Anthropic's", ample, "GET", "/v1/models", []string{"Anthropic-Version"}, 200, `"id":"claude-`},
		{"one", ample, "GET", "/v1/models/toy", nil, 200, `"id":"toy"`},
		{"one that the policy does not have", ample, "GET", "/v1/models/unheard-of", nil, 404, "model_not_found"},
		{"one that the tenant may not use", ample + `, models: {allow: ["text-*"]}`, "GET", "/v1/models/toy", nil, 404, "model_not_found"},
		{"all, by HEAD", ample, "HEAD", "/v1/models", nil, 200, ""},
		{"a probe for a server", ample, "HEAD", "/v1/api/hello", nil, 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, setting{tenant: row.tenant})
			resp, body := get(w, row.method, row.path, row.header...)
			if resp.StatusCode != row.status || !strings.Contains(body, row.says) || row.method == "HEAD" && body != "" {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if allowed := resp.Header.Get("X-Aegis-Decision") == "allow"; allowed != (row.status == 200) {
				t.Errorf("%v", resp.Header)
			}
			if n := len(sim.Calls()); n != 0 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

// TestListsAreRuled: rates and kill switches hold for lists of models, and a closed gate gives
// none.
func TestListsAreRuled(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: ample + `, rates: [{name: few, window: forever, limit: 2}]`})
	list := func(path string, header ...string) (*http.Response, string) {
		r := w.request(t.Context(), path, "")
		r.Method, r.Body, r.ContentLength = http.MethodGet, nil, 0
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return w.do(r)
	}
	_, err := w.ledger.Throw(t.Context(), "acme", policy.RunSwitch("r1"))
	w.must(err)
	for _, step := range []struct {
		path, run string
		status    int
	}{{"/v1/models", "", 200}, {"/v1/models/toy", "r1", 403}, {"/v1/models/toy", "r2", 200}, {"/v1/models", "", 429}} {
		resp, body := list(step.path, "X-Aegis-Run", step.run)
		if resp.StatusCode != step.status || resp.Header.Get("X-Aegis-Receipt") == "" {
			t.Errorf("%s: %d %v %s", step.path, resp.StatusCode, resp.Header, body)
		}
	}
	w.close()
	r := w.request(t.Context(), "/v1/models", "")
	r.Method, r.Body, r.ContentLength = http.MethodGet, nil, 0
	if _, err := w.client.RoundTrip(r); !errors.Is(err, gate.ErrClosed) {
		t.Errorf("of a closed gate: %v", err)
	}
}

// TestWhatIsFreePasses: without a hold, and without a receipt; a kill switch stops it.
func TestWhatIsFreePasses(t *testing.T) {
	const body = `{"model":"omni-moderation-latest","input":"hello"}`
	w, sim := simulated(t, simulator.Config{}, setting{})
	if resp, said := w.do(w.request(t.Context(), "/v1/moderations", body)); resp.StatusCode != http.StatusOK || !strings.Contains(said, `"results"`) {
		t.Fatalf("%d %s", resp.StatusCode, said)
	}
	_, err := w.ledger.Throw(t.Context(), "acme", policy.TenantSwitch)
	w.must(err)
	if resp, said := w.do(w.request(t.Context(), "/v1/moderations", body)); resp.StatusCode != http.StatusForbidden || len(sim.Calls()) != 1 {
		t.Errorf("%d calls; %d %s", len(sim.Calls()), resp.StatusCode, said)
	}
	w.close()
	if decisions := read[audit.Decision](w); len(decisions) != 1 || decisions[0].Verdict != audit.Deny {
		t.Errorf("told of as %+v", decisions)
	}
}

// TestMessages: two dialects at one base URL are told apart by what is called, and a key
// stays where its SDK has put it.
func TestMessages(t *testing.T) {
	const message = `{"model":"claude-opus-4-1","max_tokens":20,"stream":true,"messages":[{"role":"user","content":"Say hello."}]}`
	w, sim := simulated(t, simulator.Config{}, setting{})
	call := func(model string) (*http.Response, string) {
		r := w.request(t.Context(), "/v1/messages", strings.Replace(message, "claude-opus-4-1", model, 1))
		r.Header.Del("Authorization")
		r.Header.Set("X-Api-Key", programKey)
		r.Header.Set("Anthropic-Version", "2023-06-01")
		return w.do(r)
	}
	if resp, body := call("claude-opus-4-1"); resp.StatusCode != http.StatusOK || !strings.Contains(body, "message_stop") {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if sent := sim.Calls()[0].Header; sent.Get("X-Api-Key") != programKey || sent["Authorization"] != nil {
		t.Errorf("sent %v", sent)
	}
	if resp, body := call("toy"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, `"type":"permission_error"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	w.mustHaveEnded(audit.BasisReported)
}

// TestNextCallFindsItSettled: a program that has seen the end mark of a stream has back what
// that did not use, although the answer is not over. Only one hold fits the budget.
func TestNextCallFindsItSettled(t *testing.T) {
	s := newStage(t, `budgets: [{name: daily, window: forever, limit_usd: "0.0000009"}]`)
	s.over = make(chan struct{})
	defer close(s.over)
	first := s.ask()
	defer first.Body.Close()
	close(s.goOn)
	if _, err := io.ReadFull(first.Body, make([]byte, len("data: [DONE]\n\n"))); err != nil {
		t.Fatal(err)
	}
	next, err := s.client.RoundTrip(s.request(t.Context(), chatPath, streaming))
	s.must(err)
	defer next.Body.Close()
	if next.StatusCode != http.StatusOK {
		t.Errorf("the next call: %d", next.StatusCode)
	}
}

// TestErrorsAreErrors: what is no answer of an API is none here.
func TestErrorsAreErrors(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{})
	w.client.Tenant = "nobody"
	if _, err := w.client.RoundTrip(w.request(t.Context(), chatPath, hello)); !errors.Is(err, gate.ErrUnknownTenant) {
		t.Errorf("got %v", err)
	}
	w.client.Tenant = "acme"
	w.close()
	if _, err := w.client.RoundTrip(w.request(t.Context(), chatPath, hello)); !errors.Is(err, gate.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
