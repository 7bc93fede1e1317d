package wire

import "slices"

// MaxValueBytes bounds a value that a Document keeps. A longer one cannot be read.
const MaxValueBytes = 64 << 10

// maxKept bounds how many values of one path are kept: names can be repeated.
const maxKept = 4

// Document follows a JSON document of any size byte by byte and keeps only the values
// that it watches for, so that a response of many megabytes costs no memory. It is not
// safe for concurrent use.
type Document struct {
	watch  *Watch
	kept   []Kept
	output bool
	noted  bool

	nodes   [maxPath + 1]*node // of the open objects, by depth; those below have none
	member  *node              // of the innermost object's member at hand
	active  *node              // a member that is watched, and is being read
	level   int                // the depth of the object that it is in
	depth   int
	base    int    // the depth of the objects where paths begin, less one
	inside  bool   // a string
	escaped bool   // the next byte of the string is
	ended   bool   // a string was: a name, if a colon follows
	word    []byte // how the string begins, as it is written, cut at maxWordBytes
	labels  int    // the depth of an object whose member at hand is no text, or 0
	store   []byte // of values that are kept, one behind the other
	from    int    // where the one at hand begins
	tooLong bool
	begun   bool
	closed  bool
	plain   bool // it is no JSON object or list
	broken  bool
	list    bool
}

// Kept are the values of one path.
type Kept struct {
	Values  [][]byte // as they came, of the first ones; a nil one was too long
	Dropped bool     // one of them was too long, or one too many
	Cut     bool     // the document broke off in the last one

	room [1][]byte // of Values: there is seldom another
}

// Last is the last value, nil without one.
func (k Kept) Last() []byte {
	if len(k.Values) == 0 {
		return nil
	}
	return k.Values[len(k.Values)-1]
}

// Memory is taken in pieces that are enough for what most answers have, in bytes: for the
// beginnings of strings, and for all values that are kept.
const (
	wordBytes  = 64
	storeBytes = 512
)

// maxWordBytes is enough to tell the names and values that matter, of up to 32
// letters, from all others, also where each letter is an escape.
const maxWordBytes = 32 * EscapeBytes

// NewDocument returns a document of which nothing has come yet.
func NewDocument(w *Watch) Document {
	return Document{watch: w, kept: make([]Kept, len(w.kept))}
}

// Kept returns the values of a path of the watch.
func (d *Document) Kept(path string) Kept { return d.kept[d.watch.kept[path]] }

// Output reports whether there is output.
func (d *Document) Output() bool { return d.output }

// Noted reports whether one of the words was there.
func (d *Document) Noted() bool { return d.noted }

// List reports whether the document is a list.
func (d *Document) List() bool { return d.list }

// Complete reports whether the document was closed and nothing was odd about it.
func (d *Document) Complete() bool { return d.closed && !d.broken && !d.plain }

// Open reports whether more of the document must follow.
func (d *Document) Open() bool { return d.begun && (d.depth > 0 || d.inside) }

// End takes in the value that the document broke off in. It may be output, a word, or
// one that is kept; of a name it cannot be told that it is none.
func (d *Document) End() {
	if !d.Open() {
		return
	}
	if d.inside || d.ended {
		d.stringValue()
	}
	if d.keeps() {
		d.kept[d.active.slot].Cut = true
	}
	d.endMember()
}

// Feed takes the next bytes.
func (d *Document) Feed(b []byte) {
	start := 0 // of what this chunk adds to the value being captured
	for i := 0; i < len(b) && !d.plain; i++ {
		if d.inside {
			i = d.skipString(b, i)
			continue
		}
		c := b[i]
		if IsBlank(c) {
			continue
		}
		if d.ended && c != ':' {
			d.stringValue()
		}
		switch c {
		case '"':
			d.beginString()
		case '{', '[':
			d.descend(c)
		case ':':
			if d.name() {
				start = i + 1
			}
		case ',', '}', ']':
			if d.depth == d.level {
				d.keep(b[min(start, i):i])
			}
			d.leave(c)
		default:
			d.scalar(c)
		}
		d.ended = false
	}
	d.keep(b[min(start, len(b)):])
}

// beginString is at an opening quote. Before the document there is none.
func (d *Document) beginString() {
	if d.depth == 0 {
		d.noJSON()
		return
	}
	if d.word == nil {
		d.word = make([]byte, 0, wordBytes)
	}
	d.inside, d.word = true, d.word[:0]
}

// noJSON is at a byte that stands beside the document, or in place of it.
func (d *Document) noJSON() {
	d.plain = !d.begun
	d.broken = true
}

// scalar is at a byte of a number or a literal, or of a byte order mark.
func (d *Document) scalar(c byte) {
	if d.depth == 0 && (d.begun || c < 0xbb) {
		d.noJSON()
	}
	if d.active != nil && d.active.numbers && '0' <= c && c <= '9' {
		d.output = true
	}
}

// skipString moves to the end of the string, or of the chunk, and returns the
// last index it has read.
func (d *Document) skipString(b []byte, i int) int {
	from := i
	if d.escaped {
		i++
	}
	end := quoteFrom(b, i)
	d.escaped = end > len(b)
	if end < len(b) {
		d.inside, d.ended = false, true
	}
	d.addWord(b[from:min(end, len(b))])
	return end
}

func (d *Document) addWord(b []byte) {
	if len(d.word) < maxWordBytes {
		d.word = append(d.word, b[:min(len(b), maxWordBytes-len(d.word))]...)
	}
}

// stringValue looks at a string that was no name.
func (d *Document) stringValue() {
	if d.active != nil && d.active.output && len(d.word) > 0 && d.labels == 0 {
		d.output = true
	}
	d.noted = d.noted || slices.Contains(d.watch.words, Unescaped(d.word))
}

// descend is at an opening bracket.
func (d *Document) descend(c byte) {
	if d.depth == 0 {
		d.broken = d.broken || d.begun
		d.begun = true
		d.list, d.base = c == '[', 0
		if d.list {
			d.base = 1
		}
		d.member, d.active = nil, nil
	}
	d.depth++
	at := d.depth - d.base
	switch {
	case c == '[' || at > maxPath:
		d.member = nil
	case at == 1:
		d.member = d.watch.root
	}
	if 0 <= at && at <= maxPath {
		d.nodes[at] = d.member
	}
}

// name is at the colon behind a name. It reports whether the value is kept.
func (d *Document) name() bool {
	name := Unescaped(d.word)
	if d.active != nil && d.depth > d.level || !d.ended {
		if d.labels == 0 && d.active != nil && d.active.output && d.watch.labels[name] {
			d.labels = d.depth
		}
		return false
	}
	d.member, d.active, d.level, d.labels = d.child(name), nil, d.depth, 0
	if d.member != nil && d.member.ends() {
		d.active = d.member
	}
	if !d.keeps() {
		return false
	}
	if cap(d.store)-len(d.store) < wordBytes {
		d.store = make([]byte, 0, storeBytes) // the values before stay where they are
	}
	d.from, d.tooLong = len(d.store), false
	return true
}

// child is the node of a member of the innermost object.
func (d *Document) child(name string) *node {
	at := d.depth - d.base
	if at < 1 || at > maxPath || d.nodes[at] == nil {
		return nil
	}
	return d.nodes[at].member(name)
}

// keeps reports whether the value at hand is kept.
func (d *Document) keeps() bool { return d.active != nil && d.active.keeps }

// leave is at a comma or a closing bracket.
func (d *Document) leave(c byte) {
	if d.depth <= d.labels {
		d.labels = 0
	}
	if d.depth == d.level {
		d.endMember()
	}
	if c == ',' {
		return
	}
	d.depth--
	switch {
	case d.depth == 0:
		d.closed = true
	case d.depth < 0:
		d.depth, d.broken = 0, true
	}
}

// endMember takes the value that was kept. Beyond maxKept the last goes.
func (d *Document) endMember() {
	if d.keeps() {
		k := &d.kept[d.active.slot]
		value := slices.Clip(d.store[d.from:])
		if d.tooLong {
			value, k.Dropped = nil, true
		}
		if k.Values == nil {
			k.Values = k.room[:0]
		}
		if len(k.Values) == maxKept {
			k.Values, k.Dropped = k.Values[:maxKept-1], true
		}
		k.Values = append(k.Values, value)
	}
	d.active = nil
}

// keep adds bytes to the value that is kept, or drops it where it grows too long.
func (d *Document) keep(b []byte) {
	if !d.keeps() || d.depth == 0 || d.tooLong {
		return
	}
	if d.tooLong = len(d.store)-d.from+len(b) > MaxValueBytes; d.tooLong {
		d.store = d.store[:d.from]
		return
	}
	d.store = append(d.store, b...)
}
