package openai

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// responseEvents reads the events of a response that is streamed.
type responseEvents struct {
	*findings
	began    bool           // it told of a response
	created  []byte         // members of the response as it began
	sequence int64          // number of the last event
	long     *wire.Document // the event at hand, where it is too long to be kept
	size     int            // of it
}

var _ wire.LongReader = (*responseEvents)(nil)

// responseEvent is what is taken of one event.
type responseEvent struct {
	kind            string
	response, error []byte
	delta           int64 // bytes of generated text
	hasDelta        bool
	beside          int64 // bytes of text in members that nobody knows
	item            []byte
}

// Event reads the payload of one event. Nothing is taken out.
func (e *responseEvents) Event(payload []byte) (none wire.Addition) {
	if string(bytes.TrimSpace(payload)) == "[DONE]" { // as other servers end a stream
		e.done = true
		return none
	}
	var ev responseEvent
	w := wire.Walk{Text: payload}
	w.Members(func(name wire.Span) {
		switch w.NameOf(name) {
		case "type":
			ev.kind = word(w.Bytes())
		case "sequence_number":
			e.count(w.Bytes())
		case "delta":
			ev.hasDelta = true
			ev.delta += textBytes(&w, 0)
		case "response":
			ev.response = w.Bytes()
		case "item":
			ev.item = w.Bytes()
		case "error":
			ev.error = w.Bytes()
		default:
			ev.beside += eventText(&w, w.NameOf(name))
		}
	})
	e.take(&ev, payload)
	return none
}

// word is what a JSON string says that names something; "" for anything else.
func word(value []byte) string {
	value = bytes.TrimSpace(value) // of a document it has what stands around it
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	return wire.Unescaped(value[1 : len(value)-1])
}

// count notes the number of an event.
func (e *responseEvents) count(value []byte) {
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil && 0 <= n && n < wire.MaxInteger {
		e.sequence = n
	}
}

// take notes what an event makes of the response. One that has begun, or waits, has used
// nothing yet that anybody could see.
func (e *responseEvents) take(ev *responseEvent, payload []byte) {
	switch ev.kind {
	case "response.created", "response.queued", "response.in_progress":
		e.began = true
		e.begin(ev.response)
	case "response.completed", "response.incomplete", "response.failed":
		e.finish(ev.response)
	case "error":
		if len(ev.error) == 0 {
			ev.error = payload
		}
		e.fail(ev.error)
	case "":
		e.fail(ev.error) // as other APIs write one
		e.seen.Ran = e.seen.Ran || len(ev.error) == 0
	default:
		e.seen.Ran = true
		if ev.kind == "response.output_item.done" {
			e.readItem(ev.item)
		}
		if ev.hasDelta || !repeats[ev.kind[strings.LastIndexByte(ev.kind, '.')+1:]] {
			e.text = e.text || ev.delta > 0
			e.seen.OutputTokens += max(1, ev.delta+ev.beside)
		}
	}
}

// repeats are the last words of the names of events that say what was said before, or how
// far a tool is.
var repeats = map[string]bool{
	"added": true, "done": true, "queued": true, "in_progress": true, "searching": true, "interpreting": true, "generating": true,
	"completed": true, "incomplete": true, "failed": true,
}

// finish reads a response as its last event has it.
func (e *responseEvents) finish(response []byte) {
	e.done = true
	w := wire.Walk{Text: response}
	w.Members(func(name wire.Span) {
		e.closing(w.NameOf(name), w.Bytes())
	})
}

// closing takes one member of a response that has ended.
func (e *responseEvents) closing(name string, value []byte) {
	switch name {
	case "id":
		e.readID(value)
	case "usage":
		e.readUsage(value)
	case "model":
		e.readModel(value)
	case "service_tier":
		e.readTier(value)
	case "tool_usage":
		e.readToolUsage(value)
	case "output":
		e.readSearches(value)
	case "error":
		e.fail(value)
	}
}

// refusals are the codes of errors that say that the model did not run, each with the
// status that it has where it comes in place of an answer.
var refusals = map[string]int{
	"insufficient_quota": 429, "rate_limit_exceeded": 429, "context_length_exceeded": 400,
	"server_is_overloaded": 503, "slow_down": 503,
}

// fail takes what an error says. One that comes once the response has begun, and does
// not say that the model did not run, leaves that open.
func (e *responseEvents) fail(value []byte) {
	if !e.readError(value) {
		return
	}
	status, refused := refusals[wire.Get(gjson.ParseBytes(value), "code").Str]
	if refused {
		e.seen.ErrorStatus = status
	}
	e.seen.Ran = e.seen.Ran || !refused && e.began
}

// Long reads an event that is too long to be kept, piece by piece: the last one repeats
// all that was generated, images too, and its usage comes behind that.
func (e *responseEvents) Long(piece []byte, last bool) {
	if e.long == nil {
		d := wire.NewDocument(watchedEvent)
		e.long, e.size = &d, 0
	}
	e.long.Feed(piece)
	e.size += len(piece)
	if last {
		e.endLong(e.long)
		e.long = nil
	}
}

func (e *responseEvents) endLong(d *wire.Document) {
	kind := word(d.Kept("type").Last())
	if !d.Complete() || !strings.HasPrefix(kind, "response.") {
		e.Unread(e.size)
		return
	}
	e.count(d.Kept("sequence_number").Last())
	switch kind {
	case "response.completed", "response.incomplete", "response.failed":
		e.done = true
		e.readOutput(d.Kept("response.output"))
		for _, name := range [...]string{"id", "usage", "model", "service_tier", "tool_usage", "error"} {
			kept := d.Kept("response." + name)
			e.broken = e.broken || kept.Dropped
			e.closing(name, kept.Last())
		}
	case "response.created", "response.queued", "response.in_progress":
		e.began = true
	default: // an image, as a part of it
		e.seen.Ran = true
		e.seen.OutputTokens++
	}
}

// maxIDBytes is the longest id of a response that is remembered; OpenAI's have 55.
const maxIDBytes = 512

// readID takes the id under which a response is kept, where it is.
func (f *findings) readID(value []byte) {
	if id := word(value); f.response.stored && len(id) <= maxIDBytes && id != f.seen.Left {
		f.seen.Left, f.seen.LeftBy = strings.Clone(id), strings.Clone(f.response.reader)
		f.seen.LeftKinds = f.response.kinds
	}
}

// maxItems is how many items of one output are remembered: what agents do in one turn.
const maxItems = 64

// readItem takes the id under which an item of the output is kept, where it is.
func (f *findings) readItem(item []byte) {
	if !f.response.stored || len(f.seen.Items) == maxItems {
		return
	}
	told := gjson.ParseBytes(item)
	id := wire.Get(told, "id").Str
	known := slices.ContainsFunc(f.seen.Items, func(i providers.Item) bool { return i.ID == id })
	if id != "" && len(id) <= maxIDBytes && !known {
		f.seen.Items = append(f.seen.Items, providers.Item{ID: strings.Clone(id), Content: contents[wire.Get(told, "type").Str]})
	}
}

// contents are what items of an output stand for, by their types. An image has tokens of
// another model.
var contents = func() map[string]providers.Content {
	all := map[string]providers.Content{}
	for _, kind := range [...]string{
		"message", "reasoning", "function_call", "custom_tool_call", "local_shell_call", "apply_patch_call", "computer_call", "compaction", "mcp_approval_request",
	} {
		all[kind] = providers.Written
	}
	for _, kind := range [...]string{"web_search_call", "x_search_call", "file_search_call"} {
		all[kind] = providers.Found
	}
	return all
}()

// readItems takes those of a whole output.
func (f *findings) readItems(output []byte) {
	if items := gjson.ParseBytes(output); f.response.stored && items.IsArray() {
		items.ForEach(func(_, item gjson.Result) bool {
			f.readItem([]byte(item.Raw))
			return true
		})
	}
}

// readToolUsage takes what tools that ran at the provider used. Images have prices that
// nobody holds here.
func (f *findings) readToolUsage(value []byte) {
	v := gjson.ParseBytes(value)
	if !v.IsObject() {
		return
	}
	f.searched.Add(wire.LooseCount(wire.Get(wire.Get(v, "web_search"), "num_requests")))
	images := wire.Get(v, "image_gen")
	for _, name := range [...]string{"input_tokens", "output_tokens", "total_tokens"} {
		n := wire.LooseCount(wire.Get(images, name))
		f.drew = f.drew || n.N > 0 || n.Odd
	}
}

// readOutput takes the searches in an output. One that was too long to be kept may have
// had as many as there can be.
func (f *findings) readOutput(output wire.Kept) {
	switch {
	case f.response.searches == 0:
	case output.Dropped && !f.searched.Told:
		f.searched.Add(wire.Count{N: f.response.searches})
	default:
		f.readSearches(output.Last())
	}
}

// readSearches counts the searches in an output, which Azure and older answers tell
// nowhere else. To open a page, or to look in one, has no fee.
func (f *findings) readSearches(output []byte) {
	items := gjson.ParseBytes(output)
	if f.response.searches == 0 || !items.IsArray() {
		return
	}
	var n int64
	items.ForEach(func(_, item gjson.Result) bool {
		action := wire.Get(wire.Get(item, "action"), "type").Str
		if wire.Get(item, "type").Str == "web_search_call" && (action == "search" || action == "") {
			n++
		}
		return true
	})
	f.searched.Add(wire.Count{N: n})
}

// addTools adds what tools used beside the model. ok is false where nobody knows its
// price.
func (f *findings) addTools(u *call.Usage) (ok bool) {
	u[call.Searches] = max(u[call.Searches], f.searched.N)
	return !f.drew && !f.searched.Odd
}
