package openai

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// counts are the counts of usage objects, of tokens most of them, under the names that the servers of this
// API have for them. A name that several have means the same at all of them; where two
// names of one count differ, the one that makes the answer dearer counts.
type counts struct {
	prompt, completion, total wire.Count

	read              reads      // from a cache
	heard, viewed     reads      // of that: of audio, and of images
	miss              wire.Count // what a cache did not have
	written           wire.Count // to a cache, of whatever lifetime
	short, long, day  wire.Count // of that: for minutes, for an hour, for twelve hours
	audio, image      wire.Count
	video             wire.Count
	reasoning, spoken wire.Count
	drawn             wire.Count
	searches          wire.Count
	billed            wire.Count // nano-USD that the provider says that it charges

	// apart says that the cache may lie beside the input: it is told as Anthropic tells it,
	// and no other name says that it does not.
	apart bool
	// inputPart and outputPart are the largest details that have no price of their own,
	// as of text and of predictions.
	inputPart, outputPart wire.Count

	// Of the usage object at hand: input_tokens, and whether it has details of the input and
	// the cache in the way of Anthropic's API.
	input             wire.Count
	details, cacheOwn bool
}

// reads are what several names say of one count that makes an answer cheaper: the least
// of them that is not zero, and the most.
type reads struct {
	told        bool
	least, most int64
}

func (r *reads) add(n wire.Count) {
	r.told = r.told || n.Told
	if n.N > 0 && (r.least == 0 || n.N < r.least) {
		r.least = n.N
	}
	r.most = max(r.most, n.N)
}

// merge takes in what another usage says.
func (r *reads) merge(other reads) {
	switch {
	case !other.told:
	case !r.told:
		*r = other
	default:
		r.least, r.most = min(r.least, other.least), max(r.most, other.most)
	}
}

// all lists the counts that a larger one replaces.
func (c *counts) all() []*wire.Count {
	return []*wire.Count{
		&c.prompt, &c.completion, &c.total, &c.miss, &c.written, &c.short, &c.long, &c.day, &c.audio, &c.image, &c.video,
		&c.reasoning, &c.spoken, &c.drawn, &c.searches, &c.billed, &c.inputPart, &c.outputPart,
	}
}

// any reports whether one of them is more than zero, or is odd.
func (c *counts) any() bool {
	for _, n := range c.all() {
		if n.N > 0 || n.Odd {
			return true
		}
	}
	return c.read.most > 0
}

// merge takes in another usage of the same answer. What is cached costs less, so
// of that the smaller counts.
func (c *counts) merge(other *counts) {
	mine, theirs := c.all(), other.all()
	for i := range mine {
		mine[i].Add(*theirs[i])
	}
	c.read.merge(other.read)
	c.heard.merge(other.heard)
	c.viewed.merge(other.viewed)
	c.apart = c.apart || other.apart
}

// usage is what the counts come to, in the dearest way that they can be read; ok
// is false where they lack what the endpoint bills.
//
// A detail is a part of prompt_tokens or completion_tokens, or lies beside it: see
// beside. Where total_tokens is more than both, the difference is output that
// completion_tokens leaves out.
func (c *counts) usage(endpoint Endpoint) (u call.Usage, ok bool) {
	ok = c.prompt.Told && (c.completion.Told || c.total.Told) // OpenAI leaves out a zero
	input := c.prompt.N
	if endpoint == Embeddings {
		ok = c.prompt.Told || c.total.Told
		input = max(input, c.total.N-c.completion.N)
	}
	input = c.divideInput(&u, input)
	c.divideOutput(&u, input)
	u[call.Searches] = c.searches.N
	return u, ok
}

// divideOutput divides the output, beside so much input.
func (c *counts) divideOutput(u *call.Usage, input int64) {
	output := c.completion.N
	if beside := c.reasoning.N + c.spoken.N + c.drawn.N; beside > output {
		output += beside
	}
	output = max(output, c.total.N-input, c.outputPart.N)
	rest := output
	for _, part := range [...]struct {
		unit  call.Unit
		count *wire.Count
	}{{call.AudioOutput, &c.spoken}, {call.ImageOutput, &c.drawn}, {call.Reasoning, &c.reasoning}} {
		u[part.unit] = part.count.Of(rest)
		rest -= u[part.unit]
	}
	u[call.Output] = rest
}

// divideInput divides the input, and returns how much it is. Audio and what is written to
// a cache may be the same tokens, as far as they do not fit side by side, and are priced
// at the dearer then; cached ones are only where all others leave room.
func (c *counts) divideInput(u *call.Usage, prompt int64) int64 {
	written := max(c.written.N, c.short.N+c.long.N+c.day.N)
	input, read := prompt+c.beside(prompt, written), c.read.least
	if input > prompt {
		read = c.read.most // it adds to the input
	}
	input = max(input, c.inputPart.N, c.miss.N+read)
	odd := c.written.Odd || c.short.Odd || c.long.Odd || c.day.Odd
	if odd {
		written = input
	}
	written = min(written, input)
	audio := c.audio.Of(input)
	both := max(0, audio+written-input)
	u[call.AudioInput], u[call.AudioCacheWrite] = audio-both, both
	c.divideWrites(u, written-both, odd)
	heard, viewed := int64(0), int64(0)
	if input == prompt && both == 0 {
		heard, viewed = c.cachedMedia(audio, read)
	}
	u[call.AudioInput] -= heard
	u[call.CachedAudioInput] = heard
	rest := input - (audio + written - both)
	for _, part := range [...]struct {
		unit call.Unit
		n    int64
	}{{call.ImageInput, c.image.N - viewed}, {call.CachedImageInput, viewed}, {call.VideoInput, c.video.N}, {call.CachedInput, read - heard - viewed}} {
		u[part.unit] = min(part.n, rest)
		rest -= u[part.unit]
	}
	u[call.Input] = rest
	return input
}

// cachedMedia is how much of so much audio, and of the images, was read from a cache, as far as what is
// told of that fits what else is told: cached audio is a part of the audio and of what is cached.
func (c *counts) cachedMedia(audio, read int64) (heard, viewed int64) {
	heard, viewed = c.heard.least, c.viewed.least
	if heard > audio || viewed > c.image.N || heard+viewed > read {
		return 0, 0
	}
	return heard, viewed
}

// divideWrites divides what was written to a cache by how long it lives. What the
// lifetimes that are told leave over lives as long as the longest of them; where none is,
// for the provider's own time.
func (c *counts) divideWrites(u *call.Usage, written int64, odd bool) {
	day := min(c.day.N, written)
	long := min(c.long.N, written-day)
	short := min(c.short.N, written-day-long)
	rest := written - day - long - short
	u[call.CacheWrite12h], u[call.CacheWrite1h], u[call.CacheWrite] = day, long, short
	switch {
	case odd, day > 0:
		u[call.CacheWrite12h] += rest
	case long > 0:
		u[call.CacheWrite1h] += rest
	default:
		u[call.CacheWrite] += rest
	}
}

// lengthen takes writes whose lifetime is not told for the longest that was asked for.
func (c *counts) lengthen(u *call.Usage) {
	if c.day.Told || c.short.Told {
		return
	}
	u[call.CacheWrite12h] += u[call.CacheWrite]
	u[call.CacheWrite] = 0
}

// beside is how much of the input lies beside prompt_tokens, as the cache does at
// Anthropic and audio at Mistral.
//
// The total tells, where there is one: it is that of prompt and completion if nothing
// does, and more by just what does. Parts that are more than the whole lie beside it in
// any case, and so do those under Anthropic's names beside its input_tokens.
func (c *counts) beside(prompt, written int64) int64 {
	parts := [...]int64{written, c.audio.N, c.read.most}
	if over := c.total.N - prompt - c.completion.N; c.total.Told && over > 0 && !c.otherwise(over) {
		for set := 1; set < 1<<len(parts); set++ {
			var out, in int64
			for i, n := range parts {
				if set>>i&1 == 1 {
					out += n
				} else {
					in += n
				}
			}
			if out == over && in <= prompt {
				return over
			}
		}
	}
	cache := written + c.read.most
	switch {
	case cache > prompt, c.apart && !(c.total.Told && c.total.N <= prompt+c.completion.N):
		return cache + c.audioBeside(prompt)
	}
	return c.audioBeside(prompt)
}

// otherwise reports whether what a total has over is output that completion_tokens leaves
// out, as reasoning at xAI.
func (c *counts) otherwise(over int64) bool {
	return c.reasoning.N == over || c.reasoning.N+c.spoken.N == over && c.spoken.N > 0
}

func (c *counts) audioBeside(prompt int64) int64 {
	if c.audio.N > prompt {
		return c.audio.N
	}
	return 0
}

// readers take in a member of a usage object or of an object in it, by its name.
type readers map[string]func(c *counts, v gjson.Result)

func loose(of func(c *counts) *wire.Count) func(*counts, gjson.Result) {
	return func(c *counts, v gjson.Result) { of(c).Add(wire.LooseCount(v)) }
}

func exact(of func(c *counts) *wire.Count) func(*counts, gjson.Result) {
	return func(c *counts, v gjson.Result) { of(c).Add(wire.ExactCount(v)) }
}

func within(r readers) func(*counts, gjson.Result) {
	return func(c *counts, v gjson.Result) { c.each(v, r) }
}

func readCached(c *counts, v gjson.Result) { c.read.add(wire.Discount(v)) }

// lifetimes divide what was written to a cache.
var lifetimes = within(readers{
	"ephemeral_5m_input_tokens": loose(func(c *counts) *wire.Count { return &c.short }),
	"ephemeral_1h_input_tokens": loose(func(c *counts) *wire.Count { return &c.long }),
	"ttl_5m_tokens":             loose(func(c *counts) *wire.Count { return &c.short }),
	"ttl_30m_tokens":            loose(func(c *counts) *wire.Count { return &c.short }),
	"ttl_1h_tokens":             loose(func(c *counts) *wire.Count { return &c.long }),
	"ttl_12h_tokens":            loose(func(c *counts) *wire.Count { return &c.day }),
})

// cacheCounts are those of cache reads and writes, beside prompt_tokens or in its details.
var cacheCounts = readers{
	"cached_tokens":               readCached,
	"num_cached_tokens":           readCached,
	"cached_input_tokens":         readCached,
	"cache_read_tokens":           readCached,
	"cache_read_input_tokens":     readCached,
	"prompt_cache_hit_tokens":     readCached,
	"prompt_cache_miss_tokens":    func(c *counts, v gjson.Result) { c.miss.Add(wire.Discount(v)) },
	"cache_write_tokens":          loose(func(c *counts) *wire.Count { return &c.written }),
	"cache_write_input_tokens":    loose(func(c *counts) *wire.Count { return &c.written }),
	"cache_creation_tokens":       loose(func(c *counts) *wire.Count { return &c.written }),
	"cache_creation_input_tokens": loose(func(c *counts) *wire.Count { return &c.written }),

	"cache_creation":               lifetimes,
	"cache_creation_token_details": lifetimes,
	"cache_write_tokens_details":   lifetimes,
}

// cachedKinds divide what was read from a cache.
var cachedKinds = within(readers{
	"audio_tokens": func(c *counts, v gjson.Result) { c.heard.add(wire.Discount(v)) },
	"image_tokens": func(c *counts, v gjson.Result) { c.viewed.add(wire.Discount(v)) },
})

var inputCounts = cacheCounts.and(readers{
	"cached_tokens_details": cachedKinds,

	"audio_tokens": loose(func(c *counts) *wire.Count { return &c.audio }),
	"image_tokens": loose(func(c *counts) *wire.Count { return &c.image }),
	"video_tokens": loose(func(c *counts) *wire.Count { return &c.video }),
})

var outputCounts = readers{
	"reasoning_tokens": loose(func(c *counts) *wire.Count { return &c.reasoning }),
	"thinking_tokens":  loose(func(c *counts) *wire.Count { return &c.reasoning }),
	"audio_tokens":     loose(func(c *counts) *wire.Count { return &c.spoken }),
	"image_tokens":     loose(func(c *counts) *wire.Count { return &c.drawn }),
}

var allInput = inputCounts.rest(func(c *counts) *wire.Count { return &c.inputPart })

// readDetails reads what the input consists of.
func readDetails(c *counts, v gjson.Result) {
	c.details = c.details || v.IsObject()
	c.each(v, allInput)
}

// besideInput reads a count of the cache that stands beside the others under a name of
// Anthropic's.
func besideInput(read func(*counts, gjson.Result)) func(*counts, gjson.Result) {
	return func(c *counts, v gjson.Result) {
		c.cacheOwn = true
		read(c, v)
	}
}

var usageCounts = cacheCounts.and(readers{
	"input_tokens":                exact(func(c *counts) *wire.Count { return &c.input }),
	"cache_read_input_tokens":     besideInput(cacheCounts["cache_read_input_tokens"]),
	"cache_creation_input_tokens": besideInput(cacheCounts["cache_creation_input_tokens"]),

	"prompt_tokens":             exact(func(c *counts) *wire.Count { return &c.prompt }),
	"completion_tokens":         exact(func(c *counts) *wire.Count { return &c.completion }),
	"output_tokens":             exact(func(c *counts) *wire.Count { return &c.completion }),
	"total_tokens":              exact(func(c *counts) *wire.Count { return &c.total }),
	"reasoning_tokens":          loose(func(c *counts) *wire.Count { return &c.reasoning }),
	"prompt_tokens_details":     readDetails,
	"input_tokens_details":      readDetails,
	"input_token_details":       readDetails,
	"completion_tokens_details": within(outputCounts.rest(func(c *counts) *wire.Count { return &c.outputPart })),
	"output_tokens_details":     within(outputCounts.rest(func(c *counts) *wire.Count { return &c.outputPart })),
	"output_token_details":      within(outputCounts.rest(func(c *counts) *wire.Count { return &c.outputPart })),
	"server_tool_use":           within(readers{"web_search_requests": loose(func(c *counts) *wire.Count { return &c.searches })}),
})

func (r readers) and(more readers) readers {
	all := readers{}
	for name, read := range r {
		all[name] = read
	}
	for name, read := range more {
		all[name] = read
	}
	return all
}

// otherTokens is the name under which readers have what takes every other count of tokens.
const otherTokens = "*_tokens"

// rest has the largest of all other counts of tokens taken in. One that is odd is left
// out: it makes nothing dearer.
func (r readers) rest(of func(c *counts) *wire.Count) readers {
	return r.and(readers{otherTokens: func(c *counts, v gjson.Result) { of(c).Add(wire.Discount(v)) }})
}

// each takes in the members of an object.
func (c *counts) each(object gjson.Result, r readers) {
	if !object.IsObject() {
		return
	}
	object.ForEach(func(name, v gjson.Result) bool {
		read, known := r[name.Str]
		if !known && strings.HasSuffix(name.Str, "_tokens") {
			read = r[otherTokens]
		}
		if read != nil {
			read(c, v)
		}
		return true
	})
}

// readCounts reads a usage object in one pass.
func readCounts(usage gjson.Result) counts {
	var c counts
	c.each(usage, usageCounts)
	c.apart = !c.details && (c.input.Told && !c.prompt.Told || c.cacheOwn && !c.total.Told)
	c.prompt.Add(c.input)
	return c
}
