package anthropic

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// change is what is kept of one change of the tools, in the middle of a conversation.
type change struct{ kind, name string }

var changeLevel = level(changePlace, map[string]wire.Reader[*parser]{
	"type":        func(p *parser, _ string) error { return p.Word(&p.change.kind, changePlace+".type") },
	"name":        func(p *parser, _ string) error { return p.Word(&p.change.name, changePlace+".name") },
	"server_name": (*parser).skipped,
	"definition":  (*parser).addedTool,
})

const changePlace = "messages.content.tool"

// toolChange reads which tool is added or taken out: one of the request's, or one that is
// defined there.
func (p *parser) toolChange(string) error {
	p.change = change{}
	if err := changeLevel.Optional(p, changePlace); err != nil {
		return err
	}
	switch p.change.kind {
	case "tool_reference":
		return p.refer(p.change.name)
	case "tool_definition":
	case "mcp_tool_reference", "mcp_toolset_reference":
		p.doubts.Costs(call.ExtraMember, changePlace, atProvider)
	default:
		p.doubts.Unknown(call.ExtraMember, changePlace+".type", false)
	}
	return nil
}

// addedTool reads a tool that is offered from there on.
func (p *parser) addedTool(string) error {
	if err := p.readTool(); err != nil {
		return err
	}
	if p.tool.hosted() != "" {
		p.doubts.Costs(call.ExtraTool, p.tool.kind, atProvider)
	}
	return nil
}

// defines keeps how much a tool adds to the input, in tokens at most.
func (p *parser) defines(name string, tokens int64) {
	if p.sizes == nil {
		p.sizes = map[string]int64{}
	}
	name = strings.Clone(name)
	p.sizes[name] = max(p.sizes[name], tokens)
}

// refer notes that a tool's definition may stand in the prompt once more.
func (p *parser) refer(name string) error {
	if len(p.references) == providers.MaxTexts {
		return wire.Errorf("messages", "request refers to more than %d tools", providers.MaxTexts)
	}
	p.references = append(p.references, name)
	if p.referred == nil {
		p.referred = map[string]bool{}
	}
	if !p.referred[name] {
		p.referred[strings.Clone(name)] = true
		p.copied += int64(len(name))
	}
	return nil
}

// countReferences counts the tools that are referred to. A name that no tool has may be
// any of them.
func (p *parser) countReferences() {
	largest := int64(0)
	for _, tokens := range p.sizes {
		largest = max(largest, tokens)
	}
	for _, name := range p.references {
		if tokens, known := p.sizes[name]; known {
			p.load.defined += tokens
		} else {
			p.load.defined += largest
		}
	}
}
