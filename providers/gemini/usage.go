package gemini

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// counts are what usageMetadata tells, in tokens. What was cached is part of the prompt. What tools have found lies
// beside the prompt, and thoughts beside the candidates.
type counts struct {
	prompt, cached, tools        wire.Count
	candidates, thoughts, total  wire.Count
	read, fromCache, found, said modalities // of prompt, cached, tools and candidates
	billed                       wire.Count // nano-USD that the provider says that it charges
}

// modalities divide a count. What they leave over is of no modality that is told.
type modalities struct {
	text, audio, image, video int64
	told                      bool // of any
	odd                       bool
}

func (c *counts) all() []*wire.Count {
	return []*wire.Count{&c.prompt, &c.cached, &c.tools, &c.candidates, &c.thoughts, &c.total, &c.billed}
}

// sum is all tokens.
func (c *counts) sum() int64 {
	return max(c.total.N, c.prompt.N+c.tools.N+c.candidates.N+c.thoughts.N)
}

// update takes in a later usage of the same answer. Members that it leaves out were not told again.
func (c *counts) update(later *counts) {
	mine, theirs := c.all(), later.all()
	for i := range mine {
		if theirs[i].Told {
			*mine[i] = *theirs[i]
		}
	}
	if later.prompt.Told && !later.cached.Told { // a zero is left out
		c.cached, c.fromCache = wire.Count{}, modalities{}
	}
	for into, from := range map[*modalities]*modalities{
		&c.read: &later.read, &c.fromCache: &later.fromCache, &c.found: &later.found, &c.said: &later.said,
	} {
		if from.told || from.odd {
			*into = *from
		}
	}
}

// atLeast keeps what a usage that was told before has more of: running totals do not fall. settled says that this
// one tells the prompt for good, which was an estimate before; the total has it in it.
func (c *counts) atLeast(before *counts, settled bool) {
	mine := []*wire.Count{&c.tools, &c.candidates, &c.thoughts, &c.billed, &c.prompt, &c.total}
	theirs := []wire.Count{before.tools, before.candidates, before.thoughts, before.billed, before.prompt, before.total}
	if settled && c.prompt.Told && c.total.Told {
		theirs = theirs[:4]
	}
	for i, n := range theirs {
		if !mine[i].Odd && mine[i].N < n.N {
			*mine[i] = n
		}
	}
}

// odd reports whether one of them cannot be read that decides what the answer costs.
func (c *counts) odd() bool {
	for _, n := range c.all() {
		if n.Odd {
			return true
		}
	}
	return c.read.odd || c.fromCache.odd || c.found.odd || c.said.odd
}

// usage is what the counts come to, in the dearest way that they can be read. Where the total is more than all that
// it should be of, the rest is output.
// What is of no modality that is told is of the dearest that the request can have.
func (c *counts) usage(kinds call.Kinds) (u call.Usage) {
	c.read.divide(&u, c.prompt.N, kinds)
	c.found.divide(&u, c.tools.N, kinds)
	c.takeCached(&u)
	output := max(c.candidates.N, c.total.N-c.prompt.N-c.tools.N-c.thoughts.N)
	u[call.Reasoning] = c.thoughts.N
	u[call.AudioOutput] = min(c.said.audio, output)
	u[call.ImageOutput] = min(c.said.image, output-u[call.AudioOutput])
	u[call.VideoOutput] = min(c.said.video, output-u[call.AudioOutput]-u[call.ImageOutput])
	rest := output - u[call.AudioOutput] - u[call.ImageOutput] - u[call.VideoOutput]
	u[call.Output] = min(c.said.text, rest)
	rest -= u[call.Output]
	u[c.said.dearestWritten(kinds)] += rest
	return u
}

// divide adds a count of input by modalities. What they leave over is of the dearest of them: audio is dearer than
// what is seen.
func (m *modalities) divide(u *call.Usage, n int64, kinds call.Kinds) {
	audio := min(m.audio, n)
	image := min(m.image, n-audio)
	video := min(m.video, n-audio-image)
	u[call.AudioInput] += audio
	u[call.ImageInput] += image
	u[call.VideoInput] += video
	n -= audio + image + video
	text := min(m.text, n)
	u[call.Input] += text
	u[m.dearestRead(kinds)] += n - text
}

// dearestRead is the unit of input that nobody says the modality of.
func (m *modalities) dearestRead(kinds call.Kinds) call.Unit {
	switch {
	case m.audio > 0 || kinds.Has(call.AudioInput):
		return call.AudioInput
	case m.video > 0 || kinds.Has(call.VideoInput):
		return call.VideoInput
	case m.image > 0 || kinds.Has(call.ImageInput):
		return call.ImageInput
	}
	return call.Input
}

// dearestWritten is the unit of output alike: images are dearer than words, and so is audio.
func (m *modalities) dearestWritten(kinds call.Kinds) call.Unit {
	switch {
	case m.image > 0 || kinds.Has(call.ImageOutput):
		return call.ImageOutput
	case m.video > 0:
		return call.VideoOutput
	case m.audio > 0 || kinds.Has(call.AudioOutput):
		return call.AudioOutput
	}
	return call.Output
}

// takeCached turns input into what was read from a cache, by modalities as far as they are told, and else the text
// first, whose input costs least.
func (c *counts) takeCached(u *call.Usage) {
	left := min(c.cached.N, c.prompt.N)
	take := func(from, to call.Unit, n int64) {
		n = min(n, left, u[from])
		u[from] -= n
		u[to] += n
		left -= n
	}
	take(call.AudioInput, call.CachedAudioInput, c.fromCache.audio)
	take(call.ImageInput, call.CachedImageInput, c.fromCache.image)
	take(call.VideoInput, call.CachedVideoInput, c.fromCache.video)
	take(call.Input, call.CachedInput, left)
}

// usage is what usageMetadata tells.
type usage struct {
	counts counts
	tier   string // that it was served at; "" where none is told
	broken bool   // it cannot be read
}

// update takes in a later one.
func (u *usage) update(later *usage) {
	u.counts.update(&later.counts)
	u.tier = dearerTier(u.tier, later.tier)
	u.broken = u.broken || later.broken
}

// line is what the answer used, of a model.
func (u *usage) line(model string, kinds call.Kinds) call.Line {
	return call.Line{Key: call.Key{Model: model, Service: u.tier}, Usage: u.counts.usage(kinds), Billed: u.counts.billed.N}
}

// parseUsage reads usageMetadata, and the amount in it where a provider names one. ok is false where there is none.
func parseUsage(object []byte, amounts bill.Reader) (u usage, ok bool) {
	v := gjson.ParseBytes(object)
	if v.Type == gjson.Null {
		return u, false
	}
	if !v.IsObject() || !jsontext.Value(object).IsValid() {
		return usage{broken: true}, true
	}
	v.ForEach(func(name, value gjson.Result) bool {
		u.member(name.Str, value)
		return true
	})
	if amounts != nil {
		u.counts.billed = amounts(v)
	}
	u.broken = u.broken || u.counts.odd()
	return u, true
}

func (u *usage) member(name string, v gjson.Result) {
	c := &u.counts
	switch name {
	case "promptTokenCount":
		c.prompt = wire.LooseCount(v)
	case "cachedContentTokenCount":
		c.cached = wire.Discount(v)
	case "toolUsePromptTokenCount":
		c.tools = wire.LooseCount(v)
	case "candidatesTokenCount":
		c.candidates = wire.LooseCount(v)
	case "thoughtsTokenCount":
		c.thoughts = wire.LooseCount(v)
	case "totalTokenCount":
		c.total = wire.LooseCount(v)
	case "promptTokensDetails", "promptTokenDetails":
		c.read = parseModalities(v)
	case "cacheTokensDetails":
		c.fromCache = parseModalities(v)
		c.fromCache.odd = false // it only makes an answer cheaper
	case "toolUsePromptTokensDetails":
		c.found = parseModalities(v)
	case "candidatesTokensDetails":
		c.said = parseModalities(v)
	case "serviceTier", "trafficType":
		u.tier = dearerTier(u.tier, u.served(v))
	}
}

// maxModalities bounds the entries of a list of them.
const maxModalities = 32

// numbers of the modalities, where an answer has its enumerations as numbers
// (https://ai.google.dev/api/generate-content#Modality).
var modalityNumbers = map[int64]string{1: "TEXT", 2: "IMAGE", 3: "VIDEO", 4: "AUDIO", 5: "DOCUMENT"}

// parseModalities reads how a count is divided. A modality that nobody knows makes the cost unknown.
func parseModalities(list gjson.Result) (m modalities) {
	if !list.IsArray() {
		return modalities{odd: list.Type != gjson.Null}
	}
	entries := list.Array()
	if len(entries) > maxModalities {
		return modalities{odd: true}
	}
	for _, entry := range entries {
		count := wire.LooseCount(wire.Get(entry, "tokenCount"))
		kind := wire.Get(entry, "modality")
		word := strings.ToUpper(kind.Str)
		if kind.Type == gjson.Number {
			word = modalityNumbers[kind.Int()]
		}
		m.told = true
		m.odd = m.odd || count.Odd
		switch word {
		case "AUDIO":
			m.audio += count.N
		case "IMAGE":
			m.image += count.N
		case "VIDEO":
			m.video += count.N
		case "TEXT", "DOCUMENT":
			m.text += count.N
		default:
			m.odd = m.odd || count.N > 0
		}
	}
	return m
}

// dearerTier is the dearer of two tiers that an answer tells: flex costs less than the standard one, and any other more.
func dearerTier(a, b string) string {
	rank := func(tier string) int {
		switch tier {
		case "":
			return 0
		case "flex":
			return 1
		case call.Standard:
			return 2
		}
		return 3
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// tiers are the tiers of price lists by the API's words, of its own and of Vertex AI's traffic types.
var tiers = map[string]string{
	"STANDARD": call.Standard, "ON_DEMAND": call.Standard, "PRIORITY": "priority", "ON_DEMAND_PRIORITY": "priority",
	"FLEX": "flex", "ON_DEMAND_FLEX": "flex", "SERVICE_TIER_UNSPECIFIED": "", "TRAFFIC_TYPE_UNSPECIFIED": "", "UNSPECIFIED": "",
}

// trafficNumbers are the traffic types where an answer has its enumerations as numbers.
var trafficNumbers = map[int64]string{0: "UNSPECIFIED", 1: "ON_DEMAND"}

// served is the tier that an answer says it had. One that nobody knows has no price; what should be one and cannot be
// read makes the cost unknown.
func (u *usage) served(v gjson.Result) string {
	word := strings.ToUpper(v.Str)
	if v.Type == gjson.Number {
		word = trafficNumbers[v.Int()]
	}
	if v.Type == gjson.Null {
		return ""
	}
	if word == "" || len(word) > providers.MaxTierBytes {
		u.broken = true
		return ""
	}
	tier, known := tiers[strings.TrimPrefix(word, "SERVICE_TIER_")]
	if !known {
		if tier, known = tiers[word]; !known {
			return strings.ToLower(strings.Clone(word))
		}
	}
	return tier
}
