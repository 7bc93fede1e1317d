package oxdeai

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDocumentBytes is the longest JSON text that Parse reads and that the encoders of this package write, in bytes
// (16 MiB).
const MaxDocumentBytes = 16 << 20

// Errors of Parse.
var (
	// ErrSyntax: the text is not one JSON value (RFC 8259), or starts with a byte order mark.
	ErrSyntax = errors.New("INVALID_JSON")
	// ErrTooLarge: the text is longer than MaxDocumentBytes.
	ErrTooLarge = errors.New("TOO_LARGE")
)

// Parse reads one JSON value. It refuses a byte order mark, bytes that are not UTF-8, half surrogate pairs, two equal
// names in one object, nesting beyond MaxDepth, a text beyond MaxDocumentBytes, and anything after the value. Numbers
// become the nearest IEEE double; one that is too large becomes infinite, which Canonical then refuses.
func Parse(text []byte) (Value, error) {
	if len(text) > MaxDocumentBytes {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(text), MaxDocumentBytes)
	}
	p := parser{text: text}
	p.space()
	v, err := p.value(MaxDepth)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.pos != len(text) {
		return nil, p.fail("text after the value")
	}
	return v, nil
}

type parser struct {
	text []byte
	pos  int
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrSyntax, what, p.pos)
}

func (p *parser) space() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, or 0 at the end. A zero byte is never legal here, so the two need not be told apart.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) value(depth int) (Value, error) {
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth - 1)
	case c == '[':
		return p.array(depth - 1)
	case c == '"':
		return p.str()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case c == 't':
		return true, p.word("true")
	case c == 'f':
		return false, p.word("false")
	case c == 'n':
		return nil, p.word("null")
	}
	return nil, p.fail("no JSON value")
}

func (p *parser) word(w string) error {
	if !bytes.HasPrefix(p.text[p.pos:], []byte(w)) {
		return p.fail("unknown word")
	}
	p.pos += len(w)
	return nil
}

func (p *parser) array(depth int) (Value, error) {
	if depth < 0 {
		return nil, ErrTooDeep
	}
	list := []Value{}
	for first := true; ; first = false {
		p.pos++ // the bracket or the comma
		p.space()
		if first && p.peek() == ']' {
			break
		}
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		p.space()
		if p.peek() == ']' {
			break
		}
		if p.peek() != ',' {
			return nil, p.fail("no comma or end of array")
		}
	}
	p.pos++
	return list, nil
}

func (p *parser) object(depth int) (Value, error) {
	if depth < 0 {
		return nil, ErrTooDeep
	}
	o := &Object{}
	var names nameSet
	for first := true; ; first = false {
		p.pos++ // the brace or the comma
		p.space()
		if first && p.peek() == '}' {
			break
		}
		m, err := p.member(depth)
		if err != nil {
			return nil, err
		}
		if names.has(o, m.Name) {
			return nil, fmt.Errorf("%w: %q", ErrDuplicateKey, m.Name)
		}
		o.Members = append(o.Members, m)
		p.space()
		if p.peek() == '}' {
			break
		}
		if p.peek() != ',' {
			return nil, p.fail("no comma or end of object")
		}
	}
	p.pos++
	return o, nil
}

func (p *parser) member(depth int) (Member, error) {
	if p.peek() != '"' {
		return Member{}, p.fail("no name")
	}
	name, err := p.str()
	if err != nil {
		return Member{}, err
	}
	p.space()
	if p.peek() != ':' {
		return Member{}, p.fail("no colon")
	}
	p.pos++
	p.space()
	v, err := p.value(depth)
	return Member{Name: name, Value: v}, err
}

// nameSet finds a repeated name. Small objects are searched; a large one gets a map, so that the time stays linear.
type nameSet map[string]struct{}

const smallObject = 16 // members

func (s *nameSet) has(o *Object, name string) bool {
	if len(o.Members) < smallObject {
		_, found := o.Get(name)
		return found
	}
	if *s == nil {
		*s = make(nameSet, 2*smallObject)
		for _, m := range o.Members {
			(*s)[m.Name] = struct{}{}
		}
	}
	_, found := (*s)[name]
	(*s)[name] = struct{}{}
	return found
}

func (p *parser) number() (Value, error) {
	start := p.pos
	if p.peek() == '-' {
		p.pos++
	}
	if p.peek() == '0' {
		p.pos++
	} else if !p.digits() {
		return nil, p.fail("no digit")
	}
	if p.peek() == '.' {
		p.pos++
		if !p.digits() {
			return nil, p.fail("no digit after the point")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		if !p.digits() {
			return nil, p.fail("no digit in the exponent")
		}
	}
	// The only error that is left is "out of range", which comes with infinity: the value that JSON parsers give.
	f, _ := strconv.ParseFloat(string(p.text[start:p.pos]), 64)
	return f, nil
}

func (p *parser) digits() bool {
	start := p.pos
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.pos++
	}
	return p.pos > start
}

// str reads a string. The common one, without escapes, is copied once.
func (p *parser) str() (string, error) {
	p.pos++ // the quote
	start := p.pos
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			raw := p.text[start:p.pos]
			p.pos++
			if !utf8.Valid(raw) {
				return "", ErrBadUTF8
			}
			return string(raw), nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", p.fail("control character in a string")
		}
		p.pos++
	}
	return "", p.fail("string without end")
}

func (p *parser) escaped(start int) (string, error) {
	out := append([]byte(nil), p.text[start:p.pos]...)
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		p.pos++
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return "", ErrBadUTF8
			}
			return string(out), nil
		case c < ' ':
			return "", p.fail("control character in a string")
		case c != '\\':
			out = append(out, c)
			continue
		}
		r, err := p.escape()
		if err != nil {
			return "", err
		}
		out = utf8.AppendRune(out, r)
	}
	return "", p.fail("string without end")
}

// escape reads what follows a backslash.
func (p *parser) escape() (rune, error) {
	c := p.peek()
	p.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return p.codePoint()
	}
	return 0, p.fail("unknown escape")
}

func (p *parser) codePoint() (rune, error) {
	high, err := p.fourHex()
	if err != nil || !utf16.IsSurrogate(high) {
		return high, err
	}
	if !bytes.HasPrefix(p.text[p.pos:], []byte(`\u`)) {
		return 0, fmt.Errorf("%w: half a surrogate pair at byte %d", ErrBadUTF8, p.pos)
	}
	p.pos += 2
	low, err := p.fourHex()
	if err != nil {
		return 0, err
	}
	r := utf16.DecodeRune(high, low)
	if r == utf8.RuneError {
		return 0, fmt.Errorf("%w: half a surrogate pair at byte %d", ErrBadUTF8, p.pos)
	}
	return r, nil
}

func (p *parser) fourHex() (rune, error) {
	if p.pos+4 > len(p.text) {
		return 0, p.fail("escape without end")
	}
	var r rune
	for _, c := range p.text[p.pos : p.pos+4] {
		d := hexValue(c)
		if d < 0 {
			return 0, p.fail("no hex digit")
		}
		r = r<<4 | d
	}
	p.pos += 4
	return r, nil
}

func hexValue(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}
