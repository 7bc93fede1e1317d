package anthropic

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// tool is what is kept of one tool that is offered.
type tool struct {
	kind   string
	name   string
	uses   int64     // how often it may be called; 0: as often as it likes
	usesAt wire.Span // of that value; empty if it is absent
	byCode bool      // code that runs at the provider may call it
	tokens int64     // of its definition, at most
}

// toolLevel is one entry of tools, whose texts the size of the whole entry counts.
var toolLevel = level("tools", map[string]wire.Reader[*parser]{
	"type":                  func(p *parser, _ string) error { return p.Word(&p.tool.kind, "tools.type") },
	"name":                  (*parser).toolName,
	"description":           (*parser).skipped,
	"input_schema":          (*parser).skipped,
	"input_examples":        (*parser).skipped,
	"strict":                (*parser).skipped,
	"defer_loading":         (*parser).skipped,
	"eager_input_streaming": (*parser).skipped,
	"cache_control":         func(p *parser, name string) error { return p.cacheControl(name) },
	"allowed_callers":       (*parser).callers,
	"max_uses":              (*parser).maxUses,
	// Of tools that the API defines and the client runs.
	"max_characters":    (*parser).skipped,
	"display_width_px":  (*parser).skipped,
	"display_height_px": (*parser).skipped,
	"display_number":    (*parser).skipped,
	"enable_zoom":       (*parser).skipped,
	// Of web search. They choose among its results.
	"allowed_domains": (*parser).skipped,
	"blocked_domains": (*parser).skipped,
	"user_location": func(p *parser, _ string) error {
		_, err := p.spelled("tools.user_location", placeNames, (*parser).skipped)
		return err
	},
	"response_inclusion": (*parser).skipped,
})

// clientTools are the tools that the API defines and the client runs, by their types,
// and the tokens of their definitions: up to twice what the API's documentation of each
// tool and its own counts say. The types are those of the official SDK for Python 2.14.0.
var clientTools = map[string]int64{
	"bash_20241022": 512, "bash_20250124": 512,
	"text_editor_20241022": 1536, "text_editor_20250124": 1536, "text_editor_20250429": 1536, "text_editor_20250728": 1536,
	"computer_20241022": 2560, "computer_20250124": 2560, "computer_20251124": 2560,
	"memory_20250818": 3072,
}

func (p *parser) toolList(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	return p.Array(name, func() error {
		start := p.ValueStart()
		if err := p.readTool(); err != nil {
			return err
		}
		at := p.Since(start)
		at.Start += strings.IndexByte(wire.View(p.Scanner.Body[at.Start:at.End]), '{') // behind a comma
		if kind := p.tool.hosted(); kind != "" {
			p.hosted = append(p.hosted, hostedTool{tool: p.tool, of: kind, at: len(p.toolsAt)})
		}
		p.toolsAt = append(p.toolsAt, at)
		return nil
	})
}

// readTool reads a tool. What becomes of one that runs at the provider the policy says.
func (p *parser) readTool() error {
	start, before := p.ValueStart(), len(p.doubts)
	p.tool = tool{}
	if err := toolLevel.Object(p, "tools"); err != nil {
		return err
	}
	if len(p.tools) == providers.MaxTools {
		return wire.Errorf("tools", "request has more than %d tools", providers.MaxTools)
	}
	p.tool.kind, p.tool.name = strings.Clone(p.tool.kind), strings.Clone(p.tool.name)
	kind, size := p.tool.kind, wire.RenderedBytes(p.Scanner.Body[start:p.Offset()])
	tokens, ours := clientTools[kind]
	hosted := p.tool.hosted()
	if hosted != "" {
		tokens = hostedTokens
	}
	p.load.tools++
	p.load.bytes += size
	p.load.defined += tokens
	p.tool.tokens = size + tokens + toolTokens
	p.defines(p.tool.name, p.tool.tokens)
	if ours || kind == "" || kind == "custom" {
		p.tools = append(p.tools, p.tool.name)
		if p.tool.byCode {
			p.doubts.Costs(call.ExtraMember, "tools.allowed_callers", atProvider)
		}
		return nil
	}
	p.tools = append(p.tools, kind)
	if hosted == call.WebSearch { // it may be priced, and so each member counts
		return nil
	}
	inside := p.takeBack(before) // the tool is named as a whole
	if hosted == "" {
		p.doubts.Unknown(call.ExtraTool, kind, false)
		p.putBack(inside)
	}
	return nil
}

func (p *parser) toolName(string) error {
	p.Half = false
	if err := p.Word(&p.tool.name, "tools.name"); err != nil {
		return err
	}
	return p.Identity("tools.name")
}

// maxUses reads how often a tool may be called.
func (p *parser) maxUses(string) error {
	start := p.ValueStart()
	uses, _, err := p.OptionalInteger("tools.max_uses", 1, providers.MaxCap)
	p.tool.uses, p.tool.usesAt = uses, p.Since(start)
	return err
}

// callers reads who may call a tool. Code that runs at the provider calls in loops; of a
// search it can make no more than its cap.
func (p *parser) callers(string) error {
	at, err := p.Skip()
	if err != nil {
		return err
	}
	for _, caller := range gjson.ParseBytes(p.Scanner.Body[at.Start:at.End]).Array() {
		p.tool.byCode = p.tool.byCode || caller.Str != direct && caller.Type != gjson.Null
	}
	return nil
}
