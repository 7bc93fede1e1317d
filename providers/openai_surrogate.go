package providers

import (
	"bytes"
	"strconv"
)

// halfTokens bounds the tokens of half a surrogate pair beside those of the
// character U+FFFD that this package reads in its place. Others keep it, in three
// bytes that are no UTF-8, or read U+FFFD, of three bytes, for each of these.
const halfTokens = 9

// halves counts the escapes in JSON text that are half of a surrogate pair
// without the other, such as \ud83d alone: JSON (RFC 8259, section 8.2), and what
// programs send that cut texts in the middle of a character.
func halves(json []byte) (n int64) {
	if !bytes.Contains(json, []byte(`\ud`)) && !bytes.Contains(json, []byte(`\uD`)) {
		return 0
	}
	for {
		at := bytes.IndexByte(json, '\\')
		if at < 0 {
			return n
		}
		json = json[at:]
		unit, escaped := escapedUnit(json)
		if !escaped {
			json = json[min(len(`\n`), len(json)):]
			continue
		}
		json = json[len(`\u0000`):]
		if low, follows := escapedUnit(json); isHigh(unit) && follows && isLow(low) {
			json = json[len(`\u0000`):]
		} else if isHigh(unit) || isLow(unit) {
			n++
		}
	}
}

func isHigh(unit uint64) bool { return 0xd800 <= unit && unit < 0xdc00 }
func isLow(unit uint64) bool  { return 0xdc00 <= unit && unit < 0xe000 }

// escapedUnit is the UTF-16 unit that json begins with as \uXXXX, if it does.
func escapedUnit(json []byte) (unit uint64, ok bool) {
	if len(json) < len(`\u0000`) || json[0] != '\\' || json[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(json[2:6]), 16, 16)
	return unit, err == nil
}
