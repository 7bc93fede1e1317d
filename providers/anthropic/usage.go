package anthropic

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// counts are what a usage object tells. Input that was read from a cache or written to
// it lies beside input. write5m and write1h are parts of write, and so is thinking of
// output, unless it is more.
type counts struct {
	input, read, write, write5m, write1h wire.Count
	longer                               wire.Count // written for a time that no price is known of
	output, thinking                     wire.Count
	searches, sessions                   wire.Count
	billed                               wire.Count // nano-USD that the provider says that it charges
}

// all lists the counts.
func (c *counts) all() []*wire.Count {
	return []*wire.Count{&c.input, &c.read, &c.write, &c.write5m, &c.write1h, &c.longer, &c.output, &c.thinking, &c.searches, &c.sessions, &c.billed}
}

// any reports whether one of them is more than zero.
func (c *counts) any() bool {
	for _, n := range c.all() {
		if n.N > 0 {
			return true
		}
	}
	return false
}

// odd reports whether one of them cannot be read that decides what the answer costs. How
// writes divide does not: see usage.
func (c *counts) odd() bool {
	divides := c.write.Told && !c.write.Odd
	for _, n := range c.all() {
		if n.Odd && !(divides && (n == &c.write5m || n == &c.write1h)) {
			return true
		}
	}
	return c.longer.N > 0
}

// total is all input.
func (c *counts) total() int64 {
	return c.input.N + c.read.N + max(c.write.N, c.write5m.N+c.write1h.N)
}

// update takes in a later usage of the same answer: running totals, of which those that
// are told again replace the former. How writes divide is told once.
func (c *counts) update(later *counts) {
	mine, theirs := c.all(), later.all()
	for i := range mine {
		if theirs[i].Told {
			*mine[i] = *theirs[i]
		}
	}
	divided := later.write5m.Told || later.write1h.Told
	if later.write.Told && !divided && c.write.N < c.write5m.N+c.write1h.N {
		c.write5m, c.write1h = wire.Count{}, wire.Count{} // they divide another total
	}
}

// atLeast keeps what a usage that was told before has more of: running totals do not fall.
// The counts of input go together: what was one of them may later be another.
func (c *counts) atLeast(before *counts) {
	if c.total() < before.total() {
		c.input, c.read, c.write, c.write5m, c.write1h = before.input, before.read, before.write, before.write5m, before.write1h
	}
	mine := [...]*wire.Count{&c.output, &c.thinking, &c.searches, &c.sessions, &c.billed}
	for i, n := range [...]wire.Count{before.output, before.thinking, before.searches, before.sessions, before.billed} {
		if !mine[i].Odd && mine[i].N < n.N {
			*mine[i] = n
		}
	}
}

// usage is what the counts come to. Writes whose lifetime is not told lasted as long as
// the longest that was asked for, and all of them an hour where what is told cannot be
// read. Thinking that is more than the output lies beside it.
func (c *counts) usage(long bool) (u call.Usage) {
	u[call.Input], u[call.CachedInput] = c.input.N, c.read.N
	u[call.CacheWrite], u[call.CacheWrite1h] = c.write5m.N, c.write1h.N
	rest := max(0, c.write.N-c.write5m.N-c.write1h.N)
	if odd := c.write5m.Odd || c.write1h.Odd; odd {
		u[call.CacheWrite], u[call.CacheWrite1h], rest = 0, max(c.write.N, c.write5m.N+c.write1h.N), 0
	}
	if long {
		u[call.CacheWrite1h] += rest
	} else {
		u[call.CacheWrite] += rest
	}
	u[call.Reasoning], u[call.Output] = c.thinking.N, c.output.N
	if within := c.thinking.N <= c.output.N; within {
		u[call.Output] -= c.thinking.N
	}
	u[call.Searches], u[call.CodeSessions] = c.searches.N, c.sessions.N
	return u
}

// usage is what a usage object tells.
type usage struct {
	counts     counts
	iterations []iteration
	tier       string // "" where none is told, as speed
	speed      string
	region     string // as it is told; "" where none is
	broken     bool   // it cannot be read
}

// iteration is one run of a model inside a call.
type iteration struct {
	kind, model string
	counts      counts
}

// maxIterations is how many runs of one call are told apart. One with more is of
// unknown cost.
const maxIterations = 30

// parseUsage reads a usage object, and the amount in it where a provider names one. ok is
// false where there is none.
func parseUsage(object []byte, amounts bill.Reader) (u usage, ok bool) {
	v := gjson.ParseBytes(object)
	if v.Type == gjson.Null {
		return u, false
	}
	if !v.IsObject() || !jsontext.Value(object).IsValid() {
		return usage{broken: true}, true
	}
	v.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "iterations":
			u.readIterations(value)
		case "service_tier":
			u.tier = u.word(value)
		case "speed":
			u.speed = u.word(value)
		case "inference_geo":
			u.region = u.word(value)
		default:
			u.counts.member(name.Str, value)
		}
		return true
	})
	if amounts != nil {
		u.counts.billed = amounts(v)
	}
	u.broken = u.broken || u.counts.odd()
	return u, true
}

// member takes one member of a usage object.
func (c *counts) member(name string, v gjson.Result) {
	switch name {
	case "input_tokens":
		c.input = wire.ExactCount(v)
	case "output_tokens":
		c.output = wire.ExactCount(v)
	case "cache_read_input_tokens":
		c.read = wire.ExactCount(v)
	case "cache_creation_input_tokens":
		c.write = wire.ExactCount(v)
	case "cache_creation":
		c.lifetimes(v)
	case "output_tokens_details":
		c.thinking = wire.Discount(wire.Get(v, "thinking_tokens"))
	case "server_tool_use":
		c.searches = wire.ExactCount(wire.Get(v, "web_search_requests"))
		c.sessions = wire.ExactCount(wire.Get(v, "code_execution_requests"))
	}
}

// lifetimes takes how writes divide. One for a time that no price is known of makes the
// cost unknown.
func (c *counts) lifetimes(v gjson.Result) {
	c.write5m, c.write1h, c.longer = wire.Count{}, wire.Count{}, wire.Count{}
	v.ForEach(func(name, n gjson.Result) bool {
		switch name.Str {
		case "ephemeral_5m_input_tokens":
			c.write5m = wire.LooseCount(n)
		case "ephemeral_1h_input_tokens":
			c.write1h = wire.LooseCount(n)
		default:
			c.longer.Add(wire.LooseCount(n))
		}
		return true
	})
}

func (u *usage) readIterations(list gjson.Result) {
	if !list.IsArray() {
		u.broken = u.broken || list.Type != gjson.Null
		return
	}
	for _, entry := range list.Array() {
		if len(u.iterations) == maxIterations || !entry.IsObject() {
			u.broken = u.broken || entry.Type != gjson.Null
			return
		}
		var i iteration
		entry.ForEach(func(name, v gjson.Result) bool {
			switch name.Str {
			case "type":
				i.kind = wordIn(v)
			case "model":
				i.model = wordIn(v)
			default:
				i.counts.member(name.Str, v)
			}
			return true
		})
		u.broken = u.broken || i.counts.odd()
		u.iterations = append(u.iterations, i)
	}
}

// wordIn is a string that names something, with memory of its own; "" for what is none.
func wordIn(v gjson.Result) string {
	if v.Type != gjson.String || len(v.Str) > providers.MaxModelBytes {
		return ""
	}
	return strings.Clone(v.Str)
}

// word is a string that multiplies the price. What should be one and cannot be read
// makes the cost unknown.
func (u *usage) word(v gjson.Result) string {
	word := wordIn(v)
	u.broken = u.broken || word == "" && v.Type != gjson.Null && v.Raw != `""`
	return word
}

// service is the service of a price, "" where none is told: a faster one costs more, and
// so may another tier than the standard one. Where a faster one was asked for, only the
// answer's word tells that it was not.
func (u *usage) service(fast bool) string {
	switch {
	case u.speed != "" && u.speed != standardSpeed:
		return u.speed
	case u.speed == "" && fast:
		return fastSpeed
	}
	if u.tier == "standard" {
		return call.Standard
	}
	return u.tier
}

// regionOf is the region of a price: "" where none was asked for, as older models say
// that they do not tell.
func regionOf(region string) string {
	switch region {
	case anywhere, "not_available":
		return ""
	default:
		return region
	}
}
