package anthropic

import (
	"bytes"
	"cmp"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// source says where an image or a document comes from.
type source struct {
	kind string    // "" for none
	data wire.Span // of a text
}

var sourceLevel = level(sourcePlace, map[string]wire.Reader[*parser]{
	"type":       func(p *parser, _ string) error { return p.Word(&p.block.source.kind, sourcePlace+".type") },
	"media_type": (*parser).skipped,
	"url":        (*parser).skipped,
	"file_id":    (*parser).skipped,
	"content":    func(p *parser, _ string) error { return p.content(innerContent) },
	"data": func(p *parser, _ string) (err error) {
		p.block.source.data, err = p.Skip()
		return err
	},
})

const sourcePlace = "messages.content.source"

// readSource reads where a search result is from, as a text, or an image or a document.
func (p *parser) readSource(name string) error {
	if p.Peek() == '"' {
		return p.blockText(name)
	}
	return sourceLevel.Optional(p, sourcePlace)
}

// image counts an image. Whatever its source, it is fitted into what the model reads.
func (p *parser) image(b *block) error {
	switch b.source.kind {
	case "base64", "url", "file":
		p.load.images++
	default:
		p.oddSource(b)
	}
	return nil
}

// document counts a document. The pages of one that is no text become text and images,
// of which the body shows neither.
func (p *parser) document(b *block) error {
	p.load.documents++
	data := p.Scanner.Body[b.source.data.Start:b.source.data.End]
	switch b.source.kind {
	case "text":
		p.load.bytes += int64(len(data))
	case "content": // its blocks are counted
	case "base64", "url", "file":
		p.load.images++ // for the tenant's capability
		p.load.pages++
		p.hidden = cmp.Or(p.hidden, "a document of source "+b.source.kind)
	default:
		p.oddSource(b)
	}
	if b.cited {
		p.load.cites += 1 + sentences(data)
	}
	return nil
}

// oddSource notes an image or a document of another source.
func (p *parser) oddSource(b *block) {
	p.doubts.Unknown(call.ExtraPart, b.kind+".source."+b.source.kind, false)
}

// sentences bounds how many pieces the API cuts a text into so that each can be cited. It
// is JSON, whose escapes may be ends of lines or of sentences.
func sentences(data []byte) (n int64) {
	for _, end := range [...]string{".", "!", "?", ";", ":", `\`, "。", "！", "？"} {
		n += int64(bytes.Count(data, []byte(end)))
	}
	return n
}
