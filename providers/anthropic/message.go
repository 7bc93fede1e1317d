package anthropic

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// turn is what is kept of one message.
type turn struct {
	role    string
	calls   []providers.ToolResult // of tools, by the model
	results []string               // ids of the calls that it answers
}

var messageLevel = level("messages", map[string]wire.Reader[*parser]{
	"role":    func(p *parser, _ string) error { return p.Word(&p.turn.role, "messages.role") },
	"content": func(p *parser, _ string) error { return p.content("messages.content") },
	// Of messages with the role system.
	"clear_at":      (*parser).skipped,
	"output_config": func(p *parser, name string) error { return outputLevel.optional(p, name) },
})

// message reads one message.
func (p *parser) message() error {
	p.turn = turn{calls: p.turn.calls[:0], results: p.turn.results[:0]}
	p.load.messages++
	if err := messageLevel.Object(p, "messages"); err != nil {
		return err
	}
	p.load.bytes += int64(len(p.turn.role))
	return p.endTurn()
}

// endTurn follows the conversation: what answers the tools that the model called last
// are the results that this request brings.
func (p *parser) endTurn() error {
	if p.turn.role == "assistant" {
		p.toolResults, p.called = p.toolResults[:0], map[string]string{}
		for _, c := range p.turn.calls {
			if _, known := p.called[c.CallID]; !known {
				p.called[c.CallID] = c.Name
			}
		}
		return nil
	}
	if len(p.toolResults)+len(p.turn.results) > providers.MaxTools {
		return wire.Errorf("messages", "request has more than %d tool results", providers.MaxTools)
	}
	for _, id := range p.turn.results {
		p.toolResults = append(p.toolResults, providers.ToolResult{CallID: id})
	}
	return nil
}

// nameResults finds the names of the tools whose results the request brings.
func (p *parser) nameResults() {
	for i := range p.toolResults {
		p.toolResults[i].Name = p.called[p.toolResults[i].CallID]
	}
}

// block is what is kept of one content block.
type block struct {
	place string
	kind  string
	id    string // of a call, or of the call that it answers
	name  string // of a tool
}

// content reads what is said at a place: a text, or blocks.
func (p *parser) content(place string) error {
	if p.Peek() != '[' {
		return p.text(place)
	}
	return p.Array(place, func() error { return p.readBlock(place) })
}

// blockLevels are the blocks of each place. The type may come after the rest, so each
// member speaks for itself and the type only has to be a known one.
var blockLevels = map[string]*wire.Level[*parser]{}

func init() {
	for _, place := range [...]string{"system", "messages.content", innerContent} {
		blockLevels[place] = wire.NewLevel(unlisted(place), blockMembers)
	}
}

// innerContent is the place of what lies in a block, such as a tool's result, however
// deep.
const innerContent = "messages.content.content"

var blockMembers = map[string]wire.Reader[*parser]{
	"type":          func(p *parser, _ string) error { return p.Word(&p.block.kind, p.block.place+".type") },
	"text":          (*parser).blockText,
	"title":         (*parser).blockText,
	"context":       (*parser).blockText,
	"thinking":      (*parser).blockText,
	"signature":     (*parser).sealed,
	"data":          (*parser).sealed,
	"id":            func(p *parser, name string) error { return p.named(&p.block.id, name) },
	"tool_use_id":   func(p *parser, name string) error { return p.named(&p.block.id, name) },
	"name":          func(p *parser, name string) error { return p.named(&p.block.name, name) },
	"input":         (*parser).opaque,
	"content":       func(p *parser, _ string) error { return p.inner() },
	"source":        (*parser).source,
	"citations":     (*parser).opaque,
	"is_error":      (*parser).skipped,
	"cache_control": func(p *parser, name string) error { return p.cacheControl(name) },
	"caller":        (*parser).caller,
}

// blockTypes are the types of blocks whose input the body shows.
var blockTypes = map[string]bool{
	"text": true, "thinking": true, "redacted_thinking": true,
	"tool_use": true, "tool_result": true, "search_result": true,
}

// costlyBlocks are types of blocks that are known to cost more than the body shows.
var costlyBlocks = map[string]string{
	"image":            "no bound of its tokens is taken here",
	"document":         "its pages become text and images",
	"container_upload": "it is input that is stored elsewhere",
	"tool_reference":   "it stands for the definition of a tool",
	"tool_addition":    "it changes the tools",
	"compaction":       "it stands for a longer conversation",
	"fallback":         "other models may run",
}

// readBlock reads one block at a place.
func (p *parser) readBlock(place string) error {
	outer, before := p.block, len(p.doubts)
	p.block = block{place: place}
	p.load.blocks++
	err := blockLevels[place].Object(p, place)
	b := p.block
	p.block = outer
	if err != nil {
		return err
	}
	if !blockTypes[b.kind] {
		p.doubts = p.doubts[:min(before, len(p.doubts))] // the block is named as a whole
		p.oddBlock(b.kind)
	}
	return p.follow(&b)
}

// follow keeps which tools a turn calls, and which calls it answers.
func (p *parser) follow(b *block) error {
	switch b.kind {
	case "tool_use":
		p.turn.calls = append(p.turn.calls, providers.ToolResult{CallID: b.id, Name: b.name})
	case "tool_result":
		p.turn.results = append(p.turn.results, b.id)
	default:
		return nil
	}
	p.load.toolBlocks++
	if max(len(p.turn.calls), len(p.turn.results)) > providers.MaxTools {
		return wire.Errorf("messages", "a message has more than %d tool calls or results", providers.MaxTools)
	}
	return nil
}

// oddBlock notes a block of another type.
func (p *parser) oddBlock(kind string) {
	switch why := costlyBlocks[kind]; {
	case why != "":
		p.costs(call.ExtraPart, kind, why)
	case strings.HasPrefix(kind, "server_tool_"), strings.HasPrefix(kind, "mcp_tool_"), strings.HasSuffix(kind, "_tool_result"):
		p.costs(call.ExtraPart, kind, atProvider)
	default:
		p.unknown(call.ExtraPart, kind, false)
	}
}

func (p *parser) blockText(name string) error { return p.text(p.block.place + "." + name) }

// text reads a string, or null, that becomes input.
func (p *parser) text(param string) error {
	text, err := p.OptionalString(param)
	if err != nil || text == "" {
		return err
	}
	if len(p.texts) == providers.MaxTexts {
		return wire.Errorf(param, "request has more than %d texts", providers.MaxTexts)
	}
	p.texts = append(p.texts, text)
	return nil
}

// named reads a string that tells one thing from another, and that is input too.
func (p *parser) named(into *string, name string) error {
	param := wire.Under(p.block.place, name)
	p.Half = false
	if err := p.Word(into, param); err != nil {
		return err
	}
	p.load.bytes += int64(len(*into))
	return p.Identity(param)
}

// sealed reads thinking that only the API can read. What is shown of it may be a
// summary; the API counts what it was, which its sealed form is not shorter than.
func (p *parser) sealed(name string) error {
	at, err := p.Skip()
	p.load.bytes += int64(at.End - at.Start)
	return err
}

// inner reads what lies in a block. A type that has something else as its content is
// none of those that are known.
func (p *parser) inner() error {
	if kind := p.Peek(); kind != '[' && kind != '"' && kind != 'n' {
		return p.opaque("content")
	}
	return p.content(innerContent)
}

// source reads where a search result is from. That of an image or a document is no text.
func (p *parser) source(name string) error {
	if p.Peek() == '"' {
		return p.blockText(name)
	}
	return p.opaque(name)
}

// caller reads who called a tool. Code that runs at the provider calls more.
func (p *parser) caller(name string) error {
	start := p.ValueStart()
	if err := p.opaque(name); err != nil {
		return err
	}
	caller := gjson.ParseBytes(p.Scanner.Body[start:p.Offset()])
	if kind := wire.Get(caller, "type").Str; caller.Type != gjson.Null && kind != direct {
		p.costs(call.ExtraMember, wire.Under(p.block.place, name), atProvider)
	}
	return nil
}

// direct is how the model itself calls a tool.
const direct = "direct"

// atProvider is why a tool has no bound.
const atProvider = "a tool runs at the provider"
