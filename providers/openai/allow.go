package openai

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// NoBound says why what a request costs has no bound at an upstream: what cannot be
// bounded anywhere, and what its lists do not have. It is nil where there is a bound.
func (r *Request) NoBound(at *providers.Terms) (no *providers.Unbounded) {
	for _, what := range r.Unbounded {
		no = no.And(anywhere(what))
	}
	if r.searches() {
		no = no.And(anywhere(UnboundedWebSearch))
	}
	if r.Endpoint.isResponse() && !asSent(at) { // which has one cap, whatever that of a chat is
		terms := *at
		terms.Obeys.CapField = FieldMaxOutputTokens
		at = &terms
	}
	h := hostOf(at.Provider)
	if h.isAgent(r.Model) {
		no = no.And(providers.Cause{Member: "the model", Why: "it runs other models or tools by itself"})
	}
	no = no.Join(h.thoughts.unbounded(r, at))
	if r.ServiceTier != "" {
		no = no.Join(h.refuses(call.Extra{Kind: call.ExtraTier, Name: r.ServiceTier}, at))
	}
	no = no.Join(r.admitHosted(at, h))
	if !slices.Contains(readsMedia, at.Provider) {
		for _, part := range r.media {
			no = no.Join(h.refuses(call.Extra{Kind: call.ExtraPart, Name: part}, at))
		}
	}
	for _, e := range r.extras.list {
		if e.Kind == call.ExtraTool && r.isHosted(e.Name) {
			continue
		}
		if e.Kind == call.ExtraBeta && (at.Allow == nil || at.Allow.Betas != call.DenyBetas) {
			continue // it is taken out, or passes
		}
		no = no.Join(h.refuses(e, at))
	}
	for _, n := range r.extras.nested {
		if !h.lists(n.holder) {
			no = no.Join(h.refuses(n.inner, at))
		}
	}
	return no
}

// readsMedia are the providers that are known to bill audio and files in a chat as input of the
// model, and as nothing else.
var readsMedia = []string{"openai", "azure"}

// lists reports whether an extra is known to cost nothing at the host, whatever lies in it.
func (h *host) lists(e call.Extra) bool {
	name := strings.TrimPrefix(e.Name, "extra_body.")
	return h.free[e.Kind].has(name) || everywhere[e.Kind].has(name)
}

// anywhere is what has no bound at any upstream.
func anywhere(what string) providers.Cause {
	if why := reasons[what]; why != "" {
		return providers.Cause{Member: what, Why: why}
	}
	return providers.Cause{Member: what, Why: "which of it and the body's own would count is not known"}
}

// searches reports whether the model searches the web without being asked to.
func (r *Request) searches() bool { return strings.Contains(names.Fold(r.Model), "-search-") }

// isAgent reports whether a model runs others, or tools, by itself.
func (h *host) isAgent(model string) bool {
	return slices.ContainsFunc(h.agents, func(pattern string) bool { return names.Match(pattern, model) })
}

// refuses says why an extra has no bound at the host, and what would admit it.
func (h *host) refuses(e call.Extra, at *providers.Terms) *providers.Unbounded {
	name := e.Name
	if e.Kind == call.ExtraMember {
		name = strings.TrimPrefix(name, "extra_body.") // as it is laid over the body
	}
	why := h.cost(e.Kind, name)
	if why == whyThoughts {
		if !h.thoughts.beyond(at) {
			return nil
		}
		why += h.thoughts.orCovered()
	}
	if h.free[e.Kind].has(name) || why == "" && everywhere[e.Kind].has(name) {
		return nil
	}
	if e.Kind == call.ExtraMember {
		if no := forbidden(name); no != "" {
			return providers.NoBound(naming(e), no)
		}
	}
	if at.Allow.Has(e.Kind, e.Name) || why == "" && e.Scalar && at.Priced && at.Allow != nil && at.Allow.Scalars {
		return nil
	}
	if why == "" {
		why = "it is not known to cost nothing there"
	}
	return providers.NoBound(naming(e), why, h.cure(e)...)
}

// forbidden says why a member goes nowhere.
func forbidden(path string) string {
	if why := never[path]; why != "" {
		return why
	}
	if top, _, _ := strings.Cut(path, "."); never[top] != "" && !levels[top] {
		return never[top]
	}
	for name := range strings.SplitSeq(path, ".") {
		if wire.Secret(name) {
			return "it may hold a credential"
		}
	}
	return ""
}

// cost says why an extra, or what it lies under, is known to cost something.
func (h *host) cost(kind call.ExtraKind, name string) string {
	if kind == call.ExtraHeader {
		return "it can name stored input, another model, a tier, a route or a number of tries"
	}
	if why := under(h.costly[kind], name); why != "" {
		return why
	}
	return under(costly[kind], name)
}

// under is what is said of a name, or of what it lies under.
func under(said map[string]string, name string) string {
	for i := range len(name) {
		if name[i] == '.' && said[name[:i]] != "" {
			return said[name[:i]]
		}
	}
	return said[name]
}

// naming names an extra.
func naming(e call.Extra) string { return providers.Naming(e, "a content part") }

// cure is the line of the policy that admits an extra.
func (h *host) cure(e call.Extra) []providers.Line {
	if e.Kind == call.ExtraMember {
		e.Name = h.widest(e.Name)
	}
	return providers.Admits(e)
}

// widest is the first member on the way to one under which nothing is listed: all
// that it holds is as little known.
func (h *host) widest(path string) string {
	for i := range len(path) {
		above := path[:i]
		if path[i] == '.' && !levels[above] && !h.free[call.ExtraMember].begins(above) && !everywhere[call.ExtraMember].begins(above) {
			return above + ".*"
		}
	}
	return path
}

// levels are the objects whose own members are listed.
var levels = map[string]bool{
	"extra_body": true, "google": true, "extra_body.google": true, "stream_options": true,
	"messages": true, "messages.tool_calls": true, "messages.function_call": true,
	"messages.content": true, "messages.content.image_url": true, filePlace: true,
	"tools": true, "tools.function": true, "tools.custom": true, "functions": true,
	"tool_choice": true, "function_call": true, "response_format": true,
	"prediction": true, "prediction.content": true, "audio": true,
	"input": true, "input.content": true, // of responses
}
