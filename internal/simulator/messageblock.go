package simulator

import (
	"encoding/json"
	"fmt"
	"strings"
)

// blocks are what was generated, in the order of the recordings: thinking, searches with
// their results, and last a text or a call.
func (c choice) blocks(r *Request, a Answer) []block {
	var blocks []block
	hidden := c.billed.Reasoning
	if hidden > 0 && r.thinking {
		blocks, hidden = append(blocks, block{Type: "thinking", hidden: hidden}), 0
	}
	for i := range a.Searches {
		id := fmt.Sprintf("srvtoolu_%016x%04x", r.Number, i)
		blocks = append(blocks,
			block{Type: "server_tool_use", ID: id, Name: "web_search", tokens: []string{`{"query":`, `"the ledger"}`}},
			block{Type: "web_search_tool_result", ToolUseID: id, Content: json.RawMessage(searchResult)})
	}
	last := block{Type: "text", tokens: c.tokens, hidden: hidden}
	if c.tool.Name != "" {
		last.Type, last.ID, last.Name = "tool_use", id("toolu", r), c.tool.Name
	}
	return append(blocks, last)
}

// searchResult is what a search of the web finds.
const searchResult = `[{"type":"web_search_result","title":"The ledger","url":"https://example.com/ledger","encrypted_content":"EtMM","page_age":null}]`

const (
	thought   = "The ledger is true."
	signature = "EusBClsIDRgC"
)

// whole is the block as it is at its end.
func (b block) whole() block {
	text := strings.Join(b.tokens, "")
	switch b.Type {
	case "text":
		b.Text = &text
	case "thinking":
		b.Thinking, b.Signature = new(string), new(string)
		*b.Thinking, *b.Signature = thought, signature
	case "tool_use", "server_tool_use":
		b.Input = json.RawMessage("{}")
		if json.Valid([]byte(text)) {
			b.Input = json.RawMessage(text)
		}
	}
	return b
}

// beginning is the block as a stream begins with it.
func (b block) beginning() block {
	switch b.Type {
	case "text":
		b.Text = new(string)
	case "thinking":
		b.Thinking, b.Signature = new(string), new(string)
	case "tool_use", "server_tool_use":
		b.Input = json.RawMessage("{}")
	}
	return b
}

// deltas are the parts in which a stream tells of the block.
func (b block) deltas() []piece {
	delta := func(tokens int64, kind, member, value string) piece {
		return piece{tokens: tokens, data: encode(map[string]string{"type": kind, member: value})}
	}
	if b.Type == "thinking" {
		return []piece{delta(0, "thinking_delta", "thinking", thought), delta(0, "signature_delta", "signature", signature)}
	}
	kind, member, tokens := "text_delta", "text", int64(1)
	if b.Type != "text" {
		kind, member = "input_json_delta", "partial_json"
	}
	if b.Type == "server_tool_use" {
		tokens = 0
	}
	var parts []piece
	for _, token := range b.tokens {
		parts = append(parts, delta(tokens, kind, member, token))
	}
	return parts
}
