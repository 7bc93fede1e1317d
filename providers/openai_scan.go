package providers

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a request body. A body beyond one is refused with a ParseError.
const (
	// MaxDepth is how deep objects and arrays may nest. Strict function schemas
	// may nest 10 levels of properties, two JSON levels each, below 6 levels of
	// request; 128 leaves room for loose schemas and tool results many times
	// as deep, and keeps indentation in a rendered schema to 512 bytes a line.
	MaxDepth = 128
	// MaxMembers is how many members one object may have. The largest in
	// use is logit_bias, with at most a few hundred.
	MaxMembers = 1 << 14
	// MaxElements is how many elements one array may have: the longest are
	// prompts of token ids, no longer than the largest context windows.
	MaxElements = 1 << 20
	// MaxValues is how many names, values and brackets a body may have in all,
	// twice the longest prompt of token ids. It bounds the time of a scan.
	MaxValues = 1 << 21
	// MaxInteger is the largest integer that every JSON parser reads exactly.
	MaxInteger = 1<<53 - 1
)

// ParseError says why a body is not a request that can be governed. It is
// answered with status 400. Message holds no part of the body but its
// member names.
type ParseError struct {
	Param   string // path of the offending field, empty for the whole body
	Message string
}

func (e *ParseError) Error() string { return e.Message }

func parseErrorf(param, format string, args ...any) *ParseError {
	return &ParseError{Param: param, Message: fmt.Sprintf(format, args...)}
}

// span is a half-open range of bytes of the body.
type span struct{ start, end int }

// scanner walks a body once, token by token. The decoder below it refuses
// duplicate names, bad UTF-8 and bad syntax; the scanner adds the limits.
type scanner struct {
	dec  jsontext.Decoder
	buf  bytes.Buffer
	body []byte
	name span // of the member name that was read last, with its quotes
	half bool // the string that was read last has half a surrogate pair

	tokens int   // names, values and brackets read so far
	copied int64 // bytes of memory for strings that have escapes
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

func newScanner(body []byte) *scanner {
	s := scanners.Get().(*scanner)
	s.body, s.tokens, s.copied = body, 0, 0
	s.buf = *bytes.NewBuffer(body)
	// The body is checked to be UTF-8 as a whole. What is left to the decoder to
	// allow are escapes of half a surrogate pair, which are JSON.
	s.dec.Reset(&s.buf, jsontext.AllowInvalidUTF8(true))
	return s
}

// free returns s to the pool without its hold on the body.
func (s *scanner) free() {
	s.body = nil
	s.buf = bytes.Buffer{}
	s.dec.Reset(&s.buf)
	scanners.Put(s)
}

// offset is where the last read token or value ended.
func (s *scanner) offset() int { return int(s.dec.InputOffset()) }

// valueStart is where the value begins whose name was just read.
func (s *scanner) valueStart() int {
	rest := s.body[s.offset():]
	return len(s.body) - len(bytes.TrimLeft(rest, " \t\r\n:"))
}

// peek is the kind of the value, name or bracket that comes next.
func (s *scanner) peek() jsontext.Kind { return s.dec.PeekKind() }

// object calls member for each member of the object that comes next. The name
// is unescaped; member must read the value.
func (s *scanner) object(param string, member func(name string) error) error {
	if err := s.open(param, '{', "an object"); err != nil {
		return err
	}
	for n := 0; s.dec.PeekKind() != '}'; n++ {
		if n == MaxMembers {
			return parseErrorf(param, "%s has more than %d members", orBody(param), MaxMembers)
		}
		raw, err := s.raw()
		if err != nil {
			return err
		}
		s.name = span{s.offset() - len(raw), s.offset()}
		name, _ := unquote(raw)
		if err := member(name); err != nil {
			return err
		}
	}
	return s.close()
}

// array calls element for each element of the array that comes next, which
// element must read.
func (s *scanner) array(param string, element func() error) error {
	if err := s.open(param, '[', "an array"); err != nil {
		return err
	}
	for n := 0; s.dec.PeekKind() != ']'; n++ {
		if n == MaxElements {
			return parseErrorf(param, "%s has more than %d elements", param, MaxElements)
		}
		if err := element(); err != nil {
			return err
		}
	}
	return s.close()
}

func (s *scanner) open(param string, kind jsontext.Kind, want string) error {
	if err := s.expect(param, kind, want); err != nil {
		return err
	}
	_, err := s.token()
	return err
}

func (s *scanner) close() error {
	_, err := s.token()
	return err
}

// tally counts a name, value or bracket before it is read.
func (s *scanner) tally() error {
	if s.tokens++; s.tokens > MaxValues {
		return parseErrorf("", "body has more than %d names and values", MaxValues)
	}
	return nil
}

// token reads one token and checks the nesting.
func (s *scanner) token() (jsontext.Token, error) {
	if err := s.tally(); err != nil {
		return jsontext.Token{}, err
	}
	t, err := s.dec.ReadToken()
	if err != nil {
		return t, syntaxError(err)
	}
	if s.dec.StackDepth() > MaxDepth {
		return t, parseErrorf("", "body nests deeper than %d levels", MaxDepth)
	}
	return t, nil
}

// raw reads the scalar that comes next and returns its bytes in the body.
func (s *scanner) raw() ([]byte, error) {
	if err := s.tally(); err != nil {
		return nil, err
	}
	v, err := s.dec.ReadValue()
	if err != nil {
		return nil, syntaxError(err)
	}
	end := s.offset()
	return s.body[end-len(v) : end], nil
}

// skip reads the value that comes next, of any type.
func (s *scanner) skip() (span, error) {
	if k := s.dec.PeekKind(); k != '{' && k != '[' {
		v, err := s.raw()
		return span{s.offset() - len(v), s.offset()}, err
	}
	depth := s.dec.StackDepth()
	if _, err := s.token(); err != nil {
		return span{}, err
	}
	start := s.offset() - 1
	for s.dec.StackDepth() > depth {
		if _, err := s.token(); err != nil {
			return span{}, err
		}
		if kind, n := s.dec.StackIndex(s.dec.StackDepth()); kind == '{' && n > 2*MaxMembers {
			return span{}, parseErrorf("", "an object has more than %d members", MaxMembers)
		}
	}
	return span{start, s.offset()}, nil
}

// string reads the string that comes next. Where it has no escapes the result
// shares the body's memory.
func (s *scanner) string() (string, error) {
	raw, err := s.raw()
	if err != nil {
		return "", err
	}
	text, whole := unquote(raw)
	s.half = !whole
	if len(text) != len(raw)-2 {
		s.copied += int64(len(raw))
	}
	return text, nil
}

// identity refuses the string that was read last where it tells one thing from
// another and has half a character, which servers read as different ones.
func (s *scanner) identity(param string) error {
	if s.half {
		return parseErrorf(param, "%s has half of a surrogate pair, which names nothing; send whole characters", param)
	}
	return nil
}

// unquote returns the text of a string that the decoder has read; whole says that it
// has all its characters. Half a surrogate pair becomes U+FFFD.
func unquote(raw []byte) (text string, whole bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return view(raw[1 : len(raw)-1]), true
	}
	plain, err := jsontext.AppendUnquote(make([]byte, 0, len(raw)), raw)
	return view(plain), err == nil
}

// view is b as a string that shares its memory: prompts are large, and nobody
// writes to a body once it is read.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf is a text as bytes that share its memory, to be read only.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

// expect refuses a next value of another kind.
func (s *scanner) expect(param string, kind jsontext.Kind, want string) error {
	got := s.dec.PeekKind()
	if got == kind {
		return nil
	}
	if strings.IndexByte(`{["0ntf`, byte(got)) < 0 { // not the start of a value
		if _, err := s.raw(); err != nil {
			return err
		}
	}
	return parseErrorf(param, "%s must be %s, not %s", orBody(param), want, kindName(got))
}

// null reads a null, if one comes next, and reports whether it did. OpenAI takes
// null for absent.
func (s *scanner) null() (bool, error) {
	if s.dec.PeekKind() != 'n' {
		return false, nil
	}
	_, err := s.raw()
	return true, err
}

// optionalString reads a string, or null as the empty string.
func (s *scanner) optionalString(param string) (string, error) {
	if null, err := s.null(); null || err != nil {
		return "", err
	}
	if err := s.expect(param, '"', "a string"); err != nil {
		return "", err
	}
	return s.string()
}

// optionalBool reads a boolean, or null as false.
func (s *scanner) optionalBool(param string) (bool, error) {
	if null, err := s.null(); null || err != nil {
		return false, err
	}
	if s.dec.PeekKind() == 't' {
		_, err := s.raw()
		return true, err
	}
	if err := s.expect(param, 'f', "a boolean"); err != nil {
		return false, err
	}
	_, err := s.raw()
	return false, err
}

func (s *scanner) flag(into *bool, name string) (err error) {
	*into, err = s.optionalBool(name)
	return err
}

func (s *scanner) word(into *string, name string) (err error) {
	*into, err = s.optionalString(name)
	return err
}

// optionalInteger reads an integer from low to high; ok is false for null. Never
// coerced: a fraction, an exponent or a string is an error.
func (s *scanner) optionalInteger(param string, low, high int64) (v int64, ok bool, err error) {
	if null, err := s.null(); null || err != nil {
		return 0, false, err
	}
	if err := s.expect(param, '0', "an integer"); err != nil {
		return 0, false, err
	}
	raw, err := s.raw()
	if err != nil {
		return 0, false, err
	}
	v, err = strconv.ParseInt(string(raw), 10, 64)
	if errors.Is(err, strconv.ErrSyntax) {
		return 0, false, parseErrorf(param, "%s must be an integer, written without fraction or exponent", param)
	}
	if err != nil || v < low || v > high {
		return 0, false, parseErrorf(param, "%s must be from %d to %d", param, low, high)
	}
	return v, true, nil
}

// end refuses anything after the body's one value.
func (s *scanner) end() error {
	rest := bytes.TrimLeft(s.body[s.offset():], " \t\r\n")
	if len(rest) > 0 {
		return parseErrorf("", "body has data after its JSON object, at byte %d", len(s.body)-len(rest))
	}
	return nil
}

// checkEncoding refuses a body that is not UTF-8. One that begins as text in
// another encoding does gets a better reason. In UTF-16 and UTF-32 one of the first
// four bytes is zero, or they are a mark.
func checkEncoding(body []byte) error {
	head := body[:min(4, len(body))]
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		return parseErrorf("", "body begins with a byte order mark; send UTF-8 without one")
	case bytes.IndexByte(head, 0) >= 0, bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return parseErrorf("", "body is not UTF-8 but UTF-16 or UTF-32; send UTF-8")
	case !utf8.Valid(body):
		return utf8Error(body)
	}
	return nil
}

// utf8Error says where a body is no UTF-8.
func utf8Error(body []byte) error {
	at := 0
	for at < len(body) {
		r, n := utf8.DecodeRune(body[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return parseErrorf("", "body is not UTF-8, at byte %d", at)
}

func syntaxError(err error) error {
	at := int64(0)
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		at = e.ByteOffset
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return parseErrorf("", "body is ambiguous: an object has two members of one name, at byte %d", at)
	}
	return parseErrorf("", "body is not valid JSON, at byte %d", at)
}

func orBody(param string) string {
	if param == "" {
		return "body"
	}
	return param
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 'n':
		return "null"
	default:
		return "a boolean"
	}
}
