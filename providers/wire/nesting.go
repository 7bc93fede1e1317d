package wire

import "bytes"

// nesting follows the JSON in the data lines of an event, to tell where it ends.
type nesting struct {
	begun  bool
	depth  int
	inside bool // a string
}

// closes takes the next line and reports whether it ends the event's payload:
// an object's last brace is in it, or the payload is no object. An escape does not
// reach behind the line.
func (n *nesting) closes(line []byte) bool {
	for i := 0; i < len(line); i++ {
		if n.inside {
			i = quoteFrom(line, i)
			n.inside = i >= len(line)
			continue
		}
		switch line[i] {
		case '"':
			n.inside = n.begun
		case '{':
			n.begun = true
			n.depth++
		case '[':
			if !n.begun {
				return true
			}
			n.depth++
		case '}', ']':
			n.depth--
		default:
			if !n.begun && !IsBlank(line[i]) {
				return true
			}
		}
	}
	return n.depth <= 0
}

// MemberSpan widens the span of a member by the comma that goes with it.
func MemberSpan(object []byte, start, end int) Span {
	const blank = " \t\r\n"
	rest := bytes.TrimLeft(object[end:], blank)
	if len(rest) > 0 && rest[0] == ',' {
		return Span{start, len(object) - len(bytes.TrimLeft(rest[1:], blank))}
	}
	before := bytes.TrimRight(object[:start], blank)
	if n := len(before); n > 0 && before[n-1] == ',' {
		return Span{n - 1, end}
	}
	return Span{start, end}
}
