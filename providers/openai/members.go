package openai

import (
	"maps"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// body returns what the members of an endpoint's body mean. The names of other
// endpoints' members are known to each, and read as unknown.
func body(own map[string]wire.Reader[*parser]) *wire.Level[*parser] {
	all := maps.Clone(commonMembers)
	for _, name := range plain {
		all[name] = (*parser).unknownMember
	}
	for _, name := range costlyNames() {
		all[name] = (*parser).costly
	}
	all[enableThinking], all["thinking"] = (*parser).enableThinking, (*parser).thinking
	for _, other := range [...]map[string]wire.Reader[*parser]{chatMembers, completionsMembers, embeddingsMembers} {
		for name := range other {
			all[name] = (*parser).unlisted
		}
	}
	maps.Copy(all, own)
	return wire.NewLevel((*parser).unlisted, all)
}

var bodies = map[Endpoint]*wire.Level[*parser]{
	ChatCompletions: body(chatMembers),
	Completions:     body(completionsMembers),
	Embeddings:      body(embeddingsMembers),
	Moderations:     moderationsBody,

	Responses:        body(responsesMembers),
	CompactResponses: body(responsesMembers),
	CountResponses:   body(responsesMembers),

	GenerateImages: mediaBody(drawingMembers),
	EditImages:     mediaBody(drawingMembers),
	Speech:         mediaBody(speechMembers),
	Transcriptions: mediaBody(transcriptionMembers),
	Translations:   mediaBody(transcriptionMembers),
}

// commonMembers are those that every endpoint has, and those that mean the same
// wherever they appear.
var commonMembers = map[string]wire.Reader[*parser]{
	"model":                  func(p *parser, _ string) error { return p.model() },
	"stream":                 func(p *parser, name string) error { return p.Flag(&p.Stream, name) },
	"stream_options":         func(p *parser, _ string) error { return p.streamOptions() },
	"n":                      func(p *parser, name string) error { return p.count(name, 1, &p.n) },
	"best_of":                func(p *parser, name string) error { return p.count(name, 0, &p.bestOf) },
	"service_tier":           (*parser).serviceTier,
	"store":                  func(p *parser, name string) error { return p.Flag(new(bool), name) },
	"reasoning_effort":       (*parser).reasoningEffort,
	FieldMaxTokens:           func(p *parser, name string) error { return p.outputCap(name) },
	FieldMaxCompletionTokens: func(p *parser, name string) error { return p.outputCap(name) },
	"logprobs":               (*parser).logprobs,
	"top_logprobs":           (*parser).logprobs,
	"cache_control": func(p *parser, name string) error {
		start := p.ValueStart()
		err := p.cacheControl(name)
		return p.measured(start, err)
	},
	"extra_body": (*parser).extraBody,
	"google":     (*parser).google,
	// Never part of the prompt.
	"user":                   (*parser).label,
	"safety_identifier":      (*parser).label,
	"metadata":               (*parser).skipped,
	"logit_bias":             (*parser).skipped,
	"stop":                   (*parser).stops,
	"prompt_cache_key":       (*parser).label,
	"prompt_cache_retention": (*parser).label,
	"prompt_cache_options":   (*parser).cacheOptions,
}

// plain are members that OpenAI documents and that change no bound.
var plain = []string{
	"temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "verbosity",
	"parallel_tool_calls", "echo", "suffix", "encoding_format", "dimensions",
}

// skipped reads what says nothing to a bound.
func (p *parser) skipped(string) error {
	_, err := p.Skip()
	return err
}

// reasoningEffort reads a word; at Fireworks it may be a number or a boolean.
func (p *parser) reasoningEffort(name string) error {
	if kind := p.Peek(); kind == '0' || kind == 't' || kind == 'f' {
		return p.skipped(name)
	}
	return p.Word(new(string), name)
}

// cacheLife is the lifetime of a cache entry whose price is that of a cache write.
const cacheLife = "30m"

// cacheOptions notes a lifetime that may cost more.
func (p *parser) cacheOptions(place string) error {
	if p.Peek() != '{' {
		return p.label(place)
	}
	return p.Object(place, func(name string) error {
		switch {
		case name == "mode", name == "prewarm" && p.Endpoint.isResponse():
			return p.scalar(place, name)
		case name != "ttl" || p.Peek() != '"':
			return p.note(place, name)
		}
		life, err := p.ReadString()
		p.lasting(life, place)
		return err
	})
}

// cacheNames are what marks something to be written to a prompt cache.
var cacheNames = wire.NewVocabulary("type", "ttl", "mode")

// cacheControl reads such a mark.
func (p *parser) cacheControl(place string) error {
	p.CacheControl = true
	return p.Checked(place, cacheNames, p.noting(place))
}

// unknownMember reads a member that is a number, a boolean or a string, which a
// template may write.
func (p *parser) unknownMember(name string) error {
	if kind := p.Peek(); kind == '{' || kind == '[' {
		return p.unlisted(name)
	}
	return p.unknown()
}

// label reads a member that is a number, a boolean or a string, and never part of the
// prompt.
func (p *parser) label(name string) error { return p.scalar("", name) }

// stops reads one text at which the output ends, or several.
func (p *parser) stops(name string) error {
	if p.Peek() != '[' {
		return p.label(name)
	}
	return p.Array(name, func() error { return p.label(name) })
}

// extraBody reads members that a gateway or server lays over those of the body
// itself. What is read or refused there has no bound here: which of the two would
// win is not known.
func (p *parser) extraBody(place string) error {
	return p.beside(place, func(name string) error {
		if err := p.level.Known.Check(place, name); err != nil {
			return err
		}
		switch _, known := p.level.Members[name]; {
		case name == "google":
			return p.google(wire.Under(place, name))
		case name == enableThinking || name == "thinking":
			p.thinkingOverlaid = true
			return p.note(place, name)
		case known && !slices.Contains(plain, name):
			return p.unboundedUnlessOff(wire.Under(place, name))
		case known:
			return p.skipped(name)
		}
		return p.note(place, name)
	})
}

// beside reads a member that should be an object of members, and counts what a template may write
// of it.
func (p *parser) beside(place string, member func(name string) error) error {
	if p.Peek() != '{' {
		return p.unlisted(place)
	}
	start := p.ValueStart()
	return p.measured(start, p.Object(place, member))
}

// googleNames are what chats of Google know beside OpenAI's members.
var googleNames = wire.NewVocabulary("cached_content", "cachedContent", "tools")

func (p *parser) google(place string) error {
	return p.beside(place, func(name string) error {
		if err := googleNames.Check(place, name); err != nil {
			return err
		}
		return p.note(place, name)
	})
}
