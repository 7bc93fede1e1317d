package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
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
	Messages        Endpoint = "messages" // Anthropic's
)

func (e Endpoint) method() string {
	if e == Models {
		return http.MethodGet
	}
	return http.MethodPost
}

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

	messages       []message
	parameters     json.RawMessage // of the first function
	tokens         int             // of inputs that came as token ids
	base64         bool
	dimensions     int
	toolsForbidden bool
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
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
		Name   string          `json:"name"` // Anthropic's
		Schema json.RawMessage `json:"input_schema"`
	} `json:"tools"`
	ToolChoice     json.RawMessage `json:"tool_choice"`
	Prompt         json.RawMessage `json:"prompt"`
	Input          json.RawMessage `json:"input"`
	EncodingFormat string          `json:"encoding_format"`
	Dimensions     int             `json:"dimensions"`
}

// parse reads the path and body; the error says what is wrong with the body.
func (r *Request) parse(capFields []string) error {
	r.Endpoint = endpointOf(r.Path)
	r.N, r.BestOf = 1, 1
	if r.Endpoint == "" || r.Endpoint == Models {
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
	r.toolsForbidden = string(b.ToolChoice) == `"none"`
	for _, tool := range b.Tools {
		r.Tools = append(r.Tools, cmp.Or(tool.Function.Name, tool.Name))
	}
	if len(b.Tools) > 0 {
		r.parameters = append(b.Tools[0].Function.Parameters, b.Tools[0].Schema...)
	}
	r.readInputs(b.Prompt, b.Input)
	return r.readCap(capFields)
}

func endpointOf(path string) Endpoint {
	_, name, _ := strings.Cut(path, "/v1/")
	switch e := Endpoint(name); e {
	case ChatCompletions, Completions, Embeddings, Moderations, Models, Messages:
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
		total += contentBytes(m.Content)
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
	last := len(r.messages) - 1
	return last < 0 || r.messages[last].Role != "tool"
}
