package anthropic

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Tokens of one image, at most, with its frame. It is fitted into a long edge of 1568
// pixels and 1568 tokens by models before 4.7, whose older rule came to 1600, and into
// 2576 pixels and 4784 tokens by all later ones
// (https://platform.claude.com/docs/en/build-with-claude/vision).
const (
	frameTokens      = 64
	smallImageTokens = 1600 + frameTokens
	largeImageTokens = 4784 + frameTokens
)

// imageTokens bounds one image for a model. Of a model that is not known to be one of
// Claude's, or by its name is of no known version, it is the most that any takes; where
// somebody else serves it, what the policy says. 0: nobody knows.
func imageTokens(model string, t *providers.Terms) int64 {
	_, claude, ok := strings.Cut(strings.ToLower(model), "claude")
	switch {
	case ok && isBefore(claude, 4, 7):
		return smallImageTokens
	case ok || slices.Contains(ownHosts, t.Provider):
		return largeImageTokens
	}
	return t.MaxImage
}

// isBefore reports whether a model's name, behind "claude", tells a version below this
// one: "-3-5-sonnet-20240620", "-opus-4.6", "-sonnet-4@20250514".
func isBefore(name string, major, minor int) bool {
	words := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("-.@:_/", r) })
	for i, word := range words {
		if n := versionIn(word); n >= 0 {
			next := 0
			if i+1 < len(words) {
				next = max(0, versionIn(words[i+1]))
			}
			return n < major || n == major && next < minor
		}
	}
	return false
}

// versionIn is the part of a version that a word is; -1 if it is none. Dates are longer.
func versionIn(word string) int {
	const digits = 2
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 || len(word) > digits {
		return -1
	}
	return n
}
