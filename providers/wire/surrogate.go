package wire

import "bytes"

// HalfTokens bounds the tokens of half a surrogate pair beside those of the
// character U+FFFD that this package reads in its place. Others keep it, in three
// bytes that are no UTF-8, or read U+FFFD, of three bytes, for each of these.
const HalfTokens = 9

// EscapeBytes is the length of an escape such as \ud83d.
const EscapeBytes = 6

// Halves counts the escapes in JSON text that are half of a surrogate pair
// without the other, such as \ud83d alone: JSON (RFC 8259, section 8.2), and what
// programs send that cut texts in the middle of a character.
func Halves(json []byte) (n int64) {
	if !bytes.Contains(json, []byte(`\ud`)) && !bytes.Contains(json, []byte(`\uD`)) {
		return 0
	}
	for {
		if len(json) == 0 || json[0] != '\\' { // escapes often stand side by side
			at := bytes.IndexByte(json, '\\')
			if at < 0 {
				return n
			}
			json = json[at:]
		}
		switch surrogateOf(json) {
		case 0:
			json = json[min(len(`\n`), len(json)):]
		case high:
			json = json[EscapeBytes:]
			if surrogateOf(json) == low {
				json = json[EscapeBytes:]
			} else {
				n++
			}
		case low:
			json = json[EscapeBytes:]
			n++
		}
	}
}

// Halves of a surrogate pair: the first and the second.
const (
	high = 1 + iota
	low
)

// surrogateOf tells which half of a surrogate pair json begins with as an escape;
// 0 for neither. Its digits are not checked further: that it is JSON is seen
// elsewhere.
func surrogateOf(json []byte) int {
	if len(json) < EscapeBytes || json[0] != '\\' || json[1] != 'u' || json[2]|0x20 != 'd' {
		return 0
	}
	switch c := json[3] | 0x20; {
	case json[3] == '8', json[3] == '9', c == 'a', c == 'b':
		return high
	case 'c' <= c && c <= 'f':
		return low
	}
	return 0
}
