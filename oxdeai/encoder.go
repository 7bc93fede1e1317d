package oxdeai

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
)

// encoder writes canonical JSON for the records that every evaluation hashes, whose member names are known and so
// already sorted. It keeps the first error and goes on; the bytes count only if there is none.
type encoder struct {
	buf  []byte
	keys []string // scratch space of maps that are being written
	err  error
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// newEncoder returns an empty encoder. Its bytes are valid until release.
func newEncoder() *encoder {
	e := encoders.Get().(*encoder)
	e.buf, e.keys, e.err = e.buf[:0], e.keys[:0], nil
	return e
}

func (e *encoder) release() {
	if cap(e.buf) <= maxPooledBytes && cap(e.keys) <= maxPooledBytes/64 {
		clear(e.keys[:cap(e.keys)])
		encoders.Put(e)
	}
}

func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// raw writes JSON syntax and member names, which the caller has already put in order.
func (e *encoder) raw(s string) { e.buf = append(e.buf, s...) }

func (e *encoder) text(s string) {
	var err error
	if e.buf, err = appendString(e.buf, s); err != nil {
		e.fail(err)
	}
}

func (e *encoder) bool(b bool) {
	if b {
		e.raw("true")
		return
	}
	e.raw("false")
}

// int writes an integer within the bounds of a JSON number.
func (e *encoder) int(n int64) {
	var err error
	if e.buf, err = appendInt(e.buf, n); err != nil {
		e.fail(err)
	}
}

// count writes an integer that has to be at least 0.
func (e *encoder) count(n int64) {
	if n < 0 {
		e.fail(fmt.Errorf("%w: %d is negative", ErrStateInvalid, n))
	}
	e.int(n)
}

// window writes a length in seconds, which has to be positive.
func (e *encoder) window(seconds int64) {
	if seconds <= 0 {
		e.fail(fmt.Errorf("%w: a window of %d seconds", ErrStateInvalid, seconds))
	}
	e.int(seconds)
}

// amount writes an integer of any size as a string of digits.
func (e *encoder) amount(n *big.Int) {
	var err error
	if e.buf, err = appendBig(e.buf, n); err != nil {
		e.fail(err)
	}
}

// value writes any JSON value.
func (e *encoder) value(v Value) {
	var err error
	if e.buf, err = AppendCanonical(e.buf, v); err != nil {
		e.fail(err)
	}
}

// encodeList writes a list.
func encodeList[T any](e *encoder, list []T, item func(*encoder, T)) {
	e.raw("[")
	for i, t := range list {
		if i > 0 {
			e.raw(",")
		}
		item(e, t)
	}
	e.raw("]")
}

// encodeMap writes a map whose values are not JSON numbers, so the name ts is refused, as in every canonical object.
func encodeMap[T any](e *encoder, m map[string]T, value func(*encoder, T)) {
	start := len(e.keys)
	addNames(e, m)
	e.refuseTS(start)
	encodeNamed(e, start, m, value)
	e.keys = e.keys[:start]
}

// encodeNumbers writes a map whose values are JSON numbers.
func encodeNumbers[T any](e *encoder, m map[string]T, value func(*encoder, T)) {
	start := len(e.keys)
	addNames(e, m)
	encodeNamed(e, start, m, value)
	e.keys = e.keys[:start]
}

// addNames puts the names of a map on the scratch space.
func addNames[T any](e *encoder, m map[string]T) {
	for name := range m {
		e.keys = append(e.keys, name)
	}
}

// refuseTS fails if a name from start on is ts.
func (e *encoder) refuseTS(start int) {
	if slices.Contains(e.keys[start:], "ts") {
		e.fail(ErrInvalidTimestamp)
	}
}

// encodeNamed writes the entries of m for the names from start on, in canonical order. A name without an entry has
// the zero value.
func encodeNamed[T any](e *encoder, start int, m map[string]T, value func(*encoder, T)) {
	end := len(e.keys)
	e.sortNames(e.keys[start:end])
	e.raw("{")
	for i := start; i < end; i++ {
		name := e.keys[i] // an inner map may move e.keys
		if i > start {
			e.raw(",")
		}
		e.text(name)
		e.raw(":")
		value(e, m[name])
	}
	e.raw("}")
}

// sortNames sorts names by their normal forms, which have to differ.
func (e *encoder) sortNames(names []string) {
	if !slices.ContainsFunc(names, func(name string) bool { return !isASCII(name) }) {
		slices.Sort(names)
		return
	}
	normal := make(map[string]string, len(names))
	for _, name := range names {
		n, err := normalize(name)
		if err != nil {
			e.fail(err)
		}
		normal[name] = n
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(normal[a], normal[b]) })
	for i := 1; i < len(names); i++ {
		if normal[names[i]] == normal[names[i-1]] {
			e.fail(fmt.Errorf("%w: %q", ErrDuplicateKey, normal[names[i]]))
		}
	}
}
