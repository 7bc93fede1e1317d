package tokenizer

import "unicode/utf8"

// A splitter returns where the piece that begins at text[at:], which must not
// be empty, ends. Each implements one published pattern by hand; every code
// point of the text is read a bounded number of times.
//
// The patterns' alternatives are tried in order and the first that matches
// wins, however short its match. All of their greedy runs end where the class of
// the code points changes, so backtracking is needed only where said below.
type splitter func(text string, at int) int

// splitO200k splits as o200k_base does:
//
//	[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
//	[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
//	\p{N}{1,3}
//	 ?[^\s\p{L}\p{N}]+[\r\n/]*
//	\s*[\r\n]+
//	\s+(?!\S)
//	\s+
func splitO200k(text string, at int) int {
	c, size := classAt(text, at)
	switch {
	case c&letter != 0:
		return wordEnd(text, at)
	case c&number != 0:
		return digitsEnd(text, at+size)
	case c&newline == 0:
		if end := prefixedWordEnd(text, at, size, c); end > at {
			return end
		}
	}
	if start := symbolsStart(text, at, c); start >= 0 {
		end := runEnd(text, start, other)
		for end < len(text) && (text[end] == '\r' || text[end] == '\n' || text[end] == '/') {
			end++
		}
		return end
	}
	return linesEnd(text, at)
}

// wordEnd ends a word that begins with a letter at text[at:].
func wordEnd(text string, at int) int {
	closed, open := capitals(text, at)
	if closed < 0 {
		closed = open
	}
	return closed + foldedContraction(text, closed)
}

// prefixedWordEnd ends a word with the code point at text[at:], of class c and
// neither letter nor number, as its prefix. It returns at if there is no word.
func prefixedWordEnd(text string, at, size int, c class) int {
	end, open := capitals(text, at+size)
	if end < 0 && c&upper != 0 {
		// A mark may be the prefix or begin the word itself, and the
		// pattern tries to close the word both ways before it tries to
		// leave it open.
		end, _ = capitals(text, at)
	}
	if end < 0 && open > at+size {
		end = open
	}
	if end < 0 {
		return at
	}
	return end + foldedContraction(text, end)
}

// capitals matches the two shapes of a word at text[at:]. closed is the end of
// [upper]*[lower]+, or -1 if that does not match; open is the end of [upper]*.
//
// If what follows the run of upper is not lower, the pattern gives back code
// points of the run until one that is lower too can close the word; what comes
// after it in the run is not lower, so the word ends there.
func capitals(text string, at int) (closed, open int) {
	closed, open = -1, at
	for open < len(text) {
		c, size := classAt(text, open)
		if c&upper == 0 {
			if c&lower != 0 {
				closed = runEnd(text, open+size, lower)
			}
			break
		}
		open += size
		if c&lower != 0 {
			closed = open
		}
	}
	return closed, open
}

// splitCl100k splits as cl100k_base does:
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)
//	[^\r\n\p{L}\p{N}]?\p{L}+
//	\p{N}{1,3}
//	 ?[^\s\p{L}\p{N}]+[\r\n]*
//	\s*[\r\n]+
//	\s+(?!\S)
//	\s+
func splitCl100k(text string, at int) int {
	if size := foldedContraction(text, at); size > 0 {
		return at + size
	}
	c, size := classAt(text, at)
	switch {
	case c&letter != 0:
		return runEnd(text, at+size, letter)
	case c&number != 0:
		return digitsEnd(text, at+size)
	case c&newline == 0:
		if end := runEnd(text, at+size, letter); end > at+size {
			return end
		}
	}
	if start := symbolsStart(text, at, c); start >= 0 {
		return runEnd(text, runEnd(text, start, other), newline)
	}
	return linesEnd(text, at)
}

// splitGPT2 splits as r50k_base, p50k_base and p50k_edit do:
//
//	's|'t|'re|'ve|'m|'ll|'d
//	 ?\p{L}+
//	 ?\p{N}+
//	 ?[^\s\p{L}\p{N}]+
//	\s+(?!\S)
//	\s+
func splitGPT2(text string, at int) int {
	if size := contraction(text, at); size > 0 {
		return at + size
	}
	start := at
	if text[at] == ' ' && at+1 < len(text) {
		start++
	}
	for _, run := range [...]class{letter, number, other} {
		if end := runEnd(text, start, run); end > start {
			return end
		}
	}
	end, last, _ := spaces(text, at)
	return blankEnd(text, at, end, last)
}

// contraction returns the size of 's, 't, 're, 've, 'm, 'll or 'd at text[at:],
// or 0.
func contraction(text string, at int) int {
	if at+1 >= len(text) || text[at] != '\'' {
		return 0
	}
	switch text[at+1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if at+2 >= len(text) {
		return 0
	}
	switch text[at+1 : at+3] {
	case "re", "ve", "ll":
		return 3
	}
	return 0
}

// foldedContraction is contraction in any case. As in Unicode's case folding, the
// long s (U+017F) is an s: OpenAI's engine folds so, tiktoken-go's does not.
func foldedContraction(text string, at int) int {
	if at+1 >= len(text) || text[at] != '\'' {
		return 0
	}
	first := text[at+1] | 0x20
	switch first {
	case 's', 't', 'm', 'd':
		return 2
	}
	if at+2 >= len(text) {
		return 0
	}
	if text[at+1:at+3] == "\u017f" {
		return 3
	}
	second := text[at+2] | 0x20
	if (first == 'r' || first == 'v') && second == 'e' || first == 'l' && second == 'l' {
		return 3
	}
	return 0
}

// digitsEnd ends \p{N}{1,3} whose first code point ends at text[at:].
func digitsEnd(text string, at int) int {
	for range 2 {
		if at == len(text) {
			break
		}
		c, size := classAt(text, at)
		if c&number == 0 {
			break
		}
		at += size
	}
	return at
}

// symbolsStart returns where the symbols of " ?[^\s\p{L}\p{N}]+" start if that
// matches at text[at:], whose first code point is of class c; else -1.
func symbolsStart(text string, at int, c class) int {
	if c&other != 0 {
		return at
	}
	if text[at] != ' ' || at+1 == len(text) {
		return -1
	}
	if next, _ := classAt(text, at+1); next&other == 0 {
		return -1
	}
	return at + 1
}

// linesEnd ends white space at text[at:] after its last newline, or where
// blankEnd does if it has none.
func linesEnd(text string, at int) int {
	end, last, line := spaces(text, at)
	if line > at {
		return line
	}
	return blankEnd(text, at, end, last)
}

// spaces scans the run of white space at text[at:]: where it ends, where its
// last code point starts, and where its last newline ends (at if it has none).
func spaces(text string, at int) (end, last, line int) {
	end, last, line = at, at, at
	for end < len(text) {
		c, size := classAt(text, end)
		if c&space == 0 {
			break
		}
		last = end
		end += size
		if c&newline != 0 {
			line = end
		}
	}
	return end, last, line
}

// blankEnd ends `\s+(?!\S)|\s+` on the white space text[at:end], whose last code
// point starts at last: where more text follows, that one is left to it unless
// it is all there is.
func blankEnd(text string, at, end, last int) int {
	if end < len(text) && last > at {
		return last
	}
	return end
}

// replaceInvalid returns text with U+FFFD for each byte that is not part of valid
// UTF-8, as a conversion to runes and back does.
func replaceInvalid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	valid := make([]byte, 0, len(text)+len(text)/4)
	for _, r := range text {
		valid = utf8.AppendRune(valid, r)
	}
	return string(valid)
}
