package gemini

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// config reads generationConfig.
func (p *parser) config(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	start := p.ValueStart()
	err := p.Object(name, func(member string) error {
		p.configured = true
		return configLevel.Member(p, name, member)
	})
	p.configAt = p.Since(start)
	return err
}

// configLevel is generationConfig (https://ai.google.dev/api/generate-content#generationconfig).
var configLevel = level("generationConfig", map[string]reader{
	"maxOutputTokens": func(p *parser, name string) error { return p.outputCap(name) },
	"candidateCount":  func(p *parser, name string) error { return p.count(name) },
	"responseModalities": func(p *parser, name string) error {
		return p.OptionalArray(name, func() error { return p.modality(name) })
	},
	"responseSchema":      schema,
	"responseJsonSchema":  schema,
	"_responseJsonSchema": schema,
	"responseFormat":      schema,
	"responseLogprobs": func(p *parser, name string) error {
		var asked bool
		err := p.Flag(&asked, name)
		p.logprobs = p.logprobs || asked
		return err
	},
	"continuationToken": func(p *parser, name string) error { return p.hides(name, "it goes on from an earlier answer") },
	// Where another model may answer.
	"routingConfig":        cost("generationConfig.routingConfig", "another model may answer"),
	"modelSelectionConfig": cost("generationConfig.modelSelectionConfig", "another model may answer"),
	// Inside the output cap, or no input.
	"thinkingConfig":             skipped,
	"imageConfig":                skipped,
	"speechConfig":               opaque,
	"mediaResolution":            skipped,
	"audioTimestamp":             skipped,
	"temperature":                skipped,
	"topP":                       skipped,
	"topK":                       skipped,
	"seed":                       skipped,
	"stopSequences":              skipped,
	"presencePenalty":            skipped,
	"frequencyPenalty":           skipped,
	"responseMimeType":           skipped,
	"logprobs":                   skipped,
	"enableEnhancedCivicAnswers": skipped,
	"enableAffectiveDialog":      skipped,
	"automaticFunctionCalling":   skipped,
})

func schema(p *parser, _ string) error {
	at, err := p.Skip()
	if err == nil && p.Scanner.Body[at.Start] != 'n' {
		p.schema = true
		p.load.declared += wire.RenderedBytes(p.Scanner.Body[at.Start:at.End])
	}
	return err
}

func (p *parser) outputCap(name string) error {
	start := p.ValueStart()
	tokens, ok, err := p.integer(name)
	if err != nil {
		return err
	}
	p.capAt = p.Since(start)
	if ok {
		p.maxOutput = tokens // 0 asks for none of one's own
	}
	return nil
}

// maxCandidates is how many answers one request may ask for
// (https://ai.google.dev/api/generate-content#generationconfig).
const maxCandidates = 8

func (p *parser) count(name string) error {
	n, ok, err := p.integer(name)
	if err != nil || !ok {
		return err
	}
	if n > maxCandidates {
		return wire.Errorf(name, "%s must be an integer from 1 to %d", name, maxCandidates)
	}
	p.candidates = max(1, n)
	return nil
}

func (p *parser) modality(name string) error {
	word, err := p.OptionalString(name)
	if err != nil {
		return err
	}
	word = strings.ToUpper(word)
	switch word {
	case "TEXT", "IMAGE", "AUDIO":
		p.modalities = append(p.modalities, word)
	case "", "MODALITY_UNSPECIFIED":
	default:
		p.doubts.Costs(call.ExtraMember, "generationConfig.responseModalities", "what it costs to have that answered is not known")
	}
	if len(p.modalities) > providers.MaxTools {
		return wire.Errorf(name, "%s has too many elements", name)
	}
	return nil
}
