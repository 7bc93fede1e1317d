package providers

// completionsMembers are those of a completions body alone.
var completionsMembers = map[string]reader{
	"prompt":   func(p *parser, name string) error { return p.prompt(name) },
	"suffix":   func(p *parser, name string) error { return p.text(name) },
	"messages": (*parser).billedMember, // another endpoint's input
	"input":    (*parser).billedMember,
}

// embeddingsMembers are those of an embeddings body alone.
var embeddingsMembers = map[string]reader{
	"input": func(p *parser, name string) error {
		if null, err := p.null(); null || err != nil {
			return parseErrorf(name, "input must not be null")
		}
		return p.prompt(name)
	},
	"messages": (*parser).billedMember,
	"prompt":   (*parser).billedMember,
}

// prompt reads a prompt or an input: a string, strings, token ids, or arrays
// of token ids. A null prompt is one empty prompt.
func (p *parser) prompt(param string) error {
	if p.dec.PeekKind() != '[' {
		p.load.prompts++
		return p.text(param)
	}
	ids, prompts := int64(0), int64(0)
	err := p.array(param, func() error {
		switch p.dec.PeekKind() {
		case '0':
			ids++
			return p.tokenID(param)
		case '[':
			prompts++
			return p.array(param, func() error { return p.tokenID(param) })
		}
		prompts++
		if err := p.expect(param, '"', "made of strings or of token ids"); err != nil {
			return err
		}
		return p.addText(param)
	})
	if err == nil && ids > 0 && prompts > 0 {
		return parseErrorf(param, "%s mixes token ids with other prompts", param)
	}
	p.prompts = max(prompts, 1)
	p.load.prompts += p.prompts
	return err
}

// tokenID reads one token id, which counts as one token.
func (p *parser) tokenID(param string) error {
	p.load.tokenIDs++
	if err := p.expect(param, '0', "made of strings or of token ids"); err != nil {
		return err
	}
	_, _, err := p.optionalInteger(param, 0, 1<<31-1)
	return err
}
