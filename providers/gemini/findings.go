package gemini

import (
	"bytes"
	"math/bits"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// findings collects what a response tells.
type findings struct {
	asked asked
	ahead wire.Count // nano-USD that the header says that it costs
	seen  providers.Report
	model string
	usage usage // of all that was told
	final bool  // usage was told, and no output followed
	text  bool  // there is output

	finished bool   // all candidates say why they ended, or the prompt was blocked
	ends     uint64 // those that do, a bit for each
	refused  bool   // the prompt was blocked
	searched searched
	failed   bool // there was an error in its place
	ended    bool // the response came to its end
	unframed bool // which only its connection tells
	served   bool // its status is no refusal's
}

// settled reports whether a stream has said all: why it ended, and what it used.
func (f *findings) settled() bool { return f.finished && f.final && !f.failed }

// ofStream is the report of a stream of events. The connection's end is its end; one without a reason for its end was
// cut.
func (f *findings) ofStream() providers.Report {
	f.seen.Stream = true
	f.seen.Complete = f.settled() || f.ended
	return f.report(f.settled())
}

// ofArray is the report of a stream that is an array. One that was closed before its answer has ended, with an error in
// it, was cut.
func (f *findings) ofArray(a *array) providers.Report {
	f.seen.Stream = true
	f.seen.Complete = a.whole() || f.ended && !f.unframed
	if !a.whole() { // who writes errors in place of answers closes them
		f.seen.Failed, f.seen.ErrorObject = false, false
	}
	return f.report(f.settled() && a.whole())
}

// ofDocument is the report of a document.
func (f *findings) ofDocument(d *wire.Document) providers.Report {
	f.seen.Complete = d.Complete() || f.ended && !(f.unframed && d.Open())
	f.text = d.Output()
	f.seen.Ran = f.seen.Ran || f.text
	told := d.Kept(usageMember)
	f.usage = usage{broken: told.Cut || told.Dropped || len(told.Values) > 1}
	f.take(told.Last())
	if f.asked.searches > 0 {
		found := d.Kept(candidatesMember)
		f.searched.unclear = found.Dropped || found.Cut
		for _, value := range found.Values {
			f.searched.read(value)
		}
	}
	if model := d.Kept(modelMember); !model.Cut {
		f.readModel(gjson.ParseBytes(model.Last()))
	}
	f.readError(d.Kept("error").Last())
	if !d.Complete() { // who writes errors in place of answers closes them
		f.seen.Failed, f.seen.ErrorObject = false, false
	}
	return f.report(d.Complete() && !d.List() && !f.asked.array)
}

// Event reads the payload of one event. Nothing is taken out.
func (f *findings) Event(payload []byte) wire.Addition {
	if payload = bytes.TrimSpace(payload); len(payload) == 0 {
		return wire.Addition{}
	}
	if !jsontext.Value(payload).IsValid(jsontext.AllowInvalidUTF8(true)) {
		f.usage.broken = true // it can be read in more ways than one
	}
	w := wire.Walk{Text: payload}
	var told []byte
	w.Members(func(name wire.Span) {
		switch w.NameOf(name) {
		case usageMember:
			told = w.Bytes()
		case modelMember:
			f.readModel(wire.Parse(w.Bytes()))
		case candidatesMember:
			f.candidates(w.Bytes())
		case blockedMember:
			f.blocked(w.Bytes())
		case "error":
			f.readError(w.Bytes())
		}
	})
	if told != nil { // behind why the answer ended, in whatever order they stand
		f.take(told)
		f.final = true
	}
	return wire.Addition{}
}

// candidates reads what was generated, and why it ended.
func (f *findings) candidates(list []byte) {
	if f.served {
		f.seen.Ran = true
	}
	written := int64(0)
	wire.EachMember(list, func(name, text string) {
		if !labels[name] {
			written += int64(len(text))
		}
	})
	f.readEnds(list)
	if f.asked.searches > 0 {
		f.searched.read(list)
	}
	f.text = f.text || written > 0
	f.final = false
	f.seen.OutputTokens += max(1, written)
}

// readEnds notes the candidates that say why they ended, as a word or as a number of the API's enumeration; one that
// goes on has not. Words of the same name deeper inside are the model's own.
func (f *findings) readEnds(list []byte) {
	for _, c := range wire.Parse(list).Array() {
		reason, index := wire.Get(c, "finishReason"), wire.Get(c, "index").Int()
		switch {
		case index < 0 || index >= maxCandidates:
		case reason.Str != "" && reason.Str != unspecified || reason.Int() > 0:
			f.ends |= 1 << index
		default:
			f.ends &^= 1 << index
		}
	}
	f.finished = f.refused || int64(bits.OnesCount64(f.ends)) >= max(1, f.asked.candidates)
}

// unspecified is no reason.
const unspecified = "FINISH_REASON_UNSPECIFIED"

// blocked reads why a prompt was not answered: it is billed all the same.
func (f *findings) blocked(feedback []byte) {
	if reason := wire.Get(wire.Parse(feedback), "blockReason"); reason.Str != "" || reason.Type == gjson.Number {
		f.finished, f.refused = true, true
	}
}

// Unread notes that so many bytes of an event were not read. They may have held text, and usage.
func (f *findings) Unread(bytes int) {
	f.seen.Ran, f.final, f.searched.unclear = true, false, true
	f.seen.OutputTokens += int64(bytes)
}

// take takes in a usage: running totals, of which those that are told again replace the former. The prompt is an
// estimate until the end tells it.
func (f *findings) take(object []byte) {
	u, ok := parseUsage(object, f.asked.amounts)
	if !ok {
		return
	}
	before := f.usage.counts
	f.usage.update(&u)
	f.usage.counts.atLeast(&before, f.finished)
}

func (f *findings) report(settled bool) providers.Report {
	r := f.seen
	line := f.usage.line(f.model, f.asked.kinds)
	line.Billed = max(line.Billed, f.ahead.N)
	line.Usage[call.Searches] = f.searched.fees(&f.asked)
	r.Lines = append(r.Lines[:0:0], line)
	counts := &f.usage.counts
	unsaid := line.Usage.InputTokens() == 0 || f.text && !f.asked.embeds && line.Usage.OutputTokens() == 0
	r.HasUsage = settled && counts.prompt.Told && !unsaid && !f.usage.broken && !f.ahead.Odd
	r.Ran = r.Ran || f.text || f.usage.broken || counts.sum() > 0 || f.ahead.N > 0 || f.ahead.Odd
	return r
}

func (f *findings) readModel(v gjson.Result) {
	if v.Type == gjson.String && v.Str != "" && len(v.Str) <= providers.MaxModelBytes {
		f.model = strings.TrimPrefix(strings.Clone(v.Str), "models/")
	}
}

// readError takes what an error says: the status as a number, and a message. One that says neither might as well
// not be there.
func (f *findings) readError(value []byte) {
	v := gjson.ParseBytes(value)
	text := v.Type == gjson.String && v.Str != ""
	if !text && !v.IsObject() {
		return
	}
	message, code := wire.Get(v, "message"), wire.Get(v, "code")
	object := message.Type == gjson.String && message.Str != ""
	whole := jsontext.Value(value).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if status := code.Int(); code.Type == gjson.Number && 400 <= status && status < 600 {
		f.seen.ErrorStatus = int(status)
	}
	f.failed = true
	f.seen.ErrorObject = f.seen.ErrorObject || whole && object
	f.seen.Failed = f.seen.Failed || whole && (object || text || f.seen.ErrorStatus > 0)
}
