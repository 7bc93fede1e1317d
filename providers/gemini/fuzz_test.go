package gemini_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/gemini"
)

// generatePath is where content is generated.
const generatePath = "/v1beta/models/gemini-2.5-flash:generateContent"

// parse reads a body as the proxy would.
func parse(path, body string) (providers.Request, error) {
	h := providers.Head{Method: "POST", Path: path, Header: headers{}}
	op, _ := gemini.Dialect{}.Match(h)
	return gemini.Dialect{}.Parse(op, h, []byte(body))
}

// fuzzTerms take out searches.
var fuzzTerms = providers.Terms{
	Provider: "google", MaxOutput: 100, Context: 1000, Tools: call.HostedTools{call.WebSearch: {When: call.StripHosted}},
}

// FuzzParse: whatever a body is, it is read or refused, and what is sent of one that has a bound is no larger
// request than the one that was bounded.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}`,
		`{"contents":{"parts":{"text":"Hi"}},"generation_config":{"max_output_tokens":"12","candidateCount":2}}`,
		`{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}},{"fileData":{"fileUri":"gs://x"}}]}],"tools":[{"googleSearch":{}}]}`,
		`{"contents":[],"generationConfig":null,"cachedContent":"cachedContents/1"}`,
		`{"contents":[],"tools":[{"googleSearch":{} , "functionDeclarations":{"name":"f"}},{"google_search_retrieval":{}}],"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}}}`,
		`{"model":"models/gemini-2.5-flash","tools":{"googleSearch":{}},"contents":[{"role":"model","parts":{"functionCall":{"name":"f"}}}],"tool_config":null}`,
		`{"contents":[{"parts":[{"inlineData":{"mimeType":"audio/wav","data":"UklGRv////9XQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAAAAAAAAA"}}]}],"generationConfig":{ }}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r, err := parse(generatePath, body)
		if err != nil {
			return
		}
		offer, err := r.On(fuzzTerms)
		if err != nil {
			return
		}
		sent := offer.Send(50).Body.Join()
		again, err := parse(generatePath, string(sent))
		if err != nil {
			t.Fatalf("%s is sent as %s, which cannot be read: %v", body, sent, err)
		}
		for _, name := range []string{"contents", "systemInstruction", "cachedContent"} {
			if was, is := gjson.Get(body, name).Raw, gjson.GetBytes(sent, name).Raw; was != is {
				t.Errorf("%s was %q and is %q", name, was, is)
			}
		}
		if strings.Contains(gjson.GetBytes(sent, "tools").Raw, `"googleSearch":{`) {
			t.Errorf("%s is sent as %s, with a tool that is stripped", body, sent)
		}
		bound, err := again.On(fuzzTerms)
		if err != nil || bound.Bound().Output.Cap > 50 {
			t.Fatalf("%s is sent as %s, whose bound is %+v: %v", body, sent, bound, err)
		}
	})
}

// FuzzMeter: however a response is cut, the report is the same, and its bytes pass.
func FuzzMeter(f *testing.F) {
	for _, seed := range []string{
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":1,\"totalTokenCount\":3}}\r\n\r\n",
		`[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]},{"usageMetadata":{"promptTokenCount":1}}]`,
		`{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}`,
	} {
		f.Add(seed, uint16(7))
	}
	r, err := parse(generatePath, `{"contents":[{"parts":[{"text":"Hi"}]}]}`)
	if err != nil {
		f.Fatal(err)
	}
	offer, err := r.On(providers.Terms{Provider: "google", MaxOutput: 100, Context: 1000})
	if err != nil {
		f.Fatal(err)
	}
	sent := offer.Send(0)
	f.Fuzz(func(t *testing.T, answer string, cut uint16) {
		at := min(int(cut), len(answer))
		var reports []string
		for _, pieces := range [][]string{{answer}, {answer[:at], answer[at:]}, strings.Split(answer, "")} {
			m := sent.Meter(providers.Answer{Status: 200, Framed: true})
			var passed strings.Builder
			for _, piece := range pieces {
				passed.Write(m.Feed([]byte(piece)))
			}
			passed.Write(m.Close(io.EOF))
			if passed.String() != answer {
				t.Fatalf("%q passes as %q", answer, passed.String())
			}
			report := m.Report()
			reports = append(reports, said(&report))
		}
		if reports = slices.Compact(reports); len(reports) > 1 {
			t.Fatalf("%q is read as %q", answer, reports)
		}
	})
}
