package providers

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// chatMembers are those of a chat completions body alone.
var chatMembers = map[string]reader[*parser]{
	"messages":        func(p *parser, name string) error { return p.array(name, p.message) },
	"tools":           func(p *parser, name string) error { return p.toolList(name, p.readTool) },
	"functions":       func(p *parser, name string) error { return p.toolList(name, p.oldFunction) },
	"tool_choice":     func(p *parser, name string) error { return p.renderedOf(name, choiceNames) },
	"function_call":   func(p *parser, name string) error { return p.renderedOf(name, choiceNames) },
	"response_format": func(p *parser, _ string) error { return p.responseFormat() },
	"modalities":      func(p *parser, _ string) error { return p.modalities() },
	"prediction":      func(p *parser, _ string) error { return p.prediction() },
	"prompt":          (*parser).billedMember, // another endpoint's input
	"input":           (*parser).billedMember,
	// Voice and format; modalities says whether it is used.
	"audio": func(p *parser, name string) error { return p.checked(name, audioNames) },
}

// Names that mean something in values that are read whole.
var (
	choiceNames = vocabularyOf("type", "name", "function", "custom", "allowed_tools", "mode", "tools")
	formatNames = vocabularyOf("type", "json_schema", "schema", "name", "strict", "description")
	audioNames  = vocabularyOf("voice", "format", "id")
	callNames   = vocabularyOf("id", "type", "index", "function", "custom", "name", "arguments", "input")
)

// messageLevel is one message.
var messageLevel = levelOf(
	func(p *parser, _ string) error { return p.values("messages", nil) }, // what other servers add
	map[string]reader[*parser]{
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
			return p.values("messages", nil)
		},
		"tool_calls": func(p *parser, name string) error {
			start := p.valueStart()
			err := p.values("messages."+name, callNames)
			p.inMessage.calls = span{start, p.offset()}
			return err
		},
		"function_call": func(p *parser, name string) error { return p.values("messages."+name, callNames) },
	})

func (p *parser) message() error {
	p.load.messages++
	p.inMessage = turn{}
	err := messageLevel.object(p, "messages")
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
	if p.peek() == '[' {
		return p.array("messages.content", p.part)
	}
	return p.text("messages.content")
}

// partLevel is one content part. Its type may come after its content, so each
// member speaks for itself and the type only has to be a known one.
var partLevel = levelOf(
	func(p *parser, _ string) error { return p.unboundedUnlessOff(UnboundedContentPart) },
	map[string]reader[*parser]{
		"type": func(p *parser, _ string) error {
			kind, err := p.optionalString("messages.content.type")
			p.partKnown = kind == "text" || kind == "refusal" || kind == "image_url" || kind == "input_audio" || kind == "file"
			return err
		},
		"text":                    (*parser).partText,
		"refusal":                 (*parser).partText,
		"image_url":               func(p *parser, _ string) error { return p.image() },
		"input_audio":             func(p *parser, _ string) error { return p.unboundedUnlessOff(UnboundedInputAudio) },
		"file":                    func(p *parser, _ string) error { return p.unboundedUnlessOff(UnboundedFile) },
		"prompt_cache_breakpoint": (*parser).partCache,
		"cache_control":           (*parser).partCache,
	})

func (p *parser) part() error {
	p.load.parts++
	if p.peek() == '"' { // some servers take plain strings
		return p.addText("messages.content")
	}
	p.partKnown = false
	err := partLevel.object(p, "messages.content")
	if err == nil && !p.partKnown {
		p.unbounded(UnboundedContentPart)
	}
	return err
}

func (p *parser) partText(name string) error { return p.text("messages.content." + name) }

func (p *parser) partCache(string) error {
	p.CacheControl = true
	_, err := p.skip()
	return err
}

// imageLevel is an image; its detail is kept.
var imageLevel = levelOf((*parser).skipped, map[string]reader[*parser]{
	"url": (*parser).skipped,
	"detail": func(p *parser, _ string) error {
		var err error
		p.detail, err = p.optionalString("messages.content.image_url.detail")
		return err
	},
})

// image counts an image by its detail. Some servers take a bare URL.
func (p *parser) image() error {
	p.Images = true
	if p.peek() == '"' {
		p.load.images.add("")
		_, err := p.skip()
		return err
	}
	p.detail = ""
	err := imageLevel.object(p, "messages.content.image_url")
	p.load.images.add(p.detail)
	return err
}

// values reads any value of a message, in whose objects names are of one
// vocabulary. It adds every string in it to the texts, and every name, number and
// bracket to the overhead.
func (p *parser) values(place string, v vocabulary) error {
	switch p.peek() {
	case '"':
		if err := p.addText(place); err != nil {
			return err
		}
		// Templates of other servers may write an argument string anew.
		p.load.rewritten += renderedBytes(bytesOf(p.Texts[len(p.Texts)-1]))
		return nil
	case '{':
		return p.object(place, func(name string) error {
			p.load.rendered += int64(len(name)) + jsonMemberBytes
			inner, err := v.inner(place, name)
			if err != nil {
				return err
			}
			return p.values(place, inner)
		})
	case '[':
		return p.array(place, func() error { return p.values(place, v) })
	}
	return p.rendered()
}

func (p *parser) toolList(param string, element func() error) error {
	if null, err := p.null(); null || err != nil {
		return err
	}
	start := p.valueStart()
	err := p.array(param, element)
	return p.measured(start, err)
}

// toolLevel is one entry of tools, whose details the size of the whole list
// counts. Only functions and custom tools run at the
// client; any other kind runs, and is billed, at the provider.
var toolLevel = levelOf((*parser).skipped, map[string]reader[*parser]{
	"function": func(p *parser, name string) error { return p.readFunction("tools." + name) },
	"custom":   func(p *parser, name string) error { return p.readFunction("tools." + name) },
	"type": func(p *parser, _ string) error {
		var err error
		p.toolType, err = p.optionalString("tools.type")
		return err
	},
	"cache_control": (*parser).toolCache,
})

// functionLevel is a function or a custom tool.
var functionLevel = levelOf((*parser).skipped, map[string]reader[*parser]{
	"name":          (*parser).functionName,
	"description":   (*parser).skipped,
	"parameters":    (*parser).skipped,
	"strict":        (*parser).skipped,
	"format":        (*parser).skipped,
	"cache_control": (*parser).toolCache,
})

func (p *parser) functionName(name string) error {
	p.half = false
	if err := p.word(&p.function.name, under(p.function.place, name)); err != nil {
		return err
	}
	return p.identity(under(p.function.place, name))
}

func (p *parser) toolCache(name string) error {
	p.CacheControl = true
	return p.skipped(name)
}

func (p *parser) readTool() error {
	before := len(p.Tools)
	p.toolType = ""
	err := toolLevel.object(p, "tools")
	if err == nil && p.toolType != "function" && p.toolType != "custom" {
		p.unbounded(UnboundedServerTool)
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
	if err := functionLevel.object(p, place); err != nil {
		return err
	}
	return p.offer(place, p.function.name)
}

func (p *parser) oldFunction() error { return p.readFunction("functions") }

func (p *parser) responseFormat() error {
	if null, err := p.null(); null || err != nil {
		return err
	}
	p.load.formats++
	if err := p.expect("response_format", '{', "an object"); err != nil {
		return err
	}
	start := p.valueStart()
	err := p.renderedOf("response_format", formatNames)
	if err == nil {
		format := gjson.ParseBytes(p.scanner.body[start:p.offset()])
		p.JSONSchema = names.Fold(memberOf(format, "type").Str) == "json_schema"
	}
	return err
}

func (p *parser) modalities() error {
	if null, err := p.null(); null || err != nil {
		return err
	}
	return p.array("modalities", func() error {
		kind, err := p.optionalString("modalities")
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
	if null, err := p.null(); null || err != nil {
		return err
	}
	p.PredictedOutput = true
	return predictionLevel.object(p, "prediction")
}

var predictionLevel = levelOf((*parser).skipped, map[string]reader[*parser]{
	"type":    (*parser).skipped,
	"content": func(p *parser, _ string) error { return p.predicted() },
})

var predictedLevel = levelOf((*parser).skipped, map[string]reader[*parser]{
	"type": (*parser).skipped,
	"text": func(p *parser, _ string) error { return p.predictedText() },
})

func (p *parser) predicted() error {
	const place = "prediction.content"
	if p.peek() != '[' {
		return p.predictedText()
	}
	return p.array(place, func() error { return predictedLevel.object(p, place) })
}

func (p *parser) predictedText() error {
	p.half = false
	text, err := p.optionalString("prediction.content")
	if len(p.Prediction) == MaxTexts {
		return parseErrorf("prediction.content", "request has more than %d texts", MaxTexts)
	}
	if p.half { // each may be as much as halfTokens
		text += strings.Repeat("\ufffd", halfTokens*strings.Count(text, "\ufffd"))
	}
	if err == nil && text != "" {
		p.Prediction = append(p.Prediction, text)
	}
	return err
}
