package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Endpoint is one of the API's routes, without what precedes its name.
type Endpoint string

// The routes that a Server answers, under any prefix that ends in /v1.
const (
	ChatCompletions Endpoint = "chat/completions"
	Completions     Endpoint = "completions"
	Embeddings      Endpoint = "embeddings"
	Moderations     Endpoint = "moderations"
	Models          Endpoint = "models"
	Responses       Endpoint = "responses"
	InputTokens     Endpoint = "responses/input_tokens"
	Compact         Endpoint = "responses/compact"
	Messages        Endpoint = "messages" // Anthropic's, as the next two
	CountTokens     Endpoint = "messages/count_tokens"
	Hello           Endpoint = "/api/hello" // the whole path: a probe

	// Google's, behind the model in the path.
	GenerateContent       Endpoint = "generateContent"
	StreamGenerateContent Endpoint = "streamGenerateContent"
	CountContents         Endpoint = "countTokens"
	EmbedContent          Endpoint = "embedContent"
	BatchEmbedContents    Endpoint = "batchEmbedContents"
)

func (e Endpoint) method() string {
	switch e {
	case Models:
		return http.MethodGet
	case Hello:
		return http.MethodHead
	}
	return http.MethodPost
}

// anthropic says whether errors are in Anthropic's form.
func (e Endpoint) anthropic() bool { return e == Messages || e == CountTokens || e == Hello }

// Request is one request as it arrived.
type Request struct {
	Number int64 // 1 for the first request that this Server received
	Began  time.Time
	Method string
	Path   string
	Query  string
	Header http.Header
	Body   []byte

	// The rest is read from the path and body; zero where absent.

	Endpoint     Endpoint
	Model        string
	Stream       bool
	IncludeUsage bool     // stream_options.include_usage
	Cap          int64    // output tokens at most, 0 where none of the obeyed fields is present
	CapField     string   // where Cap was found
	N            int      // choices asked for, at least 1
	BestOf       int      // choices to generate and bill, at least N
	Tools        []string // names of the functions offered
	Inputs       []string // prompts, or texts to embed
	AfterTool    bool     // a tool's result has come since the model last spoke

	messages       []message
	custom         bool            // the first tool is a custom one
	parameters     json.RawMessage // of the first function
	tokens         int             // of inputs that came as token ids
	base64         bool
	dimensions     int
	toolsForbidden bool
	thinking       bool // of Messages
}

// message is a message, or another item of the input of a response.
type message struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	Output  json.RawMessage `json:"output"` // of a call
}

// body holds the members that a Server reads; the others it ignores.
type body struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	N        int       `json:"n"`
	BestOf   int       `json:"best_of"`
	Messages []message `json:"messages"`
	Tools    []struct {
		Function struct {
			Name       string          `json:"name"`
			Parameters json.RawMessage `json:"parameters"`
		} `json:"function"`
		Type       string          `json:"type"`
		Name       string          `json:"name"` // of Messages and Responses
		Schema     json.RawMessage `json:"input_schema"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"tools"`
	Instructions string `json:"instructions"`
	Thinking     *struct {
		Type string `json:"type"`
	} `json:"thinking"`
	ToolChoice     json.RawMessage `json:"tool_choice"`
	Prompt         json.RawMessage `json:"prompt"`
	Input          json.RawMessage `json:"input"`
	EncodingFormat string          `json:"encoding_format"`
	Dimensions     int             `json:"dimensions"`
}

// refused is the first of some members that the body has; "" for none.
func (r *Request) refused(members []string) string {
	var body map[string]json.RawMessage
	if len(members) == 0 || json.Unmarshal(r.Body, &body) != nil {
		return ""
	}
	for _, name := range members {
		if _, ok := body[name]; ok {
			return name
		}
	}
	return ""
}

// parse reads the path and body; the error says what is wrong with the body.
func (r *Request) parse(capFields []string) error {
	r.Endpoint = endpointOf(r.Path)
	r.N, r.BestOf = 1, 1
	if e, model := googleEndpoint(r.Path); e != "" {
		r.Endpoint, r.Model = e, model
		return r.parseGoogle()
	}
	if r.Endpoint == "" || r.Endpoint.method() != http.MethodPost {
		return nil
	}
	var b body
	if err := json.Unmarshal(r.Body, &b); err != nil {
		return err
	}
	r.Model, r.Stream = b.Model, b.Stream
	r.IncludeUsage = b.StreamOptions != nil && b.StreamOptions.IncludeUsage
	r.N = min(max(1, b.N), MaxChoices)
	r.BestOf = min(max(r.N, b.BestOf), MaxChoices)
	r.messages = b.Messages
	r.base64 = b.EncodingFormat == "base64"
	r.dimensions = b.Dimensions
	r.thinking = b.Thinking != nil && b.Thinking.Type != "disabled"
	r.readTools(b)
	r.readInputs(b.Prompt, b.Input)
	if b.Instructions != "" {
		r.Inputs = append(r.Inputs, b.Instructions)
	}
	r.AfterTool = afterTool(r.messages)
	return r.readCap(capFields)
}

// readTools takes the tools that a client would run, not those that the provider runs.
func (r *Request) readTools(b body) {
	r.toolsForbidden = slices.Contains([]string{`"none"`, `{"type":"none"}`}, string(b.ToolChoice))
	for _, tool := range b.Tools {
		name := cmp.Or(tool.Function.Name, tool.Name)
		if name == "" || strings.HasPrefix(tool.Type, "web_search") {
			continue
		}
		if len(r.Tools) == 0 {
			r.custom = tool.Type == "custom"
			r.parameters = slices.Concat(tool.Function.Parameters, tool.Schema, tool.Parameters)
		}
		r.Tools = append(r.Tools, name)
	}
}

// afterTool says whether a tool's result has come since the model last spoke. Agents add
// reminders of their own behind it.
func afterTool(messages []message) bool {
	for _, m := range slices.Backward(messages) {
		switch {
		case m.isToolResult():
			return true
		case m.Role == "assistant" || strings.HasSuffix(m.Type, "_call"):
			return false
		}
	}
	return false
}

// isToolResult says whether a message holds what a tool answered.
func (m message) isToolResult() bool {
	if m.Role == "tool" || strings.HasSuffix(m.Type, "_call_output") {
		return true
	}
	var parts []struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		return false
	}
	return slices.ContainsFunc(parts, func(p struct {
		Type string `json:"type"`
	}) bool {
		return p.Type == "tool_result"
	})
}

func endpointOf(path string) Endpoint {
	if path == string(Hello) {
		return Hello
	}
	_, name, _ := strings.Cut(path, "/v1/")
	switch e := Endpoint(name); e {
	case ChatCompletions, Completions, Embeddings, Moderations, Models, Responses, InputTokens, Compact, Messages, CountTokens:
		return e
	}
	return ""
}

// readCap takes the first obeyed field that is present and not null.
func (r *Request) readCap(fields []string) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(r.Body, &members); err != nil {
		return err
	}
	for _, field := range fields {
		value, present := members[field]
		if !present || bytes.Equal(value, []byte("null")) {
			continue
		}
		r.CapField = field
		return json.Unmarshal(value, &r.Cap)
	}
	return nil
}

// readInputs accepts a string, strings, token ids or lists of token ids.
func (r *Request) readInputs(fields ...json.RawMessage) {
	for _, field := range fields {
		var text string
		var texts []string
		var ids []int
		var lists [][]int
		var items []message
		switch {
		case len(field) == 0:
		case json.Unmarshal(field, &text) == nil:
			r.Inputs = append(r.Inputs, text)
		case json.Unmarshal(field, &texts) == nil:
			r.Inputs = append(r.Inputs, texts...)
		case json.Unmarshal(field, &ids) == nil:
			r.Inputs = append(r.Inputs, string(field))
			r.tokens += len(ids)
		case json.Unmarshal(field, &lists) == nil:
			for _, list := range lists {
				encoded, _ := json.Marshal(list)
				r.Inputs = append(r.Inputs, string(encoded))
				r.tokens += len(list)
			}
		case json.Unmarshal(field, &items) == nil:
			r.messages = append(r.messages, items...)
		}
	}
}

// textBytes is the length of everything that a model would read as text; a
// token id counts for the four bytes that it usually stands for.
func (r *Request) textBytes() int {
	if r.tokens > 0 {
		return 4 * r.tokens
	}
	total := 0
	for _, m := range r.messages {
		total += contentBytes(m.Content) + contentBytes(m.Output)
	}
	for _, input := range r.Inputs {
		total += len(input)
	}
	return total
}

func contentBytes(content json.RawMessage) int {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return len(text)
	}
	var parts []struct {
		Text string `json:"text"`
	}
	total := 0
	if json.Unmarshal(content, &parts) == nil {
		for _, part := range parts {
			total += len(part.Text)
		}
	}
	return total
}

// wantsTool says whether the model would call a function: some are offered,
// none is forbidden, and the last word was not a function's result.
func (r *Request) wantsTool() bool {
	if len(r.Tools) == 0 || r.toolsForbidden {
		return false
	}
	return !r.AfterTool
}
