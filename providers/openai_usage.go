package providers

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
)

// findings collects what a response tells.
type findings struct {
	endpoint Endpoint
	seen     Report
	// usage was found; final says that nothing can follow that changes it.
	usage, final bool
}

// report settles which usage counts: one beside no choices is the last word, one
// beside choices may be a running total until the response is complete.
func (f *findings) report() Report {
	r := f.seen
	r.HasUsage = f.usage && (f.final || r.Complete)
	return r
}

// forget drops the usage: an event was not read, and may have held a later one.
func (f *findings) forget() {
	f.usage, f.final = false, false
}

func (f *findings) readObject(o *objectScan) {
	f.seen.Complete = o.complete()
	f.readUsage(view(o.values[captureUsage]), false)
	f.readModel(gjson.ParseBytes(o.values[captureModel]))
	f.readError(gjson.ParseBytes(o.values[captureError]))
}

func (f *findings) readModel(v gjson.Result) {
	if v.Type == gjson.String && v.Str != f.seen.Model && len(v.Str) <= MaxModelBytes {
		f.seen.Model = strings.Clone(v.Str)
	}
}

func (f *findings) readError(v gjson.Result) {
	if v.Type != gjson.String && !v.IsObject() {
		return
	}
	f.seen.Failed = true
	if code := memberOf(v, "code"); code.Type == gjson.String && len(code.Str) <= MaxModelBytes {
		f.seen.ErrorCode = strings.Clone(code.Str)
	}
}

// readUsage takes a usage object. One that cannot be read is as good as none,
// even after one that could.
func (f *findings) readUsage(object string, final bool) {
	if object == "" || object == "null" {
		return
	}
	usage, ok := parseUsage(object, f.endpoint)
	f.usage, f.final = ok, final
	if ok {
		f.seen.Usage = usage
	}
}

// parseUsage reads a usage object; ok is false if it is malformed, or lacks the
// counts that the endpoint bills.
//
// Cached input is in prompt_tokens_details.cached_tokens; DeepSeek says
// prompt_cache_hit_tokens and Moonshot cached_tokens. Where total_tokens is
// more than prompt and completion, the difference is reasoning that xAI and
// Gemini leave out of completion_tokens, and is billed as output.
func parseUsage(object string, endpoint Endpoint) (u Usage, ok bool) {
	if !jsontext.Value(object).IsValid() {
		return u, false
	}
	v := gjson.Parse(object)
	if !v.IsObject() || !v.Get("prompt_tokens").Exists() {
		return u, false
	}
	if endpoint != Embeddings && !v.Get("completion_tokens").Exists() {
		return u, false
	}
	c := counts{v, true}
	u = Usage{
		Input:       c.get("prompt_tokens"),
		Cached:      max(c.get("prompt_tokens_details.cached_tokens"), c.get("prompt_cache_hit_tokens"), c.get("cached_tokens")),
		CacheWrite:  c.get("prompt_tokens_details.cache_write_tokens"),
		Audio:       c.get("prompt_tokens_details.audio_tokens"),
		Output:      c.get("completion_tokens"),
		Reasoning:   c.get("completion_tokens_details.reasoning_tokens"),
		AudioOutput: c.get("completion_tokens_details.audio_tokens"),
	}
	if endpoint != Embeddings {
		u.Output = max(u.Output, c.get("total_tokens")-u.Input)
	}
	return consistent(u), c.ok
}

// consistent makes parts no more than their whole, the cheaper ones giving way.
func consistent(u Usage) Usage {
	u.Audio = min(u.Audio, u.Input)
	u.CacheWrite = min(u.CacheWrite, u.Input-u.Audio)
	u.Cached = min(u.Cached, u.Input-u.Audio-u.CacheWrite)
	u.AudioOutput = min(u.AudioOutput, u.Output)
	u.Reasoning = min(u.Reasoning, u.Output-u.AudioOutput)
	return u
}

// counts reads token counts and remembers whether each was one.
type counts struct {
	object gjson.Result
	ok     bool
}

// get returns the count at path: 0 if it is absent or null.
func (c *counts) get(path string) int64 {
	v := c.object.Get(path)
	if v.Type == gjson.Null {
		return 0
	}
	n, err := strconv.ParseInt(v.Raw, 10, 64)
	if v.Type != gjson.Number || err != nil || n < 0 || n > MaxCap {
		c.ok = false
		return 0
	}
	return n
}
