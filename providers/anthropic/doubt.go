package anthropic

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// noBound says what has no bound at an upstream, and what would admit it; nil if
// nothing is in doubt.
func (r *request) noBound(t *providers.Terms) (no *providers.Unbounded) {
	for i := range r.doubts {
		if d := &r.doubts[i]; d.why != "" || !admits(t, d.Extra) {
			no = no.And(d.cause())
		}
	}
	return no.Join(r.refusesBetas(t))
}

// takeBack takes back the doubts from one on, of what is named as a whole.
func (r *request) takeBack(from int) (inside []doubt) {
	from = min(from, len(r.doubts))
	inside = slices.Clone(r.doubts[from:])
	r.doubts = r.doubts[:from]
	return inside
}

// putBack keeps those of them that do not go with the whole: what is known to cost, and
// blocks and tools of other types. Who admits the whole did not look into it.
func (r *request) putBack(inside []doubt) {
	for _, d := range inside {
		if d.why != "" || d.Kind != call.ExtraMember {
			r.doubt(d)
		}
	}
}

// examine notes, in a value that nobody reads, blocks of which the body does not show what
// they are as input, tools that run at the provider, what is to be written to the cache,
// and what may hold a credential.
func (r *request) examine(value []byte) {
	wire.EachMember(value, func(name, word string) {
		if wire.Secret(name) {
			r.costs(call.ExtraMember, name, secret)
		}
		if strings.EqualFold(name, "cache_control") || strings.EqualFold(name, "ttl") { // for however long, the dearest
			r.cache = lifetimes{short: true, long: true}
		}
		if !strings.EqualFold(name, "type") {
			return
		}
		word = strings.ToLower(word)
		switch {
		case costlyBlocks[word] != "":
			r.costs(call.ExtraPart, word, costlyBlocks[word])
		case slices.Contains(unshown, word):
			r.unknown(call.ExtraPart, word, false)
		case (&tool{kind: word}).hosted() != "":
			r.unknown(call.ExtraTool, word, false)
		}
	})
}

const secret = "it may hold a credential"

// unshown are types of blocks that are more input than their text.
var unshown = []string{"image", "document", "server_tool_use"}

// admits reports whether the policy admits what nobody knows: by its name, or as one of
// the scalars that no price of the operator's can lack.
func admits(t *providers.Terms, e call.Extra) bool {
	return t.Allow.Has(e.Kind, e.Name) || e.Scalar && t.Priced && t.Allow != nil && t.Allow.Scalars
}

// cause is why it is in doubt, and the line of the policy that admits it.
func (d *doubt) cause() providers.Cause {
	c := providers.Cause{Member: providers.Naming(d.Extra, partNoun), Why: d.why}
	if c.Why == "" {
		c.Why, c.Lines = "it is in no list of what costs nothing", providers.Admits(d.Extra)
	}
	return c
}

// partNoun is what the API calls a part of a content.
const partNoun = "a content block"
