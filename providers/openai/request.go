package openai

import (
	"strconv"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// MaxChoices bounds n and best_of each; OpenAI takes 128 and 20. A request beyond it is
// refused with a ParseError.
const MaxChoices = 1 << 10

// Names of the output cap's field. Upstreams differ in which of them they obey.
const (
	FieldMaxTokens           = "max_tokens"
	FieldMaxCompletionTokens = "max_completion_tokens"

	// FieldNone stands for an upstream that takes none of them.
	FieldNone = "none"
)

// asSent reports whether an upstream takes a body only as its client sent it: with no cap of
// ours, and no tier. There the model's own maximum bounds the output.
func asSent(at *providers.Terms) bool { return at.Obeys.CapField == FieldNone }

// Reasons in Request.Unbounded: the wire path of what carries an input or a
// fee whose size the body does not show. Extensions of other servers that do are
// named by their own top-level member.
const (
	UnboundedAudioID   = "messages.audio"             // earlier audio, by id
	UnboundedWebSearch = "web_search_options"         // a fee per search, and its results
	UnboundedZeroCap   = "max_tokens"                 // 0, which not all servers read as no output
	UnboundedCacheRole = "messages.role"              // cache: input stored earlier, by id
	UnboundedModality  = "modalities"                 // output that is neither text nor audio
	UnboundedExtras    = "members that are not known" // more than can be judged
)

// Request is what the proxy must know of a request body. It refers to the
// body, which must not change while the Request is in use. Model and Tools have
// memory of their own, and may outlive it.
type Request struct {
	Endpoint Endpoint
	Model    string
	Stream   bool
	// IncludeUsage says that the client itself asked for usage in the stream.
	IncludeUsage bool
	// Choices is how many outputs the request pays for, each as long as its
	// cap: n or best_of, whichever is larger, for each prompt, at most
	// MaxChoices × MaxElements. Embeddings have none.
	Choices int64
	// Texts are all texts that become input tokens. They are counted one by
	// one; Overhead adds what they do not show.
	Texts []string
	// Prediction is the predicted output (the prediction field). Tokens of it
	// that the answer does not use are billed as output beside the cap, each at
	// most once, so an output is at most its cap plus the tokens of these.
	// https://platform.openai.com/docs/guides/predicted-outputs
	Prediction []string
	// Tools are the names of the tools and functions offered, at most MaxTools; of
	// a tool that runs at the provider its type, and "" of one that has no name.
	Tools []string
	// ToolResults are the results of tools that this request brings: those after
	// the last message of the assistant, at most MaxTools.
	ToolResults []providers.ToolResult
	// Unbounded names what makes the cost unbounded, each reason once. Empty is
	// the only safe value; a policy may know better.
	Unbounded []string
	// AudioOutput says that audio was asked for, so that any output token may
	// be an audio token. The output cap covers these too.
	AudioOutput bool
	// ZeroCap says that a completion has an output cap of 0. See ImpliedCap.
	ZeroCap bool
	// CacheControl says that the request marks what its provider is to write to
	// a prompt cache, in the way of Anthropic's API.
	CacheControl bool
	// What the request uses, for allowlists.
	Images          bool
	JSONSchema      bool // a structured output (response_format json_schema)
	Logprobs        bool
	PredictedOutput bool
	MultipleChoices bool // n or best_of above 1

	// Previous is the id of the response that this one goes on from, "" for none.
	Previous string

	ServiceTier string // empty: the provider project's default

	head   providers.Head
	extras extras
	query  string // as SeeQuery has left it

	unthinking       bool // enable_thinking is false
	thinkingDisabled bool // thinking.type is disabled
	thinkingOverlaid bool // extra_body may say otherwise

	body     []byte
	copied   int64
	members  wire.Members // of the body
	caps     [3]outputCap
	includes includeUsage

	n, bestOf, prompts int64
	load               load

	calls   wire.Span         // tool_calls of the last message of the assistant
	called  map[string]string // names of the tools that a response called last, by the call's id
	results int64             // tool results since then

	// Of a response:
	references   []string     // ids of items that the provider keeps
	ranThere     []hostedCall // items of what ran at the provider, that have ids
	hosted       []hostedTool
	offers       []wire.Span     // of the entries of tools
	said         map[string]bool // kinds of tools at the provider that its history tells of
	chosen       []string        // types of tools that tool_choice names
	mustCall     bool            // it wants any tool to be called
	unstored     bool            // the provider is to keep nothing
	truncated    bool            // it may leave out a part of its input
	rendering    string          // how it is to read what went before, in words of the API; "" as ever
	maxToolCalls int64           // 0: it has no such cap

	drawing drawing    // images that are asked for
	sound   sound      // what is to be spoken, or written down
	form    []byte     // the body as it came, where it is a form
	modelAt modelField // in that

	asked string // the model that the client names

	media      []string // types of parts of a chat that are more than text and images
	audioInput bool
	longWrites bool // something is to stay in the cache for twelve hours
}

// outputCap is one of the cap fields.
type outputCap struct {
	tokens int64
	set    bool
}

// includeUsage is where stream_options.include_usage is, or belongs.
type includeUsage struct {
	value wire.Span // of include_usage, empty if absent
	last  int       // end of the last member inside stream_options, 0 if it has none
}

// Parse reads a request body of the OpenAI dialect. The error is a *ParseError.
//
// It is strict where money depends on the meaning: no duplicate names, no bad
// UTF-8, nothing after the object, no value of a wrong type coerced to the
// right one. Null counts as absent, as at OpenAI. A name that
// some server reads as one that means something, because it differs from it by case
// alone, is refused; other unknown members pass, and are counted as if a template
// put them in the prompt.
func Parse(endpoint Endpoint, body []byte) (*Request, error) {
	r := &Request{Endpoint: endpoint, body: body, n: 1, bestOf: 1, prompts: 1}
	if err := r.parse(); err != nil {
		return nil, err
	}
	return r, nil
}

// parse reads the request's body.
func (r *Request) parse() error {
	p := parser{Scanner: wire.NewScanner(r.body), Request: r}
	defer p.Free()
	if err := p.request(); err != nil {
		return err
	}
	r.copied = p.Scanner.Copied
	return nil
}

// Rename has the request ask for another model.
func (r *Request) Rename(model string) { r.Model = model }

// rename is the edit of the body that names another model, if it has to.
func (r *Request) rename() []wire.Splice {
	switch {
	case r.Model == r.asked:
		return nil
	case r.form != nil:
		return r.modelAt.named(r.Model)
	}
	return []wire.Splice{r.members.Set("model", strconv.Quote(r.Model))}
}

// Copied is how much memory the request takes beside the body, in bytes: that of
// texts which are not in the body as they are, because it has them with escapes.
func (r *Request) Copied() int64 { return r.copied }

// Prompts is how many prompts or inputs the request has, each with the model's
// context to itself: 1 for a chat.
func (r *Request) Prompts() int64 { return r.prompts }

// Cap returns the output cap, in tokens per choice, that the client put in this
// field; ok is false if it is absent or null.
func (r *Request) Cap(field string) (tokens int64, ok bool) {
	c := r.caps[capIndex(field)]
	return c.tokens, c.set
}

// AskedCap is Cap of the field that this one means for the endpoint, or where that is
// absent the cap in the other. An upstream that obeys only one field does not enforce
// the other until Rewrite has moved it.
func (r *Request) AskedCap(field string) (tokens int64, ok bool) {
	field = r.capField(field)
	if tokens, ok = r.Cap(field); ok {
		return tokens, true
	}
	return r.Cap(otherCap(field))
}

// Silent reports whether the request asks for no output, by every cap that it has:
// any of them may be the one that is obeyed.
func (r *Request) Silent() bool {
	for _, c := range r.caps {
		if c.tokens > 0 {
			return false
		}
	}
	return r.ZeroCap
}

func capIndex(field string) int {
	switch field {
	case FieldMaxCompletionTokens:
		return 1
	case FieldMaxOutputTokens:
		return 2
	}
	return 0
}

func otherCap(field string) string {
	if field == FieldMaxCompletionTokens {
		return FieldMaxTokens
	}
	return FieldMaxCompletionTokens
}

// Field returns the string at a path of the body: see wire.Members.
func (r *Request) Field(path string) (value string, ok bool) { return r.members.Field(r.body, path) }

// unbounded notes a reason, once.
func (r *Request) unbounded(reason string) {
	for _, known := range r.Unbounded {
		if known == reason {
			return
		}
	}
	r.Unbounded = append(r.Unbounded, reason)
}
