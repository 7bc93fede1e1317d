package anthropic

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// block is what is kept of one content block until its type is known, which may come
// after the rest.
type block struct {
	place  string
	kind   string
	id     string // of a call, or of the call that it answers
	name   string // of a tool
	source source
	cited  bool // the answer may cite it
	byCode bool // code called the tool, not the model
}

// content reads what is said at a place: a text, blocks, or the one block that a result
// of a tool of the provider's is.
func (p *parser) content(place string) error {
	switch kind := p.Peek(); {
	case kind == '[':
		return p.Array(place, func() error { return p.readBlock(place) })
	case kind == '{' && place == innerContent:
		return p.readBlock(place)
	}
	return p.text(place)
}

// blockLevels are the blocks of each place. Each member speaks for itself, and the type
// only has to be a known one.
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
	"type":            func(p *parser, _ string) error { return p.Word(&p.block.kind, p.block.place+".type") },
	"text":            (*parser).blockText,
	"title":           (*parser).blockText,
	"context":         (*parser).blockText,
	"thinking":        (*parser).blockText,
	"signature":       (*parser).sealed,
	"data":            (*parser).sealed,
	"id":              func(p *parser, name string) error { return p.named(&p.block.id, name) },
	"tool_use_id":     func(p *parser, name string) error { return p.named(&p.block.id, name) },
	"name":            func(p *parser, name string) error { return p.named(&p.block.name, name) },
	"tool_name":       func(p *parser, name string) error { return p.named(&p.block.name, name) },
	"input":           (*parser).opaque,
	"content":         func(p *parser, _ string) error { return p.content(innerContent) },
	"source":          (*parser).readSource,
	"citations":       (*parser).citations,
	"is_error":        (*parser).skipped,
	"safeguards":      (*parser).opaque,
	"cache_control":   func(p *parser, name string) error { return p.cacheControl(name) },
	"caller":          (*parser).caller,
	"tool":            (*parser).toolChange,
	"tool_references": func(p *parser, _ string) error { return p.content(innerContent) },
	"tool_changes":    func(p *parser, _ string) error { return p.content(innerContent) },
	// Of compactions and of results that only the API can read.
	"encrypted_content": (*parser).sealed,
	"encrypted_stdout":  (*parser).sealed,
	// Of results of tools that ran at the provider. Their texts are input.
	"server_name": (*parser).opaque, "url": (*parser).opaque, "page_age": (*parser).opaque, "retrieved_at": (*parser).opaque,
	"stdout": (*parser).opaque, "stderr": (*parser).opaque, "return_code": (*parser).opaque, "error_code": (*parser).opaque,
	"error_message": (*parser).opaque, "stop_reason": (*parser).opaque, "file_id": (*parser).opaque, "file_type": (*parser).opaque,
	"lines": (*parser).opaque, "num_lines": (*parser).opaque, "start_line": (*parser).opaque, "total_lines": (*parser).opaque,
	"old_start": (*parser).opaque, "old_lines": (*parser).opaque, "new_start": (*parser).opaque, "new_lines": (*parser).opaque,
	"is_file_update": (*parser).opaque,
	// Where another model took over. It is no part of the prompt.
	"from": (*parser).skipped, "to": (*parser).skipped, "trigger": (*parser).skipped,
}

// readBlock reads one block at a place.
func (p *parser) readBlock(place string) error {
	outer, before, unread := p.block, len(p.doubts), len(p.unread)
	p.block = block{place: place}
	p.load.blocks++
	err := blockLevels[place].Object(p, place)
	b, opaque := p.block, p.unread[unread:]
	p.block, p.unread = outer, p.unread[:unread]
	if err != nil {
		return err
	}
	count, known := blockTypes[b.kind]
	if !known {
		inside := p.takeBack(before) // the block is named as a whole
		p.oddBlock(b.kind)
		p.putBack(inside)
		for _, at := range opaque {
			p.examine(p.Scanner.Body[at.Start:at.End])
		}
		return nil
	}
	if count == nil {
		return nil
	}
	return count(p, &b)
}

// blockTypes are the types of blocks whose input the body shows or something bounds, and
// what they add beside what their members do.
var blockTypes = map[string]func(*parser, *block) error{
	"text": nil, "thinking": nil, "redacted_thinking": nil,
	"image":           (*parser).image,
	"document":        (*parser).document,
	"search_result":   (*parser).searchResult,
	"tool_use":        (*parser).toolUse,
	"tool_result":     (*parser).toolResult,
	"tool_reference":  (*parser).toolReference,
	"tool_addition":   nil, // what it names says it
	"tool_removal":    nil,
	"compaction":      nil,                    // a summary, in place of what it sums up
	"fallback":        nil,                    // it is left out of the prompt
	"mcp_tool_use":    (*parser).serverResult, // it is answered in the same message
	"mcp_tool_result": (*parser).serverResult,
	"server_tool_use": (*parser).serverCall,
	// Results of tools that ran at the provider, in an earlier call.
	"web_search_tool_result":                 (*parser).serverResult,
	"web_fetch_tool_result":                  (*parser).serverResult,
	"code_execution_tool_result":             (*parser).serverResult,
	"bash_code_execution_tool_result":        (*parser).serverResult,
	"text_editor_code_execution_tool_result": (*parser).serverResult,
	"tool_search_tool_result":                (*parser).serverResult,
	"advisor_tool_result":                    (*parser).serverResult,
	// What lies in them.
	"web_search_result": nil, "web_search_tool_result_error": nil,
	"web_fetch_result": nil, "web_fetch_tool_result_error": nil,
	"code_execution_result": nil, "encrypted_code_execution_result": nil, "code_execution_tool_result_error": nil, "code_execution_output": nil,
	"bash_code_execution_result": nil, "bash_code_execution_tool_result_error": nil, "bash_code_execution_output": nil,
	"text_editor_code_execution_view_result": nil, "text_editor_code_execution_create_result": nil,
	"text_editor_code_execution_str_replace_result": nil, "text_editor_code_execution_tool_result_error": nil,
	"tool_search_tool_search_result": nil, "tool_search_tool_result_error": nil,
	"advisor_result": nil, "advisor_redacted_result": nil, "advisor_tool_result_error": nil,
}

// costlyBlocks are types of blocks that are known to cost more than the body shows.
var costlyBlocks = map[string]string{
	"container_upload": "it is input that is stored elsewhere",
	"mcp_tool_listing": "its tools run elsewhere",
}

// oddBlock notes a block of another type.
func (p *parser) oddBlock(kind string) {
	if why := costlyBlocks[kind]; why != "" {
		p.doubts.Costs(call.ExtraPart, kind, why)
		return
	}
	p.doubts.Unknown(call.ExtraPart, kind, false)
}

// searchResult counts what frames a result of a search that the client made.
func (p *parser) searchResult(b *block) error {
	p.load.documents++
	if b.cited {
		p.load.cites++
	}
	return nil
}

func (p *parser) toolBlock(*block) error {
	p.load.toolBlocks++
	return nil
}

// toolUse keeps which tools a turn calls.
func (p *parser) toolUse(b *block) error {
	if b.byCode { // its result goes to the code, which may call more
		p.doubts.Costs(call.ExtraMember, wire.Under(b.place, "caller"), atProvider)
	}
	p.turn.calls = append(p.turn.calls, providers.ToolResult{CallID: b.id, Name: b.name})
	return p.fewTools(b)
}

// toolResult keeps which calls a turn answers.
func (p *parser) toolResult(b *block) error {
	p.turn.results = append(p.turn.results, b.id)
	return p.fewTools(b)
}

func (p *parser) fewTools(b *block) error {
	if max(len(p.turn.calls), len(p.turn.results)) > providers.MaxTools {
		return wire.Errorf("messages", "a message has more than %d tool calls or results", providers.MaxTools)
	}
	return p.toolBlock(b)
}

// serverCall keeps a call that the provider runs, until its result is there. One without
// it runs in this call.
func (p *parser) serverCall(b *block) error {
	if p.calls++; p.calls > providers.MaxTools {
		return wire.Errorf("messages", "request has more than %d calls of tools that run at the provider", providers.MaxTools)
	}
	if p.running == nil {
		p.running = map[string][]string{}
	}
	p.running[strings.Clone(b.id)] = append(p.running[b.id], strings.Clone(b.name))
	p.ran(b.name)
	return p.toolBlock(b)
}

func (p *parser) serverResult(b *block) error {
	if calls := p.running[b.id]; len(calls) > 0 {
		p.running[b.id] = calls[1:]
	}
	p.ran(b.kind)
	return p.toolBlock(b)
}

// toolReference counts a tool that is defined once more where it stands.
func (p *parser) toolReference(b *block) error { return p.refer(b.name) }

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

// sealed reads what only the API can read. What is shown of thinking may be a summary;
// the API counts what it was, which its sealed form is not shorter than.
func (p *parser) sealed(string) error {
	at, err := p.Skip()
	p.load.bytes += int64(at.End - at.Start)
	return err
}

// citations reads whether the answer may cite a block, or what a text cites.
func (p *parser) citations(name string) error {
	object, err := p.spelled(wire.Under(p.block.place, name), citationNames, (*parser).opaque)
	enabled := wire.Get(object, "enabled")
	p.block.cited = enabled.Exists() && enabled.Type != gjson.False && enabled.Type != gjson.Null
	return err
}

// caller reads who called a tool.
func (p *parser) caller(name string) error {
	caller, err := p.spelled(wire.Under(p.block.place, name), callerNames, (*parser).opaque)
	p.block.byCode = caller.Type != gjson.Null && wire.Get(caller, "type").Str != direct
	return err
}

// direct is how the model itself calls a tool.
const direct = "direct"

// atProvider is why a tool has no bound.
const atProvider = "a tool runs at the provider"
