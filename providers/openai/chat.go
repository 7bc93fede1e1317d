package openai

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// chatMembers are those of a chat completions body alone.
var chatMembers = map[string]wire.Reader[*parser]{
	"messages":        func(p *parser, name string) error { return p.Array(name, p.message) },
	"tools":           func(p *parser, name string) error { return p.toolList(name, p.readTool) },
	"functions":       func(p *parser, name string) error { return p.toolList(name, p.oldFunction) },
	"tool_choice":     (*parser).toolChoice,
	"function_call":   func(p *parser, name string) error { return p.renderedOf(name, choiceNames) },
	"response_format": func(p *parser, _ string) error { return p.responseFormat() },
	"modalities":      func(p *parser, _ string) error { return p.modalities() },
	"prediction":      func(p *parser, _ string) error { return p.prediction() },
	"prompt":          (*parser).costly, // another endpoint's input
	"input":           (*parser).costly,
	// Voice and format; modalities says whether it is used.
	"audio": func(p *parser, name string) error { return p.Checked(name, audioNames, p.noting(name)) },
}

// Names that mean something in values that are read whole.
var (
	choiceNames  = wire.NewVocabulary("type", "name", "function", "custom", "allowed_tools", "mode", "tools")
	formatNames  = wire.NewVocabulary("type", "json_schema", "schema", "name", "strict", "description")
	audioNames   = wire.NewVocabulary("voice", "format", "id")
	grammarNames = wire.NewVocabulary("type", "grammar", "syntax", "definition")
	callNames    = wire.NewVocabulary("id", "type", "index", "function", "custom", "name", "arguments", "input")
)

// messageLevel is one message.
var messageLevel = wire.NewLevel(
	func(p *parser, name string) error { return p.unlistedText("messages", name) }, // what other servers add
	map[string]wire.Reader[*parser]{
		"role":         func(p *parser, _ string) error { return p.role() },
		"tool_call_id": func(p *parser, _ string) error { return p.named(&p.inMessage.callID, "messages.tool_call_id") },
		"name": func(p *parser, _ string) error {
			p.load.names++
			return p.named(&p.inMessage.name, "messages.name")
		},
		"refusal": func(p *parser, _ string) error { return p.text("messages.refusal") },
		"content": func(p *parser, _ string) error { return p.content() },
		"audio":   func(p *parser, _ string) error { return p.unboundedUnlessOff(UnboundedAudioID) },
		"cache_control": func(p *parser, _ string) error {
			p.CacheControl = true
			return p.values("messages", cacheNames)
		},
		"tool_calls": func(p *parser, name string) error {
			start := p.ValueStart()
			err := p.values("messages."+name, callNames)
			p.inMessage.calls = p.Since(start)
			return err
		},
		"function_call": func(p *parser, name string) error { return p.values("messages."+name, callNames) },
	})

func (p *parser) message() error {
	p.load.messages++
	p.inMessage = turn{}
	err := messageLevel.Object(p, "messages")
	p.turn(&p.inMessage)
	return err
}

// role reads a message's role. Moonshot's role cache names input that is stored
// there.
func (p *parser) role() error {
	err := p.noted(&p.inMessage.role, "messages.role")
	p.inMessage.role = names.Fold(p.inMessage.role)
	if p.inMessage.role == "cache" {
		p.unbounded(UnboundedCacheRole)
	}
	return err
}

func (p *parser) content() error {
	if p.Peek() == '[' {
		return p.Array("messages.content", p.part)
	}
	return p.text("messages.content")
}

// partLevel is one content part. Its type may come after its content, so each
// member speaks for itself and the type only has to be a known one. Any other type is
// listed as a whole, or not.
var partLevel = wire.NewLevel(
	func(p *parser, name string) error { return p.unlistedText("messages.content", name) },
	map[string]wire.Reader[*parser]{
		"type": func(p *parser, _ string) error {
			return p.Word(&p.partType, "messages.content.type")
		},
		"text":                    (*parser).partText,
		"refusal":                 (*parser).partText,
		"image_url":               func(p *parser, _ string) error { return p.image() },
		"input_audio":             (*parser).audioPart,
		"file":                    (*parser).filePart,
		"prompt_cache_breakpoint": (*parser).partCache,
		"cache_control":           (*parser).partCache,
	})

func (p *parser) part() error {
	p.load.parts++
	if p.Peek() == '"' { // some servers take plain strings
		return p.addText("messages.content")
	}
	p.partType = ""
	before := len(p.extras.list)
	err := partLevel.Object(p, "messages.content")
	if err == nil && !partTypes[p.partType] {
		p.asWhole(before, call.ExtraPart, p.partType)
	}
	return err
}

// audioPart reads a recording, whose tokens only the model's context bounds.
func (p *parser) audioPart(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	p.audioInput = true
	p.load.needContext("messages.content.input_audio")
	p.brings(name)
	return p.skipped(name)
}

// filePart reads a file, whose pages become text and images.
func (p *parser) filePart(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	p.load.files++
	p.brings(name)
	if p.Peek() != '{' {
		return p.skipped(name)
	}
	return fileLevel.Object(p, filePlace)
}

const filePlace = "messages.content.file"

var fileLevel = wire.NewLevel(noted(filePlace), map[string]wire.Reader[*parser]{
	"filename": func(p *parser, _ string) error { return p.text(filePlace + ".filename") }, "file_data": (*parser).skipped, "file_id": noted(filePlace),
})

// brings notes a part of a chat whose tokens do not show.
func (p *parser) brings(part string) {
	if !slices.Contains(p.media, part) {
		p.media = append(p.media, strings.Clone(part))
	}
}

// partTypes are the types of parts whose members are known.
var partTypes = map[string]bool{"text": true, "refusal": true, "image_url": true, "input_audio": true, "file": true}

// textParts are those of them that are text.
var textParts = map[string]bool{"text": true, "refusal": true}

func (p *parser) partText(name string) error { return p.text("messages.content." + name) }

func (p *parser) partCache(string) error { return p.cacheControl("messages.content") }

// imageLevel is an image; its detail is kept.
var imageLevel = wire.NewLevel(noted("messages.content.image_url"), map[string]wire.Reader[*parser]{
	"url": scalarAt("messages.content.image_url"),
	"detail": func(p *parser, _ string) error {
		var err error
		p.detail, err = p.OptionalString("messages.content.image_url.detail")
		return err
	},
})

// image counts an image by its detail. Some servers take a bare URL.
func (p *parser) image() error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	p.Images = true
	if p.Peek() == '"' {
		p.load.images.add("")
		_, err := p.Skip()
		return err
	}
	p.detail = ""
	err := imageLevel.Object(p, "messages.content.image_url")
	p.load.images.add(p.detail)
	return err
}

// values reads any value of a message, in whose objects names are of one
// vocabulary. It adds every string in it to the texts, and every name, number and
// bracket to the overhead.
func (p *parser) values(place string, v wire.Vocabulary) error {
	switch p.Peek() {
	case '"':
		if err := p.addText(place); err != nil {
			return err
		}
		// Templates of other servers may write an argument string anew.
		p.load.rewritten += wire.RenderedBytes(wire.BytesOf(p.Texts[len(p.Texts)-1]))
		return nil
	case '{':
		return p.Object(place, func(name string) error {
			p.load.rendered += int64(len(name)) + wire.MemberBytes
			inner, listed, err := v.Inner(place, name)
			switch {
			case err != nil:
				return err
			case !listed:
				return p.unlistedText(place, name)
			}
			return p.values(place, inner)
		})
	case '[':
		return p.Array(place, func() error { return p.values(place, v) })
	}
	return p.rendered()
}

func (p *parser) toolList(param string, element func() error) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	start := p.ValueStart()
	err := p.Array(param, element)
	return p.measured(start, err)
}

// toolLevel is one entry of tools, whose details the size of the whole list
// counts. Only functions and custom tools run at the
// client; any other kind runs, and is billed, at the provider.
var toolLevel = wire.NewLevel(noted("tools"), map[string]wire.Reader[*parser]{
	"function": func(p *parser, name string) error { return p.readFunction("tools." + name) },
	"custom":   func(p *parser, name string) error { return p.readFunction("tools." + name) },
	"type": func(p *parser, _ string) error {
		var err error
		p.toolType, err = p.OptionalString("tools.type")
		return err
	},
	"cache_control": (*parser).toolCache,
})

// functionLevel is a function or a custom tool.
var functionLevel = wire.NewLevel(func(p *parser, name string) error { return p.note(p.function.place, name) }, map[string]wire.Reader[*parser]{
	"name":        (*parser).functionName,
	"description": (*parser).ofFunction,
	"parameters":  (*parser).skipped,
	"strict":      (*parser).ofFunction,
	"format": func(p *parser, _ string) error {
		return p.Checked(p.function.place, grammarNames, p.noting(p.function.place))
	},
	"cache_control": (*parser).toolCache,
})

func (p *parser) functionName(name string) error {
	p.Half = false
	if err := p.Word(&p.function.name, wire.Under(p.function.place, name)); err != nil {
		return err
	}
	return p.Identity(wire.Under(p.function.place, name))
}

func (p *parser) ofFunction(name string) error { return p.scalar(p.function.place, name) }

func (p *parser) toolCache(string) error { return p.cacheControl("tools") }

func (p *parser) readTool() error {
	before, extras := len(p.Tools), len(p.extras.list)
	p.toolType = ""
	err := toolLevel.Object(p, "tools")
	if p.toolType == "" && len(p.Tools) > before {
		p.toolType = "function" // as Mistral's clients leave it out
	}
	if err == nil && p.toolType != "function" && p.toolType != "custom" {
		p.asWhole(extras, call.ExtraTool, p.toolType)
		return p.offer("tools", p.toolType)
	}
	if err == nil && len(p.Tools) == before {
		return p.offer("tools", "")
	}
	return err
}

// function notes the name of a function or custom tool.
func (p *parser) readFunction(place string) error {
	p.load.tools++
	p.function.place, p.function.name = place, ""
	if err := functionLevel.Object(p, place); err != nil {
		return err
	}
	return p.offer(place, p.function.name)
}

// choiceTypes are the types of a choice that name no tool of the provider's.
var choiceTypes = map[string]bool{"": true, "function": true, "custom": true, "allowed_tools": true,
	"auto": true, "none": true, "any": true, "required": true, "tool": true}

// toolChoice reads a word, or the tool that is to be called.
func (p *parser) toolChoice(name string) error {
	start := p.ValueStart()
	err := p.renderedOf(name, choiceNames)
	if err == nil {
		choice := gjson.ParseBytes(p.Scanner.Body[start:p.Offset()])
		kind := wire.Get(choice, "type").Str
		p.choose(choice)
		if !choiceTypes[kind] {
			p.choice = kind
		}
	}
	return err
}

func (p *parser) oldFunction() error { return p.readFunction("functions") }

func (p *parser) responseFormat() error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	p.load.formats++
	if err := p.Expect("response_format", '{', "an object"); err != nil {
		return err
	}
	start := p.ValueStart()
	err := p.renderedOf("response_format", formatNames)
	if err == nil {
		format := gjson.ParseBytes(p.Scanner.Body[start:p.Offset()])
		p.JSONSchema = names.Fold(wire.Get(format, "type").Str) == "json_schema"
	}
	return err
}

func (p *parser) modalities() error {
	return p.OptionalArray("modalities", func() error {
		kind, err := p.OptionalString("modalities")
		if kind == "audio" {
			p.AudioOutput = true
		} else if kind != "text" && kind != "" {
			p.unbounded(UnboundedModality)
		}
		return err
	})
}

// prediction reads the predicted output: a string, or parts of type text.
func (p *parser) prediction() error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	p.PredictedOutput = true
	return predictionLevel.Object(p, "prediction")
}

var predictionLevel = wire.NewLevel(noted("prediction"), map[string]wire.Reader[*parser]{
	"type":    scalarAt("prediction"),
	"content": func(p *parser, _ string) error { return p.predicted() },
})

var predictedLevel = wire.NewLevel(noted("prediction.content"), map[string]wire.Reader[*parser]{
	"type": scalarAt("prediction.content"),
	"text": func(p *parser, _ string) error { return p.predictedText() },
})

func (p *parser) predicted() error {
	const place = "prediction.content"
	if p.Peek() != '[' {
		return p.predictedText()
	}
	return p.Array(place, func() error { return predictedLevel.Object(p, place) })
}

func (p *parser) predictedText() error {
	p.Half = false
	text, err := p.OptionalString("prediction.content")
	if len(p.Prediction) == providers.MaxTexts {
		return wire.Errorf("prediction.content", "request has more than %d texts", providers.MaxTexts)
	}
	if p.Half { // each may be as much as halfTokens
		text += strings.Repeat("\ufffd", wire.HalfTokens*strings.Count(text, "\ufffd"))
	}
	if err == nil && text != "" {
		p.Prediction = append(p.Prediction, text)
	}
	return err
}
