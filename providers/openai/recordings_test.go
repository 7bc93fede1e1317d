package openai_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
)

var suite = providertest.Suite{
	Dialect: openai.Dialect{},
	Vendor:  "openai",
	Place:   place,
	StandIn: standIn,
	Usage:   usageTold,
	Caps:    capsIn,
	MayChange: []string{
		openai.FieldMaxTokens, openai.FieldMaxCompletionTokens, openai.FieldMaxOutputTokens, "stream_options", "service_tier",
	},
	Credentials: []func(*providers.Head, string){
		func(h *providers.Head, key string) { h.Header["Authorization"] = []string{"Bearer " + key} },
	},
	ErrorMessage: errorMessage,
}

// Most that is known of no model here, in tokens: enough that nothing is unbounded for
// want of a number.
const (
	someOutput  = 200_000
	someImage   = 30_000
	someContext = 2_000_000
)

// place puts a recording behind the proxy. What stands before the operation is the base
// URL's.
func place(r *providertest.Recording) (h providers.Head, t providers.Terms, ok bool) {
	path := r.Request.Path
	if r.Request.Method != "POST" || strings.Contains(path, "/prompts/") {
		return h, t, false
	}
	for _, operation := range [...]string{"/chat/completions", "/completions", "/embeddings", "/responses", "/responses/compact",
		"/images/generations", "/images/edits", "/audio/speech", "/audio/transcriptions", "/audio/translations"} {
		if strings.HasSuffix(path, operation) {
			provider, _, _ := strings.Cut(r.Dialect, "-")
			media := strings.HasPrefix(operation, "/images/") || strings.HasPrefix(operation, "/audio/")
			if media && provider != "openai" {
				return h, t, false // nothing published bounds theirs
			}
			t = providers.Terms{
				Provider: provider, MaxOutput: someOutput, MaxImage: someImage, Context: someContext, Priced: true,
				Obeys: providers.Obeys{CapField: openai.FieldMaxTokens, StreamUsage: true},
			}
			if provider == "openai" || provider == "azure" {
				t.Obeys.CapField = openai.FieldMaxCompletionTokens
			}
			return providers.Head{Method: "POST", Path: "/v1" + operation, Query: r.Request.Query, Header: r.Request.Header()}, t, true
		}
	}
	return h, t, false
}

func standIn(op providers.Operation, stream bool) []byte {
	body := map[string]any{"model": "m"}
	switch op.Operation {
	case "chat/completions":
		body["messages"], body["max_tokens"] = []any{map[string]string{"role": "user", "content": "x"}}, 9
	case "completions":
		body["prompt"], body["max_tokens"] = "x", 9
	case "images/generations":
		body["model"], body["prompt"] = "gpt-image-2", "x"
	case "images/edits":
		body["model"], body["prompt"], body["images"] = "gpt-image-2", "x", []any{map[string]string{"image_url": "https://x"}}
	case "audio/transcriptions", "audio/translations":
		return []byte(recordingForm)
	case "audio/speech":
		body["model"], body["input"], body["voice"] = "gpt-4o-mini-tts", "x", "alloy"
	case "responses":
		body["input"], body["max_output_tokens"] = "x", 20
	default:
		body["input"] = "x"
	}
	if stream && op.Operation != "embeddings" {
		body["stream"] = true
	}
	text, _ := json.Marshal(body)
	return text
}

// recordingForm is a form with a recording.
const recordingForm = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n" +
	"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\nID3\r\n--b--\r\n"

// usageObject is what an answer tells, by the plain words of OpenAI.
type usageObject struct {
	Prompt     *float64 `json:"prompt_tokens"`
	Completion *float64 `json:"completion_tokens"`
	Input      *float64 `json:"input_tokens"`
	Output     *float64 `json:"output_tokens"`
	Total      *float64 `json:"total_tokens"`
}

// saysMore reports whether an answer tells of no tokens what was used: how long a recording is,
// or by being speech, of which the request tells.
func saysMore(answer []byte) bool {
	var told struct {
		Usage struct {
			Type string `json:"type"`
		} `json:"usage"`
	}
	return !utf8.Valid(answer) || json.Unmarshal(answer, &told) == nil && told.Usage.Type == "duration"
}

type toldAnswer struct {
	Usage *usageObject `json:"usage"`
	Groq  struct {
		Usage *usageObject `json:"usage"`
	} `json:"x_groq"`
	Response struct {
		Usage *usageObject `json:"usage"`
	} `json:"response"`
}

func usageTold(answer []byte, _ bool) (u providertest.Usage, ok bool) {
	if saysMore(answer) {
		return u, true
	}
	payloads := [][]byte{answer}
	if text := bytes.TrimSpace(answer); len(text) == 0 || text[0] != '{' && text[0] != '[' {
		payloads = dataLines(answer)
	}
	for _, payload := range payloads {
		var told toldAnswer
		if json.Unmarshal(payload, &told) != nil {
			continue
		}
		for _, usage := range [...]*usageObject{told.Usage, told.Groq.Usage, told.Response.Usage} {
			if usage != nil && (usage.Prompt != nil || usage.Input != nil || usage.Total != nil) {
				u, ok = plainUsage(usage), true
			}
		}
	}
	return u, ok
}

func plainUsage(o *usageObject) (u providertest.Usage) {
	if o.Input != nil {
		u.Input = int64(*o.Input)
	} else if o.Prompt != nil {
		u.Input = int64(*o.Prompt)
	} else {
		u.Input = int64(*o.Total)
	}
	if o.Output != nil {
		u.Output = int64(*o.Output)
	} else if o.Completion != nil {
		u.Output = int64(*o.Completion)
	}
	return u
}

func dataLines(stream []byte) (payloads [][]byte) {
	for line := range bytes.Lines(stream) {
		if payload, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data:")); ok {
			payloads = append(payloads, bytes.TrimSpace(payload))
		}
	}
	return payloads
}

func capsIn(body []byte) (caps []int64) {
	var told struct {
		Old *int64 `json:"max_tokens"`
		New *int64 `json:"max_completion_tokens"`
		All *int64 `json:"max_output_tokens"`
	}
	if json.Unmarshal(body, &told) != nil {
		return nil
	}
	for _, c := range [...]*int64{told.Old, told.New, told.All} {
		if c != nil {
			caps = append(caps, *c)
		}
	}
	return caps
}

func errorMessage(r providers.Reply) string {
	var body struct {
		Error struct {
			Message string `json:"message"`
			Type    string `json:"type"`
		} `json:"error"`
	}
	if json.Unmarshal(r.Body, &body) != nil || body.Error.Type == "" {
		return ""
	}
	return body.Error.Message
}

func TestRules(t *testing.T) { suite.Rules(t) }

// TestRecordings reads recorded exchanges with OpenAI and with hosts that speak like it.
// Those that are not read exactly are listed in docs/recordings.md.
func TestRecordings(t *testing.T) {
	recordings := providertest.Recordings(t, "testdata/recordings")
	providertest.Listed(t, "../../docs/recordings.md", openai.Name, recordings, suite.Run(t, recordings))
}
