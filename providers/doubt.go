package providers

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// A Doubt is something in a request whose cost the body does not show. A policy admits it only where nobody knows what
// it costs.
type Doubt struct {
	call.Extra
	Why string // it is known to cost; "": nobody knows
}

// Doubts are those of one request, each once.
type Doubts []Doubt

// maxDoubts is how many of them one request may have.
const maxDoubts = 64

// Costs notes what is known to cost more than the body shows.
func (l *Doubts) Costs(kind call.ExtraKind, name, why string) {
	l.Add(Doubt{call.Extra{Kind: kind, Name: name}, why})
}

// Unknown notes what nobody knows. whole says that it is a member whose whole value is a
// number, a boolean or a string.
func (l *Doubts) Unknown(kind call.ExtraKind, name string, whole bool) {
	l.Add(Doubt{call.Extra{Kind: kind, Name: name, Scalar: whole}, ""})
}

// Add notes one, and keeps a copy of its name. Of those beyond maxDoubts it notes only that they are too many.
func (l *Doubts) Add(d Doubt) {
	switch {
	case slices.Contains(*l, d):
	case len(*l) < maxDoubts:
		d.Name = strings.Clone(d.Name)
		*l = append(*l, d)
	case len(*l) == maxDoubts:
		*l = append(*l, Doubt{call.Extra{Name: "members that are not known"}, "there are more than can be judged"})
	}
}

// NoBound says which of them an upstream's policy does not admit; nil if it admits all. part is what the API calls a
// piece of a content.
func (l Doubts) NoBound(t *Terms, part string) (no *Unbounded) {
	for i := range l {
		if d := &l[i]; d.Why != "" || !t.admits(d.Extra) {
			no = no.And(d.Cause(part))
		}
	}
	return no
}

// Cause is why it is in doubt, and the line of the policy that admits it.
func (d *Doubt) Cause(part string) Cause {
	c := Cause{Member: Naming(d.Extra, part), Why: d.Why}
	if c.Why == "" {
		c.Why, c.Lines = "it is in no list of what costs nothing", Admits(d.Extra)
	}
	return c
}

// admits reports whether the policy admits what nobody knows: by its name, or as one of
// the scalars that no price of the operator's can lack.
func (t *Terms) admits(e call.Extra) bool {
	return t.Allow.Has(e.Kind, e.Name) || e.Scalar && t.Priced && t.Allow != nil && t.Allow.Scalars
}
