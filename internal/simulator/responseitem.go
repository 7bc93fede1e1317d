package simulator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// outputItem is one item of a response's output: a message, a call of a function or of a
// custom tool, a search of the web, or reasoning.
type outputItem struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Status    string          `json:"status,omitempty"`
	Role      string          `json:"role,omitempty"`
	Content   []outputPart    `json:"content,omitzero"`
	Arguments *string         `json:"arguments,omitempty"`
	Input     *string         `json:"input,omitempty"`
	CallID    string          `json:"call_id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Namespace string          `json:"namespace,omitempty"`
	Encrypted string          `json:"encrypted_content,omitempty"`
	Summary   []outputPart    `json:"summary,omitzero"`
	Action    json.RawMessage `json:"action,omitempty"`

	tokens []string // as streamed, one by one
	hidden int64    // billed, but never shown
}

// outputPart is a part of a message's content, or of a summary of reasoning.
type outputPart struct {
	Type        string   `json:"type"`
	Text        string   `json:"text"`
	Annotations []string `json:"annotations,omitzero"`
}

func textPart(text string) outputPart {
	return outputPart{Type: "output_text", Text: text, Annotations: []string{}}
}

// items are what was generated, in the order of the recordings: reasoning, searches, and
// last a message or a call.
func (m responseMembers) items(r *Request, a Answer, c choice) []outputItem {
	var items []outputItem
	id := func(prefix string) string { return fmt.Sprintf("%s_%040x%08x", prefix, r.Number, len(items)) }
	if c.billed.Reasoning > 0 {
		items = append(items, m.reasoning(id("rs"), c.billed.Reasoning))
	}
	for range a.Searches {
		items = append(items, outputItem{
			ID: id("ws"), Type: "web_search_call", Action: json.RawMessage(`{"type":"search","query":"the ledger"}`),
		})
	}
	last := outputItem{ID: id("msg"), Type: "message", Role: "assistant", tokens: c.tokens}
	if c.tool.Name != "" {
		last = outputItem{ID: id("fc"), Type: "function_call", CallID: fmt.Sprintf("call_%024x", r.Number), Name: c.tool.Name, Namespace: c.tool.Namespace, tokens: c.tokens}
		if c.tool.Custom {
			last.ID, last.Type = id("ctc"), "custom_tool_call"
		}
	}
	return append(items, last)
}

// reasoning is the item of that many reasoning tokens, with what the request asked to see of it.
func (m responseMembers) reasoning(id string, tokens int64) outputItem {
	item := outputItem{ID: id, Type: "reasoning", Summary: []outputPart{}, hidden: tokens}
	var asked struct {
		Summary string `json:"summary"`
	}
	_ = json.Unmarshal(m.Reasoning, &asked) // not asked for
	if asked.Summary != "" {
		item.Summary = []outputPart{{Type: "summary_text", Text: "The ledger is true."}}
	}
	if slices.Contains(m.Include, "reasoning.encrypted_content") {
		item.Encrypted = "gAAAAAB" + strings.Repeat("x", 4*int(min(tokens, 1<<10)))
	}
	return item
}

// whole is the item as it is at its end.
func (i outputItem) whole(status string) outputItem {
	text := strings.Join(i.tokens, "")
	i.Status = status
	switch i.Type {
	case "message":
		i.Content = []outputPart{textPart(text)}
	case "function_call":
		i.Arguments = &text
	case "custom_tool_call":
		i.Input = &text
	case "reasoning":
		i.Status = ""
	case "web_search_call":
		i.Status = "completed"
	}
	return i
}

// beginning is the item as a stream announces it.
func (i outputItem) beginning() outputItem {
	i.Status, i.Action = "in_progress", nil
	switch i.Type {
	case "message":
		i.Content = []outputPart{}
	case "function_call":
		i.Arguments = new(string)
	case "custom_tool_call":
		i.Input = new(string)
	case "reasoning":
		i.Status, i.Summary = "", []outputPart{}
	}
	return i
}
