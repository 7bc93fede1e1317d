package gemini

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// request is what the proxy must know of a request. It refers to the body.
type request struct {
	operation string
	head      providers.Head
	body      []byte
	events    bool // a stream is to be one of server-sent events

	asked      string   // the model, as the client names it
	model      string   // that is asked for
	texts      []string // that become input, counted one by one
	load       load
	hidden     string // what has input that the body does not show; "" for nothing
	maxOutput  int64  // the output cap, in tokens of one candidate; 0: none was asked for
	capAt      wire.Span
	configAt   wire.Span // of generationConfig; empty if it is absent or null
	configured bool      // it has a member
	candidates int64     // at least 1
	tier       string    // serviceTier
	modalities []string  // of the answer; nil: the model's
	prompts    int64     // inputs, each with the model's context to itself

	tools       []string
	hosted      []hostedTool
	entries     []entry         // of tools
	past        map[string]bool // kinds of tools at the provider that the conversation has calls of
	forced      bool            // the model must call a function
	modelsAt    []wire.Span     // where the body names the model too
	toolResults []providers.ToolResult
	schema      bool
	logprobs    bool

	doubts  providers.Doubts
	members wire.Members
	copied  int64
}

// hostedTool is a tool that runs at the provider.
type hostedTool struct {
	name string // as the API calls it
	of   string // its kind, as policies name it; "" for one that no policy can name
	at   int    // its place in tools
	in   int    // and there among the members
}

// entry is an entry of tools, which may have several.
type entry struct {
	at      wire.Span
	members []wire.Span // with their names
}

// Facts are what the rules see of the request.
func (r *request) Facts() call.Facts {
	return call.Facts{
		Dialect: Name, Endpoint: r.operation, Model: r.asked, Stream: r.operation == stream, Needs: r.needs(), Tools: r.tools,
		ToolResults: providers.Results(r.toolResults, r.body),
	}
}

func (r *request) needs() (list []string) {
	for _, need := range [...]struct {
		used bool
		name string
	}{
		{r.operation == stream, call.NeedStream},
		{len(r.tools) > 0, call.NeedTools},
		{r.load.images > 0 || r.load.document || r.load.video, call.NeedImages},
		{r.schema, call.NeedJSONSchema},
		{r.logprobs, call.NeedLogprobs},
		{r.candidates > 1, call.NeedMultipleChoices},
	} {
		if need.used {
			list = append(list, need.name)
		}
	}
	return list
}

// Field returns the string at a path of the body: see wire.Members.
func (r *request) Field(path string) (value string, ok bool) { return r.members.Field(r.body, path) }

// Rename has it ask for another model, which the path names, and some bodies beside.
func (r *request) Rename(model string) { r.model = model }

// Copied is the memory of the texts that are not in the body as they are.
func (r *request) Copied() int64 { return r.copied }

// partNoun is what the API calls a piece of a content.
const partNoun = "a part"
