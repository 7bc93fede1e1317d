package proxy_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

const (
	sse        = "text/event-stream"
	gptAsks    = `{"model":"gpt-4o-mini","max_tokens":1000,"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`
	usageEvent = `{"id":"c","model":"gpt-4o-mini","choices":[],"usage":` + usage20and4 + `}`
)

// lastWith is a last delta beside which usage is told.
func lastWith(usage string) string {
	return strings.TrimSuffix(lastDelta, "}") + `,"usage":` + usage + `}`
}

// lines is a stream whose events are ended by one newline.
func lines(list ...string) string {
	return "data: " + strings.Join(append(list, "[DONE]"), "\ndata: ") + "\n"
}

// undone is a stream that ends without [DONE].
func undone(list ...string) string { return strings.TrimSuffix(events(list...), "data: [DONE]\n\n") }

// brokenOff writes this much of a stream, and closes the connection.
func brokenOff(body string) reply {
	return reply{play: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", sse)
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}}
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

func body(text string) *string { return &text }

// TestStreamsAreMetered: a stream is charged by its usage, in whatever way it
// comes, and the client does not see the usage that the proxy asked for.
func TestStreamsAreMetered(t *testing.T) {
	reported := want{basis: audit.BasisReported, charge: 5400}
	stripped := want{basis: audit.BasisReported, charge: 5400, body: body(events(delta, lastDelta))}
	unknown := want{basis: audit.BasisUnknown}
	plain := events(delta, lastDelta, usageEvent)
	play(t, []wireCase{
		{
			name: "a blank before null, and usage beside the last choice",
			body: gptStream,
			reply: reply{kind: sse, body: events(
				`{"id": "c", "choices": [{"index": 0, "delta": {"content": "", "tool_calls": [{"id": "t1", "function": null}]}, "finish_reason": null}]}`,
				`{"id": "c", "choices": [{"index": 0, "delta": {"content": "", "function_call": null}, "finish_reason": "stop"}], "usage": `+usage20and4+`}`,
			)},
			want: reported,
		},
		{name: "usage in an event of its own", body: gptStream, reply: reply{kind: sse, body: plain}, want: stripped},
		{
			name: "usage in an event without choices", body: gptStream, want: stripped,
			reply: reply{kind: sse, body: events(delta, lastDelta, `{"id":"c","usage":`+usage20and4+`}`)},
		},
		{
			name: "usage beside choices that are null", body: gptStream, want: stripped,
			reply: reply{kind: sse, body: events(delta, lastDelta, `{"choices": null, "usage": `+usage20and4+`}`)},
		},
		{
			name: "usage without choices that the client asked for", body: gptAsks, want: reported,
			reply: reply{kind: sse, body: events(delta, lastDelta, `{"id":"c","usage":`+usage20and4+`}`)},
		},
		{
			name: "an error beside the usage stays", body: gptStream, want: reported,
			reply: reply{kind: sse, body: events(delta, `{"error":{"message":"x"},"usage":`+usage20and4+`}`)},
		},

		{name: "a stream as plain text", body: gptStream, reply: reply{kind: "text/plain; charset=utf-8", body: plain}, want: stripped},
		{name: "a stream as JSON", body: gptStream, reply: reply{body: plain}, want: stripped},
		{name: "a stream as JSON, in chunks", body: gptStream, reply: reply{body: plain, chunks: true}, want: stripped},
		{name: "a stream without a content type", body: gptStream, reply: reply{kind: none, body: plain, chunks: true}, want: stripped},
		{name: "a stream that nobody asked for", body: gptChat, reply: reply{body: plain}, want: reported},
		{
			name: "a stream that opens with a mark and blank lines", body: gptStream,
			reply: reply{kind: "text/plain", body: "\ufeff\r\n\n" + plain},
			want:  want{basis: audit.BasisReported, charge: 5400, body: body("\ufeff\r\n\n" + *stripped.body)},
		},
		{
			name: "a stream that opens with a comment", body: gptStream,
			reply: reply{kind: none, body: ": PROCESSING\n\n" + plain},
			want:  want{basis: audit.BasisReported, charge: 5400, body: body(": PROCESSING\n\n" + *stripped.body)},
		},
		{
			name: "a stream that opens with an event's name", body: gptStream,
			reply: reply{kind: "application/octet-stream", body: "event: message\n" + plain},
			want:  want{basis: audit.BasisReported, charge: 5400, body: body("event: message\n" + *stripped.body)},
		},
		{
			name: "a compressed stream without a content type", body: gptStream, want: reported,
			reply: reply{kind: none, header: map[string]string{"Content-Encoding": "gzip"}, body: zipped(plain)},
		},
		{
			name: "an object that answers a stream", body: gptStream, want: reported,
			reply: reply{body: says("gpt-4o-mini", "Hi.", usage20and4)},
		},
		{
			name: "an object that is announced as a stream", body: gptStream, want: reported,
			reply: reply{kind: sse, body: says("gpt-4o-mini", "Hi.", usage20and4)},
		},

		{
			name: "events ended by one newline", body: gptStream,
			reply: reply{kind: sse, body: lines(delta, lastDelta, usageEvent)},
			want:  want{basis: audit.BasisReported, charge: 5400, body: body(lines(delta, lastDelta))},
		},
		{name: "events ended by one newline, usage beside the last choice", body: gptStream,
			reply: reply{kind: sse, body: lines(delta, lastWith(usage20and4))}, want: reported},
		{
			name: "no [DONE], and usage beside the last choice", body: gptStream, want: reported,
			reply: reply{kind: sse, body: undone(delta, lastWith(usage20and4))},
		},
		{
			name: "no [DONE], and usage beside no text after the last choice", body: gptStream, want: reported,
			reply: reply{kind: sse, body: undone(delta, lastDelta, `{"choices":[{"delta":{"content":""}}],"usage":`+usage20and4+`}`)},
		},
		{
			name: "no [DONE], and nothing says that it is over", body: gptStream, want: unknown,
			reply: reply{kind: sse, body: undone(`{"choices":[{"delta":{"content":"a"}}],"usage":` + usage20and4 + `}`)},
		},
		{name: "usage beside the last choice of a stream that breaks off", body: gptStream, want: unknown, reply: brokenOff(undone(delta, lastWith(usage20and4)))},

		{name: "usage before more text that breaks off", body: gptStream, want: unknown, reply: brokenOff(undone(usageEvent, delta, delta))},
		{name: "usage before more text, and none after it", body: gptAsks, want: unknown, reply: reply{kind: sse, body: events(usageEvent, delta, lastDelta)}},
		{
			name: "usage before more text, and again after it", body: gptAsks, want: reported,
			reply: reply{kind: sse, body: events(`{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":1}}`, delta, usageEvent)},
		},
		{
			name: "a smaller usage after a larger one", body: gptAsks, want: reported,
			reply: reply{kind: sse, body: events(delta, lastWith(usage20and4), `{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":1}}`)},
		},
		{
			name: "usage of zeros after usage", body: gptAsks, want: reported,
			reply: reply{kind: sse, body: events(delta, usageEvent, `{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`)},
		},
		{
			name: "usage told in two parts", body: gptAsks, want: reported,
			reply: reply{kind: sse, body: events(`{"choices":[],"usage":{"prompt_tokens":20}}`, delta, `{"choices":[],"usage":{"completion_tokens":4}}`)},
		},
	})
}

// TestUsageIsRead: usage is read so that nothing which was done is free.
func TestUsageIsRead(t *testing.T) {
	const hi = "Hi."
	var cases []wireCase
	add := func(name, text, usage string, w want) {
		cases = append(cases,
			wireCase{name: name, body: gptChat, reply: reply{body: says("gpt-4o-mini", text, usage)}, want: w},
			wireCase{name: name + ", in a stream", body: gptAsks, want: w, reply: reply{kind: sse, body: events(
				`{"choices":[{"index":0,"delta":{"role":"assistant","content":"`+text+`"},"finish_reason":null}]}`, lastDelta,
				`{"choices":[],"usage":`+usage+`}`)}})
	}
	unknown := want{basis: audit.BasisUnknown}
	nano := func(n int64) want { return want{basis: audit.BasisReported, charge: n} }

	add("as it is told", hi, usage20and4, nano(5400))
	add("zeros beside text", hi, `{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`, unknown)
	add("nulls beside text", hi, `{"prompt_tokens":null,"completion_tokens":null,"total_tokens":null}`, unknown)
	add("null output beside text", hi, `{"prompt_tokens":8,"completion_tokens":null,"total_tokens":8}`, unknown)
	add("no output beside text", hi, `{"prompt_tokens":8,"total_tokens":8}`, unknown)
	add("zero output beside text", hi, `{"prompt_tokens":8,"completion_tokens":0,"total_tokens":8}`, unknown)
	add("zero output beside text, a larger total", hi, `{"prompt_tokens":8,"completion_tokens":0,"total_tokens":12}`, unknown)
	add("zero input", hi, `{"prompt_tokens":0,"completion_tokens":4,"total_tokens":4}`, unknown)
	add("zero input and no output", "", `{"prompt_tokens":0,"completion_tokens":0}`, unknown)
	add("nothing", hi, `{}`, unknown)
	add("null", hi, `null`, unknown)
	add("no output at all", "", `{"prompt_tokens":20,"completion_tokens":0,"total_tokens":20}`, nano(3000))
	add("no output, as the total says", "", `{"prompt_tokens":20,"total_tokens":20}`, nano(3000))
	add("output that only the total tells, and nobody sees", "", `{"prompt_tokens":20,"completion_tokens":null,"total_tokens":24}`, nano(5400))
	add("no output, and no total", "", `{"prompt_tokens":20}`, unknown)
	add("null details", hi, `{"prompt_tokens":20,"completion_tokens":4,"prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":null}}`, nano(5400))

	add("floats that are whole", hi, `{"prompt_tokens":20.0,"completion_tokens":4.000,"total_tokens":2.4e1}`, nano(5400))
	add("exponents", hi, `{"prompt_tokens":2e1,"completion_tokens":400E-2,"total_tokens":0.24e+2}`, nano(5400))
	add("a fraction", hi, `{"prompt_tokens":20.5,"completion_tokens":4}`, unknown)
	add("below zero", hi, `{"prompt_tokens":20,"completion_tokens":-4}`, unknown)
	add("in quotes", hi, `{"prompt_tokens":"20","completion_tokens":4}`, unknown)
	add("beyond all sense", hi, `{"prompt_tokens":20,"completion_tokens":1e30}`, unknown)
	add("a detail that is a float", hi, `{"prompt_tokens":20,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":0.0}}`, nano(5400))
	add("a detail in quotes", hi, `{"prompt_tokens":20,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":"10"}}`, nano(4650))
	for _, odd := range []string{`-1`, `1e99`, `"many"`, `{}`, `[1]`, `true`} {
		add("cached: "+odd, hi, `{"prompt_tokens":20,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":`+odd+`}}`, nano(5400))
		add("reasoning: "+odd, hi, `{"prompt_tokens":20,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":`+odd+`}}`, nano(5400))
	}

	add("more reasoning than output", hi, `{"prompt_tokens":20,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":2000}}`, nano(1205400))
	add("reasoning within the output", hi, `{"prompt_tokens":20,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":3}}`, nano(5400))
	add("more reasoning than output, not among the details", hi, `{"prompt_tokens":20,"completion_tokens":4,"reasoning_tokens":2000}`, nano(1205400))
	add("reasoning told twice", hi, `{"prompt_tokens":20,"completion_tokens":4,"reasoning_tokens":2000,"completion_tokens_details":{"reasoning_tokens":3}}`, nano(1205400))
	add("output that the total has", hi, `{"prompt_tokens":20,"completion_tokens":4,"total_tokens":2024,"completion_tokens_details":{"reasoning_tokens":2000}}`, nano(1205400))
	add("more cached than input", hi, `{"prompt_tokens":20,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":100}}`, nano(12900))
	add("more of some kind than output", hi, `{"prompt_tokens":20,"completion_tokens":4,"completion_tokens_details":{"rejected_prediction_tokens":40}}`, nano(27000))
	play(t, cases)
}

// TestBlanksDoNotHoldTheHeader: the header of a response of known length does not
// wait for the end of the blanks that it begins with.
func TestBlanksDoNotHoldTheHeader(t *testing.T) {
	blanks, document := strings.Repeat("\n", 128<<10), says("gpt-4o-mini", "Hi.", usage20and4)
	seen := make(chan struct{})
	up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(blanks)+len(document)))
		_, _ = io.WriteString(w, blanks)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-seen:
			_, _ = io.WriteString(w, document)
		case <-r.Context().Done():
		}
	})
	w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: gpt})
	resp, err := w.client.Do(request(t.Context(), w.front.URL+chatPath, gptStream))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	close(seen)
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != blanks+document {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if s := w.settled(1)[0]; s.Basis != audit.BasisReported || s.Charge != 5400 {
		t.Errorf("charge %d on the basis %s", s.Charge, s.Basis)
	}
}

// TestLabelsAreNoOutput: what servers say of a choice is no text that a model made,
// however deep it lies, and what follows it is.
func TestLabelsAreNoOutput(t *testing.T) {
	const noOutput = `],"usage":{"prompt_tokens":20,"completion_tokens":0,"total_tokens":20}}`
	const filtered = `{"index":0,"content_filter_results":{"hate":{"filtered":true,"severity":"high"},"tags":["a","b"]},"finish_reason":"content_filter","message":{"role":"assistant","content":"%s"}}`
	with := func(text string) reply {
		return reply{body: `{"model":"gpt-4o-mini","choices":[` + strings.Replace(filtered, "%s", text, 1) + noOutput}
	}
	play(t, []wireCase{
		{name: "labels alone", body: gptChat, reply: with(""), want: want{basis: audit.BasisReported, charge: 3000}},
		{name: "text behind labels", body: gptChat, reply: with("Hi."), want: want{basis: audit.BasisUnknown}},
		{name: "text in another choice", body: gptChat, want: want{basis: audit.BasisUnknown},
			reply: reply{body: `{"model":"gpt-4o-mini","choices":[{"index":0,"logprobs":{"content":[{"token":"a"}]}},{"index":1,"text":"a"}` + noOutput}},
	})
}

// TestTwoUsagesInOneObject: of two the larger counts, in whatever order.
func TestTwoUsagesInOneObject(t *testing.T) {
	const small = `{"prompt_tokens":20,"completion_tokens":1}`
	answer := func(first, second string) reply {
		return reply{body: strings.TrimSuffix(says("gpt-4o-mini", "Hi.", first), "}") + `,"usage":` + second + `}`}
	}
	reported := want{basis: audit.BasisReported, charge: 5400}
	play(t, []wireCase{
		{name: "the larger first", body: gptChat, reply: answer(usage20and4, small), want: reported},
		{name: "the larger second", body: gptChat, reply: answer(small, usage20and4), want: reported},
		{name: "null second", body: gptChat, reply: answer(usage20and4, "null"), want: reported},
	})
}
