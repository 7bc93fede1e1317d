package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// google says whether an endpoint is of Google's API, whose model stands in the path.
func (e Endpoint) google() bool {
	switch e {
	case GenerateContent, StreamGenerateContent, CountContents, EmbedContent, BatchEmbedContents:
		return true
	}
	return false
}

// googleEndpoint is the endpoint of a path as /v1beta/models/MODEL:METHOD, and its model.
func googleEndpoint(path string) (e Endpoint, model string) {
	_, rest, found := strings.Cut(path, "/models/")
	model, method, named := strings.Cut(rest, ":")
	if e = Endpoint(method); !found || !named || !e.google() {
		return "", ""
	}
	return e, model
}

// googleText is a content whose texts are to be embedded.
type googleText struct {
	Parts []struct {
		Text string `json:"text"`
	} `json:"parts"`
}

func (t googleText) text() string {
	var all []string
	for _, part := range t.Parts {
		all = append(all, part.Text)
	}
	return strings.Join(all, "")
}

// googleBody holds the members of Google's API that a Server reads.
type googleBody struct {
	Contents []struct {
		Role  string            `json:"role"`
		Parts []json.RawMessage `json:"parts"`
	} `json:"contents"`
	System   googleText  `json:"systemInstruction"`
	Content  *googleText `json:"content"`
	Requests []struct {
		Content googleText `json:"content"`
	} `json:"requests"`
	Tools []struct {
		Functions []struct {
			Name       string          `json:"name"`
			Parameters json.RawMessage `json:"parameters"`
			Schema     json.RawMessage `json:"parametersJsonSchema"`
		} `json:"functionDeclarations"`
	} `json:"tools"`
	Config struct {
		Cap        json.Number `json:"maxOutputTokens"`
		Candidates int         `json:"candidateCount"`
	} `json:"generationConfig"`
}

// parseGoogle reads a body of Google's API, with the members in the spelling of its reference.
func (r *Request) parseGoogle() error {
	var b googleBody
	if err := json.Unmarshal(r.Body, &b); err != nil {
		return err
	}
	r.Stream = r.Endpoint == StreamGenerateContent
	r.N = min(max(1, b.Config.Candidates), MaxChoices)
	r.BestOf = r.N
	if b.Config.Cap != "" {
		r.CapField = "maxOutputTokens"
		r.Cap, _ = b.Config.Cap.Int64()
	}
	for _, part := range b.System.Parts {
		r.Inputs = append(r.Inputs, part.Text)
	}
	if b.Content != nil {
		r.Inputs = append(r.Inputs, b.Content.text())
	}
	for _, one := range b.Requests {
		r.Inputs = append(r.Inputs, one.Content.text())
	}
	for _, content := range b.Contents {
		m := message{Role: content.Role, Content: encode(content.Parts)}
		switch {
		case content.Role == "model":
			m.Role = "assistant"
		case strings.Contains(string(m.Content), `"functionResponse"`):
			m.Role = "tool"
		}
		r.messages = append(r.messages, m)
	}
	for _, tool := range b.Tools {
		for _, f := range tool.Functions {
			if len(r.Tools) == 0 {
				r.parameters = append(f.Parameters, f.Schema...)
			}
			r.Tools = append(r.Tools, f.Name)
		}
	}
	r.AfterTool = afterTool(r.messages)
	return nil
}

// googleReasons are the API's words for why a candidate ended.
var googleReasons = map[string]string{"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}

// googleAnswer is an answer, whole or a piece of a stream.
type googleAnswer struct {
	Candidates []googleCandidate `json:"candidates"`
	Usage      json.RawMessage   `json:"usageMetadata,omitempty"`
	Model      string            `json:"modelVersion"`
	ID         string            `json:"responseId"`
	Padding    string            `json:"padding,omitempty"`
}

type googleCandidate struct {
	Content struct {
		Parts []googlePart `json:"parts"`
		Role  string       `json:"role"`
	} `json:"content"`
	Finish    string           `json:"finishReason,omitempty"`
	Index     int              `json:"index"`
	Grounding *googleGrounding `json:"groundingMetadata,omitempty"`
}

type googleGrounding struct {
	Queries []string `json:"webSearchQueries"`
}

// grounding tells the searches that were made for an answer; nil of none.
func grounding(searches int64) *googleGrounding {
	if searches == 0 {
		return nil
	}
	g := &googleGrounding{}
	for i := range searches {
		g.Queries = append(g.Queries, fmt.Sprintf("query %d", i+1))
	}
	return g
}

type googlePart struct {
	Text *string     `json:"text,omitempty"`
	Call *googleCall `json:"functionCall,omitempty"`
}

type googleCall struct {
	Name string          `json:"name"`
	Args json.RawMessage `json:"args"`
}

// google writes usage as Google does: thoughts lie beside the candidates.
func (u Usage) google() json.RawMessage {
	b := map[string]any{"promptTokenCount": u.Prompt, "totalTokenCount": u.Total(), "serviceTier": "standard"}
	for name, n := range map[string]int64{
		"candidatesTokenCount": u.Completion - u.Reasoning, "thoughtsTokenCount": u.Reasoning, "cachedContentTokenCount": u.Cached,
	} {
		if n > 0 {
			b[name] = n
		}
	}
	return encode(b)
}

func candidate(index int, finish string, parts ...googlePart) googleCandidate {
	c := googleCandidate{Finish: finish, Index: index}
	c.Content.Parts, c.Content.Role = parts, "model"
	return c
}

// contents answers a request of Google's API: whole, as events, or as an array.
func contents(r *Request, a Answer, usage Usage) reply {
	choices := generateAll(r, a, &usage)
	body := googleAnswer{Model: cmp.Or(a.Model, r.Model), ID: id("resp", r), Padding: strings.Repeat("x", a.PadBytes)}
	if r.Stream {
		return contentStream(r, a, body, choices, usage)
	}
	for i, c := range choices {
		text := c.text()
		part := googlePart{Text: &text}
		if c.tool.Name != "" {
			part = googlePart{Call: &googleCall{c.tool.Name, json.RawMessage(text)}}
		}
		body.Candidates = append(body.Candidates, candidate(i, googleReasons[c.finish], part))
		body.Candidates[i].Grounding = grounding(usage.Searches)
	}
	if !a.NoUsage {
		body.Usage = usage.google()
	}
	return document(body, usage, a)
}

// contentStream sends the tokens of each candidate one by one, with what was used so far, and at last why it ended. A
// function comes whole.
func contentStream(r *Request, a Answer, body googleAnswer, choices []choice, usage Usage) reply {
	s := googleStream{stream: stream{odd: a.OddWhitespace}, array: !strings.Contains(r.Query, "alt=sse")}
	sofar := Usage{Prompt: usage.Prompt, Cached: usage.Cached}
	send := func(c googleCandidate, used, tokens int64) {
		sofar.Completion += used
		body.Candidates = []googleCandidate{c}
		if body.Usage = sofar.google(); a.NoUsage {
			body.Usage = nil
		}
		s.chunk(encode(body), tokens)
		body.Padding = ""
	}
	for i, c := range choices {
		sofar.Completion += c.billed.Reasoning
		sofar.Reasoning += c.billed.Reasoning
		if c.tool.Name != "" {
			send(candidate(i, "", googlePart{Call: &googleCall{c.tool.Name, json.RawMessage(c.text())}}), int64(len(c.tokens)), c.billed.Completion)
		} else {
			for _, token := range c.tokens {
				send(candidate(i, "", googlePart{Text: &token}), 1, 1)
			}
		}
		if i == len(choices)-1 {
			sofar = usage
		}
		if empty := ""; !a.NoDone {
			last := candidate(i, googleReasons[c.finish], googlePart{Text: &empty})
			last.Grounding = grounding(usage.Searches)
			send(last, 0, 0)
		}
	}
	s.close()
	return reply{status: 200, stream: !s.array, usage: usage, pieces: s.pieces, broken: s.broken()}
}

// googleDimensions is the length of gemini-embedding-001's vectors.
const googleDimensions = 3072

// contentEmbeddings answers with one vector for each text.
func contentEmbeddings(r *Request, a Answer, usage Usage) reply {
	if len(r.Inputs) == 0 {
		return googleFailure(http.StatusBadRequest, "There is nothing to embed.")
	}
	vectors := make([]map[string]any, len(r.Inputs))
	for i, text := range r.Inputs {
		vectors[i] = map[string]any{"values": embed(text, googleDimensions)}
	}
	body := map[string]any{"embeddings": vectors}
	if r.Endpoint == EmbedContent {
		body = map[string]any{"embedding": vectors[0]}
	}
	if !a.NoUsage {
		body["usageMetadata"] = map[string]int64{"promptTokenCount": usage.Prompt}
	}
	return document(body, usage, a)
}

// googleStream is a stream of answers: events, or the elements of an array.
type googleStream struct {
	stream
	array bool
}

func (s *googleStream) chunk(data []byte, tokens int64) {
	switch {
	case !s.array:
		s.event(data, tokens)
	case len(s.pieces) == 0:
		s.pieces = append(s.pieces, piece{append([]byte("["), data...), tokens})
	default:
		s.pieces = append(s.pieces, piece{append([]byte(",\r\n"), data...), tokens})
	}
}

func (s *googleStream) close() {
	if s.array {
		s.pieces = append(s.pieces, piece{data: []byte("]")})
	}
}

// broken is how a stream breaks off that has begun.
func (s *googleStream) broken() *piece {
	body := `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`
	if s.array {
		return &piece{data: []byte(",\r\n" + body + "]")}
	}
	return &piece{data: []byte("data: " + body + "\r\n\r\n")}
}

// googleWords are the API's words by status.
var googleWords = map[int]string{
	400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED",
	500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}

// googleFailure is an error body as Google writes it.
func googleFailure(status int, message string) reply {
	body := fmt.Appendf(nil, `{"error":{"code":%d,"message":%q,"status":%q}}`, status, cmp.Or(message, http.StatusText(status)), cmp.Or(googleWords[status], "UNKNOWN"))
	return reply{status: status, pieces: []piece{{data: body}}}
}
