package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// claude is a policy whose upstream speaks Messages, with its key where that API has it.
// claude-haiku-4-5 costs 1000 nano-USD a token of input, 1250 and 2000 one that is
// written to the cache for 5 minutes and for an hour, 100 one that is read from it, and
// 5000 one of output.
var claude = strings.Replace(casePolicy("anthropic", "none", `{match: "claude-*", upstreams: [up]}`, "1"),
	", cap_field: none", ", key_header: x-api-key, dialects: [{name: anthropic}]", 1)

// claudeOf is that policy with another limit, and more rules of the tenant.
func claudeOf(limitUSD, rules string) string {
	return strings.Replace(claude, `limit_usd: "1"}]`, `limit_usd: "`+limitUSD+`"}]`+"\n    "+rules, 1)
}

// Requests and answers of Messages.
const (
	messagesPath  = "/v1/messages"
	claudeMessage = `{"model":"claude-haiku-4-5","max_tokens":100, "messages":[{"role":"user","content":"hi"}]}`
	claudeStream  = `{"model":"claude-haiku-4-5","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	claudeError   = `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`
)

// message is an answer of that usage.
func message(usage string) string {
	return `{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","content":[{"type":"text","text":"Hello"}],` +
		`"stop_reason":"end_turn","stop_sequence":null,"usage":` + usage + `}`
}

// named is a stream of events by their types.
func named(events ...string) string {
	var b strings.Builder
	for _, e := range events {
		kind, _, _ := strings.Cut(strings.TrimPrefix(e, `{"type":"`), `"`)
		b.WriteString("event: " + kind + "\ndata: " + e + "\n\n")
	}
	return b.String()
}

// Events of Messages.
const (
	claudeStart = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","content":[],"stop_reason":null,"usage":{"input_tokens":20,"output_tokens":1}}}`
	claudeBlock = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	claudeText  = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}`
	claudeClose = `{"type":"content_block_stop","index":0}`
	claudeEnd   = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":4}}`
	claudeStop  = `{"type":"message_stop"}`
)

// sentAs holds what the upstream gets: its own key where it wants it, the client's
// nowhere, and this body.
func sentAs(body string) func(*testing.T, http.Header, string) {
	return func(t *testing.T, h http.Header, got string) {
		t.Helper()
		if h.Get("X-Api-Key") != upstreamKey || h.Get("Authorization") != "" || got != body {
			t.Errorf("the upstream gets %v\n%s", h, got)
		}
	}
}

// TestMessagesRegion: an account may have its models run in a dearer region, which only
// the answer tells; then too no call costs more than it held.
func TestMessagesRegion(t *testing.T) {
	local := strings.Replace(claude, `upstreams: [up]}`, `upstreams: [up], price: {input: "0.001", output: "1", regions: {eu: "1.05", us: "1.1"}}}`, 1)
	global := strings.Replace(claudeMessage, `"max_tokens"`, `"inference_geo":"global","max_tokens"`, 1)
	const usage = `{"input_tokens":100,"output_tokens":100,"inference_geo":"`
	play(t, []wireCase{
		{name: "a dearer region", policy: local, path: messagesPath, body: claudeMessage, reply: reply{body: message(usage + `us"}`)},
			want: want{basis: audit.BasisReported, charge: 110_110, within: true}},
		{name: "anywhere", policy: local, path: messagesPath, body: global, reply: reply{body: message(usage + `global"}`)},
			want: want{basis: audit.BasisReported, charge: 100_100, within: true}},
	})
}

// TestMessages: Anthropic's API through the whole proxy.
func TestMessages(t *testing.T) {
	const usage = `{"input_tokens":20,"output_tokens":4}` // 40,000 nano-USD
	asKey := map[string]string{"Authorization": "", "X-Api-Key": tenantKey}
	play(t, []wireCase{
		{name: "a message", policy: claude, path: messagesPath, body: claudeMessage, reply: reply{body: message(usage)},
			want: want{basis: audit.BasisReported, charge: 40_000, within: true, sent: sentAs(claudeMessage)}},
		{name: "by x-api-key", policy: claude, path: messagesPath, header: asKey, body: claudeMessage, reply: reply{body: message(usage)},
			want: want{basis: audit.BasisReported, charge: 40_000, sent: sentAs(claudeMessage)}},
		{name: "as the beta resources of SDKs send it", policy: claude, path: "/run/r1/v1/messages?beta=true", body: claudeMessage, reply: reply{body: message(usage)},
			want: want{basis: audit.BasisReported, charge: 40_000}},
		{name: "a stream", policy: claude, path: messagesPath, header: asKey, body: claudeStream,
			reply: reply{kind: "text/event-stream", body: named(claudeStart, claudeBlock, claudeText, claudeClose, claudeEnd, claudeStop)},
			want:  want{basis: audit.BasisReported, charge: 40_000, within: true, sent: sentAs(claudeStream)}},
		{name: "a stream that breaks off", policy: claude, path: messagesPath, body: claudeStream,
			reply: reply{kind: "text/event-stream", body: named(claudeStart, claudeBlock, claudeText)},
			want:  want{basis: audit.BasisUnknown}},
		{name: "a stream that ends with an error", policy: claude, path: messagesPath, body: claudeStream,
			reply: reply{kind: "text/event-stream", body: named(claudeStart, claudeBlock, claudeText, claudeError)},
			want:  want{basis: audit.BasisUnknown}},
		{name: "a stream of an error alone", policy: claude, path: messagesPath, body: claudeStream,
			reply: reply{kind: "text/event-stream", body: named(claudeError)},
			want:  want{basis: audit.BasisUnbilled}},
		{name: "overloaded", policy: claude, path: messagesPath, body: claudeMessage, reply: reply{status: 529, body: claudeError},
			want: want{basis: audit.BasisUnbilled}},
		{name: "a wrong request", policy: claude, path: messagesPath, body: claudeMessage,
			reply: reply{status: 400, body: `{"type":"error","error":{"type":"invalid_request_error","message":"no"}}`},
			want:  want{basis: audit.BasisUnbilled}},
		{name: "the cache beside the input", policy: claude, path: messagesPath,
			body:  strings.Replace(claudeMessage, `"content":"hi"`, `"content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral","ttl":"1h"}}]`, 1),
			reply: reply{body: message(`{"input_tokens":1,"cache_read_input_tokens":10,"cache_creation_input_tokens":6,"cache_creation":{"ephemeral_5m_input_tokens":2,"ephemeral_1h_input_tokens":4},"output_tokens":4}`)},
			want:  want{basis: audit.BasisReported, charge: 1_000 + 1_000 + 2_500 + 8_000 + 20_000, within: true}},
		{name: "no output asked for, which fills the cache", policy: claude, path: messagesPath,
			body:  `{"model":"claude-haiku-4-5","max_tokens":0,"cache_control":{"type":"ephemeral"},"messages":[{"role":"user","content":"hi"}]}`,
			reply: reply{body: strings.Replace(message(`{"input_tokens":2,"cache_creation_input_tokens":8,"output_tokens":0}`), `[{"type":"text","text":"Hello"}]`, `[]`, 1)},
			want:  want{basis: audit.BasisReported, charge: 2_000 + 10_000, within: true}},
		{name: "no usage", policy: claude, path: messagesPath, body: claudeMessage, reply: reply{body: message("null")},
			want: want{basis: audit.BasisUnknown}},
		{name: "a tier without a price", policy: claude, path: messagesPath, body: claudeMessage,
			reply: reply{body: message(`{"input_tokens":20,"output_tokens":4,"service_tier":"priority"}`)},
			want:  want{basis: audit.BasisUnknown}},
		{name: "a beta that may cost more", policy: claude, path: messagesPath, body: claudeMessage, reply: reply{body: message(usage)},
			header: map[string]string{"Anthropic-Beta": "cache-keepalive-2026-09-03, effort-2025-11-24"},
			want: want{basis: audit.BasisReported, charge: 40_000, sent: func(t *testing.T, h http.Header, _ string) {
				if got := h.Get("Anthropic-Beta"); got != "effort-2025-11-24" {
					t.Errorf("betas %q", got)
				}
			}}},
		{name: "a cap that is lowered, and the budget of thinking", policy: claudeOf("0.006", "when_exhausted: clamp"), path: messagesPath,
			body:  `{"model":"claude-haiku-4-5","max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[{"role":"user","content":"hi"}]}`,
			reply: reply{body: message(usage)},
			want: want{basis: audit.BasisReported, charge: 40_000, sent: func(t *testing.T, _ http.Header, body string) {
				if !strings.Contains(body, `"max_tokens":11`) || !strings.Contains(body, `"budget_tokens":1024`) {
					t.Errorf("sent %s", body)
				}
			}}},
		{name: "a budget of thinking that leaves no room to lower the cap", policy: claudeOf("0.006", "when_exhausted: clamp"), path: messagesPath,
			body: `{"model":"claude-haiku-4-5","max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":8000},"messages":[{"role":"user","content":"hi"}]}`,
			want: want{status: 402, says: []string{"its output cap cannot be lowered below 8001, because of thinking.budget_tokens"}}},
	})
}

// TestMessagesBounded: what a body does not show is bounded, and charged as it is told.
func TestMessagesBounded(t *testing.T) {
	saying := func(content, members string) string {
		return strings.Replace(strings.Replace(claudeMessage, `"hi"`, content, 1), `"messages"`, members+`"messages"`, 1)
	}
	fast := strings.Replace(saying(`"hi"`, `"speed":"fast","inference_geo":"global",`), "haiku-4-5", "opus-5-5", 1)
	opus := func(usage string) reply {
		return reply{body: strings.Replace(message(usage), "haiku-4-5-20251001", "opus-5-5", 1)}
	}
	play(t, []wireCase{
		{name: "an image, and one in a result", policy: claude, path: messagesPath,
			body:  saying(`[{"type":"image","source":{"type":"url","url":"http://x"}},{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}}]}]`, ""),
			reply: reply{body: message(`{"input_tokens":3200,"output_tokens":4}`)},
			want:  want{basis: audit.BasisReported, charge: 3_220_000, within: true}},
		{name: "pages, up to the model's context", policy: claude, path: messagesPath,
			body:  saying(`[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0="}}]`, ""),
			reply: reply{body: message(`{"input_tokens":190000,"output_tokens":4}`)},
			want:  want{basis: audit.BasisReported, charge: 190_020_000, within: true}},
		{name: "a long input, at its tier", policy: claude, path: messagesPath,
			body:  strings.Replace(saying(`"`+strings.Repeat("a ", 60_000)+`"`, `"inference_geo":"global",`), "haiku-4-5", "haiku-5-5", 1),
			reply: reply{body: strings.Replace(message(`{"input_tokens":60000,"cache_read_input_tokens":41000,"output_tokens":4}`), "haiku-4-5-20251001", "haiku-5-5", 1)},
			want:  want{basis: audit.BasisReported, charge: 60_000*500 + 41_000*50 + 4*2500, within: true}},
		{name: "a faster answer", policy: claude, path: messagesPath, body: fast, reply: opus(`{"input_tokens":20,"output_tokens":4,"service_tier":"standard","speed":"fast"}`),
			want: want{basis: audit.BasisReported, charge: 320_000, within: true}},
		{name: "a faster answer that was none", policy: claude, path: messagesPath, body: fast, reply: opus(`{"input_tokens":20,"output_tokens":4,"service_tier":"standard","speed":"standard"}`),
			want: want{basis: audit.BasisReported, charge: 160_000, within: true}},
		{name: "a faster answer that does not say so", policy: claude, path: messagesPath, body: fast, reply: opus(`{"input_tokens":20,"output_tokens":4,"service_tier":"standard"}`),
			want: want{basis: audit.BasisReported, charge: 320_000, within: true}},
		{name: "a region", policy: claude, path: messagesPath, body: strings.Replace(fast, `"speed":"fast","inference_geo":"global"`, `"inference_geo":"us"`, 1),
			reply: opus(`{"input_tokens":20,"output_tokens":4,"inference_geo":"us"}`),
			want:  want{basis: audit.BasisReported, charge: 176_000, within: true}},
		{name: "a summary before the answer", policy: claude, path: messagesPath, body: saying(`"hi"`, `"context_management":{"edits":[{"type":"compact_20260112"}]},`),
			reply: reply{body: message(`{"input_tokens":20,"output_tokens":4,"iterations":[{"type":"compaction","input_tokens":300,"output_tokens":50},{"type":"message","input_tokens":20,"output_tokens":4}]}`)},
			want:  want{basis: audit.BasisReported, charge: 40_000 + 550_000, within: true}},
		{name: "another model answered, and no word of the first", policy: claude, path: messagesPath, body: saying(`"hi"`, `"fallbacks":[{"model":"claude-sonnet-5-5"}],`),
			reply: reply{body: strings.Replace(message(`{"input_tokens":20,"output_tokens":4}`), "claude-haiku-4-5", "claude-sonnet-5-5", 1)},
			want:  want{basis: audit.BasisUnknown}},
		{name: "a model with fallbacks answered itself", policy: claude, path: messagesPath, body: saying(`"hi"`, `"fallbacks":[{"model":"claude-sonnet-5-5"}],`),
			reply: reply{body: message(`{"input_tokens":20,"output_tokens":4}`)},
			want:  want{basis: audit.BasisReported, charge: 40_000}},
		{name: "a summary alone", policy: claude, path: messagesPath, body: saying(`"hi"`, `"compaction":{"type":"summarize"},`),
			reply: reply{body: message(`{"input_tokens":0,"output_tokens":0,"iterations":[{"type":"compaction","input_tokens":300,"output_tokens":50}]}`)},
			want:  want{basis: audit.BasisReported, charge: 550_000, within: true}},
		{name: "counts that shrink, and no word of the summary", policy: claude, path: messagesPath,
			body: strings.Replace(saying(`"hi"`, `"context_management":{"edits":[{"type":"compact_20260112"}]},`), `"max_tokens"`, `"stream":true,"max_tokens"`, 1),
			reply: reply{kind: "text/event-stream", body: named(strings.Replace(claudeStart, `:20`, `:300`, 1), claudeBlock, claudeText, claudeClose,
				strings.Replace(claudeEnd, `"output_tokens"`, `"input_tokens":20,"output_tokens"`, 1), claudeStop)},
			want: want{basis: audit.BasisUnknown}},
		{name: "of counts that shrink where nothing is summed up the larger", policy: claude, path: messagesPath, body: claudeStream,
			reply: reply{kind: "text/event-stream", body: named(strings.Replace(claudeStart, `:20`, `:300`, 1), claudeBlock, claudeText, claudeClose,
				strings.Replace(claudeEnd, `"output_tokens"`, `"input_tokens":20,"output_tokens"`, 1), claudeStop)},
			want: want{basis: audit.BasisReported, charge: 320_000}},
	})
}

// TestMessagesHosted: tools that run at the provider are priced or taken out as the policy
// says, and other models are held and charged at their own prices.
func TestMessagesHosted(t *testing.T) {
	with := func(members string) string { return strings.TrimSuffix(claudeMessage, "}") + members + "}" }
	const search = `{"type":"web_search_20250305","name":"web_search","max_uses":8}`
	searching := with(`,"tools":[` + search + `]`)
	price := claudeOf("1", "hosted_tools: [{kind: web_search, when_offered: price, calls: 3, tokens: 1000}]")
	strip := claudeOf("1", "hosted_tools: [{kind: web_search, when_offered: strip}]")
	falling := with(`,"fallbacks":[{"model":"claude-opus-5-5","max_tokens":200}]`)
	fell := `{"input_tokens":20,"output_tokens":4,"iterations":[{"type":"message","input_tokens":20,"output_tokens":4},{"type":"fallback_message","model":"claude-opus-5-5","input_tokens":30,"output_tokens":10}]}`
	play(t, []wireCase{
		{name: "searches that are priced", policy: price, path: messagesPath, body: searching,
			reply: reply{body: message(`{"input_tokens":8000,"output_tokens":200,"server_tool_use":{"web_search_requests":2,"web_fetch_requests":0}}`)},
			want: want{basis: audit.BasisReported, charge: 8_000_000 + 1_000_000 + 20_000_000, within: true,
				sent: sentAs(strings.Replace(searching, `"max_uses":8`, `"max_uses":3`, 1))}},
		{name: "searches that the budget does not have", policy: strings.Replace(price, `limit_usd: "1"`, `limit_usd: "0.05"`, 1), path: messagesPath, body: searching,
			want: want{status: 402, says: []string{`"type":"billing_error"`}}},
		{name: "searches that are taken out", policy: strip, path: messagesPath, body: searching, reply: reply{body: message(`{"input_tokens":20,"output_tokens":4}`)},
			want: want{basis: audit.BasisReported, charge: 40_000, within: true, sent: sentAs(claudeMessage)}},
		{name: "a fallback", policy: claude, path: messagesPath, body: falling, reply: reply{body: message(fell)},
			want: want{basis: audit.BasisReported, charge: 40_000 + 120_000 + 200_000, within: true, sent: sentAs(falling)}},
		{name: "a fallback that the tenant may not use", policy: claudeOf("1", `models: {deny: ["claude-opus-*"]}`), path: messagesPath, body: falling,
			want: want{status: 403, says: []string{`"type":"permission_error"`, "claude-opus-5-5"}}},
		{name: "a fallback that goes elsewhere", policy: strings.Replace(claude, `match: "claude-*"`, `match: "claude-haiku-*"`, 1), path: messagesPath, body: falling,
			want: want{status: 403, says: []string{`"type":"permission_error"`, "claude-opus-5-5"}}},
		{name: "a fallback without a price", policy: claude, path: messagesPath, body: strings.Replace(falling, "opus-5-5", "epic-9", 1),
			want: want{status: 403, says: []string{`"type":"permission_error"`, "claude-epic-9"}}},
	})
}

// TestMessagesProbe: whether there is a server is told to anybody.
func TestMessagesProbe(t *testing.T) {
	w := newWorld(t, setting{upstreams: []http.Handler{&caseUpstream{}}, policy: claude})
	for path, status := range map[string]int{"/": 200, "/api/hello": 200, "/run/r1/api/hello": 200, "/api/hello/": 200, "/api/other": 404} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, w.front.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.do(r); got.status != status {
			t.Errorf("HEAD %s is answered with %d, want %d", path, got.status, status)
		}
	}
}

// TestMessagesPassAsTheyAre compares every behaviour of a provider with and without the
// proxy, byte for byte, streamed and not.
func TestMessagesPassAsTheyAre(t *testing.T) {
	for _, b := range behaviours {
		for body, basis := range map[string]string{claudeMessage: b.basis, claudeStream: b.streamBasis} {
			t.Run(fmt.Sprintf("%s/stream=%v", b.name, body == claudeStream), func(t *testing.T) {
				twin := httptest.NewServer(simulator.New(simulator.Config{}))
				defer twin.Close()
				w, _ := simulated(t, simulator.Config{}, setting{policy: claude})
				want := w.do(request(t.Context(), twin.URL+messagesPath, body, "X-Simulate", b.name))
				got := w.post(messagesPath, body, "X-Simulate", b.name)
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

// TestMessagesDenied: each denial has the shape of the API that was called.
func TestMessagesDenied(t *testing.T) {
	with := func(members string) string { return strings.TrimSuffix(claudeMessage, "}") + members + "}" }
	version := map[string]string{"Anthropic-Version": "2023-06-01"}
	play(t, []wireCase{
		{name: "no budget", policy: claudeOf("0.0001", ""), path: messagesPath, body: claudeMessage,
			want: want{status: 402, says: []string{`{"type":"error","error":{"type":"billing_error","message":"aegis: `, `"error_code":"budget_exhausted"`, `"aegis":{"budget":"b"`}}},
		{name: "what is stored elsewhere", policy: claude, path: messagesPath, body: strings.Replace(claudeMessage, `"content":"hi"`, `"content":[{"type":"container_upload","file_id":"f"}]`, 1),
			want: want{status: 403, says: []string{`"type":"permission_error"`, "a content block of type container_upload"}}},
		{name: "a speed that the model does not have", policy: claude, path: messagesPath, body: with(`,"speed":"fast"`),
			want: want{status: 403, says: []string{`"type":"permission_error"`, "fast"}}},
		{name: "a tool of the provider's", policy: claude, path: messagesPath, body: with(`,"tools":[{"type":"web_search_20250305","name":"web_search"}]`),
			want: want{status: 403, says: []string{`"type":"permission_error"`, "a tool of type web_search_20250305"}}},
		{name: "a member that nobody knows", policy: claude, path: messagesPath, body: with(`,"zip":1`),
			want: want{status: 403, says: []string{`allow: {members: [\"zip\"]}`}}},
		{name: "no cap", policy: claude, path: messagesPath, body: `{"model":"claude-haiku-4-5","messages":[]}`,
			want: want{status: 400, says: []string{`"type":"invalid_request_error"`, "max_tokens is required", `"param":"max_tokens"`}}},
		{name: "two keys that differ", policy: claude, path: messagesPath, header: map[string]string{"X-Api-Key": "another"}, body: claudeMessage,
			want: want{status: 401, says: []string{`"type":"authentication_error"`, "two API keys that differ"}}},
		{name: "a key that nobody has", policy: claude, path: messagesPath, header: map[string]string{"Authorization": "", "X-Api-Key": "another"}, body: claudeMessage,
			want: want{status: 401, says: []string{`"type":"authentication_error"`}}},
		{name: "a batch", policy: claude, path: messagesPath + "/batches", body: `{"requests":[]}`,
			want: want{status: 403, says: []string{`"type":"permission_error"`, "a batch is billed long after it was taken"}}},
		{name: "an agent that runs at the provider", policy: claude, path: "/v1/sessions", header: version, body: `{}`,
			want: want{status: 403, says: []string{`"type":"permission_error"`, "agents run at the provider"}}},
		{name: "what the API does not have", policy: claude, path: "/v1/messages/sing", header: version, body: `{}`,
			want: want{status: 404, says: []string{`"type":"not_found_error"`}}},
		{name: "files", policy: claude, path: "/v1/files", header: version, body: `{}`,
			want: want{status: 403, says: []string{`"type":"permission_error"`, "stores"}}},
		{name: "an upstream that speaks something else", policy: gpt, path: messagesPath, body: strings.Replace(claudeMessage, "claude-haiku-4-5", "gpt-4o", 1),
			want: want{status: 403, says: []string{`"type":"permission_error"`, "anthropic"}}},
	})
}

// TestMessagesReplay: the receipts of messages, clamped and denied ones and counts among
// them, are recomputed.
func TestMessagesReplay(t *testing.T) {
	up := &caseUpstream{reply: reply{body: message(`{"input_tokens":20,"output_tokens":4,"output_tokens_details":{"thinking_tokens":2},"service_tier":"standard","iterations":[{"type":"compaction","input_tokens":3,"output_tokens":1},{"type":"message","input_tokens":20,"output_tokens":4}]}`)}}
	w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: claudeOf("0.002", "when_exhausted: clamp\n    rates: [{name: r, limit: 100, window: minute}]")})
	large := strings.Replace(claudeMessage, `"max_tokens":100`, `"max_tokens":9000`, 1)
	thinking := strings.Replace(large, `"messages"`, `"thinking":{"type":"enabled","budget_tokens":8000},"messages"`, 1) // denied
	for path, bodies := range map[string][]string{
		messagesPath:                   {claudeMessage, claudeStream, large, thinking, strings.Replace(claudeMessage, `"hi"`, `[{"type":"image"}]`, 1)},
		messagesPath + "/count_tokens": {claudeMessage},
	} {
		for _, body := range bodies {
			w.post(path, body)
		}
	}
	if n := len(w.settled(4)); n != 4 {
		t.Errorf("%d settlements", n)
	}
	w.mustReplay()
}

// TestMessagesRunsReplay: so are those of calls with several runs, rounds and fees.
func TestMessagesRunsReplay(t *testing.T) {
	up := &caseUpstream{reply: reply{body: message(`{"input_tokens":20,"output_tokens":4,"speed":"fast","inference_geo":"us","server_tool_use":{"web_search_requests":1},"iterations":[{"type":"message","input_tokens":20,"output_tokens":4},{"type":"fallback_message","model":"claude-sonnet-5-5","input_tokens":30,"output_tokens":10}]}`)}}
	rules := "hosted_tools: [{kind: web_search, when_offered: price, calls: 3, tokens: 1000}, {kind: mcp, when_offered: strip}]\n    models: {deny: [claude-fable-5]}"
	w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: claudeOf("100", rules)})
	with := func(members string) string {
		return strings.Replace(strings.TrimSuffix(claudeMessage, "}"), "haiku-4-5", "opus-5-5", 1) + members + "}"
	}
	for _, members := range []string{
		`,"speed":"fast","inference_geo":"us"`,
		`,"tools":[{"type":"web_search_20250305","name":"web_search"},{"type":"mcp_toolset","mcp_server_name":"s"}]`,
		`,"fallbacks":[{"model":"claude-sonnet-5-5"}]`,
		`,"context_management":{"edits":[{"type":"compact_20260112"}]}`,
		`,"system":[{"type":"document","source":{"type":"file","file_id":"f"}}]`,
	} {
		if got := w.post(messagesPath, with(members)); got.status != 200 {
			t.Errorf("%s: %d %s", members, got.status, got.body)
		}
	}
	if got := w.post(messagesPath, with(`,"fallbacks":[{"model":"claude-fable-5"}]`)); got.status != 403 {
		t.Errorf("a model that is denied: %d", got.status)
	}
	w.settled(5)
	w.mustReplay()
}

// TestMessagesKilled: a stream that a kill switch cuts ends as one whose cap was reached,
// and its connection ends well, so that no client tries again; a call of a tool is not
// completed, and an error says why. The cost is unknown.
func TestMessagesKilled(t *testing.T) {
	const tool = `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}}`
	for name, row := range map[string]struct{ sent, ends string }{
		"in a text":           {named(claudeStart, claudeBlock, claudeText), named(claudeClose, `{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":6},"aegis":{"message":"aegis: `)},
		"in a call of a tool": {named(claudeStart, tool), "event: error\ndata: " + `{"type":"error","error":{"type":"permission_error","message":"aegis: `},
	} {
		t.Run(name, func(t *testing.T) {
			up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, row.sent)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})
			w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: claudeOf("1", "on_kill: cut")})
			answers, begun := make(chan answer, 1), make(chan struct{})
			go func() {
				answers <- w.doTelling(request(context.Background(), w.front.URL+messagesPath, claudeStream), begun)
			}()
			<-begun
			w.throw(policy.KeySwitch("k"))
			w.gate.CutKilled(t.Context())
			a := <-answers
			ends, ok := strings.CutPrefix(a.body, row.sent)
			if a.status != 200 || a.err != nil || !ok || !strings.HasPrefix(strings.TrimSuffix(ends, "\n\n"), strings.TrimSuffix(row.ends, "\n\n")) || !strings.Contains(ends, "kill switch") {
				t.Errorf("%v, ends with %q", a.err, ends)
			}
			if s := w.settled(1)[0]; s.Basis != audit.BasisUnknown || s.Charge != s.Hold {
				t.Errorf("settled %+v", s)
			}
		})
	}
}

// TestCountTokensPasses: a count of tokens passes, whatever the budget, and no receipt
// tells of it.
func TestCountTokensPasses(t *testing.T) {
	up := &caseUpstream{reply: reply{body: `{"input_tokens":14}`}}
	w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: claudeOf("0.000000001", "")})
	a := w.post("/v1/messages/count_tokens?beta=true", `{"model":"claude-haiku-4-5","messages":[{"role":"user","content":"hi"}]}`)
	if a.status != 200 || a.body != `{"input_tokens":14}` || len(up.requests()) != 1 {
		t.Errorf("%d %s, %d requests", a.status, a.body, len(up.requests()))
	}
	if n := len(read[audit.Decision](w)) + len(read[audit.Settlement](w)); n != 0 {
		t.Errorf("%d receipts", n)
	}
	w.mustBalance(0, 0)
}

// TestMessagesModels: the list of models has the shape of the API whose version the
// client names, and has the models that can be called by it.
func TestMessagesModels(t *testing.T) {
	w := newWorld(t, setting{upstreams: []http.Handler{http.NotFoundHandler()}, policy: strings.Replace(claude, `"claude-*"`, `"claude-haiku-4-5"`, 1)})
	get := func(path string, headers ...string) answer {
		r := request(t.Context(), w.front.URL+path, "", headers...)
		r.Method = http.MethodGet
		return w.do(r)
	}
	if a := get("/v1/models", "Anthropic-Version", "2023-06-01"); a.status != 200 || !strings.Contains(a.body, `{"data":[{"type":"model","id":"claude-haiku-4-5"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := get("/v1/models/claude-haiku-4-5", "Anthropic-Version", "2023-06-01"); a.status != 200 || !strings.Contains(a.body, `"id":"claude-haiku-4-5"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := get("/v1/models/gpt-4o", "Anthropic-Version", "2023-06-01"); a.status != 404 || !strings.Contains(a.body, `"type":"not_found_error"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := get("/v1/models"); a.status != 200 || a.body != `{"object":"list","data":[]}`+"\n" {
		t.Errorf("another API lists %d %s", a.status, a.body)
	}
}
