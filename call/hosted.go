package call

// Hosted is what becomes of a tool that runs at the provider, where a request offers one.
type Hosted uint8

// What becomes of it.
const (
	DenyHosted  Hosted = iota // the request is denied
	StripHosted               // the tool is taken out
	PriceHosted               // its fees and what its results bring are held
)

// HostedTool is what a policy says of one kind of tools that run at the provider.
type HostedTool struct {
	When Hosted
	// Of one that is priced:
	Calls  int64 // of one request, at most: the cap that is sent
	Tokens int64 // of input that the result of one call adds, at most
	Fee    int64 // pico-USD for each call, where a model's price has none; 0: none is known
}

// HostedTools has a HostedTool for each kind. One that it lacks is denied.
type HostedTools map[string]HostedTool

// Kinds of tools that run at a provider, as policies name them.
const (
	WebSearch       = "web_search"
	WebFetch        = "web_fetch"
	FileSearch      = "file_search"
	CodeExecution   = "code_execution"
	ImageGeneration = "image_generation"
	ToolSearch      = "tool_search"
	MCP             = "mcp"
	Advisor         = "advisor"
)

// HostedKinds are all kinds.
var HostedKinds = [...]string{WebSearch, WebFetch, FileSearch, CodeExecution, ImageGeneration, ToolSearch, MCP, Advisor}

// HostedFee is the unit of the fee for each call of a kind; priced is false of kinds that
// nothing bounds yet, which can only be stripped or denied.
func HostedFee(kind string) (fee Unit, priced bool) {
	return Searches, kind == WebSearch
}
