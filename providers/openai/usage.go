package openai

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// findings collects what a response tells.
type findings struct {
	endpoint Endpoint
	bill     bill.Reader // that of its provider; nil where none is known
	ahead    wire.Count  // nano-USD that its header says that it costs
	seen     providers.Report
	key      call.Key // of what answered
	counts   counts   // of all usage that was told
	broken   bool     // the last usage could not be read
	text     bool     // there is generated text
	silent   bool     // none was asked for: the text is an echo
	tells    bool     // the event at hand has usage
	final    bool     // nothing can follow that changes it
	stale    bool     // text came after it
	done     bool     // the stream sent [DONE]
	ended    bool     // the response came to its end
	unframed bool     // which only its connection tells
	served   bool     // its status is no refusal's, in whose events any text is an error's
	finished bool     // a choice was finished
	// Of a response:
	searched wire.Count // web searches, as told beside its usage
	drew     bool       // an image was made
	response responseAsked

	head []byte // how the last event began, to its first member of its own
}

// ofStream is the report of a stream. Its usage counts where it was the last word,
// or where the stream has ended as streams do.
func (f *findings) ofStream() providers.Report {
	f.seen.Stream = true
	f.seen.Complete = f.done || f.ended
	return f.report(f.final || f.done || f.ended && f.finished)
}

// ofDocument is the report of a document.
func (f *findings) ofDocument(d *wire.Document) providers.Report {
	f.seen.Complete = d.Complete() || f.ended && !(f.unframed && d.Open())
	f.text = d.Output()
	usage := d.Kept("usage")
	f.counts, f.broken = counts{}, usage.Dropped
	for _, value := range usage.Values {
		f.readUsage(value)
	}
	f.stale = d.List() // the answers in a list may be several
	if model := d.Kept("model"); !model.Cut {
		f.readModel(model.Last())
	}
	f.readTier(d.Kept("service_tier").Last())
	f.readError(d.Kept("error").Last())
	if !d.Complete() { // who writes errors in place of answers closes them
		f.seen.Failed, f.seen.ErrorObject = false, false
	}
	f.seen.Filtered = f.seen.Filtered || d.Noted()
	return f.report(d.Complete())
}

// What is looked for in a document: in choices is output, and so it is in what an
// embeddings response has as data.
var (
	watched = wire.Paths{
		Keep: []string{"model", "error", "usage", "service_tier"}, Output: []string{"choices"}, Labels: labels, Words: filterCodes,
	}.Watch()
	watchedEmbeddings = wire.Paths{
		Keep: []string{"model", "error", "usage", "service_tier"}, Numbers: []string{"choices", "data"}, Labels: labels, Words: filterCodes,
	}.Watch()
)

func (f *findings) report(settled bool) providers.Report {
	r := f.seen
	usage, whole := f.counts.usage(f.endpoint)
	if f.response.longWrites {
		f.counts.lengthen(&usage)
	}
	whole = f.addTools(&usage) && whole
	r.Lines = []call.Line{{Key: f.key, Usage: usage, Billed: max(f.counts.billed.N, f.ahead.N)}}
	unsaid := usage.InputTokens() == 0 || f.text && !f.silent && f.endpoint != Embeddings && f.counts.completion.N == 0
	whole = whole || f.silent && f.counts.prompt.Told && f.counts.total.Told
	r.HasUsage = settled && whole && !unsaid && !f.broken && !f.stale && !f.ahead.Odd
	r.Ran = r.Ran || f.text || f.broken || f.counts.any() || f.ahead.N > 0 || f.ahead.Odd
	return r
}

// unread notes that so many bytes of an event were not read. They may have held
// the last usage, and text.
func (f *findings) Unread(bytes int) {
	f.counts, f.final, f.stale = counts{billed: f.counts.billed}, false, false
	f.seen.OutputTokens += int64(bytes)
	f.seen.Ran = true
}

func (f *findings) readModel(value []byte) {
	v := wire.Parse(value)
	if v.Type == gjson.String && v.Str != "" && v.Str != f.key.Model && len(v.Str) <= providers.MaxModelBytes {
		f.key.Model = strings.Clone(v.Str)
	}
}

// guidelines is in the text of the error by which xAI refuses requests against its
// usage guidelines, for a fee.
const guidelines = "usage guidelines"

// filterCodes are what the errors of content filters say as code. Azure bills the prompt
// that it has filtered (Azure OpenAI, "Content filtering", status 400).
var filterCodes = []string{"content_filter", "ResponsibleAIPolicyViolation"}

// readError takes what an error member says, and reports whether there is one. An
// error that says neither what it is nor its status might as well not be there.
func (f *findings) readError(value []byte) bool {
	v := wire.Parse(value)
	text := v.Type == gjson.String && v.Str != ""
	if !text && !v.IsObject() && !v.IsArray() {
		return false
	}
	status := statusIn(wire.Get(v, "code"))
	if status > 0 {
		f.seen.ErrorStatus = status
	}
	message := wire.Get(v, "message")
	object := message.Type == gjson.String && message.Str != ""
	whole := jsontext.Value(value).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	f.seen.ErrorObject = f.seen.ErrorObject || whole && object
	f.seen.Failed = f.seen.Failed || whole && (object || text || status > 0)
	for said := range wire.EachString(value) {
		f.seen.Filtered = f.seen.Filtered || slices.Contains(filterCodes, said) || strings.Contains(strings.ToLower(said), guidelines)
	}
	return true
}

// statusIn is the HTTP status of an error that this code is, or 0.
func statusIn(code gjson.Result) int {
	if code.Type != gjson.Number && code.Type != gjson.String {
		return 0
	}
	if n, err := strconv.Atoi(code.String()); err == nil && 300 <= n && n <= 599 {
		return n
	}
	return 0
}

// readUsage takes a usage object. Of two the larger counts, member by member. One
// that cannot be read is as good as none, even after one that could; one that says
// nothing is as good as absent, also where null is cut off.
func (f *findings) readUsage(object []byte) {
	if object = bytes.TrimSpace(object); bytes.HasPrefix([]byte("null"), object) {
		return
	}
	c, ok := f.parseCounts(object)
	if !ok {
		f.counts.billed.Add(c.billed)
		f.broken, f.tells = true, true
		return
	}
	if c.any() {
		f.counts.merge(&c)
		f.broken, f.tells = false, true
	}
}

// parseCounts reads a usage object; ok is false if it is malformed.
func (f *findings) parseCounts(object []byte) (c counts, ok bool) {
	if !jsontext.Value(object).IsValid() {
		return c, false
	}
	v := wire.Parse(object)
	if !v.IsObject() {
		return c, false
	}
	c = readCounts(v)
	if f.bill != nil {
		c.billed = f.bill(v)
	}
	return c, !c.prompt.Odd && !c.completion.Odd && !c.total.Odd && !c.billed.Odd
}
