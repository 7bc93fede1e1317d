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
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// findings collects what a response tells.
type findings struct {
	endpoint Endpoint
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
	finished bool     // a choice was finished
	head     []byte   // how the last event began, to its first member of its own
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
		Keep: []string{"model", "error", "usage"}, Output: []string{"choices"}, Labels: labels, Words: filterCodes,
	}.Watch()
	watchedEmbeddings = wire.Paths{
		Keep: []string{"model", "error", "usage"}, Numbers: []string{"choices", "data"}, Labels: labels, Words: filterCodes,
	}.Watch()
)

func (f *findings) report(settled bool) providers.Report {
	r := f.seen
	usage, whole := f.counts.usage(f.endpoint)
	r.Lines = []call.Line{{Key: f.key, Usage: usage}}
	unsaid := usage.InputTokens() == 0 || f.text && !f.silent && f.endpoint != Embeddings && f.counts.completion.N == 0
	whole = whole || f.silent && f.counts.prompt.Told && f.counts.total.Told
	r.HasUsage = settled && whole && !unsaid && !f.broken && !f.stale
	r.Ran = r.Ran || f.text || f.broken || f.counts.any()
	return r
}

// unread notes that so many bytes of an event were not read. They may have held
// the last usage, and text.
func (f *findings) Unread(bytes int) {
	f.counts, f.final, f.stale = counts{}, false, false
	f.seen.OutputTokens += int64(bytes)
	f.seen.Ran = true
}

func (f *findings) readModel(value []byte) {
	v := gjson.ParseBytes(value)
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
	v := gjson.ParseBytes(value)
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
	return c, !c.prompt.Odd && !c.completion.Odd && !c.total.Odd
}

// counts are the token counts of usage objects.
//
// Cached input is in prompt_tokens_details.cached_tokens; DeepSeek says
// prompt_cache_hit_tokens and Moonshot cached_tokens: the largest of them. Reasoning
// is in completion_tokens_details.reasoning_tokens; SGLang and Perplexity say
// reasoning_tokens.
type counts struct {
	prompt, completion, total wire.Count
	cached, cacheWrite, audio wire.Count
	reasoning, audioOutput    wire.Count
	// inputPart and outputPart are the largest details that have no price of their
	// own, as of text, images, predictions.
	inputPart, outputPart wire.Count
}

// all lists the counts that a larger one replaces.
func (c *counts) all() []*wire.Count {
	return []*wire.Count{&c.prompt, &c.completion, &c.total, &c.cacheWrite, &c.audio, &c.reasoning, &c.audioOutput, &c.inputPart, &c.outputPart}
}

// any reports whether one of them is more than zero, or is odd.
func (c *counts) any() bool {
	for _, n := range append(c.all(), &c.cached) {
		if n.N > 0 || n.Odd {
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
		mine[i].Add(*theirs[i])
	}
	if !c.cached.Told || other.cached.Told && other.cached.N < c.cached.N {
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
func (c *counts) usage(endpoint Endpoint) (u call.Usage, ok bool) {
	ok = c.prompt.Told && (c.completion.Told || c.total.Told) // OpenAI leaves out a zero
	input := c.prompt.N
	if endpoint == Embeddings {
		ok = c.prompt.Told || c.total.Told
		input = max(input, c.total.N-c.completion.N)
	}
	input = c.divideInput(&u, input)
	output := c.completion.N
	if beside := c.reasoning.N + c.audioOutput.N; beside > output {
		output += beside
	}
	output = max(output, c.total.N-input, c.outputPart.N)
	u[call.AudioOutput] = c.audioOutput.Of(output)
	u[call.Reasoning] = min(c.reasoning.Of(output), output-u[call.AudioOutput])
	u[call.Output] = output - u[call.AudioOutput] - u[call.Reasoning]
	return u, ok
}

// divideInput divides the input, and returns how much it is. Audio and what is written
// to a cache may be the same tokens, as far as they do not fit side by side; cached ones
// are only where both leave room.
func (c *counts) divideInput(u *call.Usage, input int64) int64 {
	if beside := c.cached.N + c.cacheWrite.N; beside > input {
		input += beside
	}
	if c.audio.N > input {
		input += c.audio.N
	}
	input = max(input, c.inputPart.N)
	audio, written := c.audio.Of(input), c.cacheWrite.Of(input)
	both := max(0, audio+written-input)
	u[call.AudioInput], u[call.CacheWrite], u[call.AudioCacheWrite] = audio-both, written-both, both
	rest := input - (audio + written - both)
	u[call.CachedInput] = min(c.cached.N, rest)
	u[call.Input] = rest - u[call.CachedInput]
	return input
}

// readCounts reads a usage object in one pass.
func readCounts(usage gjson.Result) counts {
	var c counts
	usage.ForEach(func(name, v gjson.Result) bool {
		switch name.Str {
		case "prompt_tokens":
			c.prompt = wire.ExactCount(v)
		case "completion_tokens":
			c.completion = wire.ExactCount(v)
		case "total_tokens":
			c.total = wire.ExactCount(v)
		case "prompt_cache_hit_tokens", "cached_tokens":
			c.cached.Add(wire.Discount(v))
		case "reasoning_tokens":
			c.reasoning.Add(wire.LooseCount(v))
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
			c.cached.Add(wire.Discount(v))
		case "cache_write_tokens":
			c.cacheWrite = wire.LooseCount(v)
		case "audio_tokens":
			c.audio = wire.LooseCount(v)
		default:
			c.inputPart.Add(wire.Discount(v))
		}
	})
}

func (c *counts) readCompletion(details gjson.Result) {
	eachDetail(details, func(name string, v gjson.Result) {
		switch name {
		case "reasoning_tokens":
			c.reasoning.Add(wire.LooseCount(v))
		case "audio_tokens":
			c.audioOutput = wire.LooseCount(v)
		default:
			c.outputPart.Add(wire.Discount(v))
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
