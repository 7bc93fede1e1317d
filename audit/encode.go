package audit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// MaxLineBytes bounds a line, its newline not counted. A decision with the most
// claims, marks, tool results and offered tools that the rules allow, all of the
// longest names, takes 59 KB.
const MaxLineBytes = 64 << 10

// maxCount is the largest JSON number in a line: 2^53 - 1, the last integer
// that every JSON parser reads exactly.
const maxCount = 1<<53 - 1

// ErrInvalid is wrapped by the error of a body that cannot be written: a
// number is negative or too large, or the line would be too long.
var ErrInvalid = errors.New("audit: invalid receipt")

// encoder appends fields as canonical JSON. It keeps the first error.
type encoder struct {
	dst []byte
	err error
}

func encodeRecord(dst []byte, r record) ([]byte, error) {
	e := encoder{dst: append(dst, '{')}
	r.visit(&e)
	return append(e.dst, '}'), e.err
}

func (e *encoder) name(name string) {
	if e.dst[len(e.dst)-1] != '{' {
		e.dst = append(e.dst, ',')
	}
	e.dst = append(e.dst, '"')
	e.dst = append(e.dst, name...)
	e.dst = append(e.dst, '"', ':')
}

func (e *encoder) fail(name, reason string, v int64) {
	if e.err == nil {
		e.err = fmt.Errorf("%w: %s is %d: %s", ErrInvalid, name, v, reason)
	}
}

func (e *encoder) text(name string, v *string) {
	e.name(name)
	e.dst = appendText(e.dst, *v)
}

func (e *encoder) optText(name string, v *string) {
	if *v != "" {
		e.text(name, v)
	}
}

func (e *encoder) count(name string, v *int64) {
	if *v < 0 || *v > maxCount {
		e.fail(name, "want 0 to 2^53-1", *v)
	}
	e.name(name)
	e.dst = strconv.AppendInt(e.dst, *v, 10)
}

func (e *encoder) optCount(name string, v *int64) {
	if *v != 0 {
		e.count(name, v)
	}
}

func (e *encoder) amount(name string, v *int64) {
	if *v < 0 {
		e.fail(name, "an amount is never negative", *v)
	}
	e.name(name)
	e.dst = append(e.dst, '"')
	e.dst = strconv.AppendInt(e.dst, *v, 10)
	e.dst = append(e.dst, '"')
}

func (e *encoder) optAmount(name string, v *int64) {
	if *v != 0 {
		e.amount(name, v)
	}
}

func (e *encoder) optFlag(name string, v *bool) {
	if *v {
		e.name(name)
		e.dst = append(e.dst, "true"...)
	}
}

func (e *encoder) optTexts(name string, v *[]string) {
	if len(*v) == 0 {
		return
	}
	e.name(name)
	e.dst = append(e.dst, '[')
	for i, s := range *v {
		if i > 0 {
			e.dst = append(e.dst, ',')
		}
		e.dst = appendText(e.dst, s)
	}
	e.dst = append(e.dst, ']')
}

func (e *encoder) optResults(name string, v *[]call.ToolResult) {
	if len(*v) == 0 {
		return
	}
	texts := make([]string, len(*v))
	for i, r := range *v {
		texts[i] = string(r.ID)
		if r.Tool != "" {
			texts[i] += " " + r.Tool
		}
	}
	e.optTexts(name, &texts)
}

func (e *encoder) optClaims(name string, v *[]Claim) {
	e.optList(name, len(*v), func(i int) record { return &(*v)[i] })
}

func (e *encoder) optLimits(name string, v *[]Limit) {
	e.optList(name, len(*v), func(i int) record { return &(*v)[i] })
}

func (e *encoder) optKinds(name string, v *call.Kinds) {
	var room [call.Units]string
	units := room[:0]
	for u := range v.All() {
		units = append(units, u.String())
	}
	e.optTexts(name, &units)
}

func (e *encoder) optLines(name string, v *[]call.Line) {
	e.optList(name, len(*v), func(i int) record { return (*line)(&(*v)[i]) })
}

// optList writes n objects.
func (e *encoder) optList(name string, n int, object func(int) record) {
	if n == 0 {
		return
	}
	e.name(name)
	e.dst = append(e.dst, '[')
	for i := range n {
		if i > 0 {
			e.dst = append(e.dst, ',')
		}
		e.dst = append(e.dst, '{')
		object(i).visit(e)
		e.dst = append(e.dst, '}')
	}
	e.dst = append(e.dst, ']')
}

// optObject takes the object back if none of its fields was written.
func (e *encoder) optObject(name string, r record) {
	before := len(e.dst)
	e.name(name)
	e.dst = append(e.dst, '{')
	empty := len(e.dst)
	r.visit(e)
	if len(e.dst) == empty {
		e.dst = e.dst[:before]
		return
	}
	e.dst = append(e.dst, '}')
}

// appendText appends a JSON string with the fewest escapes. Bytes that are
// not UTF-8 become U+FFFD, since no JSON string can hold them.
func appendText(dst []byte, s string) []byte {
	if isPlain(s) {
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"')
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	dst = append(dst, '"')
	plain := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[plain:i]...)
		dst = appendEscape(dst, s[i])
		plain = i + 1
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}

// isPlain reports whether a text is ASCII that needs no escape, as most are.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\t':
		return append(dst, '\\', 't')
	case '\n':
		return append(dst, '\\', 'n')
	case '\f':
		return append(dst, '\\', 'f')
	case '\r':
		return append(dst, '\\', 'r')
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
