package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// class is the set of pattern classes that one code point belongs to.
type class uint8

const (
	upper   class = 1 << iota // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], what may open a word of o200k
	lower                     // [\p{Ll}\p{Lm}\p{Lo}\p{M}], what may close it
	letter                    // \p{L}
	number                    // \p{N}
	space                     // \s, the White_Space property
	newline                   // [\r\n]; space as well
	other                     // [^\s\p{L}\p{N}]; marks as well
)

// classOf is unset (zero) for no code point: whatever is in none of these
// tables is other.
var classOf = []struct {
	table *unicode.RangeTable
	class class
}{
	{unicode.Lu, upper | letter},
	{unicode.Lt, upper | letter},
	{unicode.Ll, lower | letter},
	{unicode.Lm, upper | lower | letter},
	{unicode.Lo, upper | lower | letter},
	{unicode.M, upper | lower | other},
	{unicode.N, number},
	{unicode.White_Space, space},
}

var asciiClass = func() (table [utf8.RuneSelf]class) {
	for c := range table {
		table[c] = slowClass(rune(c))
	}
	return table
}()

func slowClass(r rune) class {
	if r == '\r' || r == '\n' {
		return space | newline
	}
	for _, in := range classOf {
		if unicode.Is(in.table, r) {
			return in.class
		}
	}
	return other
}

// classAt returns the class and the size in bytes of the code point at
// text[at:], which must not be empty.
func classAt(text string, at int) (class, int) {
	if c := text[at]; c < utf8.RuneSelf {
		return asciiClass[c], 1
	}
	return wideClassAt(text, at)
}

func wideClassAt(text string, at int) (class, int) {
	r, size := utf8.DecodeRuneInString(text[at:])
	return wideClasses().of(r), size
}

// runEnd returns where the run of code points in any of the classes that
// begins at text[at:] ends; at itself if the run is empty.
func runEnd(text string, at int, classes class) int {
	for at < len(text) {
		c, size := classAt(text, at)
		if c&classes == 0 {
			return at
		}
		at += size
	}
	return at
}

// wideClasses replaces up to eight binary searches per code point.
var wideClasses = sync.OnceValue(func() *pageTable[class] { return newPageTable(allClasses()) })

func allClasses() []class {
	all := make([]class, unicode.MaxRune+1)
	for r := range all {
		all[r] = other
	}
	for _, in := range classOf {
		for _, run := range in.table.R16 {
			fill(all, rune(run.Lo), rune(run.Hi), rune(run.Stride), in.class)
		}
		for _, run := range in.table.R32 {
			fill(all, rune(run.Lo), rune(run.Hi), rune(run.Stride), in.class)
		}
	}
	return all
}

func fill(all []class, low, high, stride rune, c class) {
	for r := low; r <= high; r += stride {
		all[r] = c
	}
}
