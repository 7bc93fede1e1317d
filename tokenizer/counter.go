package tokenizer

import (
	"math"
	"unicode/utf8"
)

// What counting may cost, in nanoseconds of a slow core, roughly. They are fixed
// numbers, so that a text has the same count on every machine. Prose costs 6 a
// byte, so the most covers any context window of today.
const (
	// mostEffort is what one Counter may spend: an eighth of a second in the worst
	// case that is known, runs of thousands of spaces.
	mostEffort = 96 << 20

	wordEffort  = 16  // for a piece that is a token
	byteEffort  = 2   // for each byte of any piece
	shortEffort = 48  // for each byte of a piece of up to scanBytes that must be merged
	longEffort  = 224 // for each byte of a longer one
)

// lookahead is more bytes than are read behind the last run of a piece: a
// contraction, or a code point.
const lookahead = 16

// Counter counts the tokens of several texts together, up to a limit, in bounded
// time. It is for one goroutine.
type Counter struct {
	encoder
	most   int64
	tokens int64
	effort int64 // left; below 0: the rest counts by its bytes
}

// Counter returns a counter of this encoding that stops above so many tokens, or
// below 0 never. The error is that of Count.
func (e Encoding) Counter(most int64) (*Counter, error) {
	enc, err := e.encoder()
	if err != nil {
		return nil, err
	}
	if most < 0 {
		most = math.MaxInt64
	}
	return &Counter{encoder: enc, most: most, effort: mostEffort}, nil
}

// Tokens is the tokens of the texts that were added. As long as it is at most the
// limit, it is their number if exact, and else no less. Above the limit it says
// only that the limit may be passed.
func (c *Counter) Tokens() (tokens int64, exact bool) { return c.tokens, c.effort >= 0 }

// Add counts one more text, which takes a byte that is not part of valid UTF-8
// for U+FFFD. It reports false, and reads no further, once the limit is passed.
func (c *Counter) Add(text string) bool {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	at, valid := 0, 0
	for at < len(text) && c.effort >= 0 && c.tokens <= c.most {
		end, whole := c.pieceEnd(text, at)
		if !whole {
			c.effort = -1
			break
		}
		if end > valid {
			if valid = validUntil(text, at, end); valid < end {
				text, at, valid = replaceInvalid(text[at:]), 0, math.MaxInt
				continue // U+FFFD is of the class that a broken byte has
			}
		}
		if c.spend(text[at:end], s) {
			at = end
		}
	}
	c.byBytes(text[at:])
	return c.tokens <= c.most
}

// pieceEnd is where the piece at text[at:] ends. It is not whole if that, or where
// it ends, takes reading more bytes than there is effort left to merge.
func (c *Counter) pieceEnd(text string, at int) (end int, whole bool) {
	limit := len(text)
	if room := c.effort/longEffort + int64(c.words.longest) + lookahead; int64(limit-at) > room {
		limit = at + int(room)
	}
	end = c.split(text[:limit], at)
	return end, limit == len(text) || !reaches(text[:limit], end)
}

// reaches reports whether what decided that a piece ends at text[:end] may go on
// behind text. Only of two runs a piece leaves some behind: of white space, what
// is after its last newline, and of upper, what cannot close a word.
func reaches(text string, end int) bool {
	furthest := max(end, runEnd(text, end, space), runEnd(text, end, upper))
	return furthest >= len(text)-lookahead
}

// spend counts a piece, if there is effort enough left.
func (c *Counter) spend(piece string, s *scratch) bool {
	c.effort -= wordEffort + byteEffort*int64(len(piece))
	if c.isToken(piece) {
		c.tokens++
		return true
	}
	perByte := int64(longEffort)
	if len(piece) <= scanBytes {
		perByte = shortEffort
	}
	if c.effort -= perByte * int64(len(piece)); c.effort < 0 {
		return false
	}
	c.tokens += int64(c.merged(piece, s))
	return true
}

// byBytes adds what was not counted: each token covers at least one byte.
func (c *Counter) byBytes(rest string) {
	if len(rest) == 0 || c.tokens > c.most {
		return
	}
	c.tokens += int64(len(rest))
	if c.tokens <= c.most && !utf8.ValidString(rest) {
		c.tokens += 2 * int64(len(rest)) // U+FFFD is three bytes
	}
}

// validBytes is how much text is checked at a time for UTF-8 in the right form.
const validBytes = 64 << 10

// validUntil returns how far text[at:], a border of code points, is valid UTF-8
// for sure: to end at least, if that is.
func validUntil(text string, at, end int) int {
	until := min(len(text), max(end, at+validBytes))
	for until < len(text) && until > end && !utf8.RuneStart(text[until]) {
		until--
	}
	if !utf8.ValidString(text[at:until]) {
		return at
	}
	return until
}
