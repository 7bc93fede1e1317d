package simulator_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/tidwall/gjson"
)

func TestStreamOfEvents(t *testing.T) {
	p := start(t, simulator.Config{CountPrompt: func(*simulator.Request) int64 { return 11 }})
	r, raw, err := p.post("/v1/chat/completions", helloStream)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		t.Errorf("Content-Type %q", got)
	}
	got := events(t, raw)
	if len(got) != 1+5+1+1+1 {
		t.Fatalf("want role, five tokens, finish, usage and [DONE], got\n%s", raw)
	}
	var text strings.Builder
	for _, event := range got[:7] {
		text.WriteString(gjson.Get(event, "choices.0.delta.content").String())
		if gjson.Get(event, "usage").Raw != "null" {
			t.Errorf("with include_usage the others carry null: %s", event)
		}
	}
	if text.String() != "the ledger of a house" {
		t.Errorf("streamed %q", &text)
	}
	if gjson.Get(got[0], "choices.0.delta.role").String() != "assistant" {
		t.Errorf("first event %s", got[0])
	}
	if gjson.Get(got[6], "choices.0.finish_reason").String() != "length" {
		t.Errorf("finishing event %s", got[6])
	}
	if gjson.Get(got[7], "choices").Raw != "[]" || gjson.Get(got[7], "usage.total_tokens").Int() != 16 {
		t.Errorf("usage event %s", got[7])
	}
	if got[8] != "[DONE]" {
		t.Errorf("last event %s", got[8])
	}
}

func TestStreamQuirks(t *testing.T) {
	silent := strings.Replace(helloStream, `"stream_options":{"include_usage":true},`, "", 1)
	for name, row := range map[string]struct {
		request string
		answer  simulator.Answer
		usages  int // events with a usage object
		nulls   int // events with usage null
		done    bool
	}{
		"usage asked for":            {helloStream, simulator.Answer{}, 1, 7, true},
		"usage not asked for":        {silent, simulator.Answer{}, 0, 0, true},
		"usage never told":           {helloStream, simulator.Answer{NoUsage: true}, 0, 0, true},
		"usage beside choices":       {silent, simulator.Answer{UsageBesideChoices: true}, 1, 0, true},
		"no [DONE]":                  {helloStream, simulator.Answer{NoDone: true}, 1, 7, false},
		"odd whitespace":             {helloStream, simulator.Answer{OddWhitespace: true}, 1, 7, true},
		"told its length":            {helloStream, simulator.Answer{Framing: simulator.ContentLength}, 1, 7, true},
		"a few bytes at a time":      {helloStream, simulator.Answer{TrickleBytes: 3}, 1, 7, true},
		"an unknown member of 64 KB": {helloStream, simulator.Answer{PadBytes: 64 << 10}, 1, 7, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, raw, err := answering(t, row.answer).post("/v1/chat/completions", row.request)
			if err != nil {
				t.Fatal(err)
			}
			usages, nulls, done := 0, 0, false
			for _, event := range events(t, raw) {
				usage := gjson.Get(event, "usage")
				switch {
				case event == "[DONE]":
					done = true
				case !json.Valid([]byte(event)):
					t.Errorf("not JSON: %q", event)
				case usage.IsObject():
					usages++
				case usage.Exists():
					nulls++
				}
			}
			if usages != row.usages || nulls != row.nulls || done != row.done {
				t.Errorf("%d usages, %d nulls, done %v in\n%s", usages, nulls, done, raw)
			}
			if len(raw) < row.answer.PadBytes {
				t.Errorf("only %d bytes", len(raw))
			}
		})
	}
}

func TestOlderCompletionsStreamTheirUsageToo(t *testing.T) {
	p := start(t, simulator.Config{})
	_, raw, err := p.post("/v1/completions", `{"model":"m","prompt":"Once upon a time","max_tokens":3,"stream":true,"stream_options":{"include_usage":true}}`)
	if err != nil {
		t.Fatal(err)
	}
	got := events(t, raw)
	if len(got) != 3+1+1 || gjson.Get(got[3], "usage.total_tokens").Int() != 4+3 || gjson.Get(got[2], "choices.0.finish_reason").String() != "length" {
		t.Errorf("got\n%s", raw)
	}
	_, body := p.must(t, "/v1/completions", `{"model":"m","prompt":["one","two"],"max_tokens":3,"n":2}`)
	if body.Get("choices.#").Int() != 2 || body.Get("usage.completion_tokens").Int() != 6 {
		t.Errorf("got %s", body)
	}
}

// TestConnectionsBreakWhereTheFaultSays looks at what a client sees, and that
// the provider bills the whole answer all the same.
func TestConnectionsBreakWhereTheFaultSays(t *testing.T) {
	for name, row := range map[string]struct {
		fault      simulator.Fault
		request    string
		headers    bool // the client got status and headers
		bodyBroken bool // reading the body failed
		wholeJSON  bool // what came ends between events
	}{
		"before headers":           {simulator.CloseBeforeHeaders, hello, false, false, true},
		"after headers":            {simulator.CloseAfterHeaders, hello, true, true, true},
		"after headers, stream":    {simulator.CloseAfterHeaders, helloStream, true, true, true},
		"between events":           {simulator.CloseMidStream, helloStream, true, true, true},
		"inside an event":          {simulator.CloseMidJSON, helloStream, true, true, false},
		"inside a document":        {simulator.CloseMidJSON, hello, true, true, false},
		"an error event, no break": {simulator.ErrorMidStream, helloStream, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := answering(t, simulator.Answer{Fault: row.fault})
			r, raw, err := p.post("/v1/chat/completions", row.request)
			if (r != nil) != row.headers {
				t.Fatalf("response %v, error %v", r, err)
			}
			if row.headers && errors.Is(err, io.ErrUnexpectedEOF) != row.bodyBroken {
				t.Errorf("error %v", err)
			}
			if whole := len(raw) == 0 || bytes.HasSuffix(raw, []byte("\n\n")); whole != row.wholeJSON {
				t.Errorf("came: %q", raw)
			}
			totals := p.eventually(t, simulator.Idle)
			if totals.Billed.Completion != 5 || totals.HungUp != 0 {
				t.Errorf("books: %+v", totals)
			}
		})
	}
}

func TestHangEndsWhenTheClientLeaves(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{"before headers": simulator.Hang, "mid-stream": simulator.HangMidStream} {
		t.Run(name, func(t *testing.T) {
			p := answering(t, simulator.Answer{Fault: fault})
			ctx, leave := context.WithCancel(t.Context())
			request, _ := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/chat/completions", strings.NewReader(helloStream))
			asked := make(chan error, 1)
			go func() {
				r, err := p.client.Do(request)
				if err == nil {
					_, err = io.ReadAll(r.Body)
					r.Body.Close()
				}
				asked <- err
			}()
			p.eventually(t, func(now simulator.Totals) bool { return now.Open == 1 })
			leave()
			if err := <-asked; !errors.Is(err, context.Canceled) {
				t.Errorf("client got %v", err)
			}
			if totals := p.eventually(t, simulator.Idle); totals.HungUp != 1 || totals.Complete != 0 {
				t.Errorf("books: %+v", totals)
			}
		})
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	p := answering(t, simulator.Answer{Fault: simulator.Hang})
	failed := make(chan error, 1)
	go func() {
		_, _, err := p.post("/v1/chat/completions", hello)
		failed <- err
	}()
	p.eventually(t, func(now simulator.Totals) bool { return now.Open == 1 })
	p.Close()
	if err := <-failed; err == nil {
		t.Error("the client got an answer")
	}
	if totals := p.eventually(t, simulator.Idle); totals.HungUp != 0 {
		t.Errorf("the client did not hang up: %+v", totals)
	}
}

// TestCancelledStreamIsBilled abandons a stream of a hundred tokens at its
// first event.
func TestCancelledStreamIsBilled(t *testing.T) {
	for name, row := range map[string]struct {
		stops bool
		wants func(simulator.Usage) bool
	}{
		"in full where the provider goes on":     {false, func(u simulator.Usage) bool { return u.Completion == 100 }},
		"as far as written where it stops, that": {true, func(u simulator.Usage) bool { return u.Completion < 100 }},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, simulator.Config{
				StopsOnCancel: row.stops,
				Script:        simulator.Always(simulator.Answer{OutputTokens: 100, TokenDelay: time.Minute}),
			})
			r, err := p.client.Post(p.url+"/v1/chat/completions", "application/json",
				strings.NewReader(`{"model":"m","stream":true,"messages":[]}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			totals := p.eventually(t, simulator.Idle)
			if totals.HungUp != 1 || !row.wants(totals.Billed) {
				t.Errorf("books: %+v", totals)
			}
		})
	}
}

func TestGzipInSpiteOfIdentity(t *testing.T) {
	for name, request := range map[string]string{"document": hello, "stream": helloStream} {
		t.Run(name, func(t *testing.T) {
			plain, gzipped := answering(t, simulator.Answer{}), answering(t, simulator.Answer{Gzip: true})
			_, want, err := plain.post("/v1/chat/completions", request)
			if err != nil {
				t.Fatal(err)
			}
			r, raw, err := gzipped.post("/v1/chat/completions", request)
			if err != nil || r.Header.Get("Content-Encoding") != "gzip" {
				t.Fatalf("headers %v, error %v", r.Header, err)
			}
			unzip, err := gzip.NewReader(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(unzip); err != nil || !bytes.Equal(got, want) {
				t.Errorf("unzipped %q, error %v", got, err)
			}
		})
	}
}

func TestFraming(t *testing.T) {
	for name, row := range map[string]struct {
		framing simulator.Framing
		request string
		counted bool
	}{
		"document":                    {simulator.UsualFraming, hello, true},
		"document, chunked":           {simulator.Chunked, hello, false},
		"stream":                      {simulator.UsualFraming, helloStream, false},
		"stream with its length told": {simulator.ContentLength, helloStream, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, body, err := answering(t, simulator.Answer{Framing: row.framing}).post("/v1/chat/completions", row.request)
			if err != nil {
				t.Fatal(err)
			}
			if counted := r.ContentLength == int64(len(body)); counted != row.counted {
				t.Errorf("Content-Length %d of %d bytes", r.ContentLength, len(body))
			}
		})
	}
}

func TestInformationalStatusComesFirst(t *testing.T) {
	p := answering(t, simulator.Answer{Informational: http.StatusEarlyHints})
	var early []int
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		early = append(early, code)
		return nil
	}}
	request, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace),
		http.MethodPost, p.url+"/v1/chat/completions", strings.NewReader(hello))
	r, err := p.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if len(early) != 1 || early[0] != 103 || r.StatusCode != 200 {
		t.Errorf("early %v, then %d", early, r.StatusCode)
	}
}

func TestBooksKeepWhatArrived(t *testing.T) {
	p := start(t, simulator.Config{KeepCalls: 2})
	for _, path := range []string{"/v1/chat/completions?k=sk-secret", "/v1/embeddings", "/v1/completions"} {
		request, _ := http.NewRequest(http.MethodPost, p.url+path, strings.NewReader(`{"model":"m","input":"sk-secret"}`))
		request.Header.Set("Authorization", "Bearer sk-secret")
		r, err := p.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		// Whoever has read the end finds the call in the books, without waiting.
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	totals := p.Totals()
	if totals.Open != 0 || totals.Received != 3 || totals.Peak != 1 {
		t.Errorf("totals %+v", totals)
	}
	calls := p.Calls()
	if len(calls) != 2 || calls[0].Number != 1 || calls[1].Endpoint != simulator.Embeddings {
		t.Errorf("kept %+v", calls)
	}
	want := "call 1: query, call 1: header Authorization, call 1: body, call 2: header Authorization, call 2: body"
	if got := strings.Join(p.Leaks("sk-secret"), ", "); got != want {
		t.Errorf("leaks: %s", got)
	}
}

func TestPeakCountsCallsAtOnce(t *testing.T) {
	p := answering(t, simulator.Answer{Fault: simulator.Hang})
	const clients = 8
	ended := make(chan struct{})
	for range clients {
		go func() {
			_, _, _ = p.post("/v1/chat/completions", hello)
			ended <- struct{}{}
		}()
	}
	p.eventually(t, func(now simulator.Totals) bool { return now.Open == clients })
	p.Close()
	for range clients {
		<-ended
	}
	if totals := p.eventually(t, simulator.Idle); totals.Peak != clients {
		t.Errorf("peak %d", totals.Peak)
	}
}

func TestAwaitGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := start(t, simulator.Config{}).Await(ctx, func(simulator.Totals) bool { return false })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
