package anthropic

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// hostedTool is a tool that runs at the provider, which the request offers.
type hostedTool struct {
	tool
	of string // its kind, as policies name it
	at int    // its place in tools
}

// hostedTypes are the kinds of tools that run at the provider, by what their types begin
// with.
var hostedTypes = map[string]string{
	"web_search_": call.WebSearch, "web_fetch_": call.WebFetch, "code_execution_": call.CodeExecution,
	"tool_search_tool_": call.ToolSearch, "advisor_": call.Advisor, "mcp_toolset": call.MCP,
}

// pricedSearches are the types of web search whose fee and rounds the API's
// documentation tells.
var pricedSearches = []string{"web_search_20250305", "web_search_20260209", "web_search_20260318"}

// hosted is the kind of a tool that runs at the provider; "" of any other.
func (t *tool) hosted() string {
	for begin, kind := range hostedTypes {
		if strings.HasPrefix(t.kind, begin) {
			return kind
		}
	}
	return ""
}

// hostedCalls are the kinds of tools that run at the provider by the names of their calls,
// or what these begin with.
var hostedCalls = map[string]string{
	"web_search": call.WebSearch, "web_fetch": call.WebFetch, "code_execution": call.CodeExecution,
	"bash_code_execution": call.CodeExecution, "text_editor_code_execution": call.CodeExecution,
	"tool_search_tool": call.ToolSearch, "advisor": call.Advisor, "mcp_tool": call.MCP,
}

// hostedCall is the kind of a call by its name, or by the type of its result.
func hostedCall(name string) string {
	longest := ""
	for begin := range hostedCalls {
		if strings.HasPrefix(name, begin) && len(begin) > len(longest) {
			longest = begin
		}
	}
	return hostedCalls[longest]
}

const (
	// rounds is how often the model runs in one call, at most: after so many runs it
	// pauses, and the client goes on with another call
	// (https://platform.claude.com/docs/en/agents-and-tools/tool-use/server-tools).
	rounds = 10
	// hostedTokens are the definition of a tool that runs at the provider and the prompt
	// that goes with it. Counts that the API told of one search are up to 2,836.
	hostedTokens = 8192
)

// host bounds the tools that run at the provider, as the policy has it, and keeps what
// becomes of them.
func (o *offer) host() *providers.Unbounded {
	r := o.request
	pending := int64(0)
	for _, calls := range r.running {
		for _, name := range calls {
			if hostedCall(name) != call.WebSearch {
				return providers.NoBound("a content block of type server_tool_use", "it has no result, so "+atProvider)
			}
			pending++
		}
	}
	var no *providers.Unbounded
	for i := range r.hosted {
		no = no.Join(o.hostOne(&r.hosted[i], pending))
	}
	if pending > 0 && o.searches == 0 && no == nil {
		no = providers.NoBound("a content block of type server_tool_use", "it has no result, so "+atProvider)
	}
	return no.Join(o.stripServers())
}

func (o *offer) hostOne(h *hostedTool, pending int64) *providers.Unbounded {
	rule := o.terms.Tools[h.of]
	switch {
	case rule.When == call.StripHosted:
		return o.strip(h)
	case rule.When == call.PriceHosted && slices.Contains(pricedSearches, h.kind):
		return o.search(h, rule, pending)
	}
	return providers.NoBound("a tool of type "+h.kind, atProvider, linesFor(h)...)
}

// linesFor are those of the policy by which a tool passes.
func linesFor(h *hostedTool) []providers.Line {
	lines := []providers.Line{providers.Strips(h.of)}
	if slices.Contains(pricedSearches, h.kind) {
		lines = append(lines, providers.Prices(h.of))
	}
	return lines
}

// search prices web search: fees, what results bring, and every round of the model with
// the whole cap. Calls of an earlier answer that have no result run first, beside the cap.
func (o *offer) search(h *hostedTool, rule call.HostedTool, pending int64) *providers.Unbounded {
	if o.searches > 0 {
		return providers.NoBound("a tool of type "+h.kind, "another one is offered beside it", providers.Strips(h.of))
	}
	if len(o.request.fallbacks) > 0 || o.request.summaries > 0 {
		return providers.NoBound("a tool of type "+h.kind, "each of its rounds may have other runs of models inside, by fallbacks or compaction", providers.Strips(h.of))
	}
	uses := rule.Calls - pending
	if h.uses > 0 {
		uses = min(uses, h.uses)
	}
	if uses < 1 {
		return providers.NoBound("a content block of type server_tool_use", "the calls that have no result are as many as the tenant's hosted_tools price")
	}
	o.searches, o.searching = uses, h
	o.bound.Input.Rereads = rounds - 1
	o.bound.Output.Rereads = rounds * (rounds - 1) / 2
	o.bound.Output.Choices = rounds
	o.bound.Beside = append(o.bound.Beside, call.Line{Usage: call.Usage{
		call.Searches: uses + pending,
		call.Input:    rule.Tokens * (uses*(rounds-1) + pending*rounds),
	}})
	return nil
}

// strip takes a tool out, unless the conversation has it already.
func (o *offer) strip(h *hostedTool) *providers.Unbounded {
	r := o.request
	if r.past[h.of] || h.name != "" && (r.chosen == h.name || r.referred[h.name]) {
		return providers.NoBound("a tool of type "+h.kind, "it is to be taken out, but the request's history or tool_choice names it")
	}
	if r.load.pages == 0 { // else the input may be all that the model reads
		o.bound.Input.Fixed -= h.tokens
	}
	o.bound.Stripped = append(o.bound.Stripped, h.kind)
	o.stripped = append(o.stripped, h.at)
	if len(o.stripped) == len(r.toolsAt) && r.mustCall {
		return providers.NoBound("a tool of type "+h.kind, "it is to be taken out, but tool_choice wants a tool, and there is no other")
	}
	return nil
}

// stripServers takes out servers of tools that the provider asks.
func (o *offer) stripServers() *providers.Unbounded {
	r := o.request
	switch {
	case !r.servers:
		return nil
	case o.terms.Tools[call.MCP].When != call.StripHosted:
		return providers.NoBound(serversMember, atProvider, providers.Strips(call.MCP))
	case r.past[call.MCP]:
		return providers.NoBound(serversMember, "they are to be taken out, but the request's history names them")
	}
	o.dropped = append(o.dropped, serversMember)
	return nil
}

// removed are the tools that are taken out, and the servers of such.
func (o *offer) removed() []string {
	if slices.Contains(o.dropped, serversMember) {
		return append(slices.Clone(o.bound.Stripped), serversMember)
	}
	return o.bound.Stripped
}

// serversMember names servers whose tools the provider calls.
const serversMember = "mcp_servers"

// toolChoice reads which tool must be called.
func (p *parser) toolChoice(name string) error {
	choice, err := p.spelled(name, choiceNames, (*parser).opaque)
	p.chosen = strings.Clone(wire.Get(choice, "name").Str)
	p.mustCall = wire.Get(choice, "type").Str == "any"
	return err
}

// mcpServers reads servers whose tools the provider calls.
func (p *parser) mcpServers(string) error {
	at, err := p.Skip()
	p.servers = err == nil && !isNothing(p.Scanner.Body[at.Start:at.End])
	return err
}

// ran notes that a tool of the provider's was called before.
func (r *request) ran(name string) {
	if kind := hostedCall(name); kind != "" {
		if r.past == nil {
			r.past = map[string]bool{}
		}
		r.past[kind] = true
	}
}
