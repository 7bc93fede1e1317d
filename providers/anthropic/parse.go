package anthropic

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// parser reads one body.
type parser struct {
	*wire.Scanner
	*request
	turn   turn
	called map[string]string // names of the tools that the model called last, by id
	block  block
	unread []wire.Span // objects and lists that were read as a whole, since the block began
	tool   tool
	change change
	next   fallback

	safeguard string // the type of a check
	edit      string // the type of an edit of the context

	sizes      map[string]int64 // of tools by their names, in tokens at most
	references []string         // names of tools that the conversation refers to, as often as it does
	calls      int              // that the provider runs
}

// parse reads a body and a head. The error is a *providers.ParseError.
//
// It is strict where money depends on the meaning: no duplicate names, no bad UTF-8,
// nothing after the object, no value of a wrong type coerced to the right one. A name
// that some server reads as one that means something is refused, and what is not known
// is noted as having no bound.
func parse(operation string, h providers.Head, body []byte) (*request, error) {
	r := &request{operation: operation, head: h, body: body}
	if err := wire.CheckEncoding(body); err != nil {
		return nil, err
	}
	p := &parser{Scanner: wire.NewScanner(body), request: r}
	defer p.Free()
	if err := p.whole(); err != nil {
		return nil, err
	}
	r.copied += p.Scanner.Copied
	r.seeHead()
	return r, nil
}

func (p *parser) whole() error {
	if err := p.Object("", p.topMember); err != nil {
		return err
	}
	if err := p.End(); err != nil {
		return err
	}
	for _, required := range [...]string{"model", "messages", "max_tokens"} {
		if _, ok := p.members.Find(required); !ok && (required != "max_tokens" || p.operation == Messages) {
			return wire.Errorf(required, "%s is required", required)
		}
	}
	p.load.halves = wire.Halves(p.Scanner.Body)
	p.nameResults()
	p.countReferences()
	return nil
}

// topMember reads a member of the body and keeps where it is.
func (p *parser) topMember(name string) error {
	at, start := p.NameAt, p.ValueStart()
	level := bodyLevel
	if p.operation == call.CountTokens {
		level = countLevel
	}
	err := level.Member(p, "", name)
	p.members = append(p.members, wire.Member{Name: strings.Clone(name), At: at, Value: p.Since(start)})
	return err
}

// bodyLevel is the body. Members of other values than these are in lists below.
var bodyLevel = wire.NewLevel(unlisted(""), with(map[string]wire.Reader[*parser]{
	"model":              func(p *parser, _ string) error { return p.readModel() },
	"messages":           func(p *parser, name string) error { return p.Array(name, p.message) },
	"max_tokens":         func(p *parser, name string) error { return p.outputCap(name) },
	"stream":             func(p *parser, name string) error { return p.Flag(&p.request.stream, name) },
	"system":             func(p *parser, name string) error { return p.content(name) },
	"tools":              func(p *parser, name string) error { return p.toolList(name) },
	"tool_choice":        (*parser).toolChoice,
	"thinking":           func(p *parser, name string) error { return thinkingLevel.Optional(p, name) },
	"output_config":      func(p *parser, name string) error { return outputLevel.Optional(p, name) },
	"output_format":      (*parser).format,
	"cache_control":      func(p *parser, name string) error { return p.cacheControl(name) },
	"mcp_servers":        (*parser).mcpServers,
	"fallbacks":          (*parser).fallbackList,
	safeguardsMember:     (*parser).safeguardList,
	"compaction":         func(p *parser, name string) error { return p.compaction(name) },
	"context_management": func(p *parser, name string) error { return p.contextManagement(name) },
	"service_tier":       func(p *parser, name string) error { return p.serviceTier(name) },
	"speed":              func(p *parser, name string) error { return p.speed(name) },
	"inference_geo":      func(p *parser, name string) error { return p.inferenceGeo(name) },
	// Never part of the prompt.
	"temperature":    (*parser).skipped,
	"top_p":          (*parser).skipped,
	"top_k":          (*parser).skipped,
	"stop_sequences": (*parser).skipped,
	"metadata":       (*parser).skipped,
	"diagnostics":    (*parser).skipped,
	// It only makes a call cheaper.
	"fallback_credit_token": (*parser).skipped,
}, costly))

// countLevel is the body of a count of tokens. Nothing in it costs anything.
var countLevel = wire.NewLevel((*parser).skipped, map[string]wire.Reader[*parser]{
	"model":    func(p *parser, _ string) error { return p.readModel() },
	"messages": (*parser).skipped,
})

// costly are members that are known to cost more than the body shows.
var costly = map[string]string{
	"thread":                "it continues a conversation that is stored elsewhere",
	"container":             "files of earlier calls are input",
	"betas":                 "it stands for the header anthropic-beta",
	"anthropic_beta":        "it stands for the header anthropic-beta",
	"user_profile_id":       "another account may be billed",
	"workspace_id":          "another account may be billed",
	"billing_policy":        "another account may be billed",
	"max_tokens_to_sample":  "it is the output cap of another API",
	"prompt":                "it is the input of another API",
	"max_completion_tokens": "it is the output cap of another API",
	"n":                     "it multiplies the output",
	"best_of":               "it multiplies the output",
}

// with adds readers of members that cost.
func with(members map[string]wire.Reader[*parser], costly map[string]string) map[string]wire.Reader[*parser] {
	for name, why := range costly {
		members[name] = func(p *parser, name string) error { return p.cost(name, why) }
	}
	return members
}

// cost reads a member that costs. What asks for nothing is as good as absent.
func (p *parser) cost(path, why string) error {
	at, err := p.Skip()
	if err == nil && !isNothing(p.Scanner.Body[at.Start:at.End]) {
		p.doubts.Costs(call.ExtraMember, path, why)
	}
	return err
}

// isNothing reports whether a value is null, or an empty list.
func isNothing(value []byte) bool {
	return value[0] == 'n' || value[0] == '[' && len(strings.TrimSpace(wire.View(value[1:len(value)-1]))) == 0
}

// unlisted reads a member that is in no list at its place. null is as good as absent.
// A template may write any of it, should the policy admit it.
func unlisted(place string) wire.Reader[*parser] {
	return func(p *parser, name string) error {
		path := wire.Under(place, name)
		at, err := p.Skip()
		if value := p.Scanner.Body[at.Start:at.End]; err == nil && value[0] != 'n' {
			p.load.bytes += int64(len(name)) + wire.MemberBytes + wire.RenderedBytes(value)
			p.doubts.Unknown(call.ExtraMember, path, value[0] != '{' && value[0] != '[')
			if wire.Secret(name) {
				p.doubts.Costs(call.ExtraMember, path, secret)
			}
			if place == "" && wire.HidesUsage(name) {
				p.doubts.Costs(call.ExtraMember, path, "it can hide the usage")
			}
			p.examine(value)
		}
		return err
	}
}

// inferenceGeo reads where the model is to run. Only two places are known by their price.
func (p *parser) inferenceGeo(name string) error {
	if err := p.Word(&p.region, name); err != nil {
		return err
	}
	switch p.region {
	case "", anywhere, "us":
	default:
		p.doubts.Costs(call.ExtraMember, name, "what it costs to run there is not known")
	}
	p.region = strings.Clone(p.region)
	return nil
}

// anywhere is where a call runs at the list price.
const anywhere = "global"

// speed reads how fast the answer is to be.
func (p *parser) speed(name string) error {
	var speed string
	if err := p.Word(&speed, name); err != nil {
		return err
	}
	switch speed {
	case "", standardSpeed:
	case fastSpeed:
		p.fast = true
	default:
		p.doubts.Costs(call.ExtraMember, name, "what it costs is not known")
	}
	return nil
}

const (
	standardSpeed = "standard"
	fastSpeed     = "fast"
)

// skipped reads what says nothing to a bound.
func (p *parser) skipped(string) error {
	_, err := p.Skip()
	return err
}

// opaque reads a value that may become part of the prompt, as JSON. Where it lies in a
// block of a type that nobody knows it is looked into.
func (p *parser) opaque(string) error {
	at, err := p.Skip()
	value := p.Scanner.Body[at.Start:at.End]
	p.load.bytes += wire.RenderedBytes(value)
	if err == nil && (value[0] == '{' || value[0] == '[') {
		p.unread = append(p.unread, at)
	}
	return err
}

// Names in objects that are read as a whole, though some of them mean something.
var (
	choiceNames   = wire.NewVocabulary("type", "name", "disable_parallel_tool_use")
	citationNames = wire.NewVocabulary("enabled")
	callerNames   = wire.NewVocabulary("type", "tool_id")
	formatNames   = wire.NewVocabulary("type", "schema", "name", "description", "strict")
	budgetNames   = wire.NewVocabulary("type", "total", "remaining")
	placeNames    = wire.NewVocabulary("type", "city", "region", "country", "timezone")
)

// spelled reads an object as a whole, by read, and refuses names in it that only look like
// one of those that are known.
func (p *parser) spelled(place string, known wire.Vocabulary, read func(*parser, string) error) (object gjson.Result, err error) {
	start := p.ValueStart()
	if err := read(p, place); err != nil {
		return object, err
	}
	object = gjson.ParseBytes(p.Scanner.Body[start:p.Offset()])
	if !object.IsObject() {
		return object, nil
	}
	object.ForEach(func(name, _ gjson.Result) bool {
		err = known.Check(place, name.Str)
		return err == nil
	})
	return object, err
}

func (p *parser) readModel() error {
	if err := p.Expect("model", '"', "a string"); err != nil {
		return err
	}
	model, err := p.ReadString()
	if err != nil {
		return err
	}
	if model == "" || len(model) > providers.MaxModelBytes {
		return wire.Errorf("model", "model must have 1 to %d bytes", providers.MaxModelBytes)
	}
	p.request.asked = strings.Clone(model)
	p.request.model = p.request.asked
	return p.Identity("model")
}

func (p *parser) outputCap(name string) error {
	start := p.ValueStart()
	tokens, ok, err := p.OptionalInteger(name, 0, providers.MaxCap)
	if err == nil && !ok {
		return wire.Errorf(name, "%s is required", name)
	}
	p.maxTokens, p.capAt = tokens, p.Since(start)
	return err
}

func (p *parser) serviceTier(name string) error {
	start := p.ValueStart()
	if err := p.Word(&p.tier.word, name); err != nil {
		return err
	}
	if len(p.tier.word) > providers.MaxTierBytes {
		return wire.Errorf(name, "%s is longer than %d bytes", name, providers.MaxTierBytes)
	}
	p.tier.at = p.Since(start)
	switch p.tier.word {
	case "", "auto", standardOnly:
	default:
		p.doubts.Unknown(call.ExtraTier, p.tier.word, false)
	}
	return nil
}

// level is one whose members are unlisted but for these.
func level(place string, members map[string]wire.Reader[*parser]) *wire.Level[*parser] {
	return wire.NewLevel(unlisted(place), members)
}

var thinkingLevel = level("thinking", map[string]wire.Reader[*parser]{
	"type":          (*parser).skipped,
	"display":       (*parser).skipped,
	"block_binding": (*parser).skipped, // what becomes of blocks that do not fit
	"budget_tokens": func(p *parser, _ string) (err error) {
		p.thinking, _, err = p.OptionalInteger(budgetMember, 0, providers.MaxCap)
		return err
	},
})

var outputLevel = level("output_config", map[string]wire.Reader[*parser]{
	"effort": (*parser).skipped,
	"format": (*parser).format,
	"task_budget": func(p *parser, _ string) error { // advice, which the model is told of
		_, err := p.spelled("output_config.task_budget", budgetNames, (*parser).opaque)
		return err
	},
})

// format reads the schema that the answer is to have.
func (p *parser) format(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	p.schema = true
	p.load.formats++
	_, err := p.spelled(name, formatNames, (*parser).opaque)
	return err
}

var cacheLevel = level("cache_control", map[string]wire.Reader[*parser]{
	"type":  (*parser).skipped,
	"scope": (*parser).skipped, // who else may read it, which costs no more
	"ttl": func(p *parser, _ string) error {
		var ttl string
		if err := p.Word(&ttl, "cache_control.ttl"); err != nil {
			return err
		}
		switch ttl {
		case "", "5m":
		case "1h":
			p.cache.long = true
		default:
			p.doubts.Costs(call.ExtraMember, "cache_control.ttl", "it has no price")
		}
		return nil
	},
})

// cacheControl reads what is to be written to the cache. Writes for an hour are dearer
// than those for 5 minutes, and may be of the same tokens.
func (p *parser) cacheControl(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	p.cache.short = true
	return cacheLevel.Object(p, name)
}
