package proxy_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Requests and answers of Responses. A token of gpt-4o costs 2500 nano-USD as input, 1250
// where it is read from a cache, and 10000 as output.
const (
	responsesPath = "/v1/responses"
	askResponse   = `{"model":"gpt-4o","input":"hi","max_output_tokens":100}`
	askStream     = `{"model":"gpt-4o","input":"hi","max_output_tokens":100,"stream":true}`

	responseUsage = `{"input_tokens":20,"input_tokens_details":{"cached_tokens":4},"output_tokens":4,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":24}`
	responseCost  = 16*2500 + 4*1250 + 4*10000
)

// responseOf is a response with one message, of that usage and with these members more.
func responseOf(usage, more string) string {
	return `{"id":"resp_1","object":"response","status":"completed","error":null,"model":"gpt-4o-2024-08-06","output":[` +
		`{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello"}]}],"usage":` + usage + more + `}`
}

// Events of Responses.
const (
	responseBegins = `{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","model":"gpt-4o-2024-08-06","output":[],"usage":null}}`
	responseRuns   = `{"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","status":"in_progress","usage":null}}`
	responseText   = `{"type":"response.output_text.delta","sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hello"}`
	responseQuota  = `{"type":"error","sequence_number":2,"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"no more","param":null}}`
	responseFails  = `{"type":"response.failed","sequence_number":3,"response":{"id":"resp_1","status":"failed","error":{"code":"insufficient_quota","message":"no more"},"usage":null}}`
	responseBreaks = `{"type":"response.failed","sequence_number":3,"response":{"id":"resp_1","status":"failed","error":{"code":"server_error","message":"oh"},"usage":null}}`
)

// ends is the last event of a response.
func ends(kind, response string) string {
	return `{"type":"response.` + kind + `","sequence_number":3,"response":` + response + `}`
}

// gets holds the body that the upstream gets.
func gets(body string) func(*testing.T, http.Header, string) {
	return func(t *testing.T, _ http.Header, got string) {
		t.Helper()
		if got != body {
			t.Errorf("the upstream gets %s, want %s", got, body)
		}
	}
}

// pinnedTo is a request as it leaves for OpenAI: at its plain tier.
func pinnedTo(body string) string {
	return strings.TrimSuffix(body, "}") + `,"service_tier":"default"}`
}

// TestResponses: OpenAI's Responses through the whole proxy.
func TestResponses(t *testing.T) {
	events := func(last ...string) reply {
		return reply{kind: "text/event-stream", body: named(append([]string{responseBegins, responseRuns}, last...)...)}
	}
	large := responseOf(responseUsage, `,"tail":"`+strings.Repeat("x", 10)+`"`)
	large = strings.Replace(large, `"Hello"`, `"`+strings.Repeat("Hello ", 500_000)+`"`, 1)
	play(t, []wireCase{
		{name: "a response", path: responsesPath, body: askResponse, reply: reply{body: responseOf(responseUsage, "")},
			want: want{basis: audit.BasisReported, charge: responseCost, within: true, sent: gets(pinnedTo(askResponse))}},
		{name: "as the beta resources of SDKs send it", path: "/run/r1/v1/responses?beta=true", body: askResponse, reply: reply{body: responseOf(responseUsage, "")},
			want: want{basis: audit.BasisReported, charge: responseCost}},
		{name: "a stream", path: responsesPath, body: askStream, reply: events(responseText, ends("completed", responseOf(responseUsage, ""))),
			want: want{basis: audit.BasisReported, charge: responseCost, within: true, sent: gets(pinnedTo(askStream))}},
		{name: "a stream whose cap was reached", path: responsesPath, body: askStream, reply: events(responseText, ends("incomplete", responseOf(responseUsage, ""))),
			want: want{basis: audit.BasisReported, charge: responseCost}},
		{name: "a stream whose last event is megabytes", path: responsesPath, body: askStream, reply: events(responseText, ends("completed", large)),
			want: want{basis: audit.BasisReported, charge: responseCost}},
		{name: "a stream that breaks off", path: responsesPath, body: askStream, reply: events(responseText),
			want: want{basis: audit.BasisUnknown}},
		{name: "a stream that fails after output", path: responsesPath, body: askStream, reply: events(responseText, responseFails),
			want: want{basis: audit.BasisUnknown}},
		{name: "a stream that fails for want of a quota", path: responsesPath, body: askStream, reply: events(responseQuota, responseFails),
			want: want{basis: audit.BasisUnbilled}},
		{name: "a stream that fails, and nobody knows what ran", path: responsesPath, body: askStream, reply: events(responseBreaks),
			want: want{basis: audit.BasisUnknown}},
		{name: "a stream of an error alone", path: responsesPath, body: askStream,
			reply: reply{kind: "text/event-stream", body: named(responseQuota)},
			want:  want{basis: audit.BasisUnbilled}},
		{name: "no usage", path: responsesPath, body: askResponse, reply: reply{body: responseOf("null", "")},
			want: want{basis: audit.BasisUnknown}},
		{name: "a wrong request", path: responsesPath, body: askResponse, reply: reply{status: 400, body: `{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}`},
			want: want{basis: audit.BasisUnbilled}},
		{name: "a tier without a price", path: responsesPath, body: askResponse, reply: reply{body: responseOf(responseUsage, `,"service_tier":"turbo"`)},
			want: want{basis: audit.BasisUnknown}},
		{name: "a compaction, which nothing caps", path: "/v1/responses/compact", body: `{"model":"gpt-4o","input":"hi"}`,
			reply: reply{body: `{"id":"resp_1","object":"response.compaction","output":[{"type":"compaction","encrypted_content":"x"}],"usage":` + responseUsage + `}`},
			want:  want{basis: audit.BasisReported, charge: responseCost, within: true, sent: gets(pinnedTo(`{"model":"gpt-4o","input":"hi"}`))}},
		{name: "in the background", path: responsesPath, body: `{"model":"gpt-4o","input":"hi","background":true}`,
			want: want{status: 403, code: "no_bound", says: []string{"background"}}},
		{name: "a tool of the provider's", path: responsesPath, body: `{"model":"gpt-4o","input":"hi","tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}`,
			want: want{status: 403, code: "no_bound", says: []string{"code_interpreter"}}},
		{name: "a tool that an item brings", path: responsesPath,
			body: `{"model":"gpt-4o","input":[{"type":"additional_tools","role":"developer","tools":[{"type":"web_search"}]}]}`,
			want: want{status: 403, code: "no_bound", says: []string{"web_search"}}},
	})
}

// TestResponsesSearch: the search that agents offer in every request, by what the policy
// says of it.
func TestResponsesSearch(t *testing.T) {
	rules := func(rule string) string {
		return strings.Replace(gpt, `limit_usd: "1"}]`, `limit_usd: "1"}]`+"\n    hosted_tools: [{kind: web_search, "+rule+"}]", 1)
	}
	const (
		ask      = `{"model":"gpt-5","input":"hi","max_output_tokens":100,"tools":[{"type":"function","name":"f"},{"type":"web_search","external_web_access":false}]}`
		stripped = `{"model":"gpt-5","input":"hi","max_output_tokens":100,"tools":[{"type":"function","name":"f"}]}`
	)
	answer := func(more string) reply {
		return reply{body: strings.ReplaceAll(responseOf(responseUsage, more), "gpt-4o-2024-08-06", "gpt-5-2025-08-07")}
	}
	const cost = 16*1250 + 4*125 + 4*10000 // nano-USD
	play(t, []wireCase{
		{name: "denied", path: responsesPath, body: ask, want: want{status: 403, code: "no_bound", says: []string{"web_search", "hosted_tools"}}},
		{name: "stripped", policy: rules("when_offered: strip"), path: responsesPath, body: ask, reply: answer(""),
			want: want{basis: audit.BasisReported, charge: cost, within: true, sent: gets(pinnedTo(stripped))}},
		{name: "priced, and not used", policy: rules("when_offered: price, calls: 2, tokens: 1000"), path: responsesPath, body: ask, reply: answer(""),
			want: want{basis: audit.BasisReported, charge: cost, within: true, sent: gets(pinnedTo(strings.TrimSuffix(ask, "}") + `,"max_tool_calls":2}`))}},
		{name: "priced", policy: rules("when_offered: price, calls: 2, tokens: 1000"), path: responsesPath, body: ask,
			reply: answer(`,"tool_usage":{"web_search":{"num_requests":2}}`),
			want:  want{basis: audit.BasisReported, charge: cost + 2*10_000_000, within: true}},
	})
}

// TestResponsesSocket: who asks for a WebSocket is told to come over HTTP, before any key
// is looked at.
func TestResponsesSocket(t *testing.T) {
	socket := map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
	play(t, []wireCase{
		{name: "a WebSocket", method: http.MethodGet, path: responsesPath, header: socket,
			want: want{status: http.StatusUpgradeRequired, code: "route_not_allowed", says: []string{"send POST /responses"}}},
		{name: "a list", method: http.MethodGet, path: responsesPath, want: want{status: 403, code: "route_not_allowed"}},
	})
}

// TestResponsesChain: a response that goes on from another is held at what that one used,
// and at the model's context where nobody remembers it.
func TestResponsesChain(t *testing.T) {
	up := &caseUpstream{reply: reply{body: responseOf(responseUsage, "")}}
	w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: gpt})
	const context = 128_000 // tokens of gpt-4o
	for i, members := range []string{`"user":""`, `"previous_response_id":"resp_1"`, `"previous_response_id":"resp_of_another_replica"`} {
		body := strings.Replace(askResponse, `"input"`, members+`,"input"`, 1)
		if a := w.do(request(t.Context(), w.front.URL+responsesPath, body)); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		s := w.settled(i + 1)[i]
		first := w.settled(1)[0].Hold
		want := [...]int64{first, first + (20+4)*2500, context*2500 + 100*10000}[i]
		if s.Hold != want || s.Charge != responseCost {
			t.Errorf("%s: %d is held and %d charged, want %d and %d", members, s.Hold, s.Charge, want, int64(responseCost))
		}
	}
	if a := w.post(responsesPath, strings.Replace(askResponse, `"hi"`, `["hi",{"id":"msg_1"}]`, 1)); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if list := w.settled(4); list[3].Hold < list[0].Hold+4*2500 || list[3].Hold > list[0].Hold+50*2500 {
		t.Errorf("an item that is known: %d is held, without %d", list[3].Hold, list[0].Hold)
	}
}

// TestUnknownResponses: where the policy denies what nobody has seen, a response and its items
// are its tenant's alone, and only here.
func TestUnknownResponses(t *testing.T) {
	up := &caseUpstream{reply: reply{body: responseOf(responseUsage, "")}}
	w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: strings.Replace(gpt, `limit_usd: "1"}]`, `limit_usd: "1"}]`+"\n    when_response_unknown: deny", 1)})
	with := func(members string) string { return strings.Replace(askResponse, `"input"`, members+`,"input"`, 1) }
	const asked, item = `"previous_response_id":"resp_1"`, `{"model":"gpt-4o","max_output_tokens":100,"input":["hi",{"id":"msg_1"}]}`
	for i, row := range []struct {
		body string
		want int
	}{{with(asked), 403}, {item, 403}, {askResponse, 200}, {with(asked), 200}, {item, 200}, {with(`"previous_response_id":"resp_2"`), 403}} {
		a := w.post(responsesPath, row.body)
		if a.status != row.want || a.status == 403 && !strings.Contains(a.body, "when_response_unknown") {
			t.Errorf("%d: %d %s", i, a.status, a.body)
		}
	}
	if n := len(up.requests()); n != 3 {
		t.Errorf("%d were sent", n)
	}
	w.settled(3)
	w.mustReplay()
}

// TestResponsesKilled: a stream that a kill switch cuts ends as a response that has failed
// for want of a quota, and its connection ends well, so that no client tries again. A call
// of a tool is not completed. The cost is unknown.
func TestResponsesKilled(t *testing.T) {
	const call = `{"type":"response.function_call_arguments.delta","sequence_number":8,"item_id":"fc_1","output_index":0,"delta":"{\"path\":"}`
	up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, named(responseBegins, responseText, call))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: strings.Replace(gpt, `limit_usd: "1"}]`, `limit_usd: "1"}]`+"\n    on_kill: cut", 1)})
	answers, begun := make(chan answer, 1), make(chan struct{})
	go func() {
		answers <- w.doTelling(request(context.Background(), w.front.URL+responsesPath, askStream), begun)
	}()
	<-begun
	w.throw(policy.KeySwitch("k"))
	w.gate.CutKilled(t.Context())
	a := <-answers
	ends, ok := strings.CutPrefix(a.body, named(responseBegins, responseText, call))
	want := "\nevent: response.failed\ndata: " + `{"type":"response.failed","sequence_number":9,"response":{"id":"resp_1","object":"response","model":"gpt-4o-2024-08-06",` +
		`"status":"failed","error":{"code":"insufficient_quota","message":"aegis: `
	if a.status != 200 || a.err != nil || !ok || !strings.HasPrefix(ends, want) || !strings.Contains(ends, "kill switch") || !strings.HasSuffix(ends, "}\n\n") {
		t.Errorf("%v, ends with %q", a.err, ends)
	}
	if s := w.settled(1)[0]; s.Basis != audit.BasisUnknown || s.Charge != s.Hold {
		t.Errorf("settled %+v", s)
	}
}

// TestResponsesReplay: what the receipts of responses tell is enough to recompute them.
func TestResponsesReplay(t *testing.T) {
	up := &caseUpstream{reply: reply{body: strings.ReplaceAll(responseOf(responseUsage, `,"tool_usage":{"web_search":{"num_requests":1}}`), "gpt-4o-2024-08-06", "gpt-5-2025-08-07")}}
	w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: strings.Replace(gpt, `limit_usd: "1"}]`,
		`limit_usd: "9"}]`+"\n    when_exhausted: clamp\n    hosted_tools: [{kind: web_search, when_offered: price, calls: 2, tokens: 1000}, {kind: mcp, when_offered: strip}]", 1)})
	bodies := []string{
		`{"model":"gpt-5","input":"hi","tools":[{"type":"web_search"},{"type":"mcp","server_url":"u"}]}`,
		`{"model":"gpt-5","input":"hi","previous_response_id":"resp_1","stream":true}`,
		`{"model":"gpt-5","input":[{"id":"msg_1"}],"max_output_tokens":100}`,
		`{"model":"gpt-5","input":"hi","prompt_cache_options":{"ttl":"12h"}}`,
		`{"model":"gpt-5","input":[{"role":"user","content":"hi"},{"type":"compaction_trigger"}],"tools":[{"type":"web_search"}]}`,
		`{"model":"gpt-5","input":[{"role":"user","content":"hi"},{"type":"web_search_call","id":"ws_1"}],"context_management":[{"type":"compaction"}],"tools":[{"type":"web_search"}]}`,
	}
	for _, body := range bodies {
		if got := w.post(responsesPath, body); got.status != 200 {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	if got := w.post("/v1/responses/compact", `{"model":"gpt-5","input":"hi"}`); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	w.settled(len(bodies) + 1)
	w.mustReplay()
}

// TestCountOfResponsesPasses: a count of tokens passes, whatever the budget, and no receipt
// tells of it.
func TestCountOfResponsesPasses(t *testing.T) {
	const counted = `{"object":"response.input_tokens","input_tokens":8}`
	up := &caseUpstream{reply: reply{body: counted}}
	w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: strings.Replace(gpt, `limit_usd: "1"`, `limit_usd: "0.000000001"`, 1)})
	a := w.post("/v1/responses/input_tokens", `{"model":"gpt-4o","input":"hi","tools":[{"type":"web_search"}]}`)
	if a.status != 200 || a.body != counted || len(up.requests()) != 1 || up.requests()[0].body != `{"model":"gpt-4o","input":"hi","tools":[{"type":"web_search"}]}` {
		t.Errorf("%d %s, %d requests", a.status, a.body, len(up.requests()))
	}
	if n := len(read[audit.Decision](w)) + len(read[audit.Settlement](w)); n != 0 {
		t.Errorf("%d receipts", n)
	}
	w.mustBalance(0, 0)
}
