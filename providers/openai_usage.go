package providers

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
)

// findings collects what a response tells.
type findings struct {
	endpoint Endpoint
	seen     Report
	counts   counts // of all usage that was told
	broken   bool   // the last usage could not be read
	text     bool   // there is generated text
	silent   bool   // none was asked for: the text is an echo
	tells    bool   // the event at hand has usage
	final    bool   // nothing can follow that changes it
	stale    bool   // text came after it
	done     bool   // the stream sent [DONE]
	ended    bool   // the response came to its end
	unframed bool   // which only its connection tells
	finished bool   // a choice was finished
	head     []byte // how the last event began, to its first member of its own
}

// ofStream is the report of a stream. Its usage counts where it was the last word,
// or where the stream has ended as streams do.
func (f *findings) ofStream() Report {
	f.seen.Complete = f.done || f.ended
	return f.report(f.final || f.done || f.ended && f.finished)
}

// ofDocument is the report of a document.
func (f *findings) ofDocument(o *objectScan) Report {
	f.seen.Complete = o.complete() || f.ended && !(f.unframed && o.open())
	f.text = o.text
	f.counts, f.broken = counts{}, o.overflow
	for _, usage := range o.usages {
		f.readUsage(usage)
	}
	f.stale = o.list // the answers in a list may be several
	f.readModel(o.values[captureModel])
	f.readError(o.values[captureError])
	if !o.complete() { // who writes errors in place of answers closes them
		f.seen.Failed, f.seen.ErrorObject = false, false
	}
	f.seen.Filtered = f.seen.Filtered || o.filtered
	return f.report(o.complete())
}

func (f *findings) report(settled bool) Report {
	r := f.seen
	usage, whole := f.counts.usage(f.endpoint)
	r.Usage = usage
	unsaid := usage.Input == 0 || f.text && !f.silent && f.endpoint != Embeddings && f.counts.completion.n == 0
	whole = whole || f.silent && f.counts.prompt.told && f.counts.total.told
	r.HasUsage = settled && whole && !unsaid && !f.broken && !f.stale
	r.Ran = r.Ran || f.text || f.broken || f.counts.any()
	return r
}

// unread notes that so many bytes of an event were not read. They may have held
// the last usage, and text.
func (f *findings) unread(bytes int) {
	f.counts, f.final, f.stale = counts{}, false, false
	f.seen.OutputTokens += int64(bytes)
	f.seen.Ran = true
}

func (f *findings) readModel(value []byte) {
	v := gjson.ParseBytes(value)
	if v.Type == gjson.String && v.Str != "" && v.Str != f.seen.Model && len(v.Str) <= MaxModelBytes {
		f.seen.Model = strings.Clone(v.Str)
	}
}

// guidelines is in the text of the error for which xAI has a fee.
const guidelines = "usage guidelines"

// filterCodes are what the errors of content filters say as code.
var filterCodes = []string{"content_filter", "ResponsibleAIPolicyViolation"}

// readError takes what an error member says, and reports whether there is one. An
// error that says neither what it is nor its status might as well not be there.
func (f *findings) readError(value []byte) bool {
	v := gjson.ParseBytes(value)
	text := v.Type == gjson.String && v.Str != ""
	if !text && !v.IsObject() && !v.IsArray() {
		return false
	}
	status := statusIn(memberOf(v, "code"))
	if status > 0 {
		f.seen.ErrorStatus = status
	}
	message := memberOf(v, "message")
	object := message.Type == gjson.String && message.Str != ""
	whole := jsontext.Value(value).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	f.seen.ErrorObject = f.seen.ErrorObject || whole && object
	f.seen.Failed = f.seen.Failed || whole && (object || text || status > 0)
	for said := range eachString(value) {
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
	c, ok := parseCounts(object)
	if !ok {
		f.broken, f.tells = true, true
		return
	}
	if c.any() {
		f.counts.merge(&c)
		f.broken, f.tells = false, true
	}
}

// parseCounts reads a usage object; ok is false if it is malformed.
func parseCounts(object []byte) (c counts, ok bool) {
	if !jsontext.Value(object).IsValid() {
		return c, false
	}
	v := gjson.ParseBytes(object)
	if !v.IsObject() {
		return c, false
	}
	c = readCounts(v)
	return c, !c.prompt.odd && !c.completion.odd && !c.total.odd
}

// counts are the token counts of usage objects.
//
// Cached input is in prompt_tokens_details.cached_tokens; DeepSeek says
// prompt_cache_hit_tokens and Moonshot cached_tokens: the largest of them. Reasoning
// is in completion_tokens_details.reasoning_tokens; SGLang and Perplexity say
// reasoning_tokens.
type counts struct {
	prompt, completion, total count
	cached, cacheWrite, audio count
	reasoning, audioOutput    count
	// inputPart and outputPart are the largest details that have no price of their
	// own, as of text, images, predictions.
	inputPart, outputPart count
}

// all lists the counts that a larger one replaces.
func (c *counts) all() []*count {
	return []*count{&c.prompt, &c.completion, &c.total, &c.cacheWrite, &c.audio, &c.reasoning, &c.audioOutput, &c.inputPart, &c.outputPart}
}

// any reports whether one of them is more than zero, or is odd.
func (c *counts) any() bool {
	for _, n := range append(c.all(), &c.cached) {
		if n.n > 0 || n.odd {
			return true
		}
	}
	return false
}

// merge takes in another usage of the same answer. What is cached costs less, so
// of that the smaller counts.
func (c *counts) merge(other *counts) {
	mine, theirs := c.all(), other.all()
	for i := range mine {
		mine[i].add(*theirs[i])
	}
	if !c.cached.told || other.cached.told && other.cached.n < c.cached.n {
		c.cached = other.cached
	}
}

// usage is what the counts come to, in the dearest way that they can be read; ok
// is false where they lack what the endpoint bills.
//
// A detail is a part of prompt_tokens or completion_tokens. Where the parts are
// more than the whole they lie beside it, as reasoning does at xAI, audio at
// Mistral, and the cache at Anthropic. Where total_tokens is more than both, the
// difference is output that completion_tokens leaves out.
func (c *counts) usage(endpoint Endpoint) (u Usage, ok bool) {
	ok = c.prompt.told && (c.completion.told || c.total.told) // OpenAI leaves out a zero
	u.Input = c.prompt.n
	if endpoint == Embeddings {
		ok = c.prompt.told || c.total.told
		u.Input = max(u.Input, c.total.n-c.completion.n)
	}
	c.readInput(&u)
	u.Output = c.completion.n
	if beside := c.reasoning.n + c.audioOutput.n; beside > u.Output {
		u.Output += beside
	}
	u.Output = max(u.Output, c.total.n-u.Input, c.outputPart.n)
	u.AudioOutput = c.audioOutput.of(u.Output)
	u.Reasoning = min(c.reasoning.of(u.Output), u.Output-u.AudioOutput)
	return u, ok
}

// readInput divides the input. Audio and what is written to a cache may be the
// same tokens, and are priced at the dearer; cached ones only where both leave
// room.
func (c *counts) readInput(u *Usage) {
	if beside := c.cached.n + c.cacheWrite.n; beside > u.Input {
		u.Input += beside
	}
	if c.audio.n > u.Input {
		u.Input += c.audio.n
	}
	u.Input = max(u.Input, c.inputPart.n)
	u.Audio, u.CacheWrite = c.audio.of(u.Input), c.cacheWrite.of(u.Input)
	u.Cached = min(c.cached.n, max(0, u.Input-u.Audio-u.CacheWrite))
}

// readCounts reads a usage object in one pass.
func readCounts(usage gjson.Result) counts {
	var c counts
	usage.ForEach(func(name, v gjson.Result) bool {
		switch name.Str {
		case "prompt_tokens":
			c.prompt = exactCount(v)
		case "completion_tokens":
			c.completion = exactCount(v)
		case "total_tokens":
			c.total = exactCount(v)
		case "prompt_cache_hit_tokens", "cached_tokens":
			c.cached.add(discount(v))
		case "reasoning_tokens":
			c.reasoning.add(detail(v))
		case "prompt_tokens_details":
			c.readPrompt(v)
		case "completion_tokens_details":
			c.readCompletion(v)
		}
		return true
	})
	return c
}

func (c *counts) readPrompt(details gjson.Result) {
	eachDetail(details, func(name string, v gjson.Result) {
		switch name {
		case "cached_tokens":
			c.cached.add(discount(v))
		case "cache_write_tokens":
			c.cacheWrite = detail(v)
		case "audio_tokens":
			c.audio = detail(v)
		default:
			c.inputPart.add(discount(v))
		}
	})
}

func (c *counts) readCompletion(details gjson.Result) {
	eachDetail(details, func(name string, v gjson.Result) {
		switch name {
		case "reasoning_tokens":
			c.reasoning.add(detail(v))
		case "audio_tokens":
			c.audioOutput = detail(v)
		default:
			c.outputPart.add(discount(v))
		}
	})
}

// eachDetail calls f with the counts of tokens in an object.
func eachDetail(details gjson.Result, f func(name string, v gjson.Result)) {
	if !details.IsObject() {
		return
	}
	details.ForEach(func(name, v gjson.Result) bool {
		if strings.HasSuffix(name.Str, "_tokens") {
			f(name.Str, v)
		}
		return true
	})
}
