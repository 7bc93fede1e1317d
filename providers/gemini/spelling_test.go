package gemini_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// spelled are bodies of every member whose name has several words, each at its place.
var spelled = []string{
	`{"contents":[{"parts":[{"text":"Hi","thoughtSignature":"AAAA"},{"inlineData":{"mimeType":"image/png","data":"AAAA","displayName":"a"}}]}],
		"systemInstruction":{"parts":[{"text":"Be brief."}]},"generationConfig":{"maxOutputTokens":"12","candidateCount":2,"responseModalities":["TEXT"],
		"responseSchema":{},"responseMimeType":"application/json","thinkingConfig":{"thinkingBudget":5},"stopSequences":["x"],"topK":1}}`,
	`{"contents":[{"parts":[{"fileData":{"fileUri":"gs://x","mimeType":"video/mp4"},"videoMetadata":{"fps":1}},{"functionResponse":{"name":"f","response":{},"willContinue":true}}]}],
		"tools":[{"functionDeclarations":[{"name":"f"}],"googleSearch":{}}],"toolConfig":{"includeServerSideToolInvocations":true},"safetySettings":[],"serviceTier":"flex"}`,
	`{"contents":[],"cachedContent":"cachedContents/1","generationConfig":{"responseJsonSchema":{},"responseLogprobs":true,"frequencyPenalty":0}}`,
	`{"contents":[],"continuationToken":"x","tools":[{"computerUse":{}}]}`,
	`{"contents":[{"parts":[{"executableCode":{"code":"1"}},{"codeExecutionResult":{"output":"1"}}]}],"generationConfig":{"speechConfig":{},"enableEnhancedCivicAnswers":true}}`,
}

// names are those of members in camel case.
var names = regexp.MustCompile(`"_?[a-z]+[A-Z][A-Za-z]*":`)

var capital = regexp.MustCompile(`[A-Z]`)

// underscored has all names with underscores.
func underscored(body string) string {
	return names.ReplaceAllStringFunc(body, func(name string) string {
		return capital.ReplaceAllStringFunc(name, func(c string) string { return "_" + strings.ToLower(c) })
	})
}

// TestSpellings: a member says the same in either spelling, and so the bound, the facts and what is sent are the same.
func TestSpellings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SampledFrom(spelled).Draw(t, "body")
		other := names.ReplaceAllStringFunc(body, func(name string) string {
			if !rapid.Bool().Draw(t, "underscores") {
				return name
			}
			return underscored(name)
		})
		r, err := parse(generatePath, body)
		if err != nil {
			t.Fatal(err)
		}
		respelled, err := parse(generatePath, other)
		if err != nil {
			t.Fatalf("%s: %v", other, err)
		}
		if got, want := respelled.Facts(), r.Facts(); !reflect.DeepEqual(got.Needs, want.Needs) || !reflect.DeepEqual(got.Tools, want.Tools) {
			t.Errorf("%s is %+v, want %+v", other, got, want)
		}
		offer, err := r.On(fuzzTerms)
		if err != nil {
			t.Fatal(err)
		}
		same, err := respelled.On(fuzzTerms)
		if err != nil || !reflect.DeepEqual(same.Bound(), offer.Bound()) {
			t.Fatalf("%s is bounded by %+v, %v; want %+v", other, same, err, offer.Bound())
		}
		got, want := underscored(string(same.Send(5).Body.Join())), underscored(string(offer.Send(5).Body.Join()))
		if got != want {
			t.Errorf("%s is sent as %s, want %s", other, got, want)
		}
	})
}
