package gemini_test

import (
	"io"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// searchTerms price three searches, of 10 tokens each.
var searchTerms = providers.Terms{
	Provider: "google", MaxOutput: 100, Context: 1000, Tools: call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 3, Tokens: 10}},
}

const searching = `{"contents":[],"tools":[{"google_search":{}}]}`

// Models before Gemini 3 have one fee for a prompt; later ones one for each search. Each search lets the model run again.
func TestSearchesAreBounded(t *testing.T) {
	for path, fees := range map[string]int64{
		"/v1beta/models/gemini-2.5-flash:generateContent": 1, "/v1beta/models/gemini-3.5-flash:generateContent": 3, "/v1beta/models/gemini-flash-latest:generateContent": 3,
	} {
		r, err := parse(path, searching)
		if err != nil {
			t.Fatal(err)
		}
		offer, err := r.On(searchTerms)
		if err != nil {
			t.Fatal(err)
		}
		b := offer.Bound()
		want := call.Usage{call.Searches: fees, call.Input: 10 * 3 * 3}
		if len(b.Beside) != 1 || b.Beside[0].Usage != want || b.Output.Choices != 4 || b.Input.Rereads != 3 || b.Output.Rereads != 6 {
			t.Errorf("%s: %+v", path, b)
		}
	}
}

// Pages have no fee, and are rounds of their own beside those of searches.
func TestPagesAreBounded(t *testing.T) {
	terms := searchTerms
	terms.Tools = call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 1, Tokens: 10}, call.WebFetch: {When: call.PriceHosted, Calls: 2, Tokens: 100}}
	r, err := parse(generatePath, `{"contents":[],"tools":[{"googleSearch":{},"url_context":{}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	offer, err := r.On(terms)
	if err != nil {
		t.Fatal(err)
	}
	b := offer.Bound()
	want := call.Usage{call.Searches: 1, call.Input: (10 + 2*100) * 3}
	if len(b.Beside) != 1 || b.Beside[0].Usage != want || b.Output.Choices != 4 || b.Input.Rereads != 3 || b.Output.Rereads != 6 {
		t.Errorf("%+v", b)
	}
	terms.Tools = call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 100}, call.WebFetch: {When: call.PriceHosted, Calls: 100}}
	if _, err = r.On(terms); err == nil || !strings.Contains(err.Error(), "more calls in one request than can be bounded") {
		t.Errorf("200 calls: %v", err)
	}
}

// What cannot be priced, or not be taken out, is denied by its name with what helps.
func TestHostedIsDenied(t *testing.T) {
	strips := providers.Terms{Provider: "google", MaxOutput: 100, Context: 1000, Tools: call.HostedTools{
		call.WebSearch: {When: call.StripHosted}, call.CodeExecution: {When: call.StripHosted},
	}}
	for _, row := range []struct {
		name, body, want string
		terms            providers.Terms
	}{
		{"two searches", `{"contents":[],"tools":[{"googleSearch":{}},{"googleSearchRetrieval":{}}]}`, "another one is offered beside it", searchTerms},
		{"several candidates", `{"contents":[],"tools":[{"googleSearch":{}}],"generationConfig":{"candidateCount":2}}`, "ask for one", searchTerms},
		{"another search", `{"contents":[],"tools":[{"enterpriseWebSearch":{}}]}`, "the tool enterpriseWebSearch: it runs at the provider", searchTerms},
		{"no rule", searching, `hosted_tools: [{kind: web_search, when_offered: price`, someTerms},
		{"a tool that must be called", `{"contents":[],"tools":[{"googleSearch":{}}],"tool_config":{"functionCallingConfig":{"mode":"ANY"}}}`, "toolConfig wants a tool", strips},
		{"code that was run before", `{"contents":[{"parts":[{"executableCode":{"code":"1"}}]}],"tools":[{"codeExecution":{}}]}`, "history has calls of it", strips},
		{"a search that was made before", `{"contents":[{"parts":[{"tool_call":{}}]}],"tools":[{"googleSearch":{}}]}`, "history has calls of it", strips},
	} {
		r, err := parse(generatePath, row.body)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if _, err = r.On(row.terms); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
	}
}

// The answer says what it searched for, in whatever form it comes. What was not read may be all that is held.
func TestSearchesAreCounted(t *testing.T) {
	const usage = `"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":3,"totalTokenCount":8}`
	end := func(grounding string) string {
		return `{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP","groundingMetadata":` + grounding + `}],` + usage + `}`
	}
	two := end(`{"webSearchQueries":["a","b"]}`)
	long := `{"candidates":[{"content":{"parts":[{"text":"` + strings.Repeat("x", 70<<10) + `"}]},"finishReason":"STOP"}],` + usage + `}`
	const later, stream, old = "/v1beta/models/gemini-3.5-flash:generateContent", "/v1beta/models/gemini-3.5-flash:streamGenerateContent", generatePath
	for _, row := range []struct {
		name, path, answer string
		want               int64
	}{
		{"none", later, end(`{}`), 0},
		{"two", later, two, 2},
		{"pages and images", later, end(`{"webSearchQueries":["a"],"imageSearchQueries":["a"]}`), 2},
		{"results without a query", later, end(`{"groundingChunks":[{"web":{}}]}`), 1},
		{"two for one prompt", old, two, 1},
		{"told again in a stream", stream, "data: " + two + "\r\n\r\ndata: " + two + "\r\n\r\n", 2},
		{"in an array", stream, "[" + two + "," + two + "]", 2},
		{"too long to be read", later, long, 3},
		{"the same of one prompt", old, long, 1},
	} {
		r, err := parse(row.path, searching)
		if err != nil {
			t.Fatal(err)
		}
		offer, err := r.On(searchTerms)
		if err != nil {
			t.Fatal(err)
		}
		m := offer.Send(100).Meter(providers.Answer{Status: 200, Framed: true})
		m.Feed([]byte(row.answer))
		m.Close(io.EOF)
		if report := m.Report(); report.Lines[0].Usage[call.Searches] != row.want || !report.HasUsage {
			t.Errorf("%s: %+v, want %d searches", row.name, report, row.want)
		}
	}
}

// What a model writes is no end of its answer, and several candidates end each by itself.
func TestEnds(t *testing.T) {
	const usage = `"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":3,"totalTokenCount":8}`
	for _, row := range []struct {
		name, body, events string
		complete           bool
	}{
		{"words of a call", `{"contents":[]}`, `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"finishReason":"STOP"}}}]}}],` + usage + `}`, false},
		{"a reason", `{"contents":[]}`, `{"candidates":[{"finishReason":"STOP"}],` + usage + `}`, true},
		{"one of two", `{"contents":[],"generationConfig":{"candidateCount":2}}`, `{"candidates":[{"index":1,"finishReason":"STOP"}],` + usage + `}`, false},
		{"both", `{"contents":[],"generationConfig":{"candidateCount":2}}`, `{"candidates":[{"index":1,"finishReason":"STOP"},{"finishReason":1}],` + usage + `}`, true},
	} {
		r, err := parse("/v1beta/models/gemini-2.5-flash:streamGenerateContent", row.body)
		if err != nil {
			t.Fatal(err)
		}
		offer, err := r.On(someTerms)
		if err != nil {
			t.Fatal(err)
		}
		m := offer.Send(100).Meter(providers.Answer{Status: 200, Framed: true})
		m.Feed([]byte("data: " + row.events + "\r\n\r\n"))
		if _, complete := m.Seen(); complete != row.complete {
			t.Errorf("%s: complete is %v", row.name, complete)
		}
		m.Close(io.ErrUnexpectedEOF)
		if report := m.Report(); report.HasUsage != row.complete {
			t.Errorf("%s, cut: %+v", row.name, report)
		}
	}
}
