package gemini

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// part is what a part says beside its text, until it has been read to its end.
type part struct {
	mime  string
	bytes int64 // of data, as they are once they are decoded
	data  string
	blob  bool // it has data, or names a file
	file  bool
	id    string // of the result of a function
	name  string // of the function
	reply bool   // it is a result
}

// content reads a content: parts of one role.
func (p *parser) content(place string) error {
	p.load.contents++
	return contentsLevel.Object(p, place)
}

// turn reads a content of the conversation. Results of tools before what the model says answer earlier calls of it.
func (p *parser) turn(place string) error {
	p.role = ""
	if err := p.content(place); err != nil {
		return err
	}
	if p.role == modelRole {
		p.toolResults = p.toolResults[:0]
	}
	return nil
}

// modelRole is that of what the model said.
const modelRole = "model"

// instruction reads a content that may also be a text alone.
func (p *parser) instruction(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	if p.Peek() == '"' {
		return p.text(name)
	}
	return p.content(name)
}

var contentsLevel = level("contents", map[string]reader{
	"role": func(p *parser, name string) (err error) {
		p.role, err = p.OptionalString(name)
		p.load.bytes += int64(len(p.role))
		return err
	},
	"parts": func(p *parser, name string) error { return p.each(name, p.readPart) },
})

func (p *parser) readPart() error {
	p.load.parts++
	if p.load.parts > providers.MaxTexts {
		return wire.Errorf("contents.parts", "the body has more than %d parts", providers.MaxTexts)
	}
	p.part = part{}
	if p.Peek() == '"' {
		return p.text("contents.parts")
	}
	if err := partLevel.Object(p, "contents.parts"); err != nil {
		return err
	}
	return p.endPart()
}

// partLevel is a part. Its data says which of them it is. The result of a function has parts inside.
var partLevel *wire.Level[*parser]

func init() {
	partLevel = level("contents.parts", map[string]reader{
		"text":             func(p *parser, name string) error { return p.text(name) },
		"thought":          skipped,
		"thoughtSignature": opaque,
		"inlineData":       func(p *parser, name string) error { return blobLevel.Optional(p, name) },
		"fileData":         func(p *parser, name string) error { return fileLevel.Optional(p, name) },
		"functionCall": func(p *parser, name string) error {
			p.load.calls++
			return opaque(p, name)
		},
		"functionResponse": func(p *parser, name string) error {
			p.load.calls++
			p.part.reply = true
			return responseLevel.Optional(p, name)
		},
		"toolCall":            ran(slices.Collect(maps.Values(hostedKinds))...), // its type is an enumeration that grows
		"toolResponse":        ran(slices.Collect(maps.Values(hostedKinds))...),
		"executableCode":      ran(call.CodeExecution),
		"codeExecutionResult": ran(call.CodeExecution),
		"videoMetadata":       func(p *parser, name string) error { return p.frames(name) },
		"mediaResolution":     opaque,
	})
}

// ran reads what a tool at the provider did before, of any of these kinds.
func ran(kinds ...string) reader {
	return func(p *parser, name string) error {
		if p.past == nil {
			p.past = map[string]bool{}
		}
		for _, kind := range kinds {
			p.past[kind] = true
		}
		return opaque(p, name)
	}
}

var blobLevel = level("contents.parts.inlineData", map[string]reader{
	"mimeType":    func(p *parser, name string) error { return p.mime(name) },
	"displayName": opaque,
	"data": func(p *parser, name string) error {
		data, err := p.OptionalString(name)
		p.part.blob, p.part.bytes = true, int64(base64.StdEncoding.DecodedLen(len(data)+3))
		p.part.data = data
		return err
	},
})

var fileLevel = level("contents.parts.fileData", map[string]reader{
	"mimeType":    func(p *parser, name string) error { return p.mime(name) },
	"displayName": opaque,
	"fileUri": func(p *parser, name string) error {
		_, err := p.OptionalString(name)
		p.part.blob, p.part.file = true, true
		return err
	},
})

var responseLevel = level("contents.parts.functionResponse", map[string]reader{
	"id":       func(p *parser, name string) error { return p.word(&p.part.id, name) },
	"name":     func(p *parser, name string) error { return p.word(&p.part.name, name) },
	"response": opaque,
	"parts": func(p *parser, name string) error {
		outer := p.part
		err := p.each(name, p.readPart)
		p.part = outer
		return err
	},
	"willContinue": skipped,
	"scheduling":   skipped,
})

// word reads a string that is also part of the prompt.
func (p *parser) word(into *string, name string) error {
	text, err := p.OptionalString(name)
	*into = strings.Clone(text)
	p.load.bytes += int64(len(text))
	return err
}

func (p *parser) mime(name string) error {
	kind, err := p.OptionalString(name)
	p.part.mime = strings.ToLower(strings.TrimSpace(kind))
	return err
}

// frames reads what of a video is looked at: more frames a second are more tokens.
func (p *parser) frames(string) error {
	p.part.file = true // so that the context bounds it
	return opaque(p, "")
}

// endPart counts what a part has brought.
func (p *parser) endPart() error {
	if p.part.reply {
		if len(p.toolResults) == providers.MaxTools {
			return wire.Errorf("contents", "the body has more than %d results of functions", providers.MaxTools)
		}
		p.toolResults = append(p.toolResults, providers.ToolResult{CallID: p.part.id, Name: p.part.name})
	}
	switch {
	case p.part.blob:
		p.media()
	case p.part.file:
		p.load.video = true
		p.brings("a part with videoMetadata")
	}
	return nil
}

// media counts what a part brings beside text: an image by its size, sound by its length
// where that can be read, a text by its bytes. Of anything else the body does not show how long it is.
func (p *parser) media() {
	kind, _, _ := strings.Cut(p.part.mime, "/")
	if p.part.file {
		p.load.other, p.load.document = true, true
		p.brings("a part of fileData")
		return
	}
	switch kind {
	case "image":
		p.load.images++
		if tokens, ok := tiled(p.part.data); ok {
			p.load.tiled += tokens
		} else {
			p.load.sizeless++
		}
		return
	case "text":
		p.load.bytes += p.part.bytes
		return
	case "audio":
		p.load.audio = true
		if tokens, ok := wavTokens(p.part.mime, p.part.data); ok {
			p.load.sound += tokens
			return
		}
	case "video":
		p.load.video = true
	default:
		p.load.document, p.load.other = true, true
	}
	p.brings("a part of inlineData of type " + kindNamed(kind))
}

// kindNamed is a kind of media as a denial names it.
func kindNamed(kind string) string {
	switch kind {
	case "audio", "video", "application":
		return kind
	}
	return "unknown"
}
