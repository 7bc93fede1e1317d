package openai

import (
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// fieldMaxToolCalls caps the calls of tools at the provider, of all kinds together, in one
// response (package openai 3.57.0, types/responses/response_create_params.py).
const fieldMaxToolCalls = "max_tool_calls"

// hostedTool is a tool that runs at the provider, as it is offered.
type hostedTool struct {
	kind   string       // its type
	entry  int          // its number in tools
	inItem bool         // an item of the input brings it, or a namespace
	extras []call.Extra // members of it that the API is not known to have
}

// hostedKinds are the kinds of tools by which a policy says what becomes of each type. A
// preview of the search has a fee of its own, which no price has.
var hostedKinds = map[string]string{
	"web_search": call.WebSearch, "web_search_2025_08_26": call.WebSearch,
	"web_search_preview": call.WebSearch, "web_search_preview_2025_03_11": call.WebSearch,
	"file_search": call.FileSearch, "code_interpreter": call.CodeExecution, "shell": call.CodeExecution,
	"image_generation": call.ImageGeneration, "mcp": call.MCP, "tool_search": call.ToolSearch,
	// xAI's:
	"x_search": call.WebSearch, "collections_search": call.FileSearch, "code_execution": call.CodeExecution,
}

// priced are the types whose fee is that of a price's searches.
var priced = []string{"web_search", "web_search_2025_08_26"}

// capsCalls are the providers that are known to obey fieldMaxToolCalls.
var capsCalls = []string{"openai", "azure"}

// saidKinds are the kinds of tools that ran, by the items that tell of it.
var saidKinds = map[string]string{
	"x_search_call": call.WebSearch, "web_search_call": call.WebSearch, "file_search_call": call.FileSearch, "code_interpreter_call": call.CodeExecution,
	"image_generation_call": call.ImageGeneration, "mcp_list_tools": call.MCP, "mcp_call": call.MCP, "mcp_approval_request": call.MCP,
}

// isHosted reports whether a type is one of the tools that were offered and run at the
// provider.
func (r *Request) isHosted(kind string) bool {
	return slices.ContainsFunc(r.hosted, func(t hostedTool) bool { return t.kind == kind })
}

// admitHosted says why tools that run at the provider have no bound there; nil where all
// have, or are taken out.
func (r *Request) admitHosted(at *providers.Terms, h *host) (no *providers.Unbounded) {
	for i := range r.hosted {
		no = no.Join(r.refuseHosted(&r.hosted[i], at, h))
	}
	return no
}

func (r *Request) refuseHosted(t *hostedTool, at *providers.Terms, h *host) *providers.Unbounded {
	offered := call.Extra{Kind: call.ExtraTool, Name: t.kind}
	if at.Allow.Has(call.ExtraTool, t.kind) {
		return nil
	}
	kind := hostedKinds[t.kind]
	switch at.Tools[kind].When {
	case call.StripHosted:
		if t.inItem || r.said[kind] || slices.Contains(r.chosen, t.kind) {
			return providers.NoBound(naming(offered), "hosted_tools of the policy takes it out, and the request's history or its choice of a tool names it", h.cure(offered)...)
		}
		if r.mustCall && len(r.stripped(at)) == len(r.offers) {
			return providers.NoBound(naming(offered), "hosted_tools of the policy takes it out, and tool_choice wants a tool, and there is no other", h.cure(offered)...)
		}
		return nil
	case call.PriceHosted:
		return h.refusePriced(t, at)
	}
	no := h.refuses(offered, at)
	if no != nil && kind != "" {
		lines := &no.Causes[0].Lines
		*lines = append(*lines, providers.Strips(kind))
		if h.refusePriced(t, at) == nil {
			*lines = append(*lines, providers.Prices(kind))
		}
	}
	return no
}

// refusePriced says why a tool that the policy prices has no bound all the same.
func (h *host) refusePriced(t *hostedTool, at *providers.Terms) (no *providers.Unbounded) {
	offered := call.Extra{Kind: call.ExtraTool, Name: t.kind}
	if !slices.Contains(priced, t.kind) {
		return providers.NoBound(naming(offered), "its fee is not the one of a price's searches", h.cure(offered)...)
	}
	if asSent(at) {
		return providers.NoBound(naming(offered), "the upstream takes no member that we add (cap_field: none), so that nothing limits its calls", h.cure(offered)...)
	}
	if !slices.Contains(capsCalls, at.Provider) {
		return providers.NoBound(naming(offered), "the provider is not known to obey "+fieldMaxToolCalls, h.cure(offered)...)
	}
	for _, e := range t.extras {
		no = no.Join(h.refuses(e, at))
	}
	return no
}

// callsAt is how many calls of tools at the provider a response may make there; 0 where
// none is priced.
func (r *Request) callsAt(t *providers.Terms) int64 {
	rule := t.Tools[call.WebSearch]
	if rule.When != call.PriceHosted || r.pricedAt(t) == 0 {
		return 0
	}
	if r.maxToolCalls > 0 {
		return min(r.maxToolCalls, rule.Calls)
	}
	return rule.Calls
}

// pricedAt is how many tools are offered there that the policy may price.
func (r *Request) pricedAt(t *providers.Terms) (n int64) {
	for _, h := range r.hosted {
		if slices.Contains(priced, h.kind) && !t.Allow.Has(call.ExtraTool, h.kind) {
			n++
		}
	}
	return n
}

// boundHosted bounds what tools at the provider add. Each round of the model reads again
// what the request had, what it wrote and what was found before, so that of c calls the
// first is read in c rounds, and the last in one.
func (o *offer) boundHosted() {
	r := o.request
	for _, t := range r.stripped(&o.terms) {
		o.bound.Stripped = append(o.bound.Stripped, t.kind)
	}
	n, offered, found := r.callsAt(&o.terms), r.pricedAt(&o.terms), o.terms.Tools[call.WebSearch].Tokens
	o.bound.Input.Fixed += r.load.searches * found // which the provider may have kept
	if n == 0 {
		return
	}
	o.bound.Input.Fixed += offered * builtinTokens
	o.bound.Input.Rereads += n
	o.bound.Output.Rereads += n
	o.bound.Beside = append(o.bound.Beside, call.Line{Usage: call.Usage{call.Searches: n, call.Input: found * n * (n + 1) / 2}})
}

// stripped are the tools that are taken out at an upstream.
func (r *Request) stripped(at *providers.Terms) (list []hostedTool) {
	for _, t := range r.hosted {
		if at.Tools[hostedKinds[t.kind]].When == call.StripHosted && !at.Allow.Has(call.ExtraTool, t.kind) {
			list = append(list, t)
		}
	}
	return list
}

// hostedSplices takes tools out, and caps the calls of the others.
func (r *Request) hostedSplices(at *providers.Terms) (splices []wire.Splice) {
	var gone []int
	for _, t := range r.stripped(at) {
		gone = append(gone, t.entry)
	}
	splices = wire.Drop(r.offers, gone)
	if n := r.callsAt(at); n > 0 && r.maxToolCalls != n {
		splices = append(splices, r.members.Set(fieldMaxToolCalls, strconv.FormatInt(n, 10)))
	}
	return splices
}

// bodyTool reads a tool of the body, and where it stands.
func (p *parser) bodyTool() error {
	start, before := p.ElementStart(), len(p.hosted)
	if err := p.offeredTool(); err != nil {
		return err
	}
	for i := before; i < len(p.hosted); i++ {
		p.hosted[i].inItem = p.hosted[i].kind != p.lastKind // a namespace has it
		p.hosted[i].entry = len(p.offers)
	}
	p.offers = append(p.offers, p.Since(start))
	return nil
}

// offerHosted notes a tool that runs at the provider. Its members are judged where it is
// priced, and those that go nowhere wherever it is admitted.
func (p *parser) offerHosted(kind string, before int) error {
	extras := slices.Clone(p.extras.list[before:])
	p.asWhole(before, call.ExtraTool, kind)
	p.hosted = append(p.hosted, hostedTool{kind: kind, inItem: true, extras: extras})
	return p.offer("tools", kind)
}

// choose notes the types of tools that a choice names.
func (p *parser) choose(choice gjson.Result) {
	p.chosen = append(p.chosen, wire.Get(choice, "type").Str)
	p.mustCall = choice.Str == "required"
	if tools := wire.Get(choice, "tools"); tools.IsArray() {
		tools.ForEach(func(_, tool gjson.Result) bool {
			p.chosen = append(p.chosen, wire.Get(tool, "type").Str)
			return len(p.chosen) < providers.MaxTools
		})
	}
}

// toolCalls reads the cap of calls.
func (p *parser) toolCalls(name string) error {
	n, _, err := p.OptionalInteger(name, 1, providers.MaxCap)
	p.maxToolCalls = n
	return err
}
