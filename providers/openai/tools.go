package openai

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// offer notes the name of a tool that is offered.
func (p *parser) offer(param, name string) error {
	if len(p.Tools) == providers.MaxTools {
		return wire.Errorf(param, "request has more than %d tools", providers.MaxTools)
	}
	p.Tools = append(p.Tools, strings.Clone(name))
	return nil
}

// turn is what is kept of one message of a chat.
type turn struct {
	role   string
	callID string // the call that it is the result of
	name   string
	calls  wire.Span // the value of tool_calls
}

// noted adds a string to the texts and keeps it.
func (p *parser) noted(into *string, param string) error {
	before := len(p.Texts)
	if err := p.text(param); err != nil || len(p.Texts) == before {
		return err
	}
	*into = p.Texts[before]
	return nil
}

// named adds a string to the texts and keeps it to tell one thing from another.
func (p *parser) named(into *string, param string) error {
	p.Half = false
	if err := p.noted(into, param); err != nil {
		return err
	}
	return p.Identity(param)
}

// turn follows the chat: what answers the tools that the last assistant message
// called are the results that this request brings. They are counted beyond
// providers.MaxTools, but not kept.
func (p *parser) turn(m *turn) {
	switch m.role {
	case "assistant":
		p.calls, p.results, p.ToolResults = m.calls, 0, p.ToolResults[:0]
	case "tool", "function":
		p.results++
		if p.results <= providers.MaxTools {
			p.ToolResults = append(p.ToolResults, providers.ToolResult{CallID: m.callID, Name: m.name})
		}
	}
}

// nameResults finds the names of the tools whose results the request brings, in
// the message that called them. That goes before what the results themselves
// say.
func (p *parser) nameResults() error {
	if err := p.fewResults("messages"); err != nil || p.results == 0 {
		return err
	}
	names := p.calledNames()
	for i := range p.ToolResults {
		if name, ok := names[p.ToolResults[i].CallID]; ok {
			p.ToolResults[i].Name = name
		}
	}
	return nil
}

// fewResults refuses more results than can be kept.
func (p *parser) fewResults(place string) error {
	if p.results > providers.MaxTools {
		return wire.Errorf(place, "request has more than %d tool results", providers.MaxTools)
	}
	return nil
}

// calledNames returns the names of the calls that the results answer, by id. Of
// two calls with one id the first has it.
func (p *parser) calledNames() map[string]string {
	wanted := make(map[string]string, len(p.ToolResults))
	for _, r := range p.ToolResults {
		if r.CallID != "" {
			wanted[r.CallID] = r.Name
		}
	}
	found := make(map[string]string, len(wanted))
	calls := gjson.ParseBytes(p.Scanner.Body[p.calls.Start:p.calls.End])
	if !calls.IsArray() {
		return found
	}
	calls.ForEach(func(_, call gjson.Result) bool {
		id := wire.Get(call, "id").Str
		_, ask := wanted[id]
		if _, known := found[id]; ask && !known {
			found[id] = nameOfCall(call)
		}
		return len(found) < len(wanted)
	})
	return found
}

func nameOfCall(call gjson.Result) string {
	if name := wire.Get(wire.Get(call, "function"), "name").Str; name != "" {
		return name
	}
	return wire.Get(wire.Get(call, "custom"), "name").Str
}
