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
	head         []byte // how the last event began, to its first member of its own
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
	if !v.IsObject() {
		return u, false
	}
	c := readCounts(v)
	if !c.hasPrompt || endpoint != Embeddings && !c.hasCompletion {
		return u, false
	}
	u = Usage{
		Input:       c.prompt,
		Cached:      max(c.cachedInDetails, c.cacheHits, c.cached),
		CacheWrite:  c.cacheWrite,
		Audio:       c.audio,
		Output:      c.completion,
		Reasoning:   c.reasoning,
		AudioOutput: c.audioOutput,
	}
	if endpoint != Embeddings {
		u.Output = max(u.Output, c.total-u.Input)
	}
	return consistent(u), !c.broken
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

// counts are the token counts of a usage object, each 0 where it is absent or
// null.
type counts struct {
	prompt, completion, total          int64
	cachedInDetails, cacheHits, cached int64
	cacheWrite, audio                  int64
	reasoning, audioOutput             int64
	hasPrompt, hasCompletion           bool // also where it is null
	broken                             bool // one of them is no count
}

// readCounts reads a usage object in one pass.
func readCounts(usage gjson.Result) counts {
	var c counts
	usage.ForEach(func(name, v gjson.Result) bool {
		switch name.Str {
		case "prompt_tokens":
			c.prompt, c.hasPrompt = c.count(v), true
		case "completion_tokens":
			c.completion, c.hasCompletion = c.count(v), true
		case "total_tokens":
			c.total = c.count(v)
		case "prompt_cache_hit_tokens":
			c.cacheHits = c.count(v)
		case "cached_tokens":
			c.cached = c.count(v)
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
	if !details.IsObject() {
		return
	}
	details.ForEach(func(name, v gjson.Result) bool {
		switch name.Str {
		case "cached_tokens":
			c.cachedInDetails = c.count(v)
		case "cache_write_tokens":
			c.cacheWrite = c.count(v)
		case "audio_tokens":
			c.audio = c.count(v)
		}
		return true
	})
}

func (c *counts) readCompletion(details gjson.Result) {
	if !details.IsObject() {
		return
	}
	details.ForEach(func(name, v gjson.Result) bool {
		switch name.Str {
		case "reasoning_tokens":
			c.reasoning = c.count(v)
		case "audio_tokens":
			c.audioOutput = c.count(v)
		}
		return true
	})
}

func (c *counts) count(v gjson.Result) int64 {
	if v.Type == gjson.Null {
		return 0
	}
	n, err := strconv.ParseInt(v.Raw, 10, 64)
	if v.Type != gjson.Number || err != nil || n < 0 || n > MaxCap {
		c.broken = true
		return 0
	}
	return n
}
