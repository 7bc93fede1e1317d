package gemini

import (
	"encoding/base64"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// part is what a part says beside its text, until it has been read to its end.
type part struct {
	mime  string
	bytes int64 // of data, as they are once they are decoded
	blob  bool  // it has data, or names a file
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
	"role":  skipped,
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
		"toolCall":            opaque, // of a tool that ran at the provider, as its answer tells it
		"toolResponse":        opaque,
		"executableCode":      opaque,
		"codeExecutionResult": opaque,
		"videoMetadata":       func(p *parser, name string) error { return p.frames(name) },
		"mediaResolution":     opaque,
	})
}

var blobLevel = level("contents.parts.inlineData", map[string]reader{
	"mimeType":    func(p *parser, name string) error { return p.mime(name) },
	"displayName": opaque,
	"data": func(p *parser, name string) error {
		data, err := p.OptionalString(name)
		p.part.blob, p.part.bytes = true, int64(base64.StdEncoding.DecodedLen(len(data)+3))
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

// soundBytes is how many bytes a second of audio has at least, by a thin rate of 8 kbit/s, and soundTokens how many
// tokens it is (https://ai.google.dev/gemini-api/docs/tokens).
const (
	soundBytes  = 1000
	soundTokens = 32
)

// endPart counts what a part has brought.
func (p *parser) endPart() error {
	if p.part.reply {
		if len(p.toolResults) == providers.MaxTools {
			return wire.Errorf("contents", "the body has more than %d results of functions", providers.MaxTools)
		}
		p.toolResults = append(p.toolResults, providers.ToolResult{CallID: p.part.id, Name: p.part.name})
	}
	if !p.part.blob {
		if p.part.file {
			p.hidden = "a part with videoMetadata"
		}
		return nil
	}
	kind, _, _ := strings.Cut(p.part.mime, "/")
	switch {
	case kind == "audio":
		p.load.audio = true
	case kind == "video":
		p.load.video = true
	case kind == "image":
		p.load.images++
	case kind == "text":
		p.load.bytes += p.part.bytes
	default:
		p.load.document = true
	}
	switch {
	case p.part.file:
		p.hidden = "a part of fileData"
		p.load.audio, p.load.video, p.load.document = true, true, true
	case kind == "audio":
		p.load.sound += (p.part.bytes/soundBytes + 1) * soundTokens
	case kind == "image", kind == "text":
	default:
		p.hidden = "a part of inlineData of another type than text, image or audio"
		p.load.video = true
	}
	return nil
}

// tool reads an element of tools: functions, or tools that run at the provider.
func (p *parser) tool() error {
	start := p.ElementStart()
	if p.Peek() != '{' {
		return wire.Errorf("tools", "an element of tools must be an object")
	}
	if err := toolLevel.Object(p, "tools"); err != nil {
		return err
	}
	p.toolsAt = append(p.toolsAt, p.Since(start))
	return nil
}

// hostedKinds are the tools that run at the provider, by the API's names for them, and what policies call them.
var hostedKinds = map[string]string{
	"googleSearch": call.WebSearch, "googleSearchRetrieval": call.WebSearch, "enterpriseWebSearch": call.WebSearch,
	"urlContext": call.WebFetch, "codeExecution": call.CodeExecution, "fileSearch": call.FileSearch, "mcpServers": call.MCP,
	"googleMaps": "", "retrieval": "", "parallelAiSearch": "", "exaAiSearch": "",
}

var toolLevel = level("tools", func() map[string]reader {
	members := map[string]reader{
		"functionDeclarations": func(p *parser, name string) error { return p.each(name, p.function) },
		"computerUse":          func(p *parser, name string) error { return p.computer(name) },
	}
	for name, kind := range hostedKinds {
		members[name] = func(p *parser, _ string) error {
			at, err := p.Skip()
			if err == nil && p.Scanner.Body[at.Start] != 'n' {
				p.hosted = append(p.hosted, hostedTool{name, kind, len(p.toolsAt)})
				p.tools = append(p.tools, name)
			}
			return err
		}
	}
	return members
}())

// computer reads a tool that runs at the client, and whose functions the API defines.
func (p *parser) computer(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	p.tools = append(p.tools, "computerUse")
	p.load.declared += computerBytes
	return opaque(p, name)
}

// computerBytes are the declarations of its functions, at most.
const computerBytes = 16 << 10

// function reads the declaration of a function.
func (p *parser) function() error {
	start := p.ElementStart()
	if len(p.tools) >= providers.MaxTools {
		return wire.Errorf("tools", "more than %d tools", providers.MaxTools)
	}
	name := ""
	read := wire.NewLevel(skipped, map[string]reader{"name": func(p *parser, path string) (err error) {
		name, err = p.OptionalString(path)
		name = strings.Clone(name)
		return err
	}})
	if err := read.Object(p, "tools.functionDeclarations"); err != nil {
		return err
	}
	at := p.Since(start)
	p.load.functions++
	p.load.declared += wire.RenderedBytes(p.Scanner.Body[at.Start:at.End])
	p.tools = append(p.tools, name)
	return nil
}
