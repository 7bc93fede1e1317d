package providers

import (
	"bytes"
	"iter"

	"github.com/tidwall/gjson"
)

// walk steps through JSON once, from value to value: stream events are small and
// many, and this is all that the meter needs of most of them. It takes the JSON
// to be well formed but for its end, which may be cut off: a value without an end
// reaches to the end of the text.
type walk struct {
	text []byte
	at   int
}

// members calls f with each name of the object that comes next, without its
// quotes. f may take the value; what it leaves is skipped. Of anything else than
// an object, nothing is taken. It reports whether the object is there and closed.
func (w *walk) members(f func(name span)) (closed bool) {
	return w.take('{') && w.more(f)
}

// more goes on with members, from the next name on.
func (w *walk) more(f func(name span)) (closed bool) {
	for w.next() == '"' {
		name := w.value()
		if !w.take(':') {
			return false
		}
		w.offer(func() { f(span{name.start + 1, name.end - 1}) })
		if !w.take(',') {
			break
		}
	}
	return w.take('}')
}

// elements calls f before each element of the array that comes next. f may take
// it; what it leaves is skipped. Of anything else than an array, nothing is taken.
// It reports whether the array is there and closed.
func (w *walk) elements(f func()) (closed bool) {
	if !w.take('[') {
		return false
	}
	for c := w.next(); c != ']' && c != 0; c = w.next() {
		if !w.offer(f) || !w.take(',') {
			break
		}
	}
	return w.take(']')
}

// offer lets f take the value that comes next, and skips it if f has left it. The
// blanks before it are neither's: f may look past them and leave the value all the
// same. It reports whether there was anything to take.
func (w *walk) offer(f func()) bool {
	w.next()
	start := w.at
	f()
	if w.at == start {
		w.value()
	}
	return w.at > start
}

// next is the byte that comes next after blanks; 0 at the end of the text.
func (w *walk) next() byte {
	for w.at < len(w.text) && isBlank(w.text[w.at]) {
		w.at++
	}
	if w.at == len(w.text) {
		return 0
	}
	return w.text[w.at]
}

// take takes the byte c, if it comes next after blanks.
func (w *walk) take(c byte) bool {
	if w.next() != c {
		return false
	}
	w.at++
	return true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// value takes the value that comes next; an empty span if there is none.
func (w *walk) value() span {
	c := w.next()
	start := w.at
	switch c {
	case 0:
	case '"':
		w.at = stringEnd(w.text, start)
	case '{', '[':
		w.at = nestedEnd(w.text, start)
	default:
		w.at = scalarEnd(w.text, start)
	}
	return span{start, w.at}
}

// bytes takes the value that comes next.
func (w *walk) bytes() []byte {
	value := w.value()
	return w.text[value.start:value.end]
}

// stringEnd is where the string ends that begins at start. Most are so short that
// a search for the quote would not pay.
func stringEnd(text []byte, start int) int {
	for at := start + 1; at < len(text); at++ {
		switch text[at] {
		case '"':
			return at + 1
		case '\\':
			at++
		}
	}
	return len(text)
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

// nameOf is a member's name, unescaped.
func (w *walk) nameOf(name span) string { return unescaped(w.text[name.start:name.end]) }

// stringBytes takes the value that comes next, and returns its length in bytes,
// unescaped, if it is a string, else 0.
func (w *walk) stringBytes() int64 {
	value := w.bytes()
	if len(value) == 0 || value[0] != '"' {
		return 0
	}
	return int64(len(unescaped(inside(value))))
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

// unescaped is what the inside of a string stands for: names and values are compared
// so, since each of their letters may be written as an escape.
func unescaped(inside []byte) string {
	if bytes.IndexByte(inside, '\\') < 0 {
		return view(inside)
	}
	return gjson.Parse(`"` + string(inside) + `"`).Str
}

// eachString yields what the strings in JSON text stand for, names among them,
// however deep they lie.
func eachString(text []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for at := 0; at < len(text); at++ {
			if text[at] != '"' {
				continue
			}
			end := stringEnd(text, at)
			if !yield(unescaped(inside(text[at:end]))) {
				return
			}
			at = end - 1
		}
	}
}
