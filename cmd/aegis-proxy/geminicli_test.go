package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzUncommented: JSON without comments stays as it is, and no comment is left of what has some.
func FuzzUncommented(f *testing.F) {
	for _, text := range []string{`{}`, `{"a": "b // c", "d": "/* \" */"}`, "{ // x\n}", `{/* x */"a":1}`, `"\`, `/*`, `//`, `/`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := uncommented(text)
		if json.Valid(text) && !bytes.Equal(got, text) {
			t.Errorf("%q became %q", text, got)
		}
		around := append(append([]byte("/* \"x */"), text...), "// \"y"...)
		if json.Valid(text) && !bytes.Equal(uncommented(around), text) {
			t.Errorf("%q became %q", around, uncommented(around))
		}
	})
}
