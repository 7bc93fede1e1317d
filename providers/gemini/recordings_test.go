package gemini_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/gemini"
	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
)

type headers = map[string][]string

var suite = providertest.Suite{
	Dialect:   gemini.Dialect{},
	Vendor:    "google",
	Header:    headers{"X-Goog-Api-Client": {"gl-python/3.13"}},
	Place:     place,
	StandIn:   standIn,
	Usage:     usageTold,
	Caps:      capsIn,
	MayChange: []string{"generationConfig", "generation_config", "tools"},
	Credentials: []func(*providers.Head, string){
		func(h *providers.Head, key string) { h.Header["X-Goog-Api-Key"] = []string{key} },
		func(h *providers.Head, key string) { h.Header["Authorization"] = []string{"Bearer " + key} },
		func(h *providers.Head, key string) { h.Query = "alt=sse&key=" + key },
	},
	ErrorMessage: errorMessage,
}

// Limits of a model here, in tokens: the most that is known of any.
const (
	someOutput  = 65_536
	someContext = 1_048_576
)

// place is where a recording is held against the dialect. Vertex AI has the same bodies behind other paths.
func place(r *providertest.Recording) (h providers.Head, t providers.Terms, ok bool) {
	_, method, found := strings.Cut(r.Request.Path, "/models/")
	if !found || r.Request.Method != "POST" || !strings.HasPrefix(r.Dialect, "gemini-") && !strings.HasPrefix(r.Dialect, "vertex-") && !strings.HasPrefix(r.Dialect, "pydantic-gateway-gemini") {
		return h, t, false
	}
	if !strings.HasSuffix(method, "enerateContent") && !strings.HasSuffix(method, ":embedContent") && !strings.HasSuffix(method, ":batchEmbedContents") || strings.HasSuffix(method, ":batchGenerateContent") {
		return h, t, false
	}
	h = providers.Head{Method: "POST", Path: "/v1beta/models/" + method, Query: r.Request.Query, Header: r.Request.Header()}
	return h, providers.Terms{
		Provider: "google", MaxOutput: someOutput, Context: someContext,
		Allow: &call.Allow{Names: [call.ExtraKinds][]string{call.ExtraQuery: {"$alt*"}}},
		Tools: call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 10, Tokens: 4096}},
	}, true
}

func standIn(op providers.Operation, _ bool) []byte {
	switch op.Operation {
	case call.BatchEmbedContents:
		return []byte(`{"requests":[{"content":{"parts":[{"text":"x"}]}}]}`)
	case call.EmbedContent:
		return []byte(`{"content":{"parts":[{"text":"x"}]}}`)
	}
	return []byte(`{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"candidateCount":8}}`)
}

// told are the counts of an answer, by the words of the API.
type told struct {
	Prompt     *int64 `json:"promptTokenCount"`
	Tools      *int64 `json:"toolUsePromptTokenCount"`
	Candidates *int64 `json:"candidatesTokenCount"`
	Thoughts   *int64 `json:"thoughtsTokenCount"`
	Total      *int64 `json:"totalTokenCount"`
}

func (u *told) take(later told) {
	for into, from := range map[**int64]*int64{
		&u.Prompt: later.Prompt, &u.Tools: later.Tools, &u.Candidates: later.Candidates, &u.Thoughts: later.Thoughts, &u.Total: later.Total,
	} {
		if from != nil {
			*into = from
		}
	}
}

func usageTold(answer []byte, stream bool) (u providertest.Usage, ok bool) {
	payloads := [][]byte{answer}
	if bytes.HasPrefix(bytes.TrimSpace(answer), []byte("data:")) {
		payloads = nil
		for line := range bytes.Lines(answer) {
			if payload, found := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data:")); found {
				payloads = append(payloads, payload)
			}
		}
	} else if bytes.HasPrefix(bytes.TrimSpace(answer), []byte("[")) {
		var list []json.RawMessage
		if json.Unmarshal(answer, &list) != nil {
			return u, false
		}
		payloads = nil
		for _, payload := range list {
			payloads = append(payloads, payload)
		}
	}
	var all told
	for _, payload := range payloads {
		var event struct {
			Usage *told `json:"usageMetadata"`
		}
		if json.Unmarshal(payload, &event) == nil && event.Usage != nil && event.Usage.Prompt != nil {
			all.take(*event.Usage)
			ok = true
		}
	}
	value := func(n *int64) int64 {
		if n == nil {
			return 0
		}
		return *n
	}
	u.Input = value(all.Prompt) + value(all.Tools)
	u.Output = max(value(all.Candidates)+value(all.Thoughts), value(all.Total)-u.Input)
	return u, ok
}

func capsIn(body []byte) []int64 {
	var asked struct {
		Config, Snake struct {
			Cap *int64 `json:"maxOutputTokens"`
		}
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return nil
	}
	for _, name := range []string{"generationConfig", "generation_config"} {
		if json.Unmarshal(members[name], &asked.Config) == nil && asked.Config.Cap != nil {
			return []int64{*asked.Config.Cap}
		}
		var snake struct {
			Cap *int64 `json:"max_output_tokens"`
		}
		if json.Unmarshal(members[name], &snake) == nil && snake.Cap != nil {
			return []int64{*snake.Cap}
		}
	}
	return nil
}

func errorMessage(r providers.Reply) string {
	var body struct {
		Error struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
			Status  string `json:"status"`
		} `json:"error"`
	}
	text := bytes.TrimSpace(r.Body)
	if bytes.HasPrefix(text, []byte("[")) {
		text = text[1 : len(text)-1]
	}
	if json.Unmarshal(text, &body) != nil || body.Error.Status == "" || body.Error.Code != r.Status {
		return ""
	}
	return body.Error.Message
}

func TestRules(t *testing.T) { suite.Rules(t) }

// TestRecordings reads recorded exchanges with the API. Those that are not read exactly
// are listed in docs/recordings.md.
func TestRecordings(t *testing.T) {
	recordings := providertest.Recordings(t, "testdata/recordings")
	providertest.Listed(t, "../../docs/recordings.md", gemini.Name, recordings, suite.Run(t, recordings))
}
