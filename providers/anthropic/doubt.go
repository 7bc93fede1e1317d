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
func (r *request) noBound(t *providers.Terms) *providers.Unbounded {
	return r.doubts.NoBound(t, partNoun).Join(r.refusesBetas(t))
}

// takeBack takes back the doubts from one on, of what is named as a whole.
func (r *request) takeBack(from int) (inside providers.Doubts) {
	from = min(from, len(r.doubts))
	inside = slices.Clone(r.doubts[from:])
	r.doubts = r.doubts[:from]
	return inside
}

// putBack keeps those of them that do not go with the whole: what is known to cost, and
// blocks and tools of other types. Who admits the whole did not look into it.
func (r *request) putBack(inside providers.Doubts) {
	for _, d := range inside {
		if d.Why != "" || d.Kind != call.ExtraMember {
			r.doubts.Add(d)
		}
	}
}

// examine notes, in a value that nobody reads, blocks of which the body does not show what
// they are as input, tools that run at the provider, what is to be written to the cache,
// and what may hold a credential.
func (r *request) examine(value []byte) {
	wire.EachMember(value, func(name, word string) {
		if wire.Secret(name) {
			r.doubts.Costs(call.ExtraMember, name, secret)
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
			r.doubts.Costs(call.ExtraPart, word, costlyBlocks[word])
		case slices.Contains(unshown, word):
			r.doubts.Unknown(call.ExtraPart, word, false)
		case (&tool{kind: word}).hosted() != "":
			r.doubts.Unknown(call.ExtraTool, word, false)
		}
	})
}

const secret = "it may hold a credential"

// unshown are types of blocks that are more input than their text.
var unshown = []string{"image", "document", "server_tool_use"}

// partNoun is what the API calls a part of a content.
const partNoun = "a content block"
