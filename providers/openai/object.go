package openai

import (
	"slices"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// The members of a response object that are looked at.
const (
	captureModel = iota
	captureError
	captures
	memberUsage  = captures
	memberOutput = captures + 1
	none         = -1 // another member
)

// memberNames are their names. What choices hold is output; so is what an
// embeddings response has as data.
var memberNames = [...]string{"model", "error", "usage", "choices"}

const embeddingsOutput = "data"

// MaxCaptureBytes bounds each of usage, model and error in a JSON response. A longer
// one cannot be read.
const MaxCaptureBytes = 64 << 10

// maxUsages bounds the usages of one response: names can be repeated.
const maxUsages = 4

// objectScan follows a JSON document of any size byte by byte and keeps only the
// few members above, and whether there is output, so that a response of many
// megabytes costs no memory. Of a list of objects it looks at the members of each.
type objectScan struct {
	numbers bool // of data are output

	values   [captures][]byte
	usages   [][]byte
	overflow bool // a usage was too long, or one too many
	text     bool // there is output
	filtered bool // something says that a content filter was at work
	list     bool // it is a list

	depth   int
	base    int    // the depth of the objects whose members are looked at, less one
	inside  bool   // a string
	escaped bool   // the next byte of the string is
	ended   bool   // a string was: a name, if a colon follows
	word    []byte // how the string begins, as it is written, cut at maxWordBytes
	labels  int    // the depth of an object whose member at hand is no text, or 0
	member  int    // the current one, or none
	value   []byte // of the member being captured
	odd     bool   // the value is too long
	begun   bool
	closed  bool
	plain   bool // it is no JSON object or list
	broken  bool
}

// maxWordBytes is enough to tell the names and values that matter, of up to 32
// letters, from all others, also where each letter is an escape.
const maxWordBytes = 32 * wire.EscapeBytes

// complete reports whether the document was closed and nothing was odd about it.
func (o *objectScan) complete() bool { return o.closed && !o.broken && !o.plain }

// open reports whether more of the document must follow.
func (o *objectScan) open() bool { return o.begun && (o.depth > 0 || o.inside) }

// end takes in the value that the document broke off in. It may be output, a
// filter's code, or usage; of a name it cannot be told that it is none.
func (o *objectScan) end() {
	if !o.open() {
		return
	}
	if o.inside || o.ended {
		o.stringValue()
	}
	if o.member == memberUsage || o.member == captureError {
		o.endMember()
	}
}

func (o *objectScan) feed(b []byte) {
	start := 0 // of what this chunk adds to the value being captured
	for i := 0; i < len(b) && !o.plain; i++ {
		if o.inside {
			i = o.skipString(b, i)
			continue
		}
		c := b[i]
		if wire.IsBlank(c) {
			continue
		}
		if o.ended && c != ':' {
			o.stringValue()
		}
		switch c {
		case '"':
			o.beginString()
		case '{', '[':
			o.descend(c)
		case ':':
			if o.name() {
				start = i + 1
			}
		case ',', '}', ']':
			if o.depth == o.base+1 {
				o.keep(b[min(start, i):i])
			}
			o.leave(c)
		default:
			o.scalar(c)
		}
		o.ended = false
	}
	o.keep(b[min(start, len(b)):])
}

// beginString is at an opening quote. Before the document there is none.
func (o *objectScan) beginString() {
	if o.depth == 0 {
		o.noJSON()
		return
	}
	o.inside, o.word = true, o.word[:0]
}

// noJSON is at a byte that stands beside the document, or in place of it.
func (o *objectScan) noJSON() {
	o.plain = !o.begun
	o.broken = true
}

// scalar is at a byte of a number or a literal, or of a byte order mark.
func (o *objectScan) scalar(c byte) {
	if o.depth == 0 && (o.begun || c < 0xbb) {
		o.noJSON()
	}
	if o.numbers && o.member == memberOutput && '0' <= c && c <= '9' {
		o.text = true
	}
}

// skipString moves to the end of the string, or of the chunk, and returns the
// last index it has read.
func (o *objectScan) skipString(b []byte, i int) int {
	from := i
	for ; i < len(b); i++ {
		switch {
		case o.escaped:
			o.escaped = false
		case b[i] == '\\':
			o.escaped = true
		case b[i] == '"':
			o.inside, o.ended = false, true
			o.addWord(b[from:i])
			return i
		}
	}
	o.addWord(b[from:])
	return i
}

func (o *objectScan) addWord(b []byte) {
	if len(o.word) < maxWordBytes {
		o.word = append(o.word, b[:min(len(b), maxWordBytes-len(o.word))]...)
	}
}

// stringValue looks at a string that was no name.
func (o *objectScan) stringValue() {
	if o.member == memberOutput && len(o.word) > 0 && o.labels == 0 {
		o.text = true
	}
	o.filtered = o.filtered || slices.Contains(filterCodes, wire.Unescaped(o.word))
}

func (o *objectScan) descend(c byte) {
	if o.depth == 0 {
		o.broken = o.broken || o.begun
		o.begun = true
		o.list = c == '['
		o.base = 0
		if o.list {
			o.base = 1
		}
		o.member = none
	}
	o.depth++
}

// name is at the colon behind a name. It reports whether the value is captured.
func (o *objectScan) name() bool {
	name := wire.Unescaped(o.word)
	if o.depth != o.base+1 || !o.ended {
		if o.labels == 0 && labels[name] {
			o.labels = o.depth
		}
		return false
	}
	o.member, o.labels = slices.Index(memberNames[:], name), 0
	if o.numbers && name == embeddingsOutput {
		o.member = memberOutput
	}
	o.value, o.odd = o.value[:0], false
	return o.captures()
}

// captures reports whether the current member is one that is kept.
func (o *objectScan) captures() bool { return o.member >= 0 && o.member <= memberUsage }

// leave handles a comma or a closing bracket.
func (o *objectScan) leave(c byte) {
	if o.depth <= o.labels {
		o.labels = 0
	}
	if o.depth == o.base+1 {
		o.endMember()
	}
	if c == ',' {
		return
	}
	o.depth--
	switch {
	case o.depth == 0:
		o.closed = true
	case o.depth < 0:
		o.depth, o.broken = 0, true
	}
}

// endMember takes the value that was captured. A usage is kept beside others of
// that name, of anything else the last counts.
func (o *objectScan) endMember() {
	switch {
	case !o.captures():
	case o.member == memberUsage && (o.odd || len(o.usages) == maxUsages):
		o.overflow = true
	case o.member == memberUsage:
		o.usages = append(o.usages, slices.Clone(o.value))
	case o.odd:
		o.values[o.member] = nil
	default:
		o.values[o.member] = slices.Clone(o.value)
	}
	o.member = none
}

// keep adds bytes to the captured value, or drops it where it grows too long.
func (o *objectScan) keep(b []byte) {
	if !o.captures() || o.depth == 0 || o.odd {
		return
	}
	if o.odd = len(o.value)+len(b) > MaxCaptureBytes; !o.odd {
		o.value = append(o.value, b...)
	}
}
