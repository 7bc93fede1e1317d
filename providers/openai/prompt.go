package openai

import (
	"slices"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// completionsMembers are those of a completions body alone.
var completionsMembers = map[string]wire.Reader[*parser]{
	"prompt": func(p *parser, name string) error { return p.prompt(name) },
	// As chats have them, at vLLM and at Fireworks.
	"response_format": func(p *parser, _ string) error { return p.responseFormat() },
	"prediction":      func(p *parser, _ string) error { return p.prediction() },
	"suffix":          func(p *parser, name string) error { return p.text(name) },
	"messages":        (*parser).costly, // another endpoint's input
	"input":           (*parser).costly,
}

// embeddingsMembers are those of an embeddings body alone.
var embeddingsMembers = map[string]wire.Reader[*parser]{
	"input": func(p *parser, name string) error {
		if null, err := p.Null(); null || err != nil {
			return wire.Errorf(name, "input must not be null")
		}
		return p.prompt(name)
	},
	"messages": (*parser).costly,
	"prompt":   (*parser).costly,
}

// completionTokens is the output cap that an absent one means in a completion, in
// tokens (https://platform.openai.com/docs/api-reference/completions/create).
const completionTokens = 16

// likeOpenAI are the providers whose completions have OpenAI's defaults: an absent
// cap means completionTokens, and one of 0 no output. CompletionRequest has the same
// at vLLM and SGLang, of which the latter refuses 0. Other servers write on to the
// end of the context in either case. All of these refuse an input and a cap that do not
// fit the context together, and end an answer without a cap where it ends.
var likeOpenAI = []string{"openai", "azure", "vllm", "sglang"}

// readNull are those of them that do not take a null for an absence: vLLM then
// writes on to the end of the context, and SGLang refuses the request.
var readNull = []string{"vllm", "sglang"}

// ImpliedCap is the output cap that the provider takes an absent one for, in
// tokens; 0 is not known. Where it is known, a cap of 0 means no output.
func (r *Request) ImpliedCap(provider string) int64 {
	if r.Endpoint != Completions || !slices.Contains(likeOpenAI, provider) {
		return 0
	}
	if slices.Contains(readNull, provider) && r.isNull(FieldMaxTokens) {
		return 0
	}
	return completionTokens
}

// isNull reports whether the body has this member, and it is null.
func (r *Request) isNull(name string) bool {
	m, ok := r.members.Find(name)
	return ok && string(r.body[m.Value.Start:m.Value.End]) == "null"
}

// prompt reads a prompt or an input: a string, strings, token ids, or arrays
// of token ids. A null prompt is one empty prompt.
func (p *parser) prompt(param string) error {
	if p.Peek() != '[' {
		p.load.prompts++
		return p.text(param)
	}
	ids, prompts := int64(0), int64(0)
	err := p.Array(param, func() error {
		switch p.Peek() {
		case '0':
			ids++
			return p.tokenID(param)
		case '[':
			prompts++
			return p.Array(param, func() error { return p.tokenID(param) })
		}
		prompts++
		if err := p.Expect(param, '"', "made of strings or of token ids"); err != nil {
			return err
		}
		return p.addText(param)
	})
	if err == nil && ids > 0 && prompts > 0 {
		return wire.Errorf(param, "%s mixes token ids with other prompts", param)
	}
	p.prompts = max(prompts, 1)
	p.load.prompts += p.prompts
	return err
}

// tokenID reads one token id, which counts as one token.
func (p *parser) tokenID(param string) error {
	p.load.tokenIDs++
	if err := p.Expect(param, '0', "made of strings or of token ids"); err != nil {
		return err
	}
	_, _, err := p.OptionalInteger(param, 0, 1<<31-1)
	return err
}
