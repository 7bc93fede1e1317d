package anthropic

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// event is one event of a stream, by the members that matter. It shares the memory of the
// payload.
type event struct {
	kind                              string
	index                             string // as it is written
	message, delta, block, usage, err []byte
}

func parseEvent(payload []byte) (e event) {
	w := wire.Walk{Text: payload}
	w.Members(func(name wire.Span) {
		switch w.NameOf(name) {
		case "type":
			e.kind = wire.Parse(w.Bytes()).Str
		case "index":
			e.index = wire.View(w.Bytes())
		case "message":
			e.message = w.Bytes()
		case "delta":
			e.delta = w.Bytes()
		case "content_block":
			e.block = w.Bytes()
		case "usage":
			e.usage = w.Bytes()
		case "error":
			e.err = w.Bytes()
		}
	})
	return e
}

// tells reports whether it is an event that tells usage.
func (e *event) tells() bool { return e.kind == "message_start" || e.kind == "message_delta" }

// isClear reports whether a payload can be read in one way: it is JSON, and no object in it
// has two members of one name.
func isClear(payload []byte) bool {
	return jsontext.Value(payload).IsValid(jsontext.AllowInvalidUTF8(true))
}

// openBlock is a content block that has begun and not ended.
type openBlock struct {
	index string
	text  bool // it is a text, which may end anywhere
}

// maxOpen bounds the blocks that are open at a time: the API has one.
const maxOpen = 64

// Event reads the payload of one event. Nothing is taken out.
func (f *findings) Event(payload []byte) wire.Addition {
	if payload = bytes.TrimSpace(payload); len(payload) == 0 {
		return wire.Addition{}
	}
	e := parseEvent(payload)
	if e.tells() && !isClear(payload) {
		f.usage.broken = true
	}
	switch e.kind {
	case "message_start":
		f.start(e.message)
	case "content_block_start":
		f.begin(&e)
	case "content_block_delta":
		f.write(outputIn(e.delta))
	case "content_block_stop":
		f.endBlock(e.index)
	case "message_delta":
		f.close(&e)
	case "message_stop":
		f.done = true
	case "", "ping", "error":
	default: // as nobody knows it yet
		size := outputIn(payload)
		f.seen.Ran = f.seen.Ran || size > 0 && f.served
		f.seen.OutputTokens += max(1, size)
	}
	f.readError(e.err)
	return wire.Addition{}
}

// start reads the message as it begins: its counts of input, and what multiplies the
// price.
func (f *findings) start(message []byte) {
	v := gjson.ParseBytes(message) // a copy, of which words are kept
	id := wire.Get(v, "id").Str
	if f.started && f.text && id != f.id { // another one takes over, and what this one came to is not told
		f.usage.broken = true
	}
	f.id = strings.Clone(id)
	f.started, f.seen.Ran = true, true
	f.readModel(wire.Get(v, "model"))
	if u, ok := parseUsage([]byte(wire.Get(v, "usage").Raw), f.asked.amounts); ok {
		f.take(&u)
	}
	if content := wire.Get(v, "content").Raw; len(content) > len("[]") { // it comes as a whole
		f.write(int64(len(content)))
	}
}

// begin reads a block as it begins.
func (f *findings) begin(e *event) {
	kind := wire.Get(wire.Parse(e.block), "type").Str
	if len(f.open) < maxOpen {
		f.open = append(f.open, openBlock{strings.Clone(e.index), kind == "text"})
	}
	if strings.HasSuffix(kind, "_tool_result") { // no model wrote it
		f.write(0)
		return
	}
	f.write(outputIn(e.block))
}

func (f *findings) endBlock(index string) {
	for i, b := range f.open {
		if b.index == index {
			f.open = append(f.open[:i], f.open[i+1:]...)
			return
		}
	}
}

// write notes that there was output, of so many bytes. What was told of usage was not
// the last word.
func (f *findings) write(size int64) {
	f.seen.Ran, f.final = true, false
	f.text = f.text || size > 0
	f.seen.OutputTokens += max(1, size)
}

// close reads what the message came to. It may come more than once, and the last one need
// not tell the output again.
func (f *findings) close(e *event) {
	f.stopped = f.stopped || wire.Get(wire.Parse(e.delta), "stop_reason").Str != ""
	if u, ok := parseUsage(e.usage, f.asked.amounts); ok {
		f.take(&u)
		f.final = f.final || u.counts.output.Told
		f.closed = f.closed || u.counts.output.Told
	}
}

// labels are members whose strings no model has generated.
var labels = map[string]bool{"type": true, "id": true, "tool_use_id": true, "signature": true, "server_name": true}

// outputIn is the size of what a model wrote in an object, in bytes.
func outputIn(object []byte) (size int64) {
	const empty = 2 // {} or []
	w := wire.Walk{Text: object}
	w.Members(func(name wire.Span) {
		if labels[w.NameOf(name)] {
			return
		}
		switch w.Next() {
		case '"':
			size += w.StringBytes()
		case '{', '[':
			if n := int64(len(w.Bytes())); n > empty {
				size += n
			}
		}
	})
	return size
}

// Unread notes that so many bytes of an event were not read. They may have held text, and
// usage.
func (f *findings) Unread(bytes int) {
	f.seen.Ran, f.final = true, false
	f.seen.OutputTokens += int64(bytes)
}
