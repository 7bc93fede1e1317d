package anthropic

import (
	"cmp"

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
	final bool  // the usage was told with its output, and no output followed
	text  bool  // there is output
	// shrank says that counts of input became smaller as the answer went on.
	shrank bool

	id       string // of the message
	started  bool   // it began
	closed   bool   // a total of its output was told
	stopped  bool   // it says why it ended
	done     bool   // it ended as messages do
	failed   bool   // there was an error in its place
	open     []openBlock
	ended    bool // the response came to its end
	unframed bool // which only its connection tells
	served   bool // its status is no refusal's, in whose events any text is an error's
}

// ofStream is the report of a stream.
func (f *findings) ofStream() providers.Report {
	f.seen.Stream = true
	f.seen.Complete = f.done || f.ended
	return f.report(f.final && (f.done || f.ended && f.stopped))
}

// ofDocument is the report of a document.
func (f *findings) ofDocument(d *wire.Document) providers.Report {
	f.seen.Complete = d.Complete() || f.ended && !(f.unframed && d.Open())
	f.text = d.Output()
	told := d.Kept("usage")
	f.usage = usage{broken: told.Dropped || told.Cut || len(told.Values) > 1}
	if u, ok := parseUsage(told.Last(), f.asked.amounts); ok {
		f.take(&u)
	}
	if model := d.Kept("model"); !model.Cut {
		f.readModel(gjson.ParseBytes(model.Last()))
	}
	f.readError(d.Kept("error").Last())
	if !d.Complete() { // who writes errors in place of answers closes them
		f.seen.Failed, f.seen.ErrorObject = false, false
	}
	return f.report(d.Complete() && !d.List() && f.usage.counts.output.Told)
}

// take takes in a usage. What multiplies the price is told once; one that cannot be read
// makes the cost unknown, whatever follows. Counts become smaller only where runs that are
// told one by one say where the rest went; else the larger are true.
func (f *findings) take(u *usage) {
	before := f.usage.counts
	f.usage.counts.update(&u.counts)
	f.shrank = f.shrank || f.usage.counts.total() < before.total()
	f.usage.broken = f.usage.broken || u.broken
	if !f.closed { // what a message begins with is no total of its output
		before.output, before.thinking = wire.Count{}, wire.Count{}
	}
	if len(u.iterations) > 0 {
		f.usage.iterations = u.iterations
	} else {
		f.usage.counts.atLeast(&before)
	}
	f.usage.tier = cmp.Or(u.tier, f.usage.tier)
	f.usage.speed = cmp.Or(u.speed, f.usage.speed)
	f.usage.region = cmp.Or(u.region, f.usage.region)
}

func (f *findings) report(settled bool) providers.Report {
	r := f.seen
	r.Lines = f.usage.lines(f.model, f.asked)
	r.Lines[0].Billed = max(r.Lines[0].Billed, f.ahead.N)
	r.HasUsage = settled && f.usage.counts.input.Told && !f.unsaid(r.Lines) && !f.usage.broken && !f.ahead.Odd
	r.Ran = r.Ran || f.text || f.usage.broken || f.usage.counts.any() || f.ahead.N > 0 || f.ahead.Odd
	return r
}

// unsaid reports whether the counts leave out what was seen: there is no call without
// input. Unless runs are told one by one, counts that shrank, where the conversation may
// have been summed up, leave the summary out, and those of a model that took over what the
// one before it used.
func (f *findings) unsaid(lines []call.Line) bool {
	var input, output int64
	for i := range lines {
		input += lines[i].Usage.InputTokens()
		output += lines[i].Usage.OutputTokens()
	}
	return input == 0 || f.text && !f.asked.silent && output == 0 ||
		len(f.usage.iterations) == 0 && (f.shrank && f.asked.sums || f.asked.fellBack(f.model))
}

func (f *findings) readModel(v gjson.Result) {
	if model := wordIn(v); model != "" {
		f.model = model
	}
}

// errorStatuses are the statuses that error types stand for
// (https://platform.claude.com/docs/en/api/errors).
var errorStatuses = map[string]int{
	"invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
	"not_found_error": 404, "conflict_error": 409, "request_too_large": 413, "rate_limit_error": 429,
	"api_error": 500, "timeout_error": 504, "overloaded_error": 529,
}

// readError takes what an error says: a type, which stands for a status, and a message.
// One that says neither might as well not be there.
func (f *findings) readError(value []byte) {
	v := gjson.ParseBytes(value)
	text := v.Type == gjson.String && v.Str != ""
	if !text && !v.IsObject() {
		return
	}
	kind, message := wire.Get(v, "type").Str, wire.Get(v, "message")
	object := message.Type == gjson.String && message.Str != ""
	whole := jsontext.Value(value).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if status := errorStatuses[kind]; status > 0 {
		f.seen.ErrorStatus = status
	}
	f.failed = true
	f.seen.ErrorObject = f.seen.ErrorObject || whole && object
	f.seen.Failed = f.seen.Failed || whole && (object || text || kind != "")
}

// inside reports whether a block is open that must not end before it is whole: a call of a
// tool, or thinking, which the API takes back with its signature alone.
func (f *findings) inside() bool {
	for _, b := range f.open {
		if !b.text {
			return true
		}
	}
	return false
}
