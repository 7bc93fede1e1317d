package wire

import (
	"io"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// Splice replaces a span of the body; an empty span inserts.
type Splice struct {
	At   Span
	Text string
}

// Edited is a body with the edit applied, to be read once. It shares the memory of
// the body it is made of, and only what was spliced in is its own.
type Edited struct {
	parts [][]byte // not read yet
	size  int64
}

// Size is the bytes of the whole body.
func (b *Edited) Size() int64 { return b.size }

// Read fills p as far as the body reaches, over as many parts as that takes, so that
// a body that fits is written at once.
func (b *Edited) Read(p []byte) (n int, err error) {
	for len(b.parts) > 0 && n < len(p) {
		taken := copy(p[n:], b.parts[0])
		n += taken
		if b.parts[0] = b.parts[0][taken:]; len(b.parts[0]) == 0 {
			b.parts = b.parts[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Whole reports whether it is in one piece, as where nothing was spliced in.
func (b *Edited) Whole() bool { return len(b.parts) <= 1 }

// Join returns what was not read yet in one piece, which is a copy only where
// something was spliced in. It shares the memory of the request's body otherwise.
func (b *Edited) Join() []byte {
	parts := b.parts
	b.parts = nil
	if len(parts) == 1 {
		return parts[0]
	}
	return slices.Concat(parts...)
}

func (b *Edited) add(part []byte) {
	if len(part) > 0 {
		b.parts = append(b.parts, part)
		b.size += int64(len(part))
	}
}

// Replace puts a text in the place of a span.
func Replace(at Span, text string) Splice { return Splice{at, text} }

// Insert puts a text before the byte at an offset.
func Insert(at int, text string) Splice { return Splice{Span{at, at}, text} }

// Members are those of a body's object, in order, all different.
type Members []Member

// Member is one member of an object.
type Member struct {
	Name  string // unescaped
	At    Span   // of the name, with its quotes
	Value Span
}

// Find returns the member of that name.
func (m Members) Find(name string) (Member, bool) {
	for _, member := range m {
		if member.Name == name {
			return member, true
		}
	}
	return Member{}, false
}

// Field returns the string at a path of the body that they are of: a member such as "user",
// or a member of one, such as "metadata.customer". ok is false if it is absent or no
// string.
func (m Members) Field(body []byte, path string) (value string, ok bool) {
	name, inner, nested := strings.Cut(path, ".")
	member, ok := m.Find(name)
	if !ok {
		return "", false
	}
	v := gjson.ParseBytes(body[member.Value.Start:member.Value.End])
	if nested {
		v = Get(v, inner)
	}
	return v.Str, v.Type == gjson.String
}

// Set replaces the value of a member, or inserts the member after the last one. There
// must be one.
func (m Members) Set(name, value string) Splice {
	if member, ok := m.Find(name); ok {
		return Replace(member.Value, value)
	}
	return Insert(m[len(m)-1].Value.End, `,"`+name+`":`+value)
}

// Drop takes members out, with the commas that are then too many. Names that no member has
// are passed over.
func (m Members) Drop(names ...string) []Splice {
	at, gone := make([]Span, len(m)), []int(nil)
	for i, member := range m {
		at[i] = Span{member.At.Start, member.Value.End}
		if slices.Contains(names, member.Name) {
			gone = append(gone, i)
		}
	}
	return Drop(at, gone)
}

// Drop takes entries out of a list or an object, with the commas that are then too many. at
// are the places of all its entries, in order, and gone the numbers of those to take out,
// in order.
func Drop(at []Span, gone []int) (splices []Splice) {
	for len(gone) > 0 {
		n := 1 // in a row
		for n < len(gone) && gone[n] == gone[0]+n {
			n++
		}
		first, last := gone[0], gone[n-1]
		out := Span{at[first].Start, at[last].End}
		switch {
		case first > 0:
			out.Start = at[first-1].End
		case last+1 < len(at):
			out.End = at[last+1].Start
		}
		splices, gone = append(splices, Splice{At: out}), gone[n:]
	}
	return splices
}

// Apply makes the splices, in the order of the body. Insertions at one place
// keep their order, after a replacement that ends there.
func Apply(body []byte, splices []Splice) *Edited {
	slices.SortStableFunc(splices, func(a, b Splice) int {
		if a.At.Start != b.At.Start {
			return a.At.Start - b.At.Start
		}
		return a.At.End - b.At.End
	})
	out := &Edited{parts: make([][]byte, 0, 2*len(splices)+1)}
	from := 0
	for _, s := range splices {
		out.add(body[from:s.At.Start])
		out.add(BytesOf(s.Text))
		from = s.At.End
	}
	out.add(body[from:])
	return out
}
