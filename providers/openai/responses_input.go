package openai

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// item is what is kept of one item of the input of a response.
type item struct {
	kind, role, id, callID, name string
	result                       string // what a tool of the provider's made: an image, or text
	content                      bool   // it has content
	speaker                      bool   // its role is one of roles
	sealed                       bool   // it has all of what the model thought, which only the provider reads
	brought                      brought
}

// brought are the tools that an item brings, if any: how many tools and extras there were
// before them, and how many extras behind.
type brought struct {
	any                     bool
	tools, hosted, from, to int
}

// itemLevel is one item. Its type may come last, so that each member speaks for itself.
var itemLevel = wire.NewLevel(
	func(p *parser, name string) error { return p.unlistedText("input", name) },
	itemMembers(),
)

func itemMembers() map[string]wire.Reader[*parser] {
	all := map[string]wire.Reader[*parser]{
		"type":    func(p *parser, _ string) error { return p.Word(&p.item.kind, "input.type") },
		"id":      func(p *parser, _ string) error { return p.Word(&p.item.id, "input.id") },
		"call_id": func(p *parser, _ string) error { return p.named(&p.item.callID, "input.call_id") },
		"name": func(p *parser, _ string) error {
			p.load.names++
			return p.named(&p.item.name, "input.name")
		},
		"role": (*parser).itemRole,
		"content": func(p *parser, name string) error {
			p.item.content = p.Peek() != 'n'
			return p.itemContent(name)
		},
		"output":  (*parser).itemContent,
		"outputs": (*parser).itemContent,
		"summary": (*parser).itemContent,
		"refusal": func(p *parser, _ string) error { return p.text("input.refusal") },
		"encrypted_content": func(p *parser, _ string) error {
			before := p.load.encrypted
			text := p.Peek() == '"'
			err := p.encrypted()
			p.item.sealed = text && p.load.encrypted-before > int64(len(`""`)) // an empty one is none
			return err
		},
		// As Codex has them from other agents:
		"encrypted_function_args": func(p *parser, _ string) error { return p.encrypted() },
		"tools":                   func(p *parser, name string) error { return p.itemTools(name) },
		"result":                  (*parser).itemResult,
		"status":                  scalarAt("input"),
		"phase":                   scalarAt("input"),
		"async":                   scalarAt("input"),
		"cache_control": func(p *parser, _ string) error {
			p.CacheControl = true
			return p.values("input", cacheNames)
		},
	}
	// Text of the client's, and of what the model and its tools said before.
	for name := range strings.FieldsSeq(`namespace arguments input code action actions operation environment container_id
		max_output_length caller queries results execution server_label error approval_request_id approve reason
		acknowledged_safety_checks pending_safety_checks fingerprint reasoning text revised_prompt background
		output_format quality size svg_usage created_by author recipient internal_chat_message_metadata_passthrough`) {
		all[name] = func(p *parser, name string) error { return p.values("input."+name, nil) }
	}
	return all
}

// itemKinds are the types of items whose members are known.
var itemKinds = listOf(`message function_call function_call_output custom_tool_call custom_tool_call_output
	local_shell_call local_shell_call_output shell_call shell_call_output apply_patch_call apply_patch_call_output
	computer_call computer_call_output tool_search_call tool_search_output additional_tools reasoning
	compaction compaction_summary context_compaction compaction_trigger item_reference configuration_update agent_message
	web_search_call x_search_call file_search_call code_interpreter_call image_generation_call mcp_list_tools mcp_call
	mcp_approval_request mcp_approval_response program program_output`)

// inputItem reads one item.
func (p *parser) inputItem() error {
	p.load.messages++
	if p.Peek() == '"' { // some servers take plain strings
		return p.addText("input")
	}
	p.item = item{}
	before := len(p.extras.list)
	if err := itemLevel.Object(p, "input"); err != nil {
		return err
	}
	it := &p.item
	if it.kind == "" {
		it.kind = it.impliedKind()
	}
	switch {
	case it.kind == "item_reference", it.kind == "reasoning" && it.id != "" && !it.sealed:
		if err := p.refer(it.id); err != nil {
			return err
		}
	case it.kind == "compaction_trigger":
		p.load.compactions++
	case it.kind == "web_search_call" && it.id != "":
		p.load.searches++
	case it.kind == "mcp_list_tools":
		p.takeBack(it.brought)
	case !itemKinds.has(it.kind):
		p.asWhole(before, call.ExtraPart, it.kind)
	}
	if saidKinds[it.kind] != "" && it.id != "" {
		if err := p.tell(it); err != nil {
			return err
		}
	}
	if err := p.countResult(it); err != nil {
		return err
	}
	return p.follow(it)
}

// impliedKind is the type of an item that names none. One with an id is a reference by it,
// whatever else it has, unless it is a message: that has a role of the API's, and content.
func (it *item) impliedKind() string {
	if it.id != "" && !(it.speaker && it.content) {
		return "item_reference"
	}
	return "message"
}

// roles are those that a message of the API can have
// (EasyInputMessage in OpenAI's description of it).
var roles = listOf(`user assistant system developer`)

// hostedCall is an item of what ran at the provider, in which it may look up more by its id.
type hostedCall struct {
	id    string
	empty bool // it stands for an image that is not in the body
}

// tell notes such an item.
func (p *parser) tell(it *item) error {
	if len(p.ranThere) == providers.MaxTools {
		return wire.Errorf("input", "request tells of more than %d calls of tools at the provider", providers.MaxTools)
	}
	p.ranThere = append(p.ranThere, hostedCall{it.id, it.kind == "image_generation_call" && it.result == ""})
	return nil
}

// refer notes an item that the provider keeps: of a thought that has an id and is not
// sealed it has more than the body shows.
func (p *parser) refer(id string) error {
	if len(p.references) == providers.MaxTools {
		return wire.Errorf("input", "request refers to more than %d items", providers.MaxTools)
	}
	p.references = append(p.references, id)
	return nil
}

// encrypted reads what only the provider can read: what the model thought, or what was
// left of a longer input. Each of its bytes may be a token.
func (p *parser) encrypted() error {
	at, err := p.Skip()
	p.load.encrypted += int64(at.End - at.Start)
	return err
}

// itemResult keeps a text that may be an image in base64: the type of its item tells.
func (p *parser) itemResult(name string) error {
	if p.Peek() != '"' {
		return p.values("input."+name, nil)
	}
	return p.Word(&p.item.result, "input.result")
}

// countResult counts what was kept of an item whose type is known now.
func (p *parser) countResult(it *item) error {
	switch {
	case it.kind == "image_generation_call": // which has its image under its id, if not here
		p.Images = true
		p.load.images.add("")
		return nil
	case it.result == "":
		return nil
	}
	return p.keepText("input", it.result)
}

// itemTools reads the tools that an item brings: those of additional_tools and
// tool_search_output are offered like those of the body.
func (p *parser) itemTools(name string) error {
	b := brought{any: true, tools: len(p.Tools), from: len(p.extras.list), hosted: len(p.hosted)}
	err := p.toolList(name, p.offeredTool)
	b.to = len(p.extras.list)
	p.item.brought = b
	return err
}

// takeBack takes back tools that are told, and not offered.
func (p *parser) takeBack(b brought) {
	if !b.any {
		return
	}
	p.Tools, p.hosted = p.Tools[:b.tools], p.hosted[:b.hosted]
	for _, e := range p.extras.list[b.from:b.to] {
		delete(p.extras.seen, e)
	}
	p.extras.list = slices.Delete(p.extras.list, b.from, b.to)
}

// itemContent reads a text, a part, or parts.
func (p *parser) itemContent(name string) error {
	place := "input." + name
	switch p.Peek() {
	case '[':
		return p.Array(place, p.inputPart)
	case '{':
		return p.inputPart()
	}
	return p.text(place)
}

// inputPart is what is kept of the part that is being read.
type inputPart struct {
	kind, detail               string
	image, file, fileID, audio bool
}

// inputPartLevel is one part of an item.
var inputPartLevel = wire.NewLevel(
	func(p *parser, name string) error { return p.unlistedText("input.content", name) },
	map[string]wire.Reader[*parser]{
		"type":                    func(p *parser, _ string) error { return p.Word(&p.inPart.kind, "input.content.type") },
		"detail":                  func(p *parser, _ string) error { return p.Word(&p.inPart.detail, "input.content.detail") },
		"text":                    (*parser).inputText,
		"refusal":                 (*parser).inputText,
		"filename":                (*parser).inputText,
		"stdout":                  (*parser).inputText,
		"stderr":                  (*parser).inputText,
		"logs":                    (*parser).inputText,
		"outcome":                 func(p *parser, _ string) error { return p.values("input.content", nil) },
		"annotations":             func(p *parser, _ string) error { return p.values("input.content", nil) },
		"logprobs":                func(p *parser, _ string) error { return p.values("input.content", nil) },
		"image_url":               func(p *parser, _ string) error { return p.linked(&p.inPart.image) },
		"url":                     func(p *parser, _ string) error { return p.linked(&p.inPart.image) },
		"file_id":                 func(p *parser, _ string) error { return p.linked(&p.inPart.fileID) },
		"file_url":                func(p *parser, _ string) error { return p.linked(&p.inPart.file) },
		"file_data":               func(p *parser, _ string) error { return p.linked(&p.inPart.file) },
		"input_audio":             func(p *parser, _ string) error { return p.linked(&p.inPart.audio) },
		"encrypted_content":       func(p *parser, _ string) error { return p.encrypted() },
		"prompt_cache_breakpoint": func(p *parser, _ string) error { return breakpointLevel.Optional(p, breakpointPlace) },
		"cache_control":           (*parser).partCache,
	})

// partKinds are the types of parts whose members are known.
var partKinds = listOf(`input_text output_text text summary_text reasoning_text refusal input_image input_file input_audio
	computer_screenshot image logs encrypted_content`)

// inputPart reads one part.
func (p *parser) inputPart() error {
	p.load.parts++
	if p.Peek() == '"' {
		return p.addText("input.content")
	}
	p.inPart = inputPart{}
	before := len(p.extras.list)
	if err := inputPartLevel.Object(p, "input.content"); err != nil {
		return err
	}
	part := &p.inPart
	if part.kind != "" && !partKinds.has(part.kind) {
		p.asWhole(before, call.ExtraPart, part.kind)
	}
	p.countMedia(part)
	return nil
}

// countMedia counts what a part has beside text.
func (p *parser) countMedia(part *inputPart) {
	if part.fileID {
		p.extra(call.ExtraMember, "input.content.file_id", false)
	}
	switch {
	case part.image, part.fileID && (part.kind == "input_image" || part.kind == "computer_screenshot"):
		p.Images = true
		p.load.images.add(part.detail)
	case part.fileID:
		part.file = true
	}
	if part.file {
		p.load.files++
	}
	if part.audio {
		p.audioInput = true
		p.load.needContext("input.content.input_audio")
	}
}

// linked notes that there is something else than text. null is nothing.
func (p *parser) linked(into *bool) error {
	*into = *into || p.Peek() != 'n'
	_, err := p.Skip()
	return err
}

func (p *parser) inputText(name string) error { return p.text("input.content." + name) }

// toolOutputs are the items that bring what a tool of the client's gave, each with the
// name of that tool; "" where a call, or the item itself, has it.
var toolOutputs = map[string]string{
	"function_call_output": "", "custom_tool_call_output": "", "local_shell_call_output": "local_shell",
	"shell_call_output": "shell", "apply_patch_call_output": "apply_patch", "computer_call_output": "computer",
	"tool_search_output": "tool_search",
}

// follow follows the turns: what brings results after the last thing that the model said
// are the results that this request brings. A call has the name of its tool.
func (p *parser) follow(it *item) error {
	name, brings := toolOutputs[it.kind]
	if !brings {
		p.modelSaid(it)
		return nil
	}
	p.results++
	if p.results > providers.MaxTools {
		return nil
	}
	result := providers.ToolResult{CallID: it.callID, Name: name}
	if it.callID == "" {
		result.CallID = it.id
	}
	if result.Name == "" {
		result.Name = it.name
	}
	if called, ok := p.called[it.callID]; ok {
		result.Name = called
	}
	p.ToolResults = append(p.ToolResults, result)
	return nil
}

// modelSaid begins another turn where the model speaks after results.
func (p *parser) modelSaid(it *item) {
	if kind := saidKinds[it.kind]; kind != "" {
		if p.said == nil {
			p.said = map[string]bool{}
		}
		p.said[kind] = true
	}
	if it.kind == "message" && it.role != "assistant" {
		return
	}
	if p.results > 0 {
		p.results, p.ToolResults, p.called = 0, p.ToolResults[:0], nil
	}
	if (it.kind == "function_call" || it.kind == "custom_tool_call") && it.callID != "" && len(p.called) < providers.MaxTools {
		if p.called == nil {
			p.called = map[string]string{}
		}
		if _, known := p.called[it.callID]; !known {
			p.called[it.callID] = strings.Clone(it.name)
		}
	}
}
