package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// agent is a chat as an agent writes it: it sends all of it with every request.
type agent struct{ messages []string }

func newAgent() *agent { return &agent{messages: []string{`{"role":"user","content":"hello"}`}} }

// works has the assistant call tools, each "ID TOOL", and adds their results.
func (a *agent) works(calls ...string) {
	var called, results []string
	for _, call := range calls {
		id, tool, _ := strings.Cut(call, " ")
		called = append(called, fmt.Sprintf(`{"id":%q,"type":"function","function":{"name":%q,"arguments":"{}"}}`, id, tool))
		results = append(results, fmt.Sprintf(`{"role":"tool","tool_call_id":%q,"content":"done"}`, id))
	}
	a.messages = append(a.messages, `{"role":"assistant","content":null,"tool_calls":[`+strings.Join(called, ",")+`]}`)
	a.messages = append(a.messages, results...)
}

func (a *agent) body() string {
	return `{"model":"toy","max_completion_tokens":20,"messages":[` + strings.Join(a.messages, ",") + `]}`
}

const runPath = "/run/r" + chatPath

// TestToolCallsOnTheWire: an agent that sends its whole history again, and an SDK
// that sends a request again, count each call once.
func TestToolCallsOnTheWire(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, rule("tool_calls: [{name: calls, scope: run, limit: 4}, {name: searches, tool: search, limit: 2}]"))
	a := newAgent()
	mustAllow(t, w.post(runPath, a.body()))
	a.works("c1 search", "c2 fetch")
	mustAllow(t, w.post(runPath, a.body()), w.post(runPath, a.body()))
	a.works("c3 fetch")
	mustAllow(t, w.post(runPath, a.body()), w.post(runPath, a.body()))
	a.works("c4 fetch", "c5 fetch")
	denied := w.post(runPath, a.body())
	mustDeny(t, denied, 429, "rate_limit_exceeded", "false", `tool call limit \"calls\" has too few calls left`)
	if denied.header.Get("Retry-After") != "" || !strings.Contains(denied.body, `"needed":"2"`) || !strings.Contains(denied.body, `"spent":"3"`) {
		t.Errorf("%v %s", denied.header, denied.body)
	}
	mustAllow(t, w.post(chatPath, a.body()), w.post("/run/other"+chatPath, a.body()))

	b := newAgent()
	b.works("c1 search")
	mustAllow(t, w.post(chatPath, b.body()))
	b.works("c9 search", "c8 search")
	mustDeny(t, w.post(chatPath, b.body()), 429, "rate_limit_exceeded", "false", `\"searches\"`)
	if n := sim.Totals().Received; n != 8 {
		t.Errorf("%d requests left", n)
	}
	for _, d := range read[audit.Decision](w) {
		for _, result := range d.Facts.ToolResults {
			if len(result.ID) != call.NameBytes {
				t.Errorf("the receipt says %+v", result)
			}
		}
	}
	if d := read[audit.Decision](w)[1]; d.Claims[0].Amount != 2 || d.Claims[0].Marks != string(call.HashName("c1")+" "+call.HashName("c2")) {
		t.Errorf("claims %+v", d.Claims)
	}
}

// TestToolCallsOfTheOlderForm have no id: a body counts once.
func TestToolCallsOfTheOlderForm(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, rule("tool_calls: [{name: calls, limit: 2}]"))
	turn := `,{"role":"assistant","function_call":{"name":"old","arguments":"{}"}},{"role":"function","name":"old","content":"x"}`
	body := func(turns int) string {
		return strings.Replace(hello, `"hello"}`, `"hello"}`+strings.Repeat(turn, turns), 1)
	}
	mustAllow(t, w.post(chatPath, body(1)), w.post(chatPath, body(1)), w.post(chatPath, body(2)))
	mustDeny(t, w.post(chatPath, body(3)), 429, "rate_limit_exceeded", "false", "needed 1")
}

func TestTooManyToolResultsAtOnce(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, rule("tool_calls: [{name: calls, limit: 1000}]"))
	a := newAgent()
	var calls []string
	for i := range policy.MaxToolResults + 1 {
		calls = append(calls, fmt.Sprintf("c%d f", i))
	}
	a.works(calls[1:]...)
	mustAllow(t, w.post(chatPath, a.body()))
	a.works(calls...)
	mustDeny(t, w.post(chatPath, a.body()), 429, "rate_limit_exceeded", "false", "more than 64 tool results")
	if sim.Totals().Received != 1 {
		t.Error("the request left")
	}
}

// TestFallbackCountsToolCallsOnce, whichever of its attempts was sent.
func TestFallbackCountsToolCallsOnce(t *testing.T) {
	failing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	answering := raw(func(w http.ResponseWriter) {
		io.WriteString(w, `{"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	})
	for _, sent := range []bool{true, false} {
		t.Run(fmt.Sprintf("sent=%v", sent), func(t *testing.T) {
			w := newWorld(t, setting{
				tenant:    ampleBudget + "\ntool_calls: [{name: calls, limit: 2}]",
				upstreams: []http.Handler{failing, answering},
			})
			if !sent {
				w.upstreams[0].Close()
			}
			a := newAgent()
			a.works("c1 f", "c2 f")
			mustAllow(t, w.post(chatPath, a.body()), w.post(chatPath, a.body()))
			a.works("c3 f")
			mustDeny(t, w.post(chatPath, a.body()), 429, "rate_limit_exceeded", "false", "spent 2")
		})
	}
}
