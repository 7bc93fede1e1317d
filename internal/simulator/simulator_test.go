package simulator_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider is a simulator on a real listener.
type provider struct {
	*simulator.Server
	url    string
	client *http.Client
}

func start(t *testing.T, config simulator.Config) provider {
	t.Helper()
	sim := simulator.New(config)
	server := httptest.NewServer(sim)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		sim.Close()
		transport.CloseIdleConnections()
		server.Close()
	})
	return provider{Server: sim, url: server.URL, client: &http.Client{Transport: transport}}
}

// answering starts a provider that always gives one answer.
func answering(t *testing.T, a simulator.Answer) provider {
	t.Helper()
	return start(t, simulator.Config{Script: simulator.Always(a)})
}

// post sends a body; the error is that of the request or of reading the answer,
// of which body holds what came.
func (p provider) post(path, body string) (r *http.Response, got []byte, err error) {
	r, err = p.client.Post(p.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	defer r.Body.Close()
	got, err = io.ReadAll(r.Body)
	return r, got, err
}

// must is post of what has to succeed.
func (p provider) must(t *testing.T, path, body string) (*http.Response, gjson.Result) {
	t.Helper()
	r, got, err := p.post(path, body)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(got) {
		t.Fatalf("not JSON: %q", got)
	}
	return r, gjson.ParseBytes(got)
}

// events splits a stream into the payloads of its events.
func events(t *testing.T, body []byte) []string {
	t.Helper()
	var payloads []string
	for line := range strings.Lines(string(body)) {
		if data, found := strings.CutPrefix(line, "data:"); found {
			payloads = append(payloads, strings.TrimSpace(data))
		}
	}
	return payloads
}

// eventually waits for the books to say something.
func (p provider) eventually(t *testing.T, condition func(simulator.Totals) bool) simulator.Totals {
	t.Helper()
	if err := p.Await(t.Context(), condition); err != nil {
		t.Fatal(err)
	}
	return p.Totals()
}

const hello = `{"model":"gpt-4o-mini","max_completion_tokens":5,"messages":[{"role":"user","content":"Say hello."}]}`

const helloStream = `{"model":"gpt-4o-mini","max_completion_tokens":5,"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Say hello."}]}`

func TestChatCompletionIsAsLongAsItsCap(t *testing.T) {
	p := start(t, simulator.Config{CountPrompt: func(*simulator.Request) int64 { return 11 }})
	r, body := p.must(t, "/v1/chat/completions", hello)
	for path, want := range map[string]string{
		"object":                    "chat.completion",
		"model":                     "gpt-4o-mini",
		"choices.#":                 "1",
		"choices.0.message.role":    "assistant",
		"choices.0.message.content": "the ledger of a house",
		"choices.0.finish_reason":   "length",
		"usage.prompt_tokens":       "11",
		"usage.completion_tokens":   "5",
		"usage.total_tokens":        "16",
	} {
		if got := body.Get(path).String(); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	for _, name := range []string{"X-Request-Id", "Openai-Processing-Ms", "X-Ratelimit-Remaining-Requests", "Content-Length"} {
		if r.Header.Get(name) == "" {
			t.Errorf("no header %s", name)
		}
	}
	if got, want := p.Totals().Billed, (simulator.Usage{Prompt: 11, Completion: 5}); got != want {
		t.Errorf("billed %+v, want %+v", got, want)
	}
}

func TestOutputLength(t *testing.T) {
	for name, row := range map[string]struct {
		body   string
		answer simulator.Answer
		obeys  []string
		want   int64
		finish string
	}{
		"no cap, no script":               {body: `{}`, want: simulator.DefaultOutputTokens, finish: "stop"},
		"older field":                     {body: `{"max_tokens":7}`, want: 7, finish: "length"},
		"both: the newer field wins":      {body: `{"max_tokens":7,"max_completion_tokens":3}`, want: 3, finish: "length"},
		"null is absent":                  {body: `{"max_tokens":7,"max_completion_tokens":null}`, want: 7, finish: "length"},
		"script below the cap":            {body: `{"max_tokens":7}`, answer: simulator.Answer{OutputTokens: 4}, want: 4, finish: "stop"},
		"script above the cap":            {body: `{"max_tokens":7}`, answer: simulator.Answer{OutputTokens: 9}, want: 7, finish: "length"},
		"script that ignores the cap":     {body: `{"max_tokens":7}`, answer: simulator.Answer{OutputTokens: 9, IgnoreCap: true}, want: 9, finish: "stop"},
		"a field that is not obeyed":      {body: `{"max_completion_tokens":3}`, obeys: []string{"max_tokens"}, want: simulator.DefaultOutputTokens, finish: "stop"},
		"n choices cost n times":          {body: `{"max_tokens":7,"n":3}`, want: 21, finish: "length"},
		"best_of costs, though not shown": {body: `{"max_tokens":7,"n":1,"best_of":4}`, want: 28, finish: "length"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, simulator.Config{Script: simulator.Always(row.answer), CapFields: row.obeys})
			var members map[string]any
			if err := json.Unmarshal([]byte(row.body), &members); err != nil {
				t.Fatal(err)
			}
			members["model"] = "m"
			request, _ := json.Marshal(members)
			_, body := p.must(t, "/v1/chat/completions", string(request))
			if got := body.Get("usage.completion_tokens").Int(); got != row.want {
				t.Errorf("%d tokens, want %d", got, row.want)
			}
			if got := body.Get("choices.0.finish_reason").String(); got != row.finish {
				t.Errorf("finish_reason %q, want %q", got, row.finish)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 429, 500, 502, 503, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			p := answering(t, simulator.Fail(status))
			r, body := p.must(t, "/v1/chat/completions", hello)
			if r.StatusCode != status {
				t.Errorf("status %d", r.StatusCode)
			}
			for _, member := range []string{"error.message", "error.type"} {
				if body.Get(member).String() == "" {
					t.Errorf("no %s in %s", member, body)
				}
			}
			if billed := p.Totals().Billed; billed != (simulator.Usage{}) {
				t.Errorf("billed %+v for a failure", billed)
			}
		})
	}
}

func TestRateLimitedSaysWhenToComeBack(t *testing.T) {
	p := start(t, simulator.Config{Script: simulator.InTurn(
		simulator.RateLimited(1500*time.Millisecond),
		simulator.Answer{},
	)})
	first, _ := p.must(t, "/v1/chat/completions", hello)
	if first.StatusCode != 429 || first.Header.Get("Retry-After") != "2" {
		t.Errorf("first answer: %d, Retry-After %q", first.StatusCode, first.Header.Get("Retry-After"))
	}
	if second, _ := p.must(t, "/v1/chat/completions", hello); second.StatusCode != 200 {
		t.Errorf("second answer: %d", second.StatusCode)
	}
}

func TestRequestsThatNoScriptSees(t *testing.T) {
	for name, row := range map[string]struct {
		path, body, key string
		want            int
	}{
		"wrong key":       {"/v1/chat/completions", hello, "sk-wrong", 401},
		"unknown route":   {"/v1/images/generations", hello, "sk-up", 404},
		"wrong method":    {"/v1/models", hello, "sk-up", 405},
		"broken JSON":     {"/v1/chat/completions", `{"model":`, "sk-up", 400},
		"no model":        {"/v1/embeddings", `{"input":"x"}`, "sk-up", 400},
		"right in all":    {"/v1/chat/completions", hello, "sk-up", 200},
		"a longer prefix": {"/api/openai/v1/chat/completions", hello, "sk-up", 200},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, simulator.Config{Key: "sk-up"})
			request, _ := http.NewRequest(http.MethodPost, p.url+row.path, strings.NewReader(row.body))
			request.Header.Set("Authorization", "Bearer "+row.key)
			r, err := p.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if r.StatusCode != row.want {
				t.Errorf("status %d, want %d", r.StatusCode, row.want)
			}
		})
	}
}

func TestModels(t *testing.T) {
	p := start(t, simulator.Config{Models: []string{"one", "two"}})
	r, err := p.client.Get(p.url + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	if got := gjson.GetBytes(body, "data.#.id").Raw; got != `["one","two"]` {
		t.Errorf("models are %s", got)
	}
}

func TestToolCall(t *testing.T) {
	const tools = `"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object",
		"properties":{"city":{"type":"string"},"days":{"type":"integer"},"unit":{"enum":["C","F"]},"note":{"type":"string"}},
		"required":["city","days","unit"]}}}]`
	ask := func(stream bool, rest string) string {
		return fmt.Sprintf(`{"model":"m","stream":%v,%s,"messages":[{"role":"user","content":"Rain?"}%s]}`, stream, tools, rest)
	}
	want := `{"city":"ledger","days":7,"unit":"C"}`

	p := start(t, simulator.Config{})
	_, body := p.must(t, "/v1/chat/completions", ask(false, ""))
	call := body.Get("choices.0.message.tool_calls.0")
	if call.Get("function.name").String() != "weather" || call.Get("function.arguments").String() != want {
		t.Errorf("called %s", call)
	}
	if got := body.Get("choices.0.finish_reason").String(); got != "tool_calls" {
		t.Errorf("finish_reason %q", got)
	}

	_, raw, err := p.post("/v1/chat/completions", ask(true, ""))
	if err != nil {
		t.Fatal(err)
	}
	var streamed strings.Builder
	for _, event := range events(t, raw) {
		streamed.WriteString(gjson.Get(event, "choices.0.delta.tool_calls.0.function.arguments").String())
	}
	if streamed.String() != want {
		t.Errorf("streamed arguments are %s", &streamed)
	}

	_, body = p.must(t, "/v1/chat/completions", ask(false, `,{"role":"tool","content":"yes"}`))
	if body.Get("choices.0.message.content").String() == "" {
		t.Errorf("after the function's result there is no text: %s", body)
	}
}

func TestEmbeddings(t *testing.T) {
	p := start(t, simulator.Config{})
	_, body := p.must(t, "/v1/embeddings", `{"model":"e","input":["one text","another","one text"],"dimensions":8}`)
	vectors := body.Get("data.#.embedding").Array()
	if len(vectors) != 3 || len(vectors[0].Array()) != 8 {
		t.Fatalf("got %s", body)
	}
	if vectors[0].Raw != vectors[2].Raw || vectors[0].Raw == vectors[1].Raw {
		t.Error("a vector must belong to its text")
	}
	if got := body.Get("usage.prompt_tokens").Int(); got != (8+7+8)/4 {
		t.Errorf("prompt_tokens %d", got)
	}
	_, body = p.must(t, "/v1/embeddings", `{"model":"e","input":[1,2,3],"dimensions":8,"encoding_format":"base64"}`)
	if got := len(body.Get("data.0.embedding").String()); got != 44 { // 32 bytes
		t.Errorf("%d letters of base64", got)
	}
	if got := body.Get("usage.prompt_tokens").Int(); got != 3 {
		t.Errorf("three token ids are %d tokens", got)
	}
}

func TestSameRequestsSameBytes(t *testing.T) {
	answers := func() []byte {
		p := start(t, simulator.Config{})
		var all bytes.Buffer
		for _, body := range []string{hello, helloStream, hello} {
			_, got, err := p.post("/v1/chat/completions", body)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(got)
		}
		return all.Bytes()
	}
	if !bytes.Equal(answers(), answers()) {
		t.Error("two equal runs differ")
	}
}

func TestParseAnswer(t *testing.T) {
	got, err := simulator.ParseAnswer("latency=200ms, tokens=50,close-mid-stream,no-usage")
	if err != nil {
		t.Fatal(err)
	}
	want := simulator.Answer{Latency: 200 * time.Millisecond, OutputTokens: 50, Fault: simulator.CloseMidStream, NoUsage: true}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v", got)
	}
	for _, spec := range []string{"slowly", "200", "tokens=-1", "tokens=x", "latency=-1s", "pad=99999999999"} {
		if _, err := simulator.ParseAnswer(spec); err == nil {
			t.Errorf("%q was accepted", spec)
		}
	}
}

func TestRequestsChooseByName(t *testing.T) {
	p := start(t, simulator.Config{})
	if r, _ := p.must(t, "/v1/chat/completions", strings.Replace(hello, "gpt-4o-mini", "gpt-4o-mini+503", 1)); r.StatusCode != 503 {
		t.Errorf("by model: %d", r.StatusCode)
	}
	request, _ := http.NewRequest(http.MethodPost, p.url+"/v1/chat/completions", strings.NewReader(hello))
	request.Header.Set("X-Simulate", "429,retry-after=3s")
	r, err := p.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != 429 || r.Header.Get("Retry-After") != "3" {
		t.Errorf("by header: %d", r.StatusCode)
	}
	if r, body := p.must(t, "/v1/chat/completions", strings.Replace(hello, "gpt-4o-mini", "m+nonsense", 1)); r.StatusCode != 400 ||
		!strings.Contains(body.Get("error.message").String(), "close-mid-stream") {
		t.Errorf("an unknown name must be told the known ones: %d %s", r.StatusCode, body)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add("latency=200ms,tokens=50,close-mid-stream")
	f.Add("429,retry-after=2s")
	f.Fuzz(func(t *testing.T, spec string) {
		a, err := simulator.ParseAnswer(spec)
		if err != nil && fmt.Sprint(a) != fmt.Sprint(simulator.Answer{}) {
			t.Errorf("error and answer %+v", a)
		}
		if a.PadBytes < 0 || a.TrickleBytes < 0 || a.Latency < 0 || a.OutputTokens < 0 {
			t.Errorf("negative setting in %+v", a)
		}
	})
}
