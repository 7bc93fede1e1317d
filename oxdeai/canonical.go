package oxdeai

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Errors of the canonical form. The text of the first five is a constant of the protocol.
var (
	// ErrFloatNotAllowed: a number has a fraction or is infinite.
	ErrFloatNotAllowed = errors.New("FLOAT_NOT_ALLOWED")
	// ErrUnsafeInteger: a number is an integer beyond MaxSafeInteger.
	ErrUnsafeInteger = errors.New("UNSAFE_INTEGER_NUMBER")
	// ErrInvalidTimestamp: a member named ts, at any depth, is not a safe integer number.
	ErrInvalidTimestamp = errors.New("INVALID_TIMESTAMP")
	// ErrDuplicateKey: two names of one object are equal after NFC.
	ErrDuplicateKey = errors.New("DUPLICATE_KEY")
	// ErrUnsupportedType: a value has no JSON form.
	ErrUnsupportedType = errors.New("UNSUPPORTED_TYPE")
	// ErrBadUTF8: a string is not UTF-8, or an escape names half of a surrogate pair.
	ErrBadUTF8 = errors.New("INVALID_UTF8")
	// ErrTooDeep: arrays and objects are nested deeper than MaxDepth.
	ErrTooDeep = errors.New("TOO_DEEP")
)

// MaxDepth is how deep arrays and objects may be nested, in levels. The artifacts of the protocol need fewer than ten.
const MaxDepth = 128

// Canonical returns the canonical bytes of v: UTF-8 without a byte order mark, without spaces, names in NFC and
// sorted by their UTF-8 bytes. Two values that mean the same have the same bytes. The error is the first one in
// depth-first order.
func Canonical(v Value) ([]byte, error) {
	return AppendCanonical(nil, v)
}

// AppendCanonical appends the canonical bytes of v to dst. After an error the content of the result is not defined.
func AppendCanonical(dst []byte, v Value) ([]byte, error) {
	return appendValue(dst, v, MaxDepth)
}

func appendValue(dst []byte, v Value, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case float64:
		return appendNumber(dst, v)
	case string:
		return appendString(dst, v)
	case *big.Int:
		return appendBig(dst, v)
	case []Value:
		return appendArray(dst, v, depth-1)
	case *Object:
		return appendObject(dst, v, depth-1)
	}
	return dst, fmt.Errorf("%w: %T", ErrUnsupportedType, v)
}

func appendNumber(dst []byte, f float64) ([]byte, error) {
	if math.Trunc(f) != f || math.IsInf(f, 0) {
		return dst, ErrFloatNotAllowed
	}
	if math.Abs(f) > MaxSafeInteger {
		return dst, ErrUnsafeInteger
	}
	return strconv.AppendInt(dst, int64(f), 10), nil
}

// appendInt writes an integer field of a typed record with the same bounds as a JSON number.
func appendInt(dst []byte, n int64) ([]byte, error) {
	if n > MaxSafeInteger || n < -MaxSafeInteger {
		return dst, ErrUnsafeInteger
	}
	return strconv.AppendInt(dst, n, 10), nil
}

func appendBig(dst []byte, n *big.Int) ([]byte, error) {
	if n == nil {
		return dst, fmt.Errorf("%w: nil bigint", ErrUnsupportedType)
	}
	dst = append(dst, '"')
	if n.IsInt64() {
		dst = strconv.AppendInt(dst, n.Int64(), 10)
	} else {
		dst = n.Append(dst, 10)
	}
	return append(dst, '"'), nil
}

func appendArray(dst []byte, list []Value, depth int) ([]byte, error) {
	if depth < 0 {
		return dst, ErrTooDeep
	}
	dst = append(dst, '[')
	var err error
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendValue(dst, v, depth); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendObject(dst []byte, o *Object, depth int) ([]byte, error) {
	if o == nil {
		return dst, fmt.Errorf("%w: nil object", ErrUnsupportedType)
	}
	if depth < 0 {
		return dst, ErrTooDeep
	}
	members, err := sortedMembers(o.Members)
	if err != nil {
		return dst, err
	}
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendEntry(dst, m, depth); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func appendEntry(dst []byte, m Member, depth int) ([]byte, error) {
	if m.Name == "ts" {
		if _, ok := SafeInt(m.Value); !ok {
			return dst, ErrInvalidTimestamp
		}
	}
	dst = appendQuoted(dst, m.Name)
	dst = append(dst, ':')
	return appendValue(dst, m.Value, depth)
}

// sortedMembers returns the members with names in NFC, in UTF-8 order. It gives back the same slice if nothing has to
// change.
func sortedMembers(members []Member) ([]Member, error) {
	if inOrder(members) {
		return members, nil
	}
	out := slices.Clone(members)
	for i := range out {
		name, err := normalize(out[i].Name)
		if err != nil {
			return nil, err
		}
		out[i].Name = name
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(out); i++ {
		if out[i].Name == out[i-1].Name {
			return nil, fmt.Errorf("%w: %q", ErrDuplicateKey, out[i].Name)
		}
	}
	return out, nil
}

// inOrder tells whether the names are plain ASCII, sorted and different, which needs no further work.
func inOrder(members []Member) bool {
	for i := range members {
		if !isASCII(members[i].Name) || i > 0 && members[i-1].Name >= members[i].Name {
			return false
		}
	}
	return true
}

// normalize returns s in Unicode normalization form C (UAX #15).
func normalize(s string) (string, error) {
	if isASCII(s) {
		return s, nil
	}
	if !utf8.ValidString(s) {
		return "", ErrBadUTF8
	}
	return norm.NFC.String(s), nil
}

// inNFC tells whether every text and every name in v is in NFC, so that no other value has the same canonical bytes.
func inNFC(v Value) bool {
	switch v := v.(type) {
	case string:
		return isNFC(v)
	case []Value:
		return !slices.ContainsFunc(v, func(v Value) bool { return !inNFC(v) })
	case *Object:
		return v == nil || !slices.ContainsFunc(v.Members, func(m Member) bool { return !isNFC(m.Name) || !inNFC(m.Value) })
	}
	return true
}

func isNFC(s string) bool {
	n, err := normalize(s)
	return err == nil && n == s
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendString writes s in NFC as a JSON string.
func appendString(dst []byte, s string) ([]byte, error) {
	if isPlain(s) {
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"'), nil
	}
	s, err := normalize(s)
	if err != nil {
		return dst, err
	}
	return appendQuoted(dst, s), nil
}

// isPlain tells whether s is ASCII that needs no escape, as nearly every string is.
func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789abcdef"

// appendQuoted writes s as a JSON string that escapes only what RFC 8259 requires, with the short escapes where they
// exist.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
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
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
