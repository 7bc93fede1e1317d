package openai

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Limits of what is noted of a request's extras.
const (
	// maxExtras is how many extras one request may have: more than all that any
	// server documents.
	maxExtras = 128
	// maxLeaves is how many of them one member may hold. One that holds more is noted as
	// a whole: it is a schema, or listed as a whole, or not at all.
	maxLeaves = 32
	// maxExtraBytes is how much is kept of the name of one, more than the longest
	// that is listed.
	maxExtraBytes = 160
)

// extras are what a request has that its API need not know, each once.
type extras struct {
	list   []call.Extra
	seen   map[call.Extra]bool
	nested []nested

	// Of the member that is being read:
	path  []byte // where reading is, cut at maxExtraBytes
	root  int    // how much of that is the member's own
	first int    // the first extra in it
	whole bool   // it is noted as a whole
}

// nested is what is known to cost, or goes nowhere, inside of what is admitted as a whole,
// such as a part of a type that the API does not have. Who admits the holder did not look
// into it.
type nested struct{ holder, inner call.Extra }

// holds notes what lies in a holder, each kind of it once. Files and audio are bounded by the context
// wherever they lie: who admits them in a chat means that.
func (r *Request) holds(holder, inner call.Extra) {
	n := nested{holder, inner}
	if inner.Kind == call.ExtraPart && (inner.Name == "file" || inner.Name == "input_audio") {
		r.load.needContext(strings.Clone(holder.Name))
		r.audioInput = true
	}
	switch {
	case slices.Contains(r.extras.nested, n):
	case len(r.extras.nested) == maxExtras:
		r.unbounded(UnboundedExtras)
	default:
		n.holder.Name, n.inner.Name = strings.Clone(holder.Name), strings.Clone(inner.Name)
		r.extras.nested = append(r.extras.nested, n)
	}
}

// examine notes the content parts and tools in a value that nobody reads which are known
// to cost. The holder is the member that the path leads to.
func (p *parser) examine(value []byte) {
	wire.EachMember(value, func(name, word string) {
		if !strings.EqualFold(name, "type") {
			return
		}
		word = strings.ToLower(word)
		for _, kind := range [...]call.ExtraKind{call.ExtraPart, call.ExtraTool} {
			if costly[kind][word] != "" || kind == call.ExtraPart && partTypes[word] && !textParts[word] {
				p.holds(call.Extra{Kind: call.ExtraMember, Name: wire.View(p.extras.path)}, call.Extra{Kind: kind, Name: word})
			}
		}
	})
}

// asWhole notes a part or a tool of another type in place of the extras in it, from one
// on. What goes nowhere is kept: who admits the type does not admit that.
func (p *parser) asWhole(from int, kind call.ExtraKind, name string) {
	holder := call.Extra{Kind: kind, Name: name}
	for _, e := range p.extras.list[from:] {
		if e.Kind == call.ExtraMember && forbidden(e.Name) != "" {
			p.holds(holder, e)
		}
	}
	p.forget(from)
	p.extra(kind, name, false)
}

// extra notes an extra. Of those beyond maxExtras only that they are too many.
func (r *Request) extra(kind call.ExtraKind, name string, scalar bool) {
	e := call.Extra{Kind: kind, Name: name, Scalar: scalar}
	if r.extras.seen[e] {
		return
	}
	if len(r.extras.list) == maxExtras {
		r.unbounded(UnboundedExtras)
		return
	}
	if r.extras.seen == nil {
		r.extras.seen = map[call.Extra]bool{}
	}
	e.Name = strings.Clone(name)
	r.extras.seen[e] = true
	r.extras.list = append(r.extras.list, e)
}

// forget takes back the extras from one on: what holds them is noted as a whole.
func (p *parser) forget(from int) {
	for _, e := range p.extras.list[from:] {
		delete(p.extras.seen, e)
	}
	p.extras.list = p.extras.list[:from]
}

// forgetFree takes back those that may be admitted with what holds them.
func (p *parser) forgetFree(from int) {
	held := slices.Clone(p.extras.list[from:])
	p.forget(from)
	for _, e := range held {
		if forbidden(e.Name) != "" {
			p.extra(e.Kind, e.Name, e.Scalar)
		}
	}
}

// enter makes a name the last of the path, and returns where it was cut before.
func (p *parser) enter(name string) (before int) {
	path := &p.extras.path
	before = len(*path)
	if before > 0 && before < maxExtraBytes {
		*path = append(*path, '.')
	}
	*path = append(*path, name[:min(len(name), maxExtraBytes-len(*path))]...)
	return before
}

// leaf notes the scalar that the path leads to. What is free everywhere is not worth it,
// and what goes nowhere is noted in any case.
func (p *parser) leaf(scalar bool) {
	x := &p.extras
	path := wire.View(x.path)
	if settled(path) || x.whole && forbidden(path) == "" {
		return
	}
	p.extra(call.ExtraMember, path, scalar)
	if !x.whole && len(x.list)-x.first > maxLeaves {
		p.forgetFree(x.first)
		p.extra(call.ExtraMember, string(x.path[:x.root])+".*", false)
		x.whole = true
	}
}

// note reads the value of a member that the API does not list, and notes each scalar in
// it by its path. null is as good as absent.
func (p *parser) note(place, name string) error {
	start := p.ValueStart()
	p.begin(place, name)
	err := p.leaves(true, func() error { return p.skipped(name) }, func(string) {})
	if err == nil {
		p.examine(p.Scanner.Body[start:p.Offset()])
	}
	return err
}

// scalar reads a value that should be a number, a boolean or a string; what lies in
// another is noted.
func (p *parser) scalar(place, name string) error {
	if kind := p.Peek(); kind == '{' || kind == '[' {
		return p.note(place, name)
	}
	return p.skipped(name)
}

// scalarAt is scalar at one place, as a level wants it.
func scalarAt(place string) wire.Reader[*parser] {
	return func(p *parser, name string) error { return p.scalar(place, name) }
}

// noted is note at one place, as a level wants it.
func noted(place string) wire.Reader[*parser] {
	return func(p *parser, name string) error { return p.note(place, name) }
}

// noting is note at one place.
func (p *parser) noting(place string) func(name string) error {
	return func(name string) error { return p.note(place, name) }
}

// unlisted notes a member of the body, and counts what a template may write of it. A
// number or a boolean cannot add to a prompt.
func (p *parser) unlisted(name string) error {
	start, kind := p.ValueStart(), p.Peek()
	err := p.note("", name)
	if kind == '{' || kind == '[' || kind == '"' {
		return p.measured(start, err)
	}
	return err
}

// unlistedText reads such a member of a message: each string in it is a text, and
// every name, number and bracket counts as overhead.
func (p *parser) unlistedText(place, name string) error {
	start := p.ValueStart()
	p.begin(place, name)
	err := p.leaves(true, func() error { return p.values(place, nil) }, func(name string) {
		p.load.rendered += int64(len(name)) + wire.MemberBytes
	})
	if err == nil {
		p.examine(p.Scanner.Body[start:p.Offset()])
	}
	return err
}

// begin makes the path that of a member at a place.
func (p *parser) begin(place, name string) {
	p.extras.path = append(p.extras.path[:0], place...)
	p.enter(name)
	p.extras.root, p.extras.first, p.extras.whole = len(p.extras.path), len(p.extras.list), false
}

// leaves notes the scalars of the value that comes next, which scalar reads, by their
// paths, and tells each name on the way. An empty list asks for nothing. whole says
// that the value is the whole member's.
func (p *parser) leaves(whole bool, scalar func() error, named func(string)) error {
	switch kind := p.Peek(); kind {
	case '[':
		return p.Array(listPlace, func() error { return p.leaves(false, scalar, named) })
	case '{':
		empty := true
		err := p.Object(listPlace, func(name string) error {
			empty = false
			named(name)
			before := p.enter(name)
			err := p.leaves(false, scalar, named)
			p.extras.path = p.extras.path[:before]
			return err
		})
		if empty {
			p.leaf(false)
		}
		return err
	default:
		if kind != 'n' {
			p.leaf(whole)
		}
		return scalar()
	}
}

// listPlace is where errors say that a value lies which nobody knows.
const listPlace = "a member that is not known"

// costly reads a member that is known to cost, or to hide what something costs, at
// some server. What asks for nothing is as good as absent.
func (p *parser) costly(name string) error {
	switch kind := p.Peek(); kind {
	case 'n', 'f':
		return p.skipped(name)
	case '0':
		at, err := p.Skip()
		if err == nil && string(p.Scanner.Body[at.Start:at.End]) != "0" {
			p.extra(call.ExtraMember, name, true)
		}
		return err
	}
	start, before := p.ValueStart(), len(p.extras.list)
	err := p.unlisted(name)
	if asks := idle[name]; err == nil && asks != nil && asks(wire.Parse(p.Scanner.Body[start:p.Offset()])) {
		p.forgetFree(before)
	}
	if never[name] == anothersInput && len(p.extras.list) > before { // whatever lies in it
		p.forget(before)
		p.extra(call.ExtraMember, name, false)
	}
	return err
}
