package anthropic

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// request is what the proxy must know of a request body. It refers to the body.
type request struct {
	operation string
	head      providers.Head
	body      []byte

	model  string // that is asked for
	asked  string // the one that the client names
	stream bool
	// maxTokens is the output cap, in tokens. 0 asks for no output: the API then only
	// fills the prompt cache.
	maxTokens int64
	capAt     wire.Span // of its value
	thinking  int64     // tokens of the output that may be thinking; 0: it does not say
	tier      member    // service_tier
	region    string    // inference_geo; "" where the account says it
	fast      bool      // speed asks for a faster run, at a price of its own
	summaries int64     // runs that sum up the conversation
	onlySums  bool      // it is summed up, and nothing else

	texts       []string // that become input, counted one by one
	load        load
	hidden      string              // what has input that the body does not show; "" for nothing
	running     map[string][]string // calls that the provider runs, by id, which have no result: names of their tools
	cache       lifetimes
	tools       []string
	toolsAt     []wire.Span     // of the entries of tools
	hosted      []hostedTool    // those that run at the provider
	servers     bool            // the provider asks servers for more of them
	past        map[string]bool // kinds of them that the conversation has calls of
	referred    map[string]bool // tools that the conversation refers to
	chosen      string          // the tool that tool_choice names
	guarded     bool            // it asks for checks at the provider
	mustCall    bool            // it wants any tool to be called
	fallbacks   []fallback
	toolResults []providers.ToolResult
	schema      bool // the answer is to be of a JSON schema
	betas       []string

	doubts  providers.Doubts
	members wire.Members
	copied  int64
}

// member is one whose value is a word.
type member struct {
	word string
	at   wire.Span // of the value; empty if it is absent
}

// lifetimes are those that the request asks of what it writes to the cache.
type lifetimes struct{ short, long bool }

// Facts are what the rules see of the request.
func (r *request) Facts() call.Facts {
	return call.Facts{
		Dialect: Name, Endpoint: r.operation, Model: r.asked, Stream: r.stream, Needs: r.needs(), Tools: r.tools,
		ToolResults: providers.Results(r.toolResults, r.body),
	}
}

func (r *request) needs() (list []string) {
	for _, need := range [...]struct {
		used bool
		name string
	}{
		{r.stream, call.NeedStream},
		{len(r.tools) > 0, call.NeedTools},
		{r.load.images > 0, call.NeedImages},
		{r.schema, call.NeedJSONSchema},
	} {
		if need.used {
			list = append(list, need.name)
		}
	}
	return list
}

// Field returns the string at a path of the body: see wire.Members.
func (r *request) Field(path string) (value string, ok bool) { return r.members.Field(r.body, path) }

// Rename has it ask for another model.
func (r *request) Rename(model string) { r.model = model }

// Copied is the memory of the texts that are not in the body as they are.
func (r *request) Copied() int64 { return r.copied }
