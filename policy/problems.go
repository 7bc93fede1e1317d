package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxProblems bounds how many problems of one file are told.
const maxProblems = 100

// maxQuoted bounds, in bytes, what a message repeats of a text from outside.
const maxQuoted = 64

// problem is one thing wrong with the policy file.
type problem struct {
	file         string
	line, column int
	message      string
}

func (p problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.file, p.line, p.column, p.message)
}

// problems is everything wrong with one policy file, as one error of a line
// each, in the order of the file.
type problems []problem

func (ps *problems) add(p problem) { *ps = append(*ps, p) }

// err returns the problems as an error, or nil if there are none.
func (ps problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	return ps
}

func (ps problems) Error() string {
	shown := ps[:min(len(ps), maxProblems)]
	lines := make([]string, 0, len(shown)+1)
	for _, p := range shown {
		lines = append(lines, p.String())
	}
	if more := len(ps) - len(shown); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// quote writes a text from outside for a message: escaped, and cut if long.
func quote(text string) string {
	if len(text) > maxQuoted {
		return strconv.QuoteToASCII(text[:maxQuoted]) + "..."
	}
	return strconv.QuoteToASCII(text)
}
