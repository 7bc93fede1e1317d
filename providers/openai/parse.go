package openai

import (
	"slices"
	"strings"
	"unicode"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// parser fills a Request from one pass of its scanner.
type parser struct {
	*wire.Scanner
	*Request
	level *wire.Level[*parser] // of the body

	// What is kept of the object of its kind that is being read. None lies in
	// another of its kind.
	inMessage turn
	partType  string // of the content part
	detail    string // of the image
	toolType  string
	function  struct{ place, name string }
	item      item      // of a response's input
	inPart    inputPart // of that
	offered   offered   // tool of a response
	lastKind  string    // type of the tool that was read last
	managing  string    // type of the entry of context_management
	choice    string    // type of the tool that is to be called, where that is no function
	local     []string  // types of tools, and no functions, that are offered and run at the client
}

func (p *parser) request() error {
	if p.level = bodies[p.Endpoint]; p.level == nil {
		return wire.Errorf("", "%s takes no request body", p.Endpoint)
	}
	if err := wire.CheckEncoding(p.Scanner.Body); err != nil {
		return err
	}
	p.load.halves = wire.Halves(p.Scanner.Body)
	p.members = make(wire.Members, 0, 16)
	err := p.Object("", func(name string) error {
		at, start := p.NameAt, p.ValueStart()
		if err := p.level.Member(p, "", name); err != nil {
			return err
		}
		p.members = append(p.members, wire.Member{Name: name, At: at, Value: p.Since(start)})
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.Scanner.End(); err != nil {
		return err
	}
	return p.finish()
}

// unboundedUnlessOff reads a value that makes the cost unbounded unless it is
// null or false.
func (p *parser) unboundedUnlessOff(reason string) error {
	kind := p.Peek()
	if _, err := p.Skip(); err != nil {
		return err
	}
	if kind != 'n' && kind != 'f' {
		p.unbounded(reason)
	}
	return nil
}

// logprobs reads a flag in chats, a count in completions.
func (p *parser) logprobs(name string) error {
	kind := p.Peek()
	p.Logprobs = p.Logprobs || kind != 'n' && kind != 'f'
	return p.unknownMember(name)
}

func (p *parser) model() error {
	if err := p.Expect("model", '"', "a string"); err != nil {
		return err
	}
	model, err := p.Scanner.ReadString()
	if err != nil {
		return err
	}
	if model == "" || len(model) > providers.MaxModelBytes {
		return wire.Errorf("model", "model must have 1 to %d bytes", providers.MaxModelBytes)
	}
	if strings.TrimSpace(model) != model || strings.ContainsFunc(model, unicode.IsControl) {
		return wire.Errorf("model", "model has blanks around it or control characters in it, which servers may cut off; send the name alone")
	}
	p.asked = strings.Clone(model)
	p.Model = p.asked
	return p.Identity("model")
}

func (p *parser) count(name string, low int64, into *int64) error {
	v, ok, err := p.OptionalInteger(name, low, MaxChoices)
	if ok {
		*into = v
	}
	return err
}

// outputCap reads a cap. A completion may have a cap of 0.
func (p *parser) outputCap(name string) error {
	tokens, set, err := p.OptionalInteger(name, 0, providers.MaxCap)
	if err != nil {
		return err
	}
	if set && tokens == 0 {
		if p.Endpoint == ChatCompletions {
			return wire.Errorf(name, "%s must be from 1 to %d", name, int64(providers.MaxCap))
		}
		p.ZeroCap = true
	}
	p.caps[capIndex(name)] = outputCap{tokens, set}
	return nil
}

func (p *parser) streamOptions() error {
	const param = "stream_options"
	if null, err := p.Null(); null || err != nil {
		return err
	}
	return p.Object(param, func(name string) error {
		start := p.ValueStart()
		err := streamLevel.Member(p, param, name)
		p.includes.last = p.Offset()
		if name == "include_usage" {
			p.includes.value = p.Since(start)
		}
		return err
	})
}

// streamLevel is stream_options.
var streamLevel = wire.NewLevel(noted("stream_options"), map[string]wire.Reader[*parser]{
	"include_usage": func(p *parser, _ string) error {
		return p.Flag(&p.IncludeUsage, "stream_options.include_usage")
	},
	"include_obfuscation":    scalarAt("stream_options"),
	"continuous_usage_stats": scalarAt("stream_options"), // vLLM
})

// text adds the string that comes next to the texts; null adds none.
func (p *parser) text(param string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	if err := p.Expect(param, '"', "a string"); err != nil {
		return err
	}
	return p.addText(param)
}

// addText adds the string that comes next.
func (p *parser) addText(param string) error {
	text, err := p.Scanner.ReadString()
	if err != nil {
		return err
	}
	return p.keepText(param, text)
}

// keepText adds a text that was read.
func (p *parser) keepText(param, text string) error {
	if len(p.Texts) == providers.MaxTexts {
		return wire.Errorf(param, "request has more than %d texts", providers.MaxTexts)
	}
	p.Texts = append(p.Texts, text)
	return nil
}

// measured adds what was read since start, unless reading has failed.
func (p *parser) measured(start int, err error) error {
	if err == nil {
		p.load.rendered += wire.RenderedBytes(p.Scanner.Body[start:p.Offset()])
	}
	return err
}

// rendered reads any value that a template may write into the prompt as JSON.
func (p *parser) rendered() error {
	at, err := p.Skip()
	p.load.rendered += wire.RenderedBytes(p.Scanner.Body[at.Start:at.End])
	return err
}

// renderedOf reads a value as rendered does, and checks the names in it.
func (p *parser) renderedOf(place string, v wire.Vocabulary) error {
	start := p.ValueStart()
	err := p.Checked(place, v, p.noting(place))
	return p.measured(start, err)
}

// unknown reads a member that this dialect does not know. A number or a boolean
// cannot add to a prompt.
func (p *parser) unknown() error {
	switch p.Peek() {
	case '{', '[', '"':
		return p.rendered()
	}
	_, err := p.Skip()
	return err
}

// finish checks what is required and computes what depends on several fields.
func (p *parser) finish() error {
	if p.Endpoint == Moderations {
		return p.finishModeration()
	}
	if _, ok := p.members.Find("model"); !ok {
		return wire.Errorf("model", "model is missing")
	}
	if p.Endpoint.isMedia() {
		return p.finishMedia()
	}
	if _, ok := p.members.Find("messages"); !ok && p.Endpoint == ChatCompletions {
		return wire.Errorf("messages", "messages is missing")
	}
	if _, ok := p.members.Find("input"); !ok && p.Endpoint == Embeddings { // a response may do without
		return wire.Errorf("input", "input is missing")
	}
	if _, ok := p.members.Find("prompt"); !ok && p.Endpoint == Completions {
		p.load.prompts = 1 // the model begins as behind the mark between two texts, which is a token
	}
	if p.Endpoint != Embeddings {
		p.Choices = p.prompts * max(p.n, p.bestOf)
		p.MultipleChoices = max(p.n, p.bestOf) > 1
	}
	p.finishChoice()
	if p.Endpoint.isResponse() {
		return p.fewResults("input")
	}
	return p.nameResults()
}

// finishChoice notes a tool that is to be called and that the client does not run: one at
// the provider may be chosen without being offered.
func (p *parser) finishChoice() {
	own := p.Endpoint.isResponse() && (clientTools[p.choice] || p.choice == computerUse || slices.Contains(p.local, p.choice))
	if p.choice != "" && !own {
		p.extra(call.ExtraTool, p.choice, false)
	}
}
