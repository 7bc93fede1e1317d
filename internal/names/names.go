// Package names compares names that clients and servers write as they like in
// upper or lower case: of models, of tools, of JSON members. There is one way to
// do so for all: two names are one where they have the same Fold. Nearest finds the
// name that a slip was meant for.
package names

import (
	"unicode"
	"unicode/utf8"
)

// Fold returns name with one letter in place of all that differ from it by case
// alone, as Unicode's simple folding has it; ASCII letters become small ones. So
// names that strings.EqualFold takes for one have one Fold, and the Kelvin sign
// is a k, the long s an s. The dotless and the dotted I are an i too: Java and the
// Turkish locale take them for one. It is name itself where nothing changes.
func Fold(name string) string {
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return string(AppendFold(make([]byte, 0, len(name)), name))
		}
	}
	return name
}

// AppendFold appends Fold(name) to dst.
func AppendFold(dst []byte, name string) []byte {
	start := len(dst)
	dst = append(dst, name...)
	for i, c := range dst[start:] {
		if c >= utf8.RuneSelf {
			return appendFoldLong(dst[:start+i], name[i:])
		}
		dst[start+i] = lower(c)
	}
	return dst
}

// appendFoldLong is AppendFold of a name that is not all ASCII.
func appendFoldLong(dst []byte, name string) []byte {
	for i := 0; i < len(name); {
		if c := name[i]; c < utf8.RuneSelf {
			dst = append(dst, lower(c))
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, name[i]) // no UTF-8: itself alone
		} else {
			dst = utf8.AppendRune(dst, foldRune(r))
		}
		i += n
	}
	return dst
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// foldLong folds a name that is not all ASCII; the others are compared as they
// are read.
func foldLong(name string) string {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return Fold(name)
		}
	}
	return name
}

// foldRune is the least of the letters that differ by case alone, or if that is
// in ASCII the small one.
func foldRune(r rune) rune {
	if r == 'ı' || r == 'İ' {
		return 'i'
	}
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		least = min(least, other)
	}
	if least < utf8.RuneSelf {
		return rune(lower(byte(least)))
	}
	return least
}

// Match reports whether a name fits a pattern, in which * stands for any run of
// characters and everything else for itself in any case. It takes time
// proportional to the product of both lengths at most.
func Match(pattern, name string) bool {
	pattern, name = foldLong(pattern), foldLong(name)
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && lower(pattern[p]) == lower(name[n]):
			p, n = p+1, n+1
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
