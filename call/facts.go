package call

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Facts are what a call is: what a policy's rules see of it, what a receipt tells, and
// what the decision is made of again from the receipt. A dialect fills in what the
// request says, whoever runs the call who makes it and where it goes, the gate what it
// is bounded by. Secrets and prompts are never among them.
type Facts struct {
	Tenant string
	Key    string // the key's id in the policy, never the key; "" without one
	Run    Name   // "" without a run
	User   Name   // the end user, "" without

	Dialect  string // the API that is called: "openai"; "" of an action, and where a Go program does not tell
	Endpoint string // the operation: "chat/completions"; of an action ActionEndpoint and its kind
	Upstream string
	Model    string // as the caller named it, or what its alias stands for
	// InsteadOf is the model that the caller named where a budget was exhausted for it, and Model is called in its place.
	InsteadOf string
	Service   string // the service tier that is asked for there, as it is sent; "" for none
	Stream    bool

	// Needs are the capabilities that it needs, its operation's own first; what
	// follows from other facts, AddImplied adds.
	Needs []string
	// Tools are the names of the tools and functions offered; of a tool that runs at the
	// provider its type, and "" of one that has no name.
	Tools []string
	// ToolResults are the results of tools that it brings: those that answer the last
	// turn of the model.
	ToolResults []ToolResult

	Depth   int64 // of the recursion that it comes from
	Nonce   Name  // "" without
	Attempt int64 // of the call with that nonce; 0: the first
	Counted bool  // an earlier attempt counts in rates and tool calls, and has spent the nonce

	ActionID Name // of an action, with its tenant
	Target   Name // of an action
	Tool     Name // of an action

	InputTokens int64    // at most
	InputBound  string   // how InputTokens was found: "exact", "bytes", "context" or "caller"
	OutputCap   int64    // tokens of one choice, at most: the cap that is sent, unless Uncapped
	LeastCap    int64    // the least OutputCap that the call can be sent with; 0: any
	Uncapped    bool     // no cap is sent, and OutputCap is the model's context
	Choices     int64    // how many outputs are paid for
	ExtraOutput int64    // tokens that can be billed beside the caps, of all choices together
	Kinds       Kinds    // of tokens that it may use, beside those of Plain
	Services    []string // service tiers beside the standard one that it may be served at
	Region      string   // AnyRegion where the provider's account chooses it; else ""

	// InputRereads is how often the model may read the input again, at most MaxRereads: once
	// after each call of a tool that runs at the provider, in a round of its own.
	InputRereads int64
	// OutputRereads is how often a token of the caps may be read as input by later rounds, at
	// most MaxRereads: as the input, where the cap bounds all rounds together.
	OutputRereads int64
	// Beside is what it may use beside all that, at most. A line without a Key is of its
	// own model: fees, and input tokens that results of tools add to all rounds together.
	// Others are whole runs of a model inside the call. Their tokens may be of any of
	// Kinds.
	Beside []Line

	OutputTokens int64 // at most, of all choices together: MostOutput, once it is known
	Cost         int64 // nano-USD, at most: what the bounds come to at the price
	Free         bool  // it costs nothing there (see FreeSomewhere), and no limit of money concerns it
}

// ToolResult is the result of one tool call that a call brings.
type ToolResult struct {
	ID   Name   // of the tool call
	Tool string // its name; "" if the request does not tell
}

// ActionEndpoint begins the endpoint of what is no LLM call, before its kind.
const ActionEndpoint = "actions/"

// Action is the kind of an action that is no LLM call; "" for one that is.
func (f *Facts) Action() string {
	kind, ok := strings.CutPrefix(f.Endpoint, ActionEndpoint)
	if !ok {
		return ""
	}
	return kind
}

// MaxRereads is more than any API's rounds come to.
const MaxRereads = 10_000

// MostOutput is how many tokens all choices together can write, at most.
func (f *Facts) MostOutput() int64 { return f.OutputCap*f.Choices + f.ExtraOutput }

// MostInput is how many tokens all rounds of its own model together can read, at most,
// and how many one of them.
func (f *Facts) MostInput() (all, round int64) {
	for i := range f.Beside {
		if l := &f.Beside[i]; l.Key == (Key{}) {
			all += l.Usage.InputTokens()
		}
	}
	round = f.InputTokens + all + f.MostOutput()
	return all + f.InputTokens*(1+f.InputRereads) + f.OutputCap*f.OutputRereads, round
}

// SetNames fills in what the caller named, in one piece of memory; "" for what it did
// not.
func (f *Facts) SetNames(run, user, nonce string) {
	var room [3 * NameBytes]byte
	text := appendHash(room[:0], run)
	afterRun := len(text)
	text = appendHash(text, user)
	afterUser := len(text)
	all := Name(appendHash(text, nonce))
	f.Run, f.User, f.Nonce = all[:afterRun], all[afterRun:afterUser], all[afterUser:]
}

// Name is what counters and receipts call something that callers name as they like, such
// as a run, an end user or a nonce, so that neither tells it: the first 128 bits of its
// SHA-256, in hex. "" is no name.
type Name string

// NameBytes is the length of a Name.
const NameBytes = 32

// HashName is the Name of a text. "" stays "".
func HashName(text string) Name {
	var room [NameBytes]byte
	return Name(appendHash(room[:0], text))
}

func appendHash(dst []byte, text string) []byte {
	if text == "" {
		return dst
	}
	sum := sha256.Sum256([]byte(text))
	return hex.AppendEncode(dst, sum[:NameBytes/2])
}
