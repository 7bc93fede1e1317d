package anthropic_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// meterOf is the meter of the answer to a request with these members.
func meterOf(t testing.TB, members string, a providers.Answer) providers.Meter {
	t.Helper()
	r, err := parse(t, members)
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.On(terms)
	if err != nil {
		t.Fatal(err)
	}
	return o.Send(0).Meter(a)
}

var (
	jsonAnswer = providers.Answer{Status: 200, Framed: true, Header: headers{"Content-Type": {"application/json"}}}
	sseAnswer  = providers.Answer{Status: 200, Framed: true, Header: headers{"Content-Type": {"text/event-stream; charset=utf-8"}}}
)

func sse(events ...string) string {
	var b strings.Builder
	for _, e := range events {
		kind, _, _ := strings.Cut(strings.TrimPrefix(e, `{"type":"`), `"`)
		fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", kind, e)
	}
	return b.String()
}

// Events of a stream.
const (
	start      = `{"type":"message_start","message":{"model":"claude-opus-5-20260724","id":"msg_1","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard","inference_geo":"global"}}}`
	ping       = `{"type":"ping"}`
	textStart  = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	text       = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}`
	blockEnd   = `{"type":"content_block_stop","index":0}`
	toolStart  = `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}}`
	tool       = `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}`
	toolEnd    = `{"type":"content_block_stop","index":1}`
	end        = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}`
	stop       = `{"type":"message_stop"}`
	overloaded = `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`
)

// report is how an answer is read that comes in pieces.
func report(t testing.TB, members string, a providers.Answer, body string, pieces int, ends error) providers.Report {
	t.Helper()
	m := meterOf(t, members, a)
	for at := 0; at < len(body); at += pieces {
		piece := body[at:min(at+pieces, len(body))]
		if passed := string(m.Feed([]byte(piece))); passed != piece {
			t.Fatalf("passed %q of %q", passed, piece)
		}
	}
	if rest := m.Close(ends); len(rest) > 0 {
		t.Fatalf("%q is left", rest)
	}
	return m.Report()
}

func TestReports(t *testing.T) {
	const answer = `{"model":"claude-opus-5-20260724","id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":%s}`
	doc := func(usage string) string { return fmt.Sprintf(answer, usage) }
	told := func(counts string) string {
		return `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{` + counts + `}}`
	}
	broke := errors.New("connection reset")
	for _, row := range []struct {
		name  string
		of    providers.Answer
		body  string
		ends  error
		usage call.Usage
		has   bool
		ran   bool
	}{
		{"an answer", jsonAnswer, doc(`{"input_tokens":10,"output_tokens":5}`), io.EOF, call.Usage{call.Input: 10, call.Output: 5}, true, true},
		{"input beside the cache", jsonAnswer, doc(`{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":50,"cache_creation":{"ephemeral_5m_input_tokens":50,"ephemeral_1h_input_tokens":0},"output_tokens":5}`), io.EOF, call.Usage{call.Input: 10, call.CachedInput: 100, call.CacheWrite: 50, call.Output: 5}, true, true},
		{"writes that are not divided", jsonAnswer, doc(`{"input_tokens":10,"cache_creation_input_tokens":50,"output_tokens":5}`), io.EOF, call.Usage{call.Input: 10, call.CacheWrite: 50, call.Output: 5}, true, true},
		{"writes for a time that has no price", jsonAnswer, doc(`{"input_tokens":10,"cache_creation":{"ephemeral_24h_input_tokens":50},"output_tokens":5}`), io.EOF, call.Usage{call.Input: 10, call.Output: 5}, false, true},
		{"thinking is part of the output", jsonAnswer, doc(`{"input_tokens":10,"output_tokens":50,"output_tokens_details":{"thinking_tokens":40}}`), io.EOF, call.Usage{call.Input: 10, call.Output: 10, call.Reasoning: 40}, true, true},
		{"thinking that is more than the output lies beside it", jsonAnswer, doc(`{"input_tokens":10,"output_tokens":5,"output_tokens_details":{"thinking_tokens":40}}`), io.EOF, call.Usage{call.Input: 10, call.Output: 5, call.Reasoning: 40}, true, true},
		{"counts written otherwise", jsonAnswer, doc(`{"input_tokens":1e1,"output_tokens":5.0}`), io.EOF, call.Usage{call.Input: 10, call.Output: 5}, true, true},
		{"writes whose division cannot be read", jsonAnswer, doc(`{"input_tokens":10,"cache_creation_input_tokens":50,"cache_creation":{"ephemeral_5m_input_tokens":[],"ephemeral_1h_input_tokens":3},"output_tokens":5}`), io.EOF, call.Usage{call.Input: 10, call.CacheWrite1h: 50, call.Output: 5}, true, true},
		{"division alone that cannot be read", jsonAnswer, doc(`{"input_tokens":10,"cache_creation":{"ephemeral_5m_input_tokens":[]},"output_tokens":5}`), io.EOF, call.Usage{call.Input: 10, call.Output: 5}, false, true},
		{"null beside output", jsonAnswer, doc(`{"input_tokens":10,"output_tokens":null}`), io.EOF, call.Usage{call.Input: 10}, false, true},
		{"zero beside output", jsonAnswer, doc(`{"input_tokens":10,"output_tokens":0}`), io.EOF, call.Usage{call.Input: 10}, false, true},
		{"a tier that cannot be read", jsonAnswer, doc(`{"input_tokens":10,"output_tokens":5,"service_tier":{"name":"priority"}}`), io.EOF, call.Usage{call.Input: 10, call.Output: 5}, false, true},
		{"a speed without end", jsonAnswer, doc(`{"input_tokens":10,"output_tokens":5,"speed":"` + strings.Repeat("x", providers.MaxModelBytes+1) + `"}`), io.EOF, call.Usage{call.Input: 10, call.Output: 5}, false, true},
		{"no input at all", jsonAnswer, doc(`{"input_tokens":0,"output_tokens":5}`), io.EOF, call.Usage{call.Output: 5}, false, true},
		{"counts that are none", jsonAnswer, doc(`{"input_tokens":"10","output_tokens":5}`), io.EOF, call.Usage{call.Output: 5}, false, true},
		{"no usage", jsonAnswer, doc(`null`), io.EOF, call.Usage{}, false, true},
		{"two usages", jsonAnswer, doc(`{"input_tokens":10,"output_tokens":5},"usage":{"input_tokens":1,"output_tokens":1}`), io.EOF, call.Usage{call.Input: 1, call.Output: 1}, false, true},
		{"cut off behind its usage", jsonAnswer, strings.TrimSuffix(doc(`{"input_tokens":10,"output_tokens":5}`), "}"), broke, call.Usage{call.Input: 10, call.Output: 5}, false, true},
		{"runs of one model", jsonAnswer, doc(`{"input_tokens":10,"output_tokens":5,"output_tokens_details":{"thinking_tokens":2},"iterations":[{"type":"message","input_tokens":4,"output_tokens":2},{"type":"message","input_tokens":6,"output_tokens":3}]}`), io.EOF, call.Usage{call.Input: 10, call.Output: 3, call.Reasoning: 2}, true, true},
		{"runs that come to more", jsonAnswer, doc(`{"input_tokens":10,"output_tokens":5,"iterations":[{"type":"message","input_tokens":14,"output_tokens":2},{"type":"message","input_tokens":6,"output_tokens":4}]}`), io.EOF, call.Usage{call.Input: 20, call.Output: 6}, true, true},

		{"a stream", sseAnswer, sse(ping, start, textStart, ping, text, blockEnd, end, stop), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, true, true},
		{"a stream with blank lines of CRLF", sseAnswer, strings.ReplaceAll(sse(start, textStart, text, blockEnd, end, stop), "\n", "\r\n"), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, true, true},
		{"a stream that is not announced", jsonAnswer, sse(start, textStart, text, blockEnd, end, stop), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, true, true},
		{"a document that is announced as a stream", sseAnswer, doc(`{"input_tokens":10,"output_tokens":5}`), io.EOF, call.Usage{call.Input: 10, call.Output: 5}, true, true},
		{"totals that grow, member by member", sseAnswer, sse(start, textStart, text, blockEnd,
			`{"type":"message_delta","delta":{},"usage":{"input_tokens":100,"output_tokens":5}}`, textStart, text, blockEnd,
			`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"cache_read_input_tokens":7,"output_tokens":9}}`, stop), io.EOF, call.Usage{call.Input: 100, call.CachedInput: 7, call.Output: 9}, true, true},
		{"of two totals the larger counts", sseAnswer, sse(start, textStart, text, blockEnd,
			`{"type":"message_delta","delta":{},"usage":{"input_tokens":100,"output_tokens":50}}`,
			`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":1,"output_tokens":9}}`, stop), io.EOF, call.Usage{call.Input: 100, call.Output: 50}, true, true},
		{"zero behind a total", sseAnswer, sse(start, textStart, text, blockEnd, end,
			`{"type":"message_delta","delta":{},"usage":{"input_tokens":0,"output_tokens":0}}`, stop), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, true, true},
		{"input that turns out to be cached", sseAnswer, sse(start, textStart, text, blockEnd,
			`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":5,"cache_read_input_tokens":20,"output_tokens":9}}`, stop), io.EOF, call.Usage{call.Input: 5, call.CachedInput: 20, call.Output: 9}, true, true},
		{"input that falls as runs tell", sseAnswer, sse(start, textStart, text, blockEnd, told(`"input_tokens":5,"output_tokens":15,"iterations":[{"type":"message","input_tokens":5,"output_tokens":15}]`), stop), io.EOF, call.Usage{call.Input: 5, call.Output: 15}, true, true},
		{"output that falls with its thinking", sseAnswer, sse(start, textStart, text, blockEnd, told(`"output_tokens":15,"output_tokens_details":{"thinking_tokens":9}`), told(`"output_tokens":3,"output_tokens_details":{"thinking_tokens":2}`), stop), io.EOF, call.Usage{call.Input: 25, call.Output: 6, call.Reasoning: 9}, true, true},
		{"output that is null in the end", sseAnswer, sse(start, textStart, text, blockEnd, end, told(`"output_tokens":null`), stop), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, true, true},
		{"searches that fall", sseAnswer, sse(start, textStart, text, blockEnd, told(`"output_tokens":15,"server_tool_use":{"web_search_requests":3}`), told(`"output_tokens":15,"server_tool_use":{"web_search_requests":1}`), stop), io.EOF, call.Usage{call.Input: 25, call.Output: 15, call.Searches: 3}, true, true},
		{"writes of which only the division is told", sseAnswer, sse(strings.Replace(start, `"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0`, `"cache_creation":{"ephemeral_5m_input_tokens":9`, 1), textStart, text, blockEnd, end, stop), io.EOF, call.Usage{call.Input: 25, call.CacheWrite: 9, call.Output: 15}, true, true},
		{"two usages in an event", sseAnswer, sse(start, textStart, text, blockEnd, strings.Replace(end, `"usage":`, `"usage":{"output_tokens":99},"usage":`, 1), stop), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, false, true},
		{"two usages in its message", sseAnswer, sse(strings.Replace(start, `"usage":`, `"usage":{"input_tokens":99},"usage":`, 1), textStart, text, blockEnd, end, stop), io.EOF, call.Usage{call.Input: 99, call.Output: 15}, false, true},
		{"two types of an event", sseAnswer, sse(start, textStart, text, blockEnd, strings.Replace(end, `"type":`, `"type":"message_delta","type":`, 1), stop), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, false, true},
		{"an event that breaks off behind its usage", sseAnswer, sse(start, textStart, text, blockEnd, strings.TrimSuffix(end, "}"), stop), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, false, true},
		{"a total below what the message began with", sseAnswer, sse(strings.Replace(start, `"output_tokens":1`, `"output_tokens":69`, 1), textStart, text, blockEnd, end, stop), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, true, true},
		{"zero beside text", sseAnswer, sse(start, textStart, text, blockEnd, told(`"output_tokens":0`), stop), io.EOF, call.Usage{call.Input: 25}, false, true},
		{"zeros beside text", sseAnswer, sse(start, textStart, text, blockEnd, told(`"input_tokens":0,"output_tokens":0`), stop), io.EOF, call.Usage{call.Input: 25}, false, true},
		{"without its end mark", sseAnswer, sse(start, textStart, text, blockEnd, end), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, true, true},
		{"cut off before its end mark", sseAnswer, sse(start, textStart, text, blockEnd, end), broke, call.Usage{call.Input: 25, call.Output: 15}, false, true},
		{"cut off", sseAnswer, sse(start, textStart, text), broke, call.Usage{call.Input: 25, call.Output: 1}, false, true},
		{"ended early", sseAnswer, sse(start, textStart, text), io.EOF, call.Usage{call.Input: 25, call.Output: 1}, false, true},
		{"a total before more text", sseAnswer, sse(start, textStart, end, text, blockEnd, stop), io.EOF, call.Usage{call.Input: 25, call.Output: 15}, false, true},
		{"an error at first", sseAnswer, sse(overloaded), io.EOF, call.Usage{}, false, false},
		{"an error behind text that nobody knows", sseAnswer, sse(`{"type":"aside","text":"ab"}`, overloaded), io.EOF, call.Usage{}, false, true},
		{"text that nobody knows in a refusal", providers.Answer{Status: 400, Framed: true, Header: sseAnswer.Header}, sse(`{"type":"aside","text":"ab"}`), io.EOF, call.Usage{}, false, false},
		{"an error in the middle", sseAnswer, sse(start, textStart, text, overloaded), io.EOF, call.Usage{call.Input: 25, call.Output: 1}, false, true},
		{"an error behind a message without counts", sseAnswer, sse(`{"type":"message_start","message":{"model":"m","content":[]}}`, overloaded), io.EOF, call.Usage{}, false, true},
		{"an error behind a message of zeros", sseAnswer, sse(`{"type":"message_start","message":{"model":"m","content":[],"usage":{"input_tokens":0,"output_tokens":0}}}`, overloaded), io.EOF, call.Usage{}, false, true},
		{"an error behind the input", sseAnswer, sse(start, overloaded), io.EOF, call.Usage{call.Input: 25, call.Output: 1}, false, true},
		{"no input told", sseAnswer, sse(textStart, text, blockEnd, end, stop), io.EOF, call.Usage{call.Output: 15}, false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, pieces := range []int{1, 7, len(row.body)} {
				r := report(t, "", row.of, row.body, pieces, row.ends)
				if r.Lines[0].Usage != row.usage || r.HasUsage != row.has || r.Ran != row.ran {
					t.Errorf("in pieces of %d: %+v", pieces, r)
				}
				if row.has && r.Lines[0].Model != "claude-opus-5-20260724" {
					t.Errorf("model %q", r.Lines[0].Model)
				}
			}
		})
	}
}

// TestSpeedStays: what is told of the price at the beginning of a stream stands beside what
// is told at its end.
func TestSpeedStays(t *testing.T) {
	fast := strings.Replace(start, `"service_tier":"standard"`, `"service_tier":"standard","speed":"fast"`, 1)
	told := `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15,"service_tier":"standard"}}`
	r := report(t, "", sseAnswer, sse(fast, textStart, text, blockEnd, told, stop), 7, io.EOF)
	if got := r.Lines[0].Service; got != "fast" || !r.HasUsage {
		t.Errorf("served as %q", got)
	}
}

// TestLines: what decides the price is told, run by run.
func TestLines(t *testing.T) {
	const rest = `"input_tokens":10,"output_tokens":5`
	plain := call.Usage{call.Input: 10, call.Output: 5}
	line := func(key call.Key, u call.Usage) call.Line {
		key.Model = "m"
		return call.Line{Key: key, Usage: u}
	}
	advisor := call.Line{Key: call.Key{Model: "claude-opus-5"}, Usage: call.Usage{call.Input: 7, call.Output: 8}}
	for name, row := range map[string]struct {
		usage string
		want  []call.Line
	}{
		"another tier":          {`{"service_tier":"priority",` + rest + `}`, []call.Line{line(call.Key{Service: "priority"}, plain)}},
		"a faster one":          {`{"speed":"fast",` + rest + `}`, []call.Line{line(call.Key{Service: "fast"}, plain)}},
		"a region":              {`{"inference_geo":"us",` + rest + `}`, []call.Line{line(call.Key{Region: "us"}, plain)}},
		"searches":              {`{"server_tool_use":{"web_search_requests":1},` + rest + `}`, []call.Line{line(call.Key{}, call.Usage{call.Input: 10, call.Output: 5, call.Searches: 1})}},
		"writes for an hour":    {`{"cache_creation_input_tokens":5,"cache_creation":{"ephemeral_1h_input_tokens":5},` + rest + `}`, []call.Line{line(call.Key{}, call.Usage{call.Input: 10, call.CacheWrite1h: 5, call.Output: 5})}},
		"another model besides": {`{"iterations":[{"type":"advisor_message","model":"claude-opus-5","input_tokens":7,"output_tokens":8}],` + rest + `}`, []call.Line{line(call.Key{}, plain), advisor}},
		"two models, whose sum is told": {`{"iterations":[{"type":"message","model":"n","input_tokens":6,"output_tokens":1},{"type":"fallback_message","model":"m","input_tokens":4,"output_tokens":4}],` + rest + `}`,
			[]call.Line{line(call.Key{}, call.Usage{call.Input: 4, call.Output: 4}), {Key: call.Key{Model: "n"}, Usage: call.Usage{call.Input: 6, call.Output: 1}}}},
		"two models, of which one is told": {`{"iterations":[{"type":"message","model":"n","input_tokens":6,"output_tokens":1},{"type":"fallback_message","model":"m",` + rest + `}],` + rest + `}`,
			[]call.Line{line(call.Key{}, plain), {Key: call.Key{Model: "n"}, Usage: call.Usage{call.Input: 6, call.Output: 1}}}},
		"runs that divide what they wrote": {`{"cache_creation_input_tokens":5,"server_tool_use":{"web_search_requests":2},"output_tokens_details":{"thinking_tokens":3},"iterations":[{"type":"message","cache_creation_input_tokens":5,"cache_creation":{"ephemeral_1h_input_tokens":4,"ephemeral_5m_input_tokens":1},` + rest + `}],` + rest + `}`,
			[]call.Line{line(call.Key{}, call.Usage{call.Input: 10, call.CacheWrite: 1, call.CacheWrite1h: 4, call.Output: 2, call.Reasoning: 3, call.Searches: 2})}},
		"a compaction": {`{"iterations":[{"type":"compaction","input_tokens":7,"output_tokens":8},{"type":"message",` + rest + `}],` + rest + `}`, []call.Line{line(call.Key{}, plain), line(call.Key{}, advisor.Usage)}},
	} {
		body := `{"model":"m","content":[{"type":"text","text":"x"}],"usage":` + row.usage + `}`
		if r := report(t, "", jsonAnswer, body, len(body), io.EOF); !r.HasUsage || !slices.Equal(r.Lines, row.want) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// What multiplies the price and is not told is as it was asked for.
	for usage, want := range map[string]call.Key{
		`{` + rest + `}`: {Service: "fast", Region: "us"},
		`{"speed":"standard","service_tier":"standard","inference_geo":"global",` + rest + `}`: {Service: call.Standard},
		`{"speed":null,"inference_geo":"not_available",` + rest + `}`:                          {Service: "fast"},
	} {
		body := `{"model":"m","content":[{"type":"text","text":"x"}],"usage":` + usage + `}`
		r := report(t, `,"speed":"fast","inference_geo":"us"`, jsonAnswer, body, len(body), io.EOF)
		if !r.HasUsage || !slices.Equal(r.Lines, []call.Line{line(want, plain)}) {
			t.Errorf("%s: %+v", usage, r)
		}
	}
	// How writes divide is told once; of a smaller total it says nothing.
	begins := strings.Replace(start, `"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0`, `"cache_creation_input_tokens":9,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":9`, 1)
	for told, want := range map[string][2]int64{`"input_tokens":40,"cache_creation_input_tokens":4,`: {0, 4}, `"cache_creation_input_tokens":11,`: {9, 2}, ``: {9, 0}} {
		ends := strings.Replace(end, `"output_tokens"`, told+`"output_tokens"`, 1)
		r := report(t, `,"cache_control":{"type":"ephemeral","ttl":"1h"}`, sseAnswer, sse(begins, textStart, text, blockEnd, ends, stop), 9, io.EOF)
		if u := r.Lines[0].Usage; !r.HasUsage || u[call.CacheWrite] != want[0] || u[call.CacheWrite1h] != want[1] {
			t.Errorf("%s: %v", told, u)
		}
	}
	for _, runs := range []string{`[5]`, `{"a":1}`, `{}`, `"none"`, `1`} {
		body := `{"model":"m","content":[{"type":"text","text":"x"}],"usage":{"iterations":` + runs + `,` + rest + `}}`
		if r := report(t, "", jsonAnswer, body, len(body), io.EOF); r.HasUsage {
			t.Errorf("runs %s that are not read: %+v", runs, r)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, row := range []struct {
		name    string
		of      providers.Answer
		body    string
		status  int
		failed  bool
		object  bool
		refused bool
	}{
		{"a document", jsonAnswer, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"},"request_id":"req_1"}`, 401, true, true, true},
		{"one that is cut off", jsonAnswer, `{"type":"error","error":{"type":"api_error","message":"x"}`, 500, false, false, true},
		{"one without a message", jsonAnswer, `{"type":"error","error":{"type":"api_error"}}`, 500, true, false, true},
		{"a text", jsonAnswer, `{"error":"no"}`, 0, true, false, true},
		{"none", jsonAnswer, `{"error":null}`, 0, false, false, true},
		{"a stream of one", sseAnswer, sse(overloaded), 529, true, true, true},
		{"a stream that has begun", sseAnswer, sse(start, overloaded), 529, true, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := report(t, "", row.of, row.body, len(row.body), io.EOF)
			if r.Failed != row.failed || r.ErrorObject != row.object || r.ErrorStatus != row.status || r.Refused() != row.refused {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestSeen: an event with output is a token at least, and a byte of it at most one.
func TestSeen(t *testing.T) {
	for _, row := range []struct {
		name   string
		events []string
		want   int64
		done   bool
	}{
		{"nothing yet", []string{ping, start}, 0, false},
		{"a block", []string{start, textStart}, 1, false},
		{"a text", []string{start, textStart, text}, 6, false},
		{"a call", []string{start, toolStart, tool}, 4 + 5, false},
		{"thinking that is not shown", []string{start, textStart, `{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCkYI"}}`}, 2, false},
		{"an event that nobody knows", []string{start, textStart, text, `{"type":"aside","aside":{"text":"ab"}}`}, 6 + int64(len(`{"text":"ab"}`)), false},
		{"one that says nothing", []string{start, textStart, text, `{"type":"still_here"}`}, 7, false},
		{"the end", []string{start, textStart, text, blockEnd, end, stop}, 6, true},
	} {
		m := meterOf(t, "", sseAnswer)
		m.Feed([]byte(sse(row.events...)))
		if n, done := m.Seen(); n != row.want || done != row.done {
			t.Errorf("%s: %d tokens, complete %v", row.name, n, done)
		}
	}
}

// TestStop: a stream that is cut ends as one whose cap was reached, and no call of a
// tool is completed.
func TestStop(t *testing.T) {
	denial := &call.Denial{Class: call.Forbidden, Code: "kill_switch", Message: "stopped"}
	const failure = "event: error\ndata: " + `{"type":"error","error":{"type":"permission_error","message":"aegis: stopped","details":{"error_code":"kill_switch"}}}` + "\n\n"
	cut := func(output int) string {
		return fmt.Sprintf(`{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":%d},"aegis":{"message":"aegis: stopped"}}`, output)
	}
	for _, row := range []struct{ name, body, want string }{
		{"before the message", sse(ping), failure},
		{"before any block", sse(start), sse(cut(0), stop)},
		{"in a text", sse(start, textStart, text), sse(blockEnd, cut(6), stop)},
		{"between blocks", sse(start, textStart, text, blockEnd), sse(cut(6), stop)},
		{"in a call of a tool", sse(start, textStart, text, blockEnd, toolStart, tool), failure},
		{"in a thought", sse(start, strings.Replace(textStart, `"text","text":""`, `"thinking","thinking":"","signature":""`, 1)), failure},
		{"behind a call of a tool", sse(start, toolStart, tool, toolEnd), sse(cut(9), stop)},
		{"before its end mark", sse(start, textStart, text, blockEnd, end), sse(stop)},
		{"behind its end mark", sse(start, textStart, text, blockEnd, end, stop), ""},
		{"behind an error", sse(start, overloaded), ""},
		{"inside an event", strings.TrimSuffix(sse(start, textStart, text), "}\n\n"), ""},
		{"behind the name of an event", sse(start, textStart) + "event: content_block_delta\n", ""},
		{"in a document", `{"type":"message","content":[`, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := meterOf(t, "", sseAnswer)
			m.Feed([]byte(row.body))
			if got, whole := m.Stop(denial); string(got) != row.want || whole != (row.want != "") {
				t.Errorf("ends with %q\nwant %q", got, row.want)
			}
		})
	}
	m := meterOf(t, "", sseAnswer)
	m.Feed([]byte(sse(start, textStart, strings.Replace(text, "Hello", strings.Repeat("x", 5000), 1))))
	if got, _ := m.Stop(denial); !strings.Contains(string(got), `"output_tokens":2048`) {
		t.Errorf("no more is told than the cap: %s", got)
	}
}

// TestSplits: how an answer is cut into chunks changes nothing.
func TestSplits(t *testing.T) {
	bodies := []string{
		sse(ping, start, textStart, text, blockEnd, toolStart, tool, toolEnd, end, stop),
		sse(start, overloaded),
		`{"model":"m","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":1,"output_tokens":2}}`,
	}
	rapid.Check(t, func(rt *rapid.T) {
		body := rapid.SampledFrom(bodies).Draw(rt, "body")
		body = body[:rapid.IntRange(0, len(body)).Draw(rt, "end")]
		whole, split := meterOf(t, "", sseAnswer), meterOf(t, "", sseAnswer)
		whole.Feed([]byte(body))
		for rest := body; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "chunk")
			split.Feed([]byte(rest[:n]))
			rest = rest[n:]
		}
		whole.Close(io.EOF)
		split.Close(io.EOF)
		if !reflect.DeepEqual(whole.Report(), split.Report()) {
			rt.Fatalf("%+v in one chunk, %+v in several", whole.Report(), split.Report())
		}
	})
}

// FuzzMeter: no answer breaks the meter, and all of it passes.
func FuzzMeter(f *testing.F) {
	f.Add([]byte(sse(start, textStart, text, blockEnd, toolStart, tool, end, stop)), 3)
	f.Add([]byte(`{"model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":2,"iterations":[{"type":"message"}]}}`), 1)
	f.Fuzz(func(t *testing.T, body []byte, pieces int) {
		pieces = max(1, pieces)
		m := meterOf(t, "", sseAnswer)
		for at := 0; at < len(body); at += pieces {
			piece := body[at:min(at+pieces, len(body))]
			if string(m.Feed(piece)) != string(piece) {
				t.Fatal("changed")
			}
		}
		m.Stop(&call.Denial{Class: call.Broken})
		m.Close(io.EOF)
		if r := m.Report(); r.HasUsage && r.Lines[0].Usage.InputTokens() <= 0 {
			t.Errorf("usage without input: %+v", r)
		}
	})
}

// TestTwoMessages: a message that comes again is one; where another takes over in the middle
// nobody tells what the first came to.
func TestTwoMessages(t *testing.T) {
	rest := sse(textStart, text, blockEnd, end, stop)
	other := sse(strings.Replace(start, "msg_1", "msg_2", 1))
	for body, known := range map[string]bool{
		sse(start, start) + rest:                   true,
		sse(start, textStart, text, start) + rest:  true,
		sse(start) + other + rest:                  true,
		sse(start, textStart, text) + other + rest: false,
	} {
		if r := report(t, "", sseAnswer, body, 11, io.EOF); r.HasUsage != known || !r.Ran {
			t.Errorf("%s: %+v", body, r)
		}
	}
}
