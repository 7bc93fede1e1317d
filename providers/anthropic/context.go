package anthropic

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// contextLevel is what is done about a context that grows long.
var contextLevel = level("context_management", map[string]wire.Reader[*parser]{
	"edits": func(p *parser, _ string) error { return p.OptionalArray("context_management.edits", p.contextEdit) },
})

// contextEdits are edits that take something out of the context, which makes no call
// dearer.
var contextEdits = map[string]bool{"clear_tool_uses_20250919": true, "clear_thinking_20251015": true}

// compactEdit has the conversation summed up, and then goes on with the summary.
const compactEdit = "compact_20260112"

func (p *parser) contextManagement(name string) error { return contextLevel.Optional(p, name) }

// editLevel is one edit. Of those that are known, what else they say costs no more than
// its bytes.
var editLevel = wire.NewLevel((*parser).opaque, map[string]wire.Reader[*parser]{
	"type":    func(p *parser, _ string) error { return p.Word(&p.edit, "context_management.edits.type") },
	"trigger": (*parser).opaque, "keep": (*parser).opaque, "clear_at_least": (*parser).opaque, "exclude_tools": (*parser).opaque,
	"clear_tool_inputs": (*parser).opaque, "instructions": (*parser).opaque, "pause_after_compaction": (*parser).opaque,
})

func (p *parser) contextEdit() error {
	p.edit = ""
	if err := editLevel.Object(p, "context_management.edits"); err != nil {
		return err
	}
	switch {
	case p.edit == compactEdit:
		p.summaries = 1
	case !contextEdits[p.edit]:
		p.doubts.Costs(call.ExtraMember, "context_management.edits", "an edit of this type may have the model run once more")
	}
	return nil
}

// compactionLevel has the conversation summed up, and nothing else.
var compactionLevel = wire.NewLevel(unlisted("compaction"), map[string]wire.Reader[*parser]{
	"type":         (*parser).skipped,
	"instructions": (*parser).opaque,
})

func (p *parser) compaction(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	p.summaries, p.onlySums = 1, true
	return compactionLevel.Object(p, name)
}
