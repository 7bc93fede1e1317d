package wire

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
	// use, of biases by token id, have at most a few hundred.
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

// Error returns the message.
func (e *ParseError) Error() string { return e.Message }

// Errorf returns a ParseError with a formatted message.
func Errorf(param, format string, args ...any) *ParseError {
	return &ParseError{Param: param, Message: fmt.Sprintf(format, args...)}
}

// Span is a half-open range of bytes of the body.
type Span struct{ Start, End int }

// Scanner walks a body once, token by token. The decoder below it refuses
// duplicate names, bad UTF-8 and bad syntax; the scanner adds the limits.
type Scanner struct {
	Body   []byte // what is read
	NameAt Span   // of the member name that was read last, with its quotes
	Half   bool   // the string that was read last has half a surrogate pair
	Copied int64  // bytes of memory for strings that have escapes

	dec    jsontext.Decoder
	buf    bytes.Buffer
	tokens int // names, values and brackets read so far
}

var scanners = sync.Pool{New: func() any { return new(Scanner) }}

// NewScanner returns a scanner of a body, which must not change until it is freed.
func NewScanner(body []byte) *Scanner {
	s := scanners.Get().(*Scanner)
	s.Body, s.tokens, s.Copied = body, 0, 0
	s.buf = *bytes.NewBuffer(body)
	// The body is checked to be UTF-8 as a whole. What is left to the decoder to
	// allow are escapes of half a surrogate pair, which are JSON.
	s.dec.Reset(&s.buf, jsontext.AllowInvalidUTF8(true))
	return s
}

// Free returns s to the pool without its hold on the body.
func (s *Scanner) Free() {
	s.Body = nil
	s.buf = bytes.Buffer{}
	s.dec.Reset(&s.buf)
	scanners.Put(s)
}

// Offset is where the last read token or value ended.
func (s *Scanner) Offset() int { return int(s.dec.InputOffset()) }

// ValueStart is where the value begins whose name was just read.
func (s *Scanner) ValueStart() int {
	rest := s.Body[s.Offset():]
	return len(s.Body) - len(bytes.TrimLeft(rest, " \t\r\n:"))
}

// ElementStart is where the element of an array begins that comes next.
func (s *Scanner) ElementStart() int {
	rest := s.Body[s.Offset():]
	return len(s.Body) - len(bytes.TrimLeft(rest, " \t\r\n,"))
}

// Since is the span from start to the end of what was read last.
func (s *Scanner) Since(start int) Span { return Span{start, s.Offset()} }

// Peek is the kind of the value, name or bracket that comes next.
func (s *Scanner) Peek() jsontext.Kind { return s.dec.PeekKind() }

// Object calls member for each member of the object that comes next. The name
// is unescaped; member must read the value.
func (s *Scanner) Object(param string, member func(name string) error) error {
	if err := s.open(param, '{', "an object"); err != nil {
		return err
	}
	for n := 0; s.dec.PeekKind() != '}'; n++ {
		if n == MaxMembers {
			return Errorf(param, "%s has more than %d members", orBody(param), MaxMembers)
		}
		raw, err := s.raw()
		if err != nil {
			return err
		}
		s.NameAt = Span{s.Offset() - len(raw), s.Offset()}
		name, _ := unquote(raw)
		if err := member(name); err != nil {
			return err
		}
	}
	return s.close()
}

// Array calls element for each element of the array that comes next, which
// element must read.
func (s *Scanner) Array(param string, element func() error) error {
	if err := s.open(param, '[', "an array"); err != nil {
		return err
	}
	for n := 0; s.dec.PeekKind() != ']'; n++ {
		if n == MaxElements {
			return Errorf(param, "%s has more than %d elements", param, MaxElements)
		}
		if err := element(); err != nil {
			return err
		}
	}
	return s.close()
}

func (s *Scanner) open(param string, kind jsontext.Kind, want string) error {
	if err := s.Expect(param, kind, want); err != nil {
		return err
	}
	_, err := s.token()
	return err
}

func (s *Scanner) close() error {
	_, err := s.token()
	return err
}

// tally counts a name, value or bracket before it is read.
func (s *Scanner) tally() error {
	if s.tokens++; s.tokens > MaxValues {
		return Errorf("", "body has more than %d names and values", MaxValues)
	}
	return nil
}

// token reads one token and checks the nesting.
func (s *Scanner) token() (jsontext.Token, error) {
	if err := s.tally(); err != nil {
		return jsontext.Token{}, err
	}
	t, err := s.dec.ReadToken()
	if err != nil {
		return t, syntaxError(err)
	}
	if s.dec.StackDepth() > MaxDepth {
		return t, Errorf("", "body nests deeper than %d levels", MaxDepth)
	}
	return t, nil
}

// raw reads the scalar that comes next and returns its bytes in the body.
func (s *Scanner) raw() ([]byte, error) {
	if err := s.tally(); err != nil {
		return nil, err
	}
	v, err := s.dec.ReadValue()
	if err != nil {
		return nil, syntaxError(err)
	}
	end := s.Offset()
	return s.Body[end-len(v) : end], nil
}

// Skip reads the value that comes next, of any type.
func (s *Scanner) Skip() (Span, error) {
	if k := s.dec.PeekKind(); k != '{' && k != '[' {
		v, err := s.raw()
		return Span{s.Offset() - len(v), s.Offset()}, err
	}
	depth := s.dec.StackDepth()
	if _, err := s.token(); err != nil {
		return Span{}, err
	}
	start := s.Offset() - 1
	for s.dec.StackDepth() > depth {
		if _, err := s.token(); err != nil {
			return Span{}, err
		}
		if kind, n := s.dec.StackIndex(s.dec.StackDepth()); kind == '{' && n > 2*MaxMembers {
			return Span{}, Errorf("", "an object has more than %d members", MaxMembers)
		}
	}
	return Span{start, s.Offset()}, nil
}

// ReadString reads the string that comes next. Where it has no escapes the result
// shares the body's memory.
func (s *Scanner) ReadString() (string, error) {
	raw, err := s.raw()
	if err != nil {
		return "", err
	}
	text, whole := unquote(raw)
	s.Half = !whole
	if len(text) != len(raw)-2 {
		s.Copied += int64(len(raw))
	}
	return text, nil
}

// Identity refuses the string that was read last where it tells one thing from
// another and has half a character, which servers read as different ones.
func (s *Scanner) Identity(param string) error {
	if s.Half {
		return Errorf(param, "%s has half of a surrogate pair, which names nothing; send whole characters", param)
	}
	return nil
}

// unquote returns the text of a string that the decoder has read; whole says that it
// has all its characters. Half a surrogate pair becomes U+FFFD.
func unquote(raw []byte) (text string, whole bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return View(raw[1 : len(raw)-1]), true
	}
	plain, err := jsontext.AppendUnquote(make([]byte, 0, len(raw)), raw)
	return View(plain), err == nil
}

// View is b as a string that shares its memory: prompts are large, and nobody
// writes to a body once it is read.
func View(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// BytesOf is a text as bytes that share its memory, to be read only.
func BytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

// Expect refuses a next value of another kind.
func (s *Scanner) Expect(param string, kind jsontext.Kind, want string) error {
	got := s.dec.PeekKind()
	if got == kind {
		return nil
	}
	if strings.IndexByte(`{["0ntf`, byte(got)) < 0 { // not the start of a value
		if _, err := s.raw(); err != nil {
			return err
		}
	}
	return Errorf(param, "%s must be %s, not %s", orBody(param), want, kindName(got))
}

// Null reads a null, if one comes next, and reports whether it did. APIs take
// null for absent.
func (s *Scanner) Null() (bool, error) {
	if s.dec.PeekKind() != 'n' {
		return false, nil
	}
	_, err := s.raw()
	return true, err
}

// OptionalArray is Array, or reads null.
func (s *Scanner) OptionalArray(param string, element func() error) error {
	if null, err := s.Null(); null || err != nil {
		return err
	}
	return s.Array(param, element)
}

// OptionalString reads a string, or null as the empty string.
func (s *Scanner) OptionalString(param string) (string, error) {
	if null, err := s.Null(); null || err != nil {
		return "", err
	}
	if err := s.Expect(param, '"', "a string"); err != nil {
		return "", err
	}
	return s.ReadString()
}

// optionalBool reads a boolean, or null as false.
func (s *Scanner) optionalBool(param string) (bool, error) {
	if null, err := s.Null(); null || err != nil {
		return false, err
	}
	if s.dec.PeekKind() == 't' {
		_, err := s.raw()
		return true, err
	}
	if err := s.Expect(param, 'f', "a boolean"); err != nil {
		return false, err
	}
	_, err := s.raw()
	return false, err
}

// Flag reads a boolean, or null as false, into a place.
func (s *Scanner) Flag(into *bool, name string) (err error) {
	*into, err = s.optionalBool(name)
	return err
}

// Word reads a string, or null as the empty string, into a place.
func (s *Scanner) Word(into *string, name string) (err error) {
	*into, err = s.OptionalString(name)
	return err
}

// OptionalInteger reads an integer from low to high; ok is false for null. Never
// coerced: a fraction, an exponent or a string is an error.
func (s *Scanner) OptionalInteger(param string, low, high int64) (v int64, ok bool, err error) {
	if null, err := s.Null(); null || err != nil {
		return 0, false, err
	}
	if err := s.Expect(param, '0', "an integer"); err != nil {
		return 0, false, err
	}
	raw, err := s.raw()
	if err != nil {
		return 0, false, err
	}
	v, err = strconv.ParseInt(string(raw), 10, 64)
	if errors.Is(err, strconv.ErrSyntax) {
		return 0, false, Errorf(param, "%s must be an integer, written without fraction or exponent", param)
	}
	if err != nil || v < low || v > high {
		return 0, false, Errorf(param, "%s must be from %d to %d", param, low, high)
	}
	return v, true, nil
}

// End refuses anything after the body's one value.
func (s *Scanner) End() error {
	rest := bytes.TrimLeft(s.Body[s.Offset():], " \t\r\n")
	if len(rest) > 0 {
		return Errorf("", "body has data after its JSON object, at byte %d", len(s.Body)-len(rest))
	}
	return nil
}

// CheckEncoding refuses a body that is not UTF-8. One that begins as text in
// another encoding does gets a better reason. In UTF-16 and UTF-32 one of the first
// four bytes is zero, or they are a mark.
func CheckEncoding(body []byte) error {
	head := body[:min(4, len(body))]
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		return Errorf("", "body begins with a byte order mark; send UTF-8 without one")
	case bytes.IndexByte(head, 0) >= 0, bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return Errorf("", "body is not UTF-8 but UTF-16 or UTF-32; send UTF-8")
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
	return Errorf("", "body is not UTF-8, at byte %d", at)
}

func syntaxError(err error) error {
	at := int64(0)
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		at = e.ByteOffset
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return Errorf("", "body is ambiguous: an object has two members of one name, at byte %d", at)
	}
	return Errorf("", "body is not valid JSON, at byte %d", at)
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
