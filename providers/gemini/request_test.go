package gemini_test

import (
	"fmt"
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
		{"a dearer tier", `{"contents":[],"serviceTier":"priority"}`, "service_tier priority"},
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
		{"a file", `{"contents":[{"parts":[{"fileData":{"fileUri":"https://example.com/x.png","mimeType":"image/png"}}]}]}`, 4172},
		{"a video", `{"contents":[{"parts":[{"inlineData":{"mimeType":"video/mp4","data":"AAAA"}}]}]}`, 1000},
		{"a document", `{"contents":[{"parts":[{"inlineData":{"mimeType":"application/pdf","data":"AAAA"}}]}]}`, 1000},
		{"the answer before", `{"contents":[],"continuationToken":"x"}`, 1000},
		{"the result of a function that brings a file", `{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{},"parts":[{"fileData":{"fileUri":"gs://x"}}]}}]}]}`, 1000},
		{"an image", `{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}]}`, 4172},
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

// A tool that the policy strips goes, and what is left stays.
func TestStripped(t *testing.T) {
	terms := someTerms
	terms.Tools = call.HostedTools{call.WebSearch: {When: call.StripHosted}}
	for _, row := range []struct{ name, body, sent string }{
		{"the only one", `{"contents":[],"tools":[{"googleSearch":{}}],"generationConfig":{"maxOutputTokens":7}}`, `{"contents":[],"generationConfig":{"maxOutputTokens":7}}`},
		{"beside functions", `{"contents":[],"tools":[{"google_search":{}},{"functionDeclarations":[{"name":"f"}]}],"generationConfig":{"maxOutputTokens":7}}`,
			`{"contents":[],"tools":[{"functionDeclarations":[{"name":"f"}]}],"generationConfig":{"maxOutputTokens":7}}`},
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
