package openai_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// places are bodies with room for one more member at each place where names mean
// something.
var places = map[string]string{
	"":                             `{"model":"m",%s,"messages":[]}`,
	"stream_options":               `{"model":"m","messages":[],"stream":true,"stream_options":{%s}}`,
	"messages":                     `{"model":"m","messages":[{%s}]}`,
	"messages.tool_calls":          `{"model":"m","messages":[{"tool_calls":[{%s}]}]}`,
	"messages.tool_calls.function": `{"model":"m","messages":[{"tool_calls":[{"function":{%s}}]}]}`,
	"messages.function_call":       `{"model":"m","messages":[{"function_call":{%s}}]}`,
	"messages.content":             `{"model":"m","messages":[{"content":[{"type":"text",%s}]}]}`,
	"messages.content.image_url":   `{"model":"m","messages":[{"content":[{"type":"image_url","image_url":{%s}}]}]}`,
	"tools":                        `{"model":"m","messages":[],"tools":[{"type":"function",%s}]}`,
	"tools.function":               `{"model":"m","messages":[],"tools":[{"type":"function","function":{%s}}]}`,
	"tools.custom":                 `{"model":"m","messages":[],"tools":[{"type":"custom","custom":{%s}}]}`,
	"functions":                    `{"model":"m","messages":[],"functions":[{%s}]}`,
	"tool_choice":                  `{"model":"m","messages":[],"tool_choice":{%s}}`,
	"tool_choice.function":         `{"model":"m","messages":[],"tool_choice":{"type":"function","function":{%s}}}`,
	"tool_choice.allowed_tools":    `{"model":"m","messages":[],"tool_choice":{"allowed_tools":{"tools":[{%s}]}}}`,
	"function_call":                `{"model":"m","messages":[],"function_call":{%s}}`,
	"response_format":              `{"model":"m","messages":[],"response_format":{%s}}`,
	"response_format.json_schema":  `{"model":"m","messages":[],"response_format":{"json_schema":{%s}}}`,
	"prediction":                   `{"model":"m","messages":[],"prediction":{%s}}`,
	"prediction.content":           `{"model":"m","messages":[],"prediction":{"content":[{%s}]}}`,
	"audio":                        `{"model":"m","messages":[],"audio":{%s}}`,
	"extra_body":                   `{"model":"m","messages":[],"extra_body":{%s}}`,
	"google":                       `{"model":"m","messages":[],"google":{%s}}`,
	"extra_body.google":            `{"model":"m","messages":[],"extra_body":{"google":{%s}}}`,
}

// nameOf is the place whose names those of a deeper place are.
func knownAt(place string) []string {
	known := openai.Known(openai.ChatCompletions)
	if names := known[place]; names != nil {
		return names
	}
	switch place {
	case "extra_body.google":
		return known["google"]
	case "messages.function_call", "messages.tool_calls.function":
		return known["messages.tool_calls"]
	}
	return known[place[:strings.IndexByte(place, '.')]]
}

// misspellings are names that some server reads as name.
func misspellings(name string) []string {
	return []string{
		strings.ToUpper(name),
		strings.ToUpper(name[:1]) + name[1:],
		strings.ToLower(name[:len(name)-1]) + strings.ToUpper(name[len(name)-1:]),
		strings.ReplaceAll(name, "k", "\u212a"),
		strings.ReplaceAll(name, "s", "\u017f"),
		strings.ReplaceAll(name, "i", "\u0131"),
		strings.ReplaceAll(name, "i", "\u0130"),
		`\u00` + fmt.Sprintf("%02x", strings.ToUpper(name)[0]) + name[1:],
		strings.ReplaceAll(name, "k", `\u212A`),
		name + `\u0000`,
		name + `\u0000` + strings.Repeat("x", 5000),
		`\ud800` + name,
		name[:1] + `\udfff` + strings.ToUpper(name[1:]),
		strings.ToUpper(name) + `\u0000x`,
	}
}

// TestNamesInOtherLetters: a name that some server reads as one that means
// something is refused, wherever names mean something, and the error says which.
func TestNamesInOtherLetters(t *testing.T) {
	for place, body := range places {
		for _, name := range knownAt(place) {
			if len(name) > 40 {
				t.Errorf("%s is longer than what is looked up", name)
			}
			for _, other := range misspellings(name) {
				if other == name {
					continue
				}
				_, err := openai.Parse(openai.ChatCompletions, fmt.Appendf(nil, body, `"`+other+`":null`))
				var refused *wire.ParseError
				if !errors.As(err, &refused) {
					t.Errorf("%s: %s passed for %s: %v", place, other, name, err)
				} else if !strings.Contains(refused.Message, name) || !strings.Contains(refused.Message, "some servers") || len(refused.Message)+len(refused.Param) > 500 {
					t.Errorf("%s: %s: %s", place, other, refused.Message)
				}
			}
		}
	}
}

// TestNamesThatAreTheClientsOwn: in schemas, arguments, metadata and members that
// nobody knows, any name goes.
func TestNamesThatAreTheClientsOwn(t *testing.T) {
	const own = `{"Model":1,"MAX_TOKENS":2,"Name":3,"TYPE":{"Function":4,"Content":[{"Tools":5}]}}`
	for place, body := range map[string]string{
		"a function's schema":   `{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":%s}}]}`,
		"an old function's":     `{"model":"m","messages":[],"functions":[{"name":"f","parameters":%s}]}`,
		"a format's schema":     `{"model":"m","messages":[],"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":%s}}}`,
		"arguments":             `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":%s}}]}]}`,
		"arguments, as text":    `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"Name\":1}"}}]}],"metadata":%s}`,
		"metadata":              `{"model":"m","messages":[],"metadata":%s}`,
		"logit_bias":            `{"model":"m","messages":[],"logit_bias":%s}`,
		"a member of the body":  `{"model":"m","messages":[],"unheard_of":%s}`,
		"a member of a message": `{"model":"m","messages":[{"role":"user","content":"a","unheard_of":%s}]}`,
		"a member of a tool":    `{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f"},"unheard_of":%s}]}`,
		"a member of a call":    `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1","unheard_of":%s}]}]}`,
		"a budget of thoughts":  `{"model":"m","messages":[],"extra_body":{"google":{"thinking_config":%s}}}`,
	} {
		if _, err := openai.Parse(openai.ChatCompletions, fmt.Appendf(nil, body, own)); err != nil {
			t.Errorf("%s: %v", place, err)
		}
	}
}

// TestNamesThatOnlyResemble pass: they fold to nothing that is known.
func TestNamesThatOnlyResemble(t *testing.T) {
	for _, name := range []string{"max_tokens_", "maxtokens", "max-tokens", " max_tokens", "ｍax_tokens", "mаx_tokens", "models_", "", "\u212a", strings.Repeat("N", 5000)} {
		mustParse(t, openai.ChatCompletions, with(`"`+name+`":1`))
	}
}

// TestBodiesThatAreCutOff: wherever a body ends, it is refused, and that is all.
func TestBodiesThatAreCutOff(t *testing.T) {
	for place, shape := range places {
		body := fmt.Sprintf(shape, `"x": [1, {"a": "\u00e9"}] `)
		for end := range len(body) {
			for _, blank := range []string{"", "  "} {
				if _, err := openai.Parse(openai.ChatCompletions, []byte(body[:end]+blank)); err == nil {
					t.Errorf("%s: %q passed", place, body[:end]+blank)
				}
			}
		}
	}
}
