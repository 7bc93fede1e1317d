package wire

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math/bits"

	"github.com/tidwall/gjson"
)

// Walk steps through JSON once, from value to value: stream events are small and
// many, and this is all that the meter needs of most of them. It takes the JSON
// to be well formed but for its end, which may be cut off: a value without an end
// reaches to the end of the text.
type Walk struct {
	Text []byte
	At   int
}

// Members calls f with each name of the object that comes next, without its
// quotes. f may take the value; what it leaves is skipped. Of anything else than
// an object, nothing is taken. It reports whether the object is there and closed.
func (w *Walk) Members(f func(name Span)) (closed bool) {
	return w.take('{') && w.More(f)
}

// More goes on with members, from the next name on.
func (w *Walk) More(f func(name Span)) (closed bool) {
	for w.Next() == '"' {
		name := w.Value()
		if !w.take(':') {
			return false
		}
		w.offer(func() { f(Span{name.Start + 1, name.End - 1}) })
		if !w.take(',') {
			break
		}
	}
	return w.take('}')
}

// Elements calls f before each element of the array that comes next. f may take
// it; what it leaves is skipped. Of anything else than an array, nothing is taken.
// It reports whether the array is there and closed.
func (w *Walk) Elements(f func()) (closed bool) {
	if !w.take('[') {
		return false
	}
	for c := w.Next(); c != ']' && c != 0; c = w.Next() {
		if !w.offer(f) || !w.take(',') {
			break
		}
	}
	return w.take(']')
}

// offer lets f take the value that comes next, and skips it if f has left it. The
// blanks before it are neither's: f may look past them and leave the value all the
// same. It reports whether there was anything to take.
func (w *Walk) offer(f func()) bool {
	w.Next()
	start := w.At
	f()
	if w.At == start {
		w.Value()
	}
	return w.At > start
}

// Next is the byte that comes next after blanks; 0 at the end of the text.
func (w *Walk) Next() byte {
	for w.At < len(w.Text) && IsBlank(w.Text[w.At]) {
		w.At++
	}
	if w.At == len(w.Text) {
		return 0
	}
	return w.Text[w.At]
}

// take takes the byte c, if it comes next after blanks.
func (w *Walk) take(c byte) bool {
	if w.Next() != c {
		return false
	}
	w.At++
	return true
}

// IsBlank reports whether c is white space in JSON.
func IsBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// Value takes the value that comes next; an empty span if there is none.
func (w *Walk) Value() Span {
	c := w.Next()
	start := w.At
	switch c {
	case 0:
	case '"':
		w.At = stringEnd(w.Text, start)
	case '{', '[':
		w.At = nestedEnd(w.Text, start)
	default:
		w.At = scalarEnd(w.Text, start)
	}
	return Span{start, w.At}
}

// Bytes takes the value that comes next.
func (w *Walk) Bytes() []byte {
	value := w.Value()
	return w.Text[value.Start:value.End]
}

// stringEnd is where the string ends that begins at start.
func stringEnd(text []byte, start int) int { return min(quoteFrom(text, start+1)+1, len(text)) }

// Eight bytes of one value, by which eight are compared at a time.
const (
	each      = 0x0101010101010101
	highBits  = 0x80 * each
	quotes    = '"' * each
	backslash = '\\' * each
)

// quoteFrom is where the quote is that ends a string, from a byte inside it on. Where the
// text ends before it that is the text's length, or one more if the string's next byte is
// escaped.
func quoteFrom(text []byte, at int) int {
	for at+8 <= len(text) {
		word := binary.LittleEndian.Uint64(text[at:])
		quote, escape := word^quotes, word^backslash
		// The lowest high bit that is set is of the first byte that is 0 in either.
		hits := ((quote-each)&^quote | (escape-each)&^escape) & highBits
		if hits == 0 {
			at += 8
			continue
		}
		at += bits.TrailingZeros64(hits) / 8
		if text[at] == '"' {
			return at
		}
		at += 2
	}
	for ; at < len(text); at++ {
		switch text[at] {
		case '"':
			return at
		case '\\':
			at++
		}
	}
	return at
}

// nestedEnd is where the object or array ends that begins at start.
func nestedEnd(text []byte, start int) int {
	depth := 0
	for at := start; at < len(text); at++ {
		switch text[at] {
		case '"':
			at = stringEnd(text, at) - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return at + 1
			}
		}
	}
	return len(text)
}

// scalarEnd is where a number or a literal ends.
func scalarEnd(text []byte, start int) int {
	for at := start; at < len(text); at++ {
		switch text[at] {
		case ',', '}', ']', ':', ' ', '\t', '\r', '\n':
			return at
		}
	}
	return len(text)
}

// NameOf is a member's name, unescaped.
func (w *Walk) NameOf(name Span) string { return Unescaped(w.Text[name.Start:name.End]) }

// StringBytes takes the value that comes next, and returns its length in bytes,
// unescaped, if it is a string, else 0.
func (w *Walk) StringBytes() int64 {
	value := w.Bytes()
	if len(value) == 0 || value[0] != '"' {
		return 0
	}
	return int64(len(Unescaped(inside(value))))
}

// inside is what stands between the quotes of a string, the second of which may be
// cut off.
func inside(quoted []byte) []byte {
	end := len(quoted)
	if n := len(quoted); n >= 2 && quoted[n-1] == '"' {
		end--
	}
	return quoted[1:end]
}

// Unescaped is what the inside of a string stands for: names and values are compared
// so, since each of their letters may be written as an escape.
func Unescaped(inside []byte) string {
	if bytes.IndexByte(inside, '\\') < 0 {
		return View(inside)
	}
	return gjson.Parse(`"` + string(inside) + `"`).Str
}

// EachString yields what the strings in JSON text stand for, names among them,
// however deep they lie.
func EachString(text []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for at := 0; at < len(text); at++ {
			if text[at] != '"' {
				continue
			}
			end := stringEnd(text, at)
			if !yield(Unescaped(inside(text[at:end]))) {
				return
			}
			at = end - 1
		}
	}
}

// EachMember calls f with the name of each member of the objects in a value, at any
// depth, and with what it is if it is a string, else "". It looks at each byte once.
func EachMember(value []byte, f func(name, text string)) {
	(&Walk{Text: value}).each(f)
}

func (w *Walk) each(f func(name, text string)) {
	switch w.Next() {
	case '{':
		w.Members(func(at Span) {
			name, text := w.NameOf(at), ""
			if w.Next() == '"' {
				text = Unescaped(inside(w.Bytes()))
			} else {
				w.each(f)
			}
			f(name, text)
		})
	case '[':
		w.Elements(func() { w.each(f) })
	default:
		w.Value()
	}
}
