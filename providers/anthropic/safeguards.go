package anthropic

import (
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// safeguardsMember asks for checks of the answer at the provider.
const safeguardsMember = "safeguards"

// freeSafeguards are checks that the provider makes for nothing. Claude Code asks for this
// one with every message in its auto mode, and makes requests of its own, which are billed,
// where the answer has no verdict
// (https://code.claude.com/docs/en/auto-mode-classifier-billing).
var freeSafeguards = []string{"dangerous_tool_use"}

// safeguardLevel is one check. What else it says is for the check alone, and no input.
var safeguardLevel = wire.NewLevel((*parser).skipped, map[string]wire.Reader[*parser]{
	"type": func(p *parser, _ string) error { return p.Word(&p.safeguard, safeguardsMember+".type") },
})

func (p *parser) safeguardList(name string) error {
	return p.OptionalArray(name, func() error {
		p.safeguard = ""
		if err := safeguardLevel.Object(p, name); err != nil {
			return err
		}
		p.guarded = true
		if !slices.Contains(freeSafeguards, p.safeguard) {
			p.doubts.Unknown(call.ExtraMember, name, false)
		}
		return nil
	})
}

// unguard takes the checks out where they are not known to cost nothing, and nobody answers
// them: at servers of other makers. Claude Code then makes its own, which are held as any
// request.
func (o *offer) unguard() {
	t := &o.terms
	if o.request.guarded && !slices.Contains(ownHosts, t.Provider) && !t.Allow.Has(call.ExtraMember, safeguardsMember) {
		o.dropped = append(o.dropped, safeguardsMember)
	}
}
