package openai

import (
	"slices"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// moderationModel is the model of a moderation that names none, by OpenAI's description
// of the API.
const moderationModel = "omni-moderation-latest"

// moderationsBody is the body of a moderation. Nothing in it costs anything where
// moderations are free, so that only the model is read, and what could be mistaken for it.
var moderationsBody = wire.NewLevel((*parser).skipped, map[string]wire.Reader[*parser]{
	"model": func(p *parser, _ string) error {
		if null, err := p.Null(); null || err != nil {
			return err
		}
		return p.model()
	},
	"input": (*parser).skipped,
})

// finishModeration checks what is required.
func (p *parser) finishModeration() error {
	if _, ok := p.members.Find("input"); !ok {
		return wire.Errorf("input", "input is missing")
	}
	if p.Model == "" {
		p.asked, p.Model = moderationModel, moderationModel
	}
	return nil
}

// moderationOn is a moderation at an upstream where it costs nothing.
func (r *Request) moderationOn(t providers.Terms) (providers.Offer, error) {
	if no := r.NoBound(&t); no != nil {
		return nil, no
	}
	if !slices.Contains(freeAt, t.Provider) {
		return nil, providers.Bills("a moderation", t.Provider)
	}
	return r.freeOn(t), nil
}

// freeAt are the providers at which moderations and counts of tokens cost nothing and leave nothing
// behind. OpenAI bills no moderation (https://platform.openai.com/docs/guides/moderation), and has no
// price for a count (https://platform.openai.com/docs/api-reference/responses/input-tokens). Mistral
// bills its moderations by the token, and nobody knows of others.
var freeAt = []string{"openai"}

func (r *Request) freeOn(t providers.Terms) *offer {
	return &offer{request: r, terms: t, bound: providers.Bound{Free: true}}
}
