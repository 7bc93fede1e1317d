package audit

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// decoder reads fields as encoder writes them and in no other form: since a
// line has one canonical spelling, whatever differs from it is an error. So
// duplicate and unknown names, spaces and needless escapes cannot pass. It
// keeps the first error and reads nothing after it.
type decoder struct {
	s     string
	pos   int
	err   error
	texts recall
}

// begin starts on another text.
func (d *decoder) begin(s string) { d.s, d.pos, d.err, d.texts.next = s, 0, nil, 0 }

// record reads one object that must fill all of s.
func (d *decoder) record(s string, r record) error {
	d.begin(s)
	d.object(r)
	if d.err == nil && d.pos != len(s) {
		d.fail("something follows the object")
	}
	return d.err
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("byte %d: %s", d.pos, fmt.Sprintf(format, args...))
	}
}

// next takes the byte c if it comes next.
func (d *decoder) next(c byte) bool {
	if d.err != nil || d.pos >= len(d.s) || d.s[d.pos] != c {
		return false
	}
	d.pos++
	return true
}

func (d *decoder) expect(c byte) {
	if !d.next(c) {
		d.fail("want %q", c)
	}
}

func (d *decoder) object(r record) {
	d.expect('{')
	r.visit(d)
	if !d.next('}') {
		d.fail("a field is unknown, misplaced, or present though empty")
	}
}

// has takes the field's name if it comes next.
func (d *decoder) has(name string) bool {
	if d.err != nil {
		return false
	}
	at := d.pos
	if at > 0 && d.s[at-1] != '{' {
		if at >= len(d.s) || d.s[at] != ',' {
			return false
		}
		at++
	}
	end := at + len(name) + len(`"":`)
	if end > len(d.s) || d.s[at] != '"' || d.s[at+1:end-2] != name || d.s[end-2:end] != `":` {
		return false
	}
	d.pos = end
	return true
}

// need is has for a field that must be there.
func (d *decoder) need(name string) bool {
	if d.has(name) {
		return true
	}
	d.fail("want the field %q", name)
	return false
}

func (d *decoder) text(name string, v *string) {
	if d.need(name) {
		*v = d.quoted()
	}
}

func (d *decoder) optText(name string, v *string) {
	if !d.has(name) {
		return
	}
	*v = d.quoted()
	if *v == "" {
		d.fail("%s is empty, so it must be left out", name)
	}
}

func (d *decoder) count(name string, v *int64) {
	if d.need(name) {
		*v = d.digits(maxCount)
	}
}

func (d *decoder) optCount(name string, v *int64) {
	if !d.has(name) {
		return
	}
	*v = d.digits(maxCount)
	if *v == 0 {
		d.fail("%s is zero, so it must be left out", name)
	}
}

func (d *decoder) amount(name string, v *int64) {
	if !d.need(name) {
		return
	}
	d.expect('"')
	*v = d.digits(math.MaxInt64)
	d.expect('"')
}

func (d *decoder) optAmount(name string, v *int64) {
	if !d.has(name) {
		return
	}
	d.expect('"')
	*v = d.digits(math.MaxInt64)
	d.expect('"')
	if *v == 0 {
		d.fail("%s is zero, so it must be left out", name)
	}
}

func (d *decoder) optFlag(name string, v *bool) {
	if !d.has(name) {
		return
	}
	if !strings.HasPrefix(d.s[d.pos:], "true") {
		d.fail("%s is not true, so it must be left out", name)
		return
	}
	d.pos += len("true")
	*v = true
}

func (d *decoder) optTexts(name string, v *[]string) {
	if !d.has(name) {
		return
	}
	d.expect('[')
	*v = append(*v, d.quoted())
	for d.next(',') {
		*v = append(*v, d.quoted())
	}
	d.expect(']')
}

func (d *decoder) optClaims(name string, v *[]Claim) {
	if !d.has(name) {
		return
	}
	d.expect('[')
	*v = make([]Claim, 0, max(1, d.texts.claims))
	for more := true; more && d.err == nil; more = d.next(',') {
		*v = append(*v, Claim{})
		d.object(&(*v)[len(*v)-1])
	}
	d.texts.claims = len(*v)
	d.expect(']')
}

func (d *decoder) optLimits(name string, v *[]Limit) {
	if !d.has(name) {
		return
	}
	d.expect('[')
	for more := true; more && d.err == nil; more = d.next(',') {
		*v = append(*v, Limit{})
		d.object(&(*v)[len(*v)-1])
	}
	d.expect(']')
}

func (d *decoder) optKinds(name string, v *call.Kinds) {
	var units []string
	d.optTexts(name, &units)
	for _, text := range units {
		unit, ok := call.ByName(text)
		if !ok || *v>>unit != 0 {
			d.fail("%s has %.40q, which is no unit, or not in its place", name, text)
			return
		}
		*v |= call.Of(unit)
	}
}

func (d *decoder) optLines(name string, v *[]call.Line) {
	if !d.has(name) {
		return
	}
	d.expect('[')
	for more := true; more && d.err == nil; more = d.next(',') {
		*v = append(*v, call.Line{})
		d.object((*line)(&(*v)[len(*v)-1]))
	}
	d.expect(']')
}

func (d *decoder) optResults(name string, v *[]call.ToolResult) {
	var texts []string
	d.optTexts(name, &texts)
	for _, text := range texts {
		id, tool, named := strings.Cut(text, " ")
		if named && tool == "" {
			d.fail("%s has an empty name of a tool, so it must be left out", name)
		}
		*v = append(*v, call.ToolResult{ID: call.Name(id), Tool: tool})
	}
}

func (d *decoder) optObject(name string, r record) {
	if !d.has(name) {
		return
	}
	empty := strings.HasPrefix(d.s[d.pos:], "{}")
	d.object(r)
	if empty {
		d.fail("%s is empty, so it must be left out", name)
	}
}

// digits reads an integer from 0 to most, without a leading zero.
func (d *decoder) digits(most int64) int64 {
	if d.err != nil {
		return 0
	}
	start, v := d.pos, int64(0)
	for ; d.pos < len(d.s) && isDigit(d.s[d.pos]); d.pos++ {
		digit := int64(d.s[d.pos] - '0')
		if v > (most-digit)/10 {
			d.fail("a number above %d", most)
			return 0
		}
		v = v*10 + digit
	}
	if d.pos == start {
		d.fail("want a number")
	}
	if d.pos > start+1 && d.s[start] == '0' {
		d.fail("a number with a leading zero")
	}
	return v
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// plain are the bytes that stand for themselves in a string: all of ASCII but
// control characters, quote and backslash.
var plain = func() (is [256]bool) {
	for c := ' '; c <= 0x7f; c++ {
		is[c] = c != '"' && c != '\\'
	}
	return is
}()

// quoted reads a string. Without escapes it shares the line's memory, or that
// of an earlier line that has the same string in its place.
func (d *decoder) quoted() string {
	d.expect('"')
	if d.err != nil {
		return ""
	}
	before := d.texts.slot()
	if n := len(*before); n > 0 && len(d.s) > d.pos+n && d.s[d.pos+n] == '"' && d.s[d.pos:d.pos+n] == *before {
		d.pos += n + 1
		return *before
	}
	start := d.pos
	for d.pos < len(d.s) && plain[d.s[d.pos]] {
		d.pos++
	}
	if d.next('"') {
		*before = d.s[start : d.pos-1]
		return *before
	}
	return d.unplain(start)
}

// unplain reads on where a string that began at start is more than ASCII.
func (d *decoder) unplain(start int) string {
	for ; d.pos < len(d.s); d.pos++ {
		c := d.s[d.pos]
		if c == '"' {
			d.pos++
			return d.valid(d.s[start : d.pos-1])
		}
		if c == '\\' {
			return d.escaped(start)
		}
		if c < ' ' {
			break
		}
	}
	d.fail("a string with a control character or without an end")
	return ""
}

func (d *decoder) valid(s string) string {
	if !utf8.ValidString(s) {
		d.fail("a string that is not UTF-8")
	}
	return s
}

// escaped reads on from the first backslash of a string that began at start.
func (d *decoder) escaped(start int) string {
	out := []byte(d.s[start:d.pos])
	for d.pos < len(d.s) && d.err == nil {
		c := d.s[d.pos]
		switch {
		case c == '"':
			d.pos++
			return d.valid(string(out))
		case c == '\\':
			out = append(out, d.escape())
		case c < ' ':
			d.fail("a control character in a string")
		default:
			d.pos++
			out = append(out, c)
		}
	}
	d.fail("a string without an end")
	return ""
}

// escape reads one escape sequence and accepts only the spelling that
// appendEscape gives it.
func (d *decoder) escape() byte {
	rest := d.s[d.pos:]
	for _, c := range escapedBytes {
		if strings.HasPrefix(rest, escapes[c]) {
			d.pos += len(escapes[c])
			return c
		}
	}
	d.fail("an escape that is needless or misspelt")
	return 0
}

// escapedBytes are the bytes that a canonical string escapes, and escapes how.
var escapedBytes, escapes = func() (list []byte, spelt ['\\' + 1]string) {
	for c := byte(0); c <= '\\'; c++ {
		if c < ' ' || c == '"' || c == '\\' {
			list = append(list, c)
			spelt[c] = string(appendEscape(nil, c))
		}
	}
	return list, spelt
}()
