package openai

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// NoBound says why what a request costs has no bound at an upstream: what cannot be
// bounded anywhere, or what its lists do not have. It is nil where there is a bound.
func (r *Request) NoBound(at *providers.Terms) *providers.Unbounded {
	if len(r.Unbounded) > 0 {
		return unbounded(r.Unbounded[0], because(r.Unbounded[0]))
	}
	if r.Endpoint.isResponse() { // which has one cap, whatever that of a chat is
		terms := *at
		terms.Obeys.CapField = FieldMaxOutputTokens
		at = &terms
	}
	h := hostOf(at.Provider)
	if h.isAgent(r.Model) {
		return unbounded("model", "the model, which runs other models or tools by itself")
	}
	if why := h.thoughts.unbounded(r, at); why != "" {
		return unbounded("model", why)
	}
	if r.ServiceTier != "" {
		if why := h.refuses(call.Extra{Kind: call.ExtraTier, Name: r.ServiceTier}, at); why != "" {
			return unbounded("service_tier", why)
		}
	}
	if no := r.admitHosted(at, h); no != nil {
		return no
	}
	for _, e := range r.extras.list {
		if e.Kind == call.ExtraTool && r.isHosted(e.Name) {
			continue
		}
		if e.Kind == call.ExtraBeta && (at.Allow == nil || at.Allow.Betas != call.DenyBetas) {
			continue // it is taken out, or passes
		}
		if why := h.refuses(e, at); why != "" {
			return unbounded(e.Name, why)
		}
	}
	for _, n := range r.extras.nested {
		if h.lists(n.holder) {
			continue
		}
		if why := h.refuses(n.inner, at); why != "" {
			return unbounded(n.inner.Name, why)
		}
	}
	return nil
}

// lists reports whether an extra is known to cost nothing at the host, whatever lies in it.
func (h *host) lists(e call.Extra) bool {
	name := strings.TrimPrefix(e.Name, "extra_body.")
	return h.free[e.Kind].has(name) || everywhere[e.Kind].has(name)
}

func unbounded(member, because string) *providers.Unbounded {
	return &providers.Unbounded{Member: member, Message: "what this request costs has no bound, because of " + because}
}

// because adds to what has no bound anywhere why it has none.
func because(what string) string {
	if why := reasons[what]; why != "" {
		return what + ": " + why
	}
	return what
}

// isAgent reports whether a model runs others, or tools, by itself.
func (h *host) isAgent(model string) bool {
	return slices.ContainsFunc(h.agents, func(pattern string) bool { return names.Match(pattern, model) })
}

// refuses says why an extra has no bound at the host, and what would admit it.
func (h *host) refuses(e call.Extra, at *providers.Terms) string {
	name := e.Name
	if e.Kind == call.ExtraMember {
		name = strings.TrimPrefix(name, "extra_body.") // as it is laid over the body
	}
	why := h.cost(e.Kind, name)
	if why == whyThoughts {
		if !h.thoughts.beyond(at) {
			return ""
		}
		why += h.thoughts.orCovered()
	}
	if h.free[e.Kind].has(name) || why == "" && everywhere[e.Kind].has(name) {
		return ""
	}
	if e.Kind == call.ExtraMember {
		if no := forbidden(name); no != "" {
			return naming(e) + ": " + no + "; no allowance admits it"
		}
	}
	if at.Allow.Has(e.Kind, e.Name) {
		return ""
	}
	if why == "" && e.Scalar && at.Priced && at.Allow != nil && at.Allow.Scalars {
		return ""
	}
	if why == "" {
		why = "it is not known to cost nothing there"
	}
	return naming(e) + ": " + why + "; " + h.cure(e)
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

// kindNoun is what one of each kind is called.
var kindNoun = [call.ExtraKinds]string{"", "a content part of type ", "a tool of type ", "service_tier ", "the query parameter ", "the header ", "the beta "}

// naming names an extra. Names that no policy could hold are not said back.
func naming(e call.Extra) string {
	switch {
	case e.Name == "" && e.Kind == call.ExtraPart:
		return "a content part without a type"
	case e.Name == "" && e.Kind == call.ExtraTool:
		return "a tool without a type"
	case sayable(e.Name):
		return kindNoun[e.Kind] + e.Name
	case e.Kind == call.ExtraMember:
		return "a member with an odd name"
	}
	return kindNoun[e.Kind] + "with an odd name"
}

// cure is the line of the policy that admits an extra.
func (h *host) cure(e call.Extra) string {
	if !sayable(e.Name) {
		return "nothing in a policy can name it"
	}
	name := e.Name
	if e.Kind == call.ExtraMember {
		name = h.widest(name)
	}
	return fmt.Sprintf("where price and cap bound all that it costs, the line allow: {%s: [%q]} at its upstream in the policy admits it", e.Kind, name)
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
	"messages.content": true, "messages.content.image_url": true,
	"tools": true, "tools.function": true, "tools.custom": true, "functions": true,
	"tool_choice": true, "function_call": true, "response_format": true,
	"prediction": true, "prediction.content": true, "audio": true,
	"input": true, "input.content": true, // of responses
}

// sayable reports whether a name can stand in a policy.
func sayable(name string) bool {
	name = strings.TrimSuffix(name, ".*") // one that is noted as a whole
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._:/@=-", c) >= 0:
		default:
			return false
		}
	}
	return name != "" && len(name) <= maxExtraBytes
}
