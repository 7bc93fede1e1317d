package openai

import (
	"bytes"
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
	for _, name := range billed {
		all[name] = (*parser).billedMember
	}
	for _, name := range retried {
		all[name] = (*parser).retriedMember
	}
	for _, other := range [...]map[string]wire.Reader[*parser]{chatMembers, completionsMembers, embeddingsMembers} {
		for name := range other {
			all[name] = (*parser).unknownMember
		}
	}
	maps.Copy(all, own)
	return wire.NewLevel((*parser).unknownMember, all)
}

var bodies = map[Endpoint]*wire.Level[*parser]{
	ChatCompletions: body(chatMembers),
	Completions:     body(completionsMembers),
	Embeddings:      body(embeddingsMembers),
}

// commonMembers are those that every endpoint has, and those that mean the same
// wherever they appear.
var commonMembers = map[string]wire.Reader[*parser]{
	"model":          func(p *parser, _ string) error { return p.model() },
	"stream":         func(p *parser, name string) error { return p.Flag(&p.Stream, name) },
	"stream_options": func(p *parser, _ string) error { return p.streamOptions() },
	"n":              func(p *parser, name string) error { return p.count(name, 1, &p.n) },
	"best_of":        func(p *parser, name string) error { return p.count(name, 0, &p.bestOf) },
	"service_tier":   func(p *parser, name string) error { return p.Word(&p.ServiceTier, name) },
	"store":          func(p *parser, name string) error { return p.Flag(&p.Store, name) },
	"reasoning_effort": func(p *parser, name string) error {
		return p.Word(&p.ReasoningEffort, name)
	},
	FieldMaxTokens:           func(p *parser, name string) error { return p.outputCap(name) },
	FieldMaxCompletionTokens: func(p *parser, name string) error { return p.outputCap(name) },
	"logprobs":               (*parser).logprobs,
	"top_logprobs":           (*parser).logprobs,
	"cache_control": func(p *parser, name string) error {
		p.CacheControl = true
		return p.unknownMember(name)
	},
	"extra_body": (*parser).extraBody,
	"google":     (*parser).google,
	// Never part of the prompt.
	"user":                   (*parser).skipped,
	"safety_identifier":      (*parser).skipped,
	"metadata":               (*parser).skipped,
	"logit_bias":             (*parser).skipped,
	"stop":                   (*parser).skipped,
	"prompt_cache_key":       (*parser).skipped,
	"prompt_cache_retention": (*parser).skipped,
	"prompt_cache_options":   (*parser).skipped,
}

// plain are members that OpenAI documents and that change no bound.
var plain = []string{
	"temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "verbosity", "moderation",
	"parallel_tool_calls", "echo", "suffix", "encoding_format", "dimensions",
}

// billed are extensions of compatible servers that can cost more than the body
// shows: searches, other models, input stored elsewhere.
var billed = []string{
	"web_search_options",              // OpenAI
	"data_sources",                    // Azure
	"search_parameters",               // xAI
	"enable_search", "search_options", // Alibaba
	"provider", "preset", "route", // OpenRouter
	"providerOptions",                    // Vercel
	"compound_custom", "search_settings", // Groq
	"previous_response_id", "conversation", // Responses API
	"background", "deferred", // answered elsewhere, past the meter
	"chat_template", "mm_processor_kwargs", // vLLM
	"n_predict",                       // llama.cpp, where it overrides the cap
	"cached_content", "cachedContent", // Google, also through gateways
	"context_id",                 // Volcengine
	"prompt_id", "extra_headers", // LiteLLM
	"api_base", "base_url", // LiteLLM: another server
}

// retried are members by which gateways send a request again, or to other
// models. None of them, or no times, is as good as absent.
var retried = []string{
	"models", "plugins", // OpenRouter
	"fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "num_retries", "max_retries", // LiteLLM, Bifrost
}

// skipped reads what says nothing to a bound.
func (p *parser) skipped(string) error {
	_, err := p.Skip()
	return err
}

func (p *parser) unknownMember(string) error { return p.unknown() }

func (p *parser) billedMember(name string) error { return p.unboundedUnlessOff(name) }

func (p *parser) retriedMember(name string) error {
	at, err := p.Skip()
	if err != nil {
		return err
	}
	if !isNone(p.Scanner.Body[at.Start:at.End]) {
		p.unbounded(name)
	}
	return nil
}

// isNone reports whether a value asks for none, or no times.
func isNone(value []byte) bool {
	switch value[0] {
	case 'n', 'f': // null, false
		return true
	case '[':
		return len(bytes.TrimSpace(value[1:len(value)-1])) == 0
	}
	return string(value) == "0"
}

// extraBody reads members that a gateway or server lays over those of the body
// itself. What is read or refused there has no bound here: which of the two would
// win is not known.
func (p *parser) extraBody(place string) error {
	if p.Peek() != '{' {
		return p.unknown()
	}
	start := p.ValueStart()
	err := p.Object(place, func(name string) error {
		if err := p.level.Known.Check(place, name); err != nil {
			return err
		}
		switch _, known := p.level.Members[name]; {
		case name == "google":
			return p.google(wire.Under(place, name))
		case known && !slices.Contains(plain, name):
			return p.unboundedUnlessOff(wire.Under(place, name))
		}
		_, err := p.Skip()
		return err
	})
	return p.measured(start, err)
}

// googleLevel is what Google's chats take beside OpenAI's members.
var googleLevel = wire.NewLevel((*parser).skipped, map[string]wire.Reader[*parser]{
	"cached_content": (*parser).billedAtGoogle,
	"cachedContent":  (*parser).billedAtGoogle,
	"tools":          (*parser).billedAtGoogle,
})

func (p *parser) billedAtGoogle(name string) error { return p.unboundedUnlessOff("google." + name) }

func (p *parser) google(place string) error {
	if p.Peek() != '{' {
		return p.unknown()
	}
	start := p.ValueStart()
	err := googleLevel.Object(p, place)
	return p.measured(start, err)
}
