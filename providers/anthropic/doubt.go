package anthropic

import (
	"fmt"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
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
