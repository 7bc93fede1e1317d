package wire

import "github.com/go-json-experiment/json/jsontext"

// AppendString appends a text as a JSON string. Bad UTF-8, the only error, is replaced
// by U+FFFD.
func AppendString(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}
