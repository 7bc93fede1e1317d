package gemini

import "github.com/aegis-proxy/aegis-proxy/providers/wire"

// array cuts a stream that is a JSON array into its elements, and has each read as the payload of an event is. It
// keeps one element at a time, of wire.MaxEventBytes at most; of a longer one only its size is noted.
type array struct {
	found *findings

	element []byte
	size    int // of the element
	depth   int // of brackets: 1 between elements
	quoted  bool
	escaped bool
	closed  bool
	broken  bool // it is no array of objects, or something stands behind it
}

// feed takes the next bytes.
func (a *array) feed(chunk []byte) {
	for _, c := range chunk {
		switch {
		case a.depth > 1:
			a.inside(c)
		case wire.IsBlank(c):
		case a.closed:
			a.broken = true
		case a.depth == 0:
			a.depth, a.broken = 1, a.broken || c != '['
		case c == '{':
			a.depth, a.size, a.element = 2, 0, a.element[:0]
			a.keep(c)
		case c == ']':
			a.closed = true
		case c != ',':
			a.broken = true
		}
	}
}

// inside takes a byte of an element.
func (a *array) inside(c byte) {
	a.keep(c)
	switch {
	case a.escaped:
		a.escaped = false
	case a.quoted && c == '\\':
		a.escaped = true
	case c == '"':
		a.quoted = !a.quoted
	case a.quoted:
	case c == '{' || c == '[':
		a.depth++
	case c == '}' || c == ']':
		if a.depth--; a.depth == 1 {
			a.end()
		}
	}
}

func (a *array) keep(c byte) {
	if a.size++; a.size <= wire.MaxEventBytes {
		a.element = append(a.element, c)
	}
}

// end is behind the last byte of an element, or where the array breaks off in one.
func (a *array) end() {
	if a.size > wire.MaxEventBytes || a.depth > 1 {
		a.found.Unread(a.size)
		return
	}
	a.found.Event(a.element)
}

// close takes in the end of the response.
func (a *array) close() {
	if a.depth > 1 {
		a.end()
	}
}

// whole reports whether the array was closed and nothing was odd about it.
func (a *array) whole() bool { return a.closed && !a.broken }
