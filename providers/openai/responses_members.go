package openai

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// FieldMaxOutputTokens is the output cap of a response. It covers all that the model
// writes, what it thinks and the arguments of tools among it.
const FieldMaxOutputTokens = "max_output_tokens"

// Reasons in Request.Unbounded of a response: what no body shows, and no allowance admits.
const (
	UnboundedConversation = "conversation"             // other calls add to it at the same time
	UnboundedPrompt       = "prompt"                   // what is stored there can have tools, a cap, images
	UnboundedMultiAgent   = "multi_agent.enabled"      // agents start agents, as many as they like
	UnboundedReasoning    = "reasoning.mode"           // several runs are billed together
	UnboundedCompaction   = "context_management"       // something else than the compaction that OpenAI has
	UnboundedTrigger      = "input.compaction_trigger" // the same, where nobody knows how much the model writes at most
)

// responsesMembers are those of the body of a response alone, and of what goes with it:
// a count of its input, and its compaction (OpenAI's description of the API, and package
// openai 3.57.0, types/responses/response_create_params.py).
var responsesMembers = map[string]wire.Reader[*parser]{
	"input":          (*parser).responseInput,
	"instructions":   (*parser).responseInput, // some servers take items
	previousResponse: (*parser).previous,
	"store": func(p *parser, name string) error {
		p.unstored = p.Peek() == 'f'
		return p.Flag(new(bool), name)
	},
	FieldMaxOutputTokens: (*parser).responseCap,
	"tools":              func(p *parser, name string) error { return p.toolList(name, p.bodyTool) },
	"tool_choice":        (*parser).toolChoice,
	"text":               func(p *parser, place string) error { return textLevel.Optional(p, place) },
	"reasoning":          (*parser).responseReasoning,

	"conversation":       func(p *parser, _ string) error { return p.unboundedUnlessOff(UnboundedConversation) },
	"prompt":             func(p *parser, _ string) error { return p.unboundedUnlessOff(UnboundedPrompt) },
	"multi_agent":        (*parser).multiAgent,
	"context_management": (*parser).contextManagement,

	"client_metadata": (*parser).skipped, // Codex: of its session, for the provider's records
	"include":         (*parser).stops,   // a list of words
	fieldMaxToolCalls: (*parser).toolCalls,
	"truncation":      (*parser).truncation,
	"personality":     (*parser).label,
	"access_programs": func(p *parser, name string) error {
		return accessLevel.Object(p, name)
	},
	"image": func(p *parser, name string) error { return imageOptionsLevel.Object(p, name) },

	// The caps and counts of a chat mean nothing here, or nobody knows what.
	FieldMaxTokens:           (*parser).unlisted,
	FieldMaxCompletionTokens: (*parser).unlisted,
	"n":                      (*parser).unlisted,
	"best_of":                (*parser).unlisted,
	"messages":               (*parser).costly,
}

// renders reads a member that says how the model is to read what went before: what it
// counts then says nothing of how much another reads.
func (p *parser) renders(place string) error {
	if p.Peek() == 'n' {
		return p.skipped(place)
	}
	start := p.ValueStart()
	if err := p.scalar("", place); err != nil {
		return err
	}
	value := p.Since(start)
	p.rendering += place + string(p.body[value.Start:value.End])
	return nil
}

// accessLevel is access_programs: who may be answered, which costs nothing.
var accessLevel = wire.NewLevel(noted("access_programs"), map[string]wire.Reader[*parser]{
	"cyber": scalarAt("access_programs"),
})

// imageOptionsLevel is image, whose compression makes an image fewer tokens.
var imageOptionsLevel = wire.NewLevel(noted("image"), map[string]wire.Reader[*parser]{
	"context_compression": func(p *parser, _ string) error { return p.renders("image.context_compression") },
})

func (p *parser) previous(name string) error {
	if err := p.Word(&p.Previous, name); err != nil {
		return err
	}
	if p.Previous == "" {
		return nil
	}
	return p.Identity(name)
}

// truncation reads what becomes of an input that is too long. Either way it is no longer
// than the context; what was cut of it may be there again in what goes on from it.
func (p *parser) truncation(name string) error {
	if kind := p.Peek(); kind != '"' {
		return p.label(name)
	}
	word := ""
	err := p.Word(&word, name)
	p.truncated = word != "disabled"
	return err
}

// responseCap reads the output cap. The API takes none below responsesCap, which it says
// itself.
func (p *parser) responseCap(name string) error {
	tokens, set, err := p.OptionalInteger(name, 1, providers.MaxCap)
	p.caps[capIndex(name)] = outputCap{tokens, set}
	return err
}

// textLevel is how the text of the output is to look.
var textLevel = wire.NewLevel(noted("text"), map[string]wire.Reader[*parser]{
	"verbosity": scalarAt("text"),
	"format":    func(p *parser, _ string) error { return p.responseFormat() },
})

// responseReasoning reads how the model is to think. A mode but the standard one runs it
// several times.
func (p *parser) responseReasoning(place string) error {
	if p.Peek() != '{' {
		return p.scalar("", place)
	}
	return reasoningLevel.Object(p, place)
}

var reasoningLevel = wire.NewLevel(noted("reasoning"), map[string]wire.Reader[*parser]{
	"effort":           scalarAt("reasoning"),
	"summary":          scalarAt("reasoning"),
	"generate_summary": scalarAt("reasoning"),
	"context":          func(p *parser, _ string) error { return p.renders("reasoning.context") }, // all of it is in the body, or carried over
	"mode": func(p *parser, _ string) error {
		mode := ""
		if p.Peek() != '"' && p.Peek() != 'n' {
			return p.unboundedUnlessOff(UnboundedReasoning)
		}
		err := p.Word(&mode, "reasoning.mode")
		if mode != "" && mode != "standard" {
			p.unbounded(UnboundedReasoning)
		}
		return err
	},
})

func (p *parser) multiAgent(place string) error {
	if p.Peek() != '{' {
		return p.unboundedUnlessOff(UnboundedMultiAgent)
	}
	return multiAgentLevel.Object(p, place)
}

var multiAgentLevel = wire.NewLevel(noted("multi_agent"), map[string]wire.Reader[*parser]{
	"enabled":                  func(p *parser, _ string) error { return p.unboundedUnlessOff(UnboundedMultiAgent) },
	"max_concurrent_subagents": scalarAt("multi_agent"),
})

// contextManagement reads what the provider is to do to an input that grows too long: make
// it shorter, which is one more run of the model each time.
func (p *parser) contextManagement(place string) error {
	if p.Peek() != '[' {
		return p.unboundedUnlessOff(UnboundedCompaction)
	}
	return p.Array(place, func() error {
		if p.Peek() != '{' {
			return p.unboundedUnlessOff(UnboundedCompaction)
		}
		p.managing = ""
		if err := managementLevel.Object(p, place); err != nil {
			return err
		}
		if p.managing != "compaction" || p.load.managed {
			p.unbounded(UnboundedCompaction)
		}
		p.load.managed = true
		p.rendering += place
		return nil
	})
}

var managementLevel = wire.NewLevel(noted(UnboundedCompaction), map[string]wire.Reader[*parser]{
	"type":              func(p *parser, _ string) error { return p.Word(&p.managing, UnboundedCompaction+".type") },
	"compact_threshold": scalarAt(UnboundedCompaction),
})

// responseInput reads a text, or items.
func (p *parser) responseInput(place string) error {
	if p.Peek() != '[' {
		p.load.messages++
		return p.text(place)
	}
	return p.Array(place, p.inputItem)
}

// isResponse reports whether an endpoint takes the input of a response.
func (e Endpoint) isResponse() bool {
	return e == Responses || e == CompactResponses || e == CountResponses
}

// longLife is the lifetime of a cache entry that costs more to write than those of
// cacheLife.
const longLife = "12h"

const breakpointPlace = "input.content.prompt_cache_breakpoint"

// breakpointLevel is a mark of what is to be written to the cache, and for how long.
var breakpointLevel = wire.NewLevel(noted(breakpointPlace), map[string]wire.Reader[*parser]{
	"mode": scalarAt(breakpointPlace),
	"type": scalarAt(breakpointPlace),
	"ttl": func(p *parser, name string) error {
		life := ""
		if p.Peek() != '"' {
			return p.note(breakpointPlace, name)
		}
		err := p.Word(&life, breakpointPlace+".ttl")
		p.lasting(life, breakpointPlace)
		return err
	},
})

// lasting notes for how long something is to stay in the cache. What a chat asks for has
// no bound yet but at cacheLife.
func (p *parser) lasting(life, place string) {
	switch {
	case life == cacheLife:
	case life == longLife && p.Endpoint.isResponse():
		p.longWrites = true
	default:
		p.extra(call.ExtraMember, place+".ttl", true)
	}
}

// clientTools are the types of tools that the client runs, so that a call of one ends the
// response. What OpenAI says to the model of those that have no description counts
// builtinTokens.
var clientTools = map[string]bool{
	"function": true, "custom": true, "namespace": true, "apply_patch": true, "local_shell": true,
	"computer": true, "computer_use_preview": true,
}

// computerUse is what a choice of a tool may call a computer
// (ToolChoiceTypes in OpenAI's description of the API).
const computerUse = "computer_use"

// offeredLevel is one entry of tools, of whatever type. The size of the whole list counts.
var offeredLevel *wire.Level[*parser]

// A namespace is made of tools, so that the level holds itself.
func init() { offeredLevel = wire.NewLevel(noted("tools"), offeredMembers) }

var offeredMembers = map[string]wire.Reader[*parser]{
	"type": func(p *parser, _ string) error { return p.Word(&p.offered.kind, "tools.type") },
	"name": func(p *parser, _ string) error {
		p.Half = false
		if err := p.Word(&p.offered.name, "tools.name"); err != nil {
			return err
		}
		return p.Identity("tools.name")
	},
	"execution":       func(p *parser, _ string) error { return p.Word(&p.offered.execution, "tools.execution") },
	"environment":     (*parser).toolEnvironment,
	"description":     scalarAt("tools"),
	"strict":          scalarAt("tools"),
	"defer_loading":   scalarAt("tools"),
	"async":           scalarAt("tools"), // the model goes on, and the client runs it all the same
	"display_width":   scalarAt("tools"),
	"display_height":  scalarAt("tools"),
	"parameters":      (*parser).skipped,
	"output_schema":   (*parser).skipped,
	"allowed_callers": (*parser).skipped, // a list of words
	"format": func(p *parser, _ string) error {
		return p.Checked("tools.format", grammarNames, p.noting("tools.format"))
	},
	"cache_control": (*parser).toolCache,
	// Of a search of the web:
	"external_web_access":  scalarAt("tools"),
	"search_context_size":  scalarAt("tools"),
	"search_content_types": (*parser).skipped, // a list of words
	"user_location":        (*parser).skipped,
	"filters":              (*parser).skipped, // domains
	"tools":                func(p *parser, name string) error { return p.OptionalArray(name, p.offeredTool) },
}

// offered is what is kept of the tool that is being read.
type offered struct {
	kind, name, execution, environment string
}

// offeredTool reads a tool that is offered to the model, in the body or in an item of the
// input. What the client does not run, runs at the provider: there it has fees, and the
// model runs again with what it brings.
func (p *parser) offeredTool() error {
	outer, before := p.offered, len(p.extras.list)
	p.offered = offered{}
	defer func() { p.offered = outer }()
	if err := offeredLevel.Object(p, "tools"); err != nil {
		return err
	}
	p.load.tools++
	o := &p.offered
	p.lastKind = o.kind
	if o.atClient() {
		return p.offerOwn(o)
	}
	return p.offerHosted(o.kind, before)
}

func (o *offered) atClient() bool {
	switch o.kind {
	case "tool_search":
		return o.execution == "client"
	case "shell":
		return o.environment == "local"
	}
	return clientTools[o.kind]
}

// offerOwn notes the name of a tool that the client runs. A namespace is the tools in it.
func (p *parser) offerOwn(o *offered) error {
	switch o.kind {
	case "namespace":
		return nil
	case "function", "custom":
		return p.offer("tools", o.name)
	}
	p.load.builtins++
	p.local = append(p.local, o.kind)
	return p.offer("tools", o.kind)
}

// toolEnvironment reads where the commands of a shell run, or in one word what a computer
// is.
func (p *parser) toolEnvironment(name string) error {
	if p.Peek() != '{' {
		return p.scalar("tools", name)
	}
	return environmentLevel.Object(p, "tools.environment")
}

var environmentLevel = wire.NewLevel(noted("tools.environment"), map[string]wire.Reader[*parser]{
	"type":   func(p *parser, _ string) error { return p.Word(&p.offered.environment, "tools.environment.type") },
	"skills": (*parser).skipped, // of the client's own, where it is local: their names and paths
})

// role keeps the role of an item, folded.
func (p *parser) itemRole(string) error {
	err := p.noted(&p.item.role, "input.role")
	p.item.speaker = roles.has(p.item.role)
	p.item.role = names.Fold(p.item.role)
	return err
}
