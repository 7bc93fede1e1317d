package gemini_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/gemini"
)

// said is a report as one text.
func said(r *providers.Report) string { return fmt.Sprintf("%+v", *r) }

func TestMatch(t *testing.T) {
	google := headers{"X-Goog-Api-Key": {"k"}}
	for _, row := range []struct {
		method, path, want, model string
		header                    headers
	}{
		{"POST", "/v1beta/models/gemini-2.5-pro:generateContent", call.GenerateContent, "gemini-2.5-pro", nil},
		{"POST", "/v1/models/gemini-2.5-pro:generateContent", call.GenerateContent, "gemini-2.5-pro", nil},
		{"POST", "/v1alpha/models/gemini-2.5-pro:streamGenerateContent", call.StreamGenerateContent, "gemini-2.5-pro", nil},
		{"POST", "/models/gemini-2.5-pro:countTokens", call.CountContents, "gemini-2.5-pro", nil},
		{"POST", "/v1beta/models/gemini-2.5-pro%3AgenerateContent", call.GenerateContent, "gemini-2.5-pro", nil},
		{"POST", "/v1beta/models%2Fgemini-2.5-pro:generateContent", call.GenerateContent, "gemini-2.5-pro", nil},
		{"POST", "/v1beta/models/models%2Fgemini-2.5-pro:generateContent", call.GenerateContent, "gemini-2.5-pro", nil},
		{"POST", "/v1beta/tunedModels/mine:generateContent", call.GenerateContent, "mine", nil},
		{"POST", "/v1beta/models/gemini-embedding-001:batchEmbedContents", call.BatchEmbedContents, "gemini-embedding-001", nil},
		{"GET", "/v1beta/models", call.ListModels, "", nil},
		{"GET", "/v1beta/models/gemini-2.5-pro", call.DescribeModel, "gemini-2.5-pro", nil},
		{"GET", "/v1/models", "", "", nil},
		{"GET", "/v1/models/ft:gpt-4o-mini:acme::1", "", "", nil},
		{"DELETE", "/v1/models/ft:gpt-4o-mini:acme::1", "", "", nil},
		{"POST", "/v1beta/dynamic/d1:streamGenerateContent", call.StreamGenerateContent, "d1", nil},
		{"POST", "/v1beta/tunedModels/mine:batchGenerateContent", "tunedModels/{model}:batchGenerateContent", "mine", nil},
		{"POST", "/v1beta/models/text-bison:generateText", "models/{model}:generateText", "text-bison", nil},
		{"GET", "/v1/models", call.ListModels, "", google},
		{"POST", "/v1beta/cachedContents", "cachedContents", "", nil},
		{"GET", "/v1beta/files/f1:download", "files/{id}:download", "", nil},
		{"POST", "/upload/v1beta/files", "upload/{version}/files", "", google},
		{"POST", "/v1beta/models/gemini-2.5-pro:predict", "models/{model}:predict", "gemini-2.5-pro", nil},
		{"POST", "/v1beta/models/gemini-2.5-pro:unheardOf", "", "", nil},
		{"POST", "/v1beta/openai/chat/completions", "", "", nil},
		{"POST", "/v1/chat/completions", "", "", google},
		{"POST", "/v1beta/models/..:generateContent", "", "", nil},
		{"POST", "/v1beta/models/a/b:generateContent", "", "", nil},
	} {
		op, ok := gemini.Dialect{}.Match(providers.Head{Method: row.method, Path: row.path, Header: row.header})
		if op.Operation != row.want || ok != (row.want != "") || op.Params["model"] != row.model {
			t.Errorf("%s %s is %q of %q, want %q of %q", row.method, row.path, op.Operation, op.Params["model"], row.want, row.model)
		}
	}
}

func TestCredential(t *testing.T) {
	for _, row := range []struct {
		name, query, want string
		header            headers
	}{
		{"the header", "", "k1", headers{"X-Goog-Api-Key": {"k1"}}},
		{"an empty header beside a bearer token", "", "k1", headers{"X-Goog-Api-Key": {""}, "Authorization": {"Bearer k1"}}},
		{"the query", "alt=sse&key=k%31", "k1", headers{"X-Goog-Api-Key": {" "}}},
		{"in all places", "key=k1", "k1", headers{"X-Goog-Api-Key": {"k1"}, "Authorization": {"bearer k1"}}},
		{"two that differ", "key=k2", "", headers{"X-Goog-Api-Key": {"k1"}}},
		{"two in the query", "key=k1&key=k2", "", nil},
		{"two in headers", "", "", headers{"X-Goog-Api-Key": {"k1", "k2"}}},
		{"none", "key=", "", nil},
		{"another scheme beside it", "key=k1", "", headers{"Authorization": {"Basic eDp5"}}},
	} {
		got, err := gemini.Dialect{}.Credential(providers.Head{Header: row.header, Query: row.query})
		if got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%s: %q, %v; want %q", row.name, got, err, row.want)
		}
	}
}

// someTerms is an upstream of Google's, of a model that writes 100 tokens and reads 1000.
var someTerms = providers.Terms{Provider: "google", MaxOutput: 100, Context: 1000}

func TestBoundsAndEdits(t *testing.T) {
	const hi = `"contents":[{"parts":[{"text":"Hi"}]}]`
	for _, row := range []struct {
		name, body, sent string
		cap, choices     int64
	}{
		{"without a cap", `{` + hi + `}`, `{` + hi + `,"generationConfig":{"maxOutputTokens":100}}`, 100, 1},
		{"with another member of the config", `{` + hi + `,"generationConfig":{"topK":1}}`, `{` + hi + `,"generationConfig":{"topK":1,"maxOutputTokens":100}}`, 100, 1},
		{"an empty config", `{` + hi + `,"generationConfig":{}}`, `{` + hi + `,"generationConfig":{"maxOutputTokens":100}}`, 100, 1},
		{"null in its place", `{` + hi + `,"generation_config":null}`, `{` + hi + `,"generation_config":{"maxOutputTokens":100}}`, 100, 1},
		{"a cap", `{` + hi + `,"generationConfig":{"maxOutputTokens":7}}`, `{` + hi + `,"generationConfig":{"maxOutputTokens":7}}`, 7, 1},
		{"a cap of null", `{` + hi + `,"generationConfig":{"maxOutputTokens":null}}`, `{` + hi + `,"generationConfig":{"maxOutputTokens":100}}`, 100, 1},
		{"a cap of 0", `{` + hi + `,"generationConfig":{"maxOutputTokens":0}}`, `{` + hi + `,"generationConfig":{"maxOutputTokens":100}}`, 100, 1},
		{"a cap as text", `{` + hi + `,"generation_config":{"max_output_tokens":"7"}}`, `{` + hi + `,"generation_config":{"max_output_tokens":"7"}}`, 7, 1},
		{"a cap above the model's", `{` + hi + `,"generation_config":{"max_output_tokens":"700"}}`, `{` + hi + `,"generation_config":{"max_output_tokens":100}}`, 100, 1},
		{"several candidates", `{` + hi + `,"generationConfig":{"candidateCount":"3","maxOutputTokens":7}}`, `{` + hi + `,"generationConfig":{"candidateCount":"3","maxOutputTokens":7}}`, 7, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := parse(generatePath, row.body)
			if err != nil {
				t.Fatal(err)
			}
			offer, err := r.On(someTerms)
			if err != nil {
				t.Fatal(err)
			}
			b := offer.Bound()
			if sent := string(offer.Send(0).Body.Join()); sent != row.sent || b.Output.Cap != row.cap || b.Output.Choices != row.choices {
				t.Errorf("%d tokens of %d candidates, sent %s; want %d of %d, %s", b.Output.Cap, b.Output.Choices, sent, row.cap, row.choices, row.sent)
			}
		})
	}
}

// A long answer of Gemini 4 comes in hops, and the client's cap is that of all: each writes so many tokens at most.
func TestHopsOfLongAnswers(t *testing.T) {
	terms := providers.Terms{Provider: "google", MaxOutput: 1_048_576, Context: 1_048_576}
	const body = `{"contents":[],"generationConfig":{"maxOutputTokens":200000}}`
	for path, want := range map[string]int64{
		"/v1beta/models/gemini-4-argon:generateContent": 32768, "/v1beta/models/gemini-4-argon:streamGenerateContent": 65536,
		"/v1beta/models/gemini-3.8-flash:generateContent": 200_000,
	} {
		r, err := parse(path, body)
		if err != nil {
			t.Fatal(err)
		}
		offer, err := r.On(terms)
		if err != nil {
			t.Fatal(err)
		}
		if sent := string(offer.Send(offer.Bound().Output.Cap).Body.Join()); offer.Bound().Output.Cap != want || sent != body {
			t.Errorf("%s: %d tokens, and %s is sent; want %d", path, offer.Bound().Output.Cap, sent, want)
		}
		if sent := string(offer.Send(500).Body.Join()); !strings.Contains(sent, `"maxOutputTokens":500}`) {
			t.Errorf("%s: clamped to 500, %s is sent", path, sent)
		}
	}
}

// A model's name that somebody may read in another way is refused, whatever pattern it fits.
func TestOddModels(t *testing.T) {
	for _, name := range []string{
		"gemini-2.5-flash:generateContent", "gemini-2.5-flash%00", "gemini-2.5-flash%0D%0AX", "gemini-2.5-flash%23x", "gemini-2.5-flash%5C..%5Cx",
		"gemini-2.5-flash%252F..", "gemini-2.5-flash%3Fkey", "gemini-2.5-flash%20",
	} {
		if _, err := parse("/v1beta/models/"+name+":countTokens", `{"contents":[]}`); err == nil || !strings.Contains(err.Error(), "read in more than one way") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, row := range []struct{ name, body, want string }{
		{"both spellings at the top", `{"generationConfig":{},"generation_config":{}}`, "generationConfig and generation_config are one member; send one of them"},
		{"both inside", `{"generationConfig":{"max_output_tokens":5,"maxOutputTokens":6}}`, "maxOutputTokens and max_output_tokens are one member"},
		{"both in a part", `{"contents":[{"parts":[{"inline_data":{},"inlineData":{}}]}]}`, "inlineData and inline_data are one member"},
		{"another case", `{"generationconfig":{}}`, "some servers read the member"},
		{"twice", `{"contents":[],"contents":[]}`, "two members of one name"},
		{"a negative cap", `{"generationConfig":{"maxOutputTokens":-1}}`, "maxOutputTokens"},
		{"a cap that is no number", `{"generationConfig":{"maxOutputTokens":"1e3"}}`, "maxOutputTokens must be an integer"},
		{"too many candidates", `{"generationConfig":{"candidateCount":9}}`, "candidateCount must be an integer from 1 to 8"},
		{"another model", `{"model":"models/gemini-2.5-pro"}`, "model names another model than the path"},
		{"nothing", `{}`, "contents is required"},
		{"more behind it", `{} {}`, ""},
	} {
		_, err := parse(generatePath, row.body)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
	}
}

func TestUnbounded(t *testing.T) {
	for _, row := range []struct{ name, body, want string }{
		{"a search", `{"contents":[],"tools":[{"googleSearch":{}}]}`, "the tool googleSearch: it runs at the provider"},
		{"in the other spelling", `{"contents":[],"tools":[{"google_search":{}}]}`, "the tool googleSearch"},
		{"maps", `{"contents":[],"tools":{"googleMaps":{}}}`, "the tool googleMaps"},
		{"a member that nobody knows", `{"contents":[],"unheardOf":{"a":1}}`, "unheardOf: it is in no list"},
		{"a part that nobody knows", `{"contents":[{"parts":[{"hologram":{}}]}]}`, "contents.parts.hologram"},
		{"another model", `{"contents":[],"generationConfig":{"routingConfig":{"autoMode":{}}}}`, "generationConfig.routingConfig: another model may answer"},
		{"a tier that has no price", `{"contents":[],"serviceTier":"warp"}`, `allow: {tiers: ["warp"]}`},
		{"a stored context in what nobody knows", `{"contents":[],"unheardOf":[{"cached_content":"x"}]}`, "unheardOf"},
		{"a key in there", `{"contents":[],"unheardOf":[{"access_token":"x"}]}`, "access_token: it may hold a credential"},
		{"a key", `{"contents":[],"apiKey":"x"}`, "it may hold a credential"},
		{"video out", `{"contents":[],"generationConfig":{"responseModalities":["VIDEO"]}}`, "generationConfig.responseModalities"},
	} {
		r, err := parse(generatePath, row.body)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if _, err = r.On(someTerms); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
	}
}

// What the body does not show is held at the context.
func TestHiddenInput(t *testing.T) {
	for _, row := range []struct {
		name, body string
		fixed      int64
	}{
		{"a stored context", `{"contents":[],"cachedContent":"cachedContents/1"}`, 1000},
		{"a file", `{"contents":[{"parts":[{"fileData":{"fileUri":"https://example.com/x.png","mimeType":"image/png"}}]}]}`, 1000},
		{"a video", `{"contents":[{"parts":[{"inlineData":{"mimeType":"video/mp4","data":"AAAA"}}]}]}`, 1000},
		{"a document", `{"contents":[{"parts":[{"inlineData":{"mimeType":"application/pdf","data":"AAAA"}}]}]}`, 1000},
		{"the answer before", `{"contents":[],"continuationToken":"x"}`, 1000},
		{"the result of a function that brings a file", `{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{},"parts":[{"fileData":{"fileUri":"gs://x"}}]}}]}]}`, 1000},
		{"an image", `{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}]}`, 1000},
	} {
		r, err := parse(generatePath, row.body)
		if err != nil {
			t.Fatal(err)
		}
		offer, err := r.On(someTerms)
		if err != nil {
			t.Fatal(err)
		}
		if in := offer.Bound().Input; in.Fixed != row.fixed {
			t.Errorf("%s: %d tokens, want %d", row.name, in.Fixed, row.fixed)
		}
	}
}

// What the policy says of a document bounds each thing that the body does not show, but for what is stored.
func TestDocuments(t *testing.T) {
	terms := someTerms
	terms.MaxDocument = 300
	const pdf = `{"inlineData":{"mimeType":"application/pdf","data":"AAAA"}}`
	one := inputOf(t, terms, `{"contents":[{"parts":[`+pdf+`]}]}`)
	two := inputOf(t, terms, `{"contents":[{"parts":[`+pdf+`,`+pdf+`]}]}`)
	if two-one != 300+4 {
		t.Errorf("the second document is %d tokens", two-one)
	}
	if n := inputOf(t, terms, `{"contents":[{"parts":[`+pdf+`]}],"cachedContent":"cachedContents/1"}`); n != 1000 {
		t.Errorf("beside a stored context it is %d tokens", n)
	}
}

// inputOf is the bound of a body's input without its texts, in tokens.
func inputOf(t *testing.T, terms providers.Terms, body string) int64 {
	t.Helper()
	r, err := parse(generatePath, body)
	if err != nil {
		t.Fatal(err)
	}
	offer, err := r.On(terms)
	if err != nil {
		t.Fatal(err)
	}
	return offer.Bound().Input.Fixed
}

// A WAV file is as long as its bytes at the rate that its head tells. Silence that is compressed takes next to none, so
// that any other sound may fill the context.
func TestSound(t *testing.T) {
	wav := func(form uint16, rate uint32, size int) string {
		head := append([]byte("RIFF\xff\xff\xff\xffWAVEfmt "), 16, 0, 0, 0)
		head = binary.LittleEndian.AppendUint16(head, form)
		head = binary.LittleEndian.AppendUint16(head, 1)
		head = binary.LittleEndian.AppendUint32(head, rate)
		head = binary.LittleEndian.AppendUint32(head, rate*2)
		head = binary.LittleEndian.AppendUint16(head, 2)
		head = binary.LittleEndian.AppendUint16(head, 16)
		return base64.StdEncoding.EncodeToString(append(head, make([]byte, size)...))
	}
	terms := someTerms
	terms.Context = 1_000_000
	body := func(mime, data string) string {
		return `{"contents":[{"parts":[{"inlineData":{"data":"` + data + `","mimeType":"` + mime + `"}}]}]}`
	}
	base := inputOf(t, terms, `{"contents":[{"parts":[{}]}]}`)
	for _, row := range []struct {
		name, mime, data string
		tokens           int64
	}{
		{"ten seconds", "audio/wav", wav(1, 8000, 160_000), 11 * 32},
		{"a sample a second", "audio/x-wav", wav(1, 1, 100), 70 * 32},
		{"compressed in there", "audio/wav", wav(2, 8000, 160_000), 1_000_000},
		{"a rate of 0", "audio/wav", wav(1, 0, 100), 1_000_000},
		{"another type", "audio/flac", wav(1, 8000, 160_000), 1_000_000},
		{"no such file", "audio/wav", "AAAA", 1_000_000},
		{"a head with ends of lines in it", "audio/wav", "\\n\\n\\n\\n" + wav(1, 8000, 0), 1_000_000},
	} {
		got := inputOf(t, terms, body(row.mime, row.data))
		if row.tokens < terms.Context {
			got -= base
		}
		if got != row.tokens {
			t.Errorf("%s: %d tokens, want %d", row.name, got, row.tokens)
		}
	}
}

// An alias is resolved in the path, and where the body names the model too.
func TestRenamed(t *testing.T) {
	for _, row := range []struct{ path, body, sent string }{
		{"/v1beta/models/house:countTokens", `{"generateContentRequest":{"contents":[],"model":"models/house"}}`, `{"generateContentRequest":{"contents":[],"model":"models/gemini-2.5-flash"}}`},
		{"/v1beta/models/house:batchEmbedContents", `{"requests":[{"model":"models/house","content":{}},{"content":{},"model":"house"}]}`,
			`{"requests":[{"model":"models/gemini-2.5-flash","content":{}},{"content":{},"model":"models/gemini-2.5-flash"}]}`},
		{"/v1/models/house:generateContent", `{"contents":[],"generationConfig":{"maxOutputTokens":5}}`, `{"contents":[],"generationConfig":{"maxOutputTokens":5}}`},
	} {
		r, err := parse(row.path, row.body)
		if err != nil {
			t.Fatal(err)
		}
		r.Rename("gemini-2.5-flash")
		offer, err := r.On(someTerms)
		if err != nil {
			t.Fatal(err)
		}
		sent := offer.Send(0)
		path := strings.Replace(row.path, "house", "gemini-2.5-flash", 1)
		if body := string(sent.Body.Join()); body != row.sent || sent.Path != path {
			t.Errorf("%s is sent to %s, want %s to %s", body, sent.Path, row.sent, path)
		}
	}
}

// Results of tools are those that answer what the model said last, and each of what a call needs is told.
func TestFacts(t *testing.T) {
	const result = `{"functionResponse":{"name":"f","id":"1","response":{}}}`
	r, err := parse(generatePath, `{"contents":[{"role":"user","parts":[`+result+`]},{"role":"model","parts":[{"functionCall":{"name":"g"}}]},{"parts":[`+strings.Replace(result, `"f"`, `"g"`, 1)+`]}],
		"tools":{"functionDeclarations":{"name":"f"},"computer_use":{}},"systemInstruction":{"role":"model","parts":[]},"generationConfig":{"candidateCount":2,"responseLogprobs":true,"responseSchema":{}}}`)
	if err != nil {
		t.Fatal(err)
	}
	facts := r.Facts()
	if len(facts.ToolResults) != 1 || facts.ToolResults[0].Tool != "g" {
		t.Errorf("results %+v", facts.ToolResults)
	}
	if want := []string{call.NeedTools, call.NeedJSONSchema, call.NeedLogprobs, call.NeedMultipleChoices}; !slices.Equal(facts.Needs, want) {
		t.Errorf("it needs %v, want %v", facts.Needs, want)
	}
	if want := []string{"f", "computerUse"}; !slices.Equal(facts.Tools, want) {
		t.Errorf("tools %v, want %v", facts.Tools, want)
	}
}

// A tier of the price list is priced; flex is nowhere dearer than the standard one.
func TestTiers(t *testing.T) {
	for tier, services := range map[string][]string{"priority": {"priority"}, "SERVICE_TIER_FLEX": nil, "standard": nil} {
		r, err := parse(generatePath, `{"contents":[],"service_tier":"`+tier+`"}`)
		if err != nil {
			t.Fatal(err)
		}
		offer, err := r.On(someTerms)
		if err != nil || !slices.Equal(offer.Bound().Services, services) {
			t.Errorf("%s: %v, %v", tier, offer, err)
		}
		elsewhere := someTerms
		elsewhere.Provider = "openrouter"
		if _, err = r.On(elsewhere); (err == nil) != (tier == "standard") {
			t.Errorf("%s elsewhere: %v", tier, err)
		}
	}
}

// What is asked by the query is asked once, and in a form that can be read.
func TestQuery(t *testing.T) {
	for _, row := range []struct{ query, sent, refused, unbounded string }{
		{"alt=sse&key=k&fields=candidates", "alt=sse", "", ""},
		{"$alt=json&prettyPrint=false", "$alt=json&prettyPrint=false", "", ""},
		{"alt=json&alt=sse", "", "the query has alt twice", ""},
		{"alt=json&%24alt=sse", "", "the query has alt twice", ""},
		{"$alt=json%3Benum-encoding%3Dint", "", "", "the query parameter"},
		{"alt=proto", "", "", "the query parameter"},
		{"$httpMethod=GET", "", "", "the query parameter"},
	} {
		h := providers.Head{Method: "POST", Path: generatePath, Query: row.query}
		op, _ := gemini.Dialect{}.Match(h)
		r, err := gemini.Dialect{}.Parse(op, h, []byte(`{"contents":[]}`))
		if row.refused != "" {
			if err == nil || !strings.Contains(err.Error(), row.refused) {
				t.Errorf("%s: %v", row.query, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		offer, err := r.On(someTerms)
		switch {
		case row.unbounded != "":
			if err == nil || !strings.Contains(err.Error(), row.unbounded) {
				t.Errorf("%s: %v", row.query, err)
			}
		case err != nil || offer.Send(0).Query != row.sent:
			t.Errorf("%s: %v is sent, %v", row.query, offer, err)
		}
	}
}

// A tool that the policy strips goes, and what is left stays.
func TestStripped(t *testing.T) {
	terms := someTerms
	terms.Tools = call.HostedTools{call.WebSearch: {When: call.StripHosted}}
	for _, row := range []struct{ name, body, sent string }{
		{"the only one", `{"contents":[],"tools":[{"googleSearch":{}}],"generationConfig":{"maxOutputTokens":7}}`, `{"contents":[],"generationConfig":{"maxOutputTokens":7}}`},
		{"beside functions", `{"contents":[],"tools":[{"google_search":{}},{"functionDeclarations":[{"name":"f"}]}],"generationConfig":{"maxOutputTokens":7}}`,
			`{"contents":[],"tools":[{"functionDeclarations":[{"name":"f"}]}],"generationConfig":{"maxOutputTokens":7}}`},
		{"in one entry with functions", `{"contents":[],"tools":[{"google_search":{} , "functionDeclarations":[{"name":"f"}]}],"generationConfig":{"maxOutputTokens":7}}`,
			`{"contents":[],"tools":[{"functionDeclarations":[{"name":"f"}]}],"generationConfig":{"maxOutputTokens":7}}`},
		{"one entry in place of a list", `{"contents":[],"tools":{"googleSearch":{}},"toolConfig":{},"generationConfig":{"maxOutputTokens":7}}`, `{"contents":[],"generationConfig":{"maxOutputTokens":7}}`},
	} {
		r, err := parse(generatePath, row.body)
		if err != nil {
			t.Fatal(err)
		}
		offer, err := r.On(terms)
		if err != nil {
			t.Fatal(err)
		}
		sent := offer.Send(0)
		if text := string(sent.Body.Join()); text != row.sent || len(sent.Removed.Tools) != 1 {
			t.Errorf("%s: %s is sent, without %v; want %s", row.name, text, sent.Removed.Tools, row.sent)
		}
	}
}
