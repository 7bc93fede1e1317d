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
	kind string
	name string
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
	// Of tools that the API defines and the client runs.
	"max_characters":    (*parser).skipped,
	"display_width_px":  (*parser).skipped,
	"display_height_px": (*parser).skipped,
	"display_number":    (*parser).skipped,
	"enable_zoom":       (*parser).skipped,
})

// clientTools are the tools that the API defines and the client runs, by what their
// types begin with, and the tokens of their definitions: up to twice what the API's
// documentation of each tool and its own counts say.
var clientTools = map[string]int64{
	"bash_": 512, "text_editor_": 1536, "computer_": 2560, "memory_": 3072,
}

// serverTools are tools that run at the provider, by what their types begin with.
var serverTools = []string{
	"web_search_", "web_fetch_", "code_execution_", "tool_search_tool_", "advisor_", "mcp_toolset", "browser_toolset_",
}

func (p *parser) toolList(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	return p.Array(name, p.readTool)
}

func (p *parser) readTool() error {
	start, before := p.ValueStart(), len(p.doubts)
	p.tool = tool{}
	if err := toolLevel.Object(p, "tools"); err != nil {
		return err
	}
	if len(p.tools) == providers.MaxTools {
		return wire.Errorf("tools", "request has more than %d tools", providers.MaxTools)
	}
	kind, size := p.tool.kind, wire.RenderedBytes(p.Scanner.Body[start:p.Offset()])
	tokens, ours := clientTool(kind)
	p.load.tools++
	p.load.bytes += size
	p.load.defined += tokens
	p.defines(p.tool.name, size+tokens+toolTokens)
	if ours || kind == "" || kind == "custom" {
		p.tools = append(p.tools, strings.Clone(p.tool.name))
		return nil
	}
	p.tools = append(p.tools, strings.Clone(kind))
	p.doubts = p.doubts[:min(before, len(p.doubts))] // the tool is named as a whole
	p.oddTool(kind)
	return nil
}

// clientTool are the tokens of a tool that the client runs.
func clientTool(kind string) (tokens int64, ok bool) {
	for begin, tokens := range clientTools {
		if strings.HasPrefix(kind, begin) {
			return tokens, true
		}
	}
	return 0, false
}

// oddTool notes a tool of another type.
func (p *parser) oddTool(kind string) {
	for _, begin := range serverTools {
		if strings.HasPrefix(kind, begin) {
			p.costs(call.ExtraTool, kind, atProvider)
			return
		}
	}
	p.unknown(call.ExtraTool, kind, false)
}

func (p *parser) toolName(string) error {
	p.Half = false
	if err := p.Word(&p.tool.name, "tools.name"); err != nil {
		return err
	}
	return p.Identity("tools.name")
}

// callers reads who may call a tool. Code that runs at the provider calls in loops.
func (p *parser) callers(string) error {
	at, err := p.Skip()
	if err != nil {
		return err
	}
	for _, caller := range gjson.ParseBytes(p.Scanner.Body[at.Start:at.End]).Array() {
		if caller.Str != direct && caller.Type != gjson.Null {
			p.costs(call.ExtraMember, "tools.allowed_callers", atProvider)
		}
	}
	return nil
}

// change is what is kept of one change of the tools, in the middle of a conversation.
type change struct{ kind, name string }

var changeLevel = level(changePlace, map[string]wire.Reader[*parser]{
	"type":        func(p *parser, _ string) error { return p.Word(&p.change.kind, changePlace+".type") },
	"name":        func(p *parser, _ string) error { return p.Word(&p.change.name, changePlace+".name") },
	"server_name": (*parser).skipped,
	"definition":  func(p *parser, _ string) error { return p.readTool() },
})

const changePlace = "messages.content.tool"

// toolChange reads which tool is added or taken out: one of the request's, or one that is
// defined there.
func (p *parser) toolChange(string) error {
	p.change = change{}
	if err := changeLevel.optional(p, changePlace); err != nil {
		return err
	}
	switch p.change.kind {
	case "tool_reference":
		return p.refer(p.change.name)
	case "tool_definition":
	case "mcp_tool_reference", "mcp_toolset_reference":
		p.costs(call.ExtraMember, changePlace, atProvider)
	default:
		p.unknown(call.ExtraMember, changePlace+".type", false)
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
