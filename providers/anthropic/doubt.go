package anthropic

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// noBound says what has no bound at an upstream, and what would admit it; nil if
// nothing is in doubt.
func (r *request) noBound(t *providers.Terms) error {
	for _, d := range r.doubts {
		if d.why != "" || !admits(t, d.Extra) {
			return d.refuse()
		}
	}
	return r.refusesBetas(t)
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

const secret = "it may hold a credential, and no allowance admits it"

// unshown are types of blocks that are more input than their text.
var unshown = []string{"image", "document", "server_tool_use"}

// admits reports whether the policy admits what nobody knows: by its name, or as one of
// the scalars that no price of the operator's can lack.
func admits(t *providers.Terms, e call.Extra) bool {
	return t.Allow.Has(e.Kind, e.Name) || e.Scalar && t.Priced && t.Allow != nil && t.Allow.Scalars
}

func (d *doubt) refuse() error {
	what := naming(d.Extra)
	return &providers.Unbounded{Member: what, Message: "what this request costs has no bound, because of " + what + ": " + d.because()}
}

// because is why it is in doubt, and the line of the policy that admits it.
func (d *doubt) because() string {
	switch {
	case d.why != "":
		return d.why
	case !sayable(d.Name):
		return "it is in no list of what costs nothing, and nothing in a policy can name it"
	}
	return fmt.Sprintf("it is in no list of what costs nothing; where price and cap bound all that it costs, "+
		"the line allow: {%s: [%q]} at its upstream in the policy admits it", d.Kind, d.Name)
}

// kindNouns are what one of each kind is called.
var kindNouns = [call.ExtraKinds]string{
	call.ExtraPart: "a content block of type ", call.ExtraTool: "a tool of type ", call.ExtraTier: "service_tier ",
	call.ExtraQuery: "the query parameter ", call.ExtraHeader: "the header ", call.ExtraBeta: "the beta ",
}

// naming names what is in doubt. Names that no policy could hold are not said back.
func naming(e call.Extra) string {
	switch {
	case sayable(e.Name):
		return kindNouns[e.Kind] + e.Name
	case e.Kind == call.ExtraMember:
		return "a member with an odd name"
	case e.Name == "":
		return kindNouns[e.Kind] + "none"
	}
	return kindNouns[e.Kind] + "an odd one"
}

// maxNameBytes is how long a name is that a policy can hold.
const maxNameBytes = 160

// sayable reports whether a name can stand in a policy.
func sayable(name string) bool {
	odd := func(c rune) bool {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return false
		}
		return !strings.ContainsRune("._:/@=-", c)
	}
	return name != "" && len(name) <= maxNameBytes && !strings.ContainsFunc(name, odd)
}
