package anthropic

import (
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
	"output_config": func(p *parser, name string) error { return outputLevel.Optional(p, name) },
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
