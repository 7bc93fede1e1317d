package openai

import (
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// thoughts is what a host does whose output cap leaves out what its models think,
// which is billed as output.
type thoughts struct {
	// covering is the field whose cap counts thoughts too; empty if there is none.
	covering string
	// models are patterns of those that think unless they are told not to, and silent
	// patterns of those among them that never think.
	models, silent []string
	// off is the member that tells them, and value what it must be.
	off, value string
}

// whyThoughts is why a member that makes models think has no bound there.
const whyThoughts = "the output cap does not cover thoughts with every model there"

// thinks says which models of a host think beyond the output cap, all unless they are
// told not to.
func (h *host) thinks(t *thoughts) *host {
	h.thoughts = t
	return h
}

// beyond reports whether thoughts are beyond the cap that the host is sent.
func (t *thoughts) beyond(at *providers.Terms) bool {
	return t != nil && (t.covering == "" || at.Obeys.CapField != t.covering)
}

// thinks reports whether a model may think in an answer of this endpoint.
func (e Endpoint) thinks() bool {
	return e == ChatCompletions || e == Responses || e == CompactResponses
}

// unbounded says why what a chat's model thinks has no bound.
func (t *thoughts) unbounded(r *Request, at *providers.Terms) *providers.Unbounded {
	if !r.Endpoint.thinks() || !t.beyond(at) || r.told(t.off) || at.Allow.Has(call.ExtraMember, t.off) {
		return nil
	}
	fits := func(pattern string) bool { return names.Match(pattern, r.Model) }
	if !slices.ContainsFunc(t.models, fits) || slices.ContainsFunc(t.silent, fits) {
		return nil
	}
	why := fmt.Sprintf("it thinks beyond the output cap unless %s is %s", t.off, t.value) + t.orCovered()
	return providers.NoBound("the model", why, providers.Admits(call.Extra{Kind: call.ExtraMember, Name: t.off})...)
}

// orCovered says which cap_field would bound thoughts, if one does.
func (t *thoughts) orCovered() string {
	if t.covering == "" {
		return ""
	}
	return ", unless the upstream's cap_field is " + t.covering
}

// Members that tell a model whether to think.
const (
	enableThinking = "enable_thinking"
	thinkingType   = "thinking.type"
)

// told reports whether a member tells the model not to think.
func (r *Request) told(off string) bool {
	said := off == enableThinking && r.unthinking || off == thinkingType && r.thinkingDisabled
	return said && !r.thinkingOverlaid
}

// enableThinking reads the flag by that name.
func (p *parser) enableThinking(name string) error {
	p.unthinking = p.Peek() == 'f'
	return p.costly(name)
}

// thinking reads the object by that name.
func (p *parser) thinking(place string) error {
	return p.beside(place, func(name string) error {
		if name != "type" || p.Peek() != '"' {
			return p.note(place, name)
		}
		kind, err := p.ReadString() // of itself it is free everywhere
		p.thinkingDisabled = kind == "disabled"
		return err
	})
}
