package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Answers of the mock, each with all that the API's own description requires of it, so
// that a client which is strict takes it. Streams have the events that begin and end them.
const (
	mockUsage = `{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}`
	mockChat  = `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-6-astra","choices":[{"index":0,"finish_reason":"stop","logprobs":null,` +
		`"message":{"role":"assistant","content":"string","refusal":null}}],"usage":` + mockUsage + `}`
	mockText = `{"id":"cmpl-1","object":"text_completion","created":1,"model":"gpt-3.5-turbo-instruct","choices":[{"index":0,"finish_reason":"stop","logprobs":null,"text":"string"}],"usage":` + mockUsage + `}`

	mockMessages = `{"object":"list","data":[{"id":"m","role":"assistant","content":"string","refusal":null}],"first_id":"m","last_id":"m","has_more":false}`
	mockModel    = `{"id":"model","object":"model","created":1,"owned_by":"openai"}`
	mockVector   = `{"object":"list","model":"text-embedding-3-small","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":3,"total_tokens":3}}`
	mockCounts   = `{"input_tokens":3,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}`
	mockResponse = `{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"gpt-6-astra","error":null,"incomplete_details":null,"instructions":null,"metadata":{},` +
		`"output":[{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"string","annotations":[]}]}],` +
		`"parallel_tool_calls":true,"temperature":1,"tool_choice":"auto","tools":[],"top_p":1,"usage":` + mockCounts + `}`
	mockImages     = `{"created":1,"data":[{"b64_json":"eA=="}],"usage":{"input_tokens":3,"input_tokens_details":{"text_tokens":3,"image_tokens":0},"output_tokens":2,"total_tokens":5}}`
	mockTranscript = `{"text":"string","usage":{"type":"tokens","input_tokens":3,"output_tokens":2,"total_tokens":5}}`

	mockItems   = `{"object":"list","data":[{"id":"msg_1","type":"message","role":"user","content":[{"type":"input_text","text":"string"}]}],"first_id":"msg_1","last_id":"msg_1","has_more":false}`
	mockCompact = `{"id":"resp_1","object":"response.compaction","created_at":1,"output":[{"id":"cmp_1","type":"compaction","encrypted_content":"x"}],"usage":` + mockCounts + `}`
)

// mockAnswers are the answers by method and path behind the version.
var mockAnswers = map[string]string{
	"POST /chat/completions":              mockChat,
	"GET /chat/completions":               `{"object":"list","data":[` + mockChat + `],"first_id":"c","last_id":"c","has_more":false}`,
	"GET /chat/completions/{id}":          mockChat,
	"POST /chat/completions/{id}":         mockChat,
	"DELETE /chat/completions/{id}":       `{"object":"chat.completion.deleted","id":"completion_id","deleted":true}`,
	"GET /chat/completions/{id}/messages": mockMessages,
	"POST /completions":                   mockText,
	"POST /embeddings":                    mockVector,
	"GET /models":                         `{"object":"list","data":[` + mockModel + `]}`,
	"GET /models/{model}":                 mockModel,
	"DELETE /models/{model}":              `{"id":"model","object":"model","deleted":true}`,
	"POST /moderations":                   `{"id":"modr-1","model":"omni-moderation-latest","results":[` + mockJudgement() + `]}`,
	"POST /responses":                     mockResponse,
	"GET /responses/{id}":                 mockResponse,
	"DELETE /responses/{id}":              "",
	"POST /responses/{id}/cancel":         mockResponse,
	"GET /responses/{id}/input_items":     mockItems,
	"POST /responses/input_tokens":        `{"object":"response.input_tokens","input_tokens":3}`,
	"POST /responses/compact":             mockCompact,
	"POST /images/generations":            mockImages,
	"POST /images/edits":                  mockImages,
	"POST /images/variations":             mockImages,
	"POST /audio/transcriptions":          mockTranscript,
	"POST /audio/translations":            `{"text":"string","usage":{"type":"duration","seconds":1}}`,
}

// mockStreams are the answers to requests for a stream.
var mockStreams = map[string]string{
	"POST /chat/completions": "data: " + `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-6-astra","choices":[{"index":0,"finish_reason":"stop","delta":{"role":"assistant","content":"string"}}]}` + "\n\n" +
		"data: " + `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-6-astra","choices":[],"usage":` + mockUsage + "}\n\ndata: [DONE]\n\n",
	"POST /completions": "data: " + mockText + "\n\ndata: [DONE]\n\n",
	"POST /responses": "event: response.created\ndata: " + `{"type":"response.created","sequence_number":0,"response":` + mockResponse + "}\n\n" +
		"event: response.completed\ndata: " + `{"type":"response.completed","sequence_number":1,"response":` + mockResponse + "}\n\n",
	"POST /images/generations":   mockDrawn("image_generation.completed"),
	"POST /images/edits":         mockDrawn("image_edit.completed"),
	"POST /audio/transcriptions": `data: {"type":"transcript.text.done","text":"string","usage":{"type":"tokens","input_tokens":3,"output_tokens":2,"total_tokens":5}}` + "\n\ndata: [DONE]\n\n",
	"GET /responses/{id}":        "event: response.completed\ndata: " + `{"type":"response.completed","sequence_number":1,"response":` + mockResponse + "}\n\n",
}

// mockDrawn is the stream of an image.
func mockDrawn(event string) string {
	return "event: " + event + "\ndata: " + `{"type":"` + event + `","b64_json":"eA==","background":"opaque","created_at":1,"output_format":"png","quality":"low","size":"1024x1024",` +
		`"usage":{"input_tokens":3,"input_tokens_details":{"text_tokens":3,"image_tokens":0},"output_tokens":2,"total_tokens":5}}` + "\n\n"
}

// mockJudgement is the result of a moderation.
func mockJudgement() string {
	verdicts, scores, kinds := map[string]bool{}, map[string]float64{}, map[string][]string{}
	for _, name := range []string{
		"harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
		"self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
	} {
		verdicts[name], scores[name], kinds[name] = false, 0.5, []string{"text"}
	}
	text, _ := json.Marshal(map[string]any{"flagged": false, "categories": verdicts, "category_scores": scores, "category_applied_input_types": kinds})
	return string(text)
}

// mockOpenAI answers OpenAI's operations as its description says that answers look, whatever
// is asked: its SDK's own tests look at no more.
func mockOpenAI() http.Handler {
	mux := http.NewServeMux()
	for route, answer := range mockAnswers {
		var method, path string
		fmt.Sscan(route, &method, &path)
		mux.HandleFunc(method+" /v1"+path, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			stream := bytes.Contains(body, []byte(`"stream":true`)) || bytes.Contains(body, []byte("name=\"stream\"\r\n\r\ntrue")) || r.URL.Query().Get("stream") == "true"
			if events := mockStreams[route]; stream && events != "" {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, events)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, answer)
		})
	}
	return mux
}
