package wire

const (
	// schemaIndent is how far templates indent a level: tojson(indent=4) is
	// the widest known of any chat template.
	schemaIndent = 4
	// escapedBytes is the size of \uXXXX, as json.dumps writes a character
	// outside ASCII and Jinja's tojson the characters < > & and '.
	escapedBytes = 6
	// floatBytes is the longest that a float64 prints in Python, Go or
	// JavaScript; 1e20 may come back as 100000000000000000000.0.
	floatBytes = 25
	// MemberBytes is what a name in a short object costs beside itself:
	// quotes, colon, comma, spaces, and its share of the brackets.
	MemberBytes = 8
)

// RenderedBytes bounds the size of JSON text after any template has parsed it
// and written it anew: indented by 4 spaces a level, every member on its own
// line, everything outside ASCII escaped. Where a schema is rendered to declarations
// in TypeScript instead, these are shorter: they drop the quotes, the brackets and
// most of the keywords. Any input is taken, valid or not, in one pass.
func RenderedBytes(json []byte) int64 {
	var size, depth int64
	for i := 0; i < len(json); i++ {
		switch c := json[i]; c {
		case '"':
			n, rendered := renderedString(json[i:])
			size += rendered
			i += n - 1
		case '{', '[':
			depth++
			size += 2 + depth*schemaIndent
		case '}', ']':
			depth = max(depth-1, 0)
			size += 2 + depth*schemaIndent
		case ',':
			size += 3 + depth*schemaIndent
		case ':':
			size += 2
		case ' ', '\t', '\r', '\n':
			// A template writes its own. Outside JSON the caller counts
			// the text itself too.
		default:
			n, rendered := renderedScalar(json[i:])
			size += rendered
			i += n - 1
		}
	}
	return size
}

// renderedString measures the string that json begins with: its length as it is
// and as rendered.
func renderedString(json []byte) (n int, size int64) {
	size = 1
	for n = 1; n < len(json); n++ {
		switch c := json[n]; {
		case c == '"':
			return n + 1, size + 1
		case c == '\\':
			n++ // an escape stays as it is, or becomes shorter
			size += 2
		default:
			size += renderedByte(c)
		}
	}
	return len(json), size
}

// renderedByte is the share of one byte in its escaped character. The first byte
// of a multi-byte character pays for all of it; beyond the BMP that is a pair of
// escapes.
func renderedByte(c byte) int64 {
	switch {
	case c < ' ' || c == '<' || c == '>' || c == '&' || c == '\'':
		return escapedBytes
	case c < 0x80:
		return 1
	case c < 0xC0:
		return 0
	case c < 0xF0:
		return escapedBytes
	default:
		return 2 * escapedBytes
	}
}

// renderedScalar measures a number or literal, or one byte at least of what is no
// JSON, such as a control character. Only a number with a fraction or
// an exponent can grow.
func renderedScalar(json []byte) (n int, size int64) {
	float := false
	for n = 0; n < len(json); n++ {
		c := json[n]
		if n > 0 && (c <= ' ' || c == ',' || c == ':' || c == '"' || c == '{' || c == '}' || c == '[' || c == ']') {
			break
		}
		float = float || c == '.' || c == 'e' || c == 'E'
		size += renderedByte(c)
	}
	if float {
		size = max(size, floatBytes)
	}
	return n, size
}
