package pricing

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// maxModelName is the longest model name in bytes that is looked up. Names come from clients.
const maxModelName = 256

// pattern stands for the releases of one model.
type pattern[T any] struct {
	text  string // folded
	infix bool
	value T
}

// matcher finds what is known of a model name: whole names first, then the longest prefix, then the longest infix. There is
// no cache of what was looked up: patterns are few, and a cache of names that clients choose would be theirs to fill.
type matcher[T any] struct {
	names    map[string]T // by their folds
	patterns []pattern[T]
}

func (m *matcher[T]) find(model string) (value T, ok bool) {
	model = names.Fold(model)
	if value, ok = m.names[model]; ok {
		return value, true
	}
	model = baseOfFineTune(model)
	for i := range m.patterns {
		if m.patterns[i].matches(model) {
			return m.patterns[i].value, true
		}
	}
	return value, false
}

// addName enters a whole name, in any case. The first to take a name keeps it.
func (m *matcher[T]) addName(name string, value T) {
	if m.names == nil {
		m.names = map[string]T{}
	}
	key := names.Fold(name)
	if _, taken := m.names[key]; !taken {
		m.names[key] = value
	}
}

func (m *matcher[T]) addPattern(text string, infix bool, value T) {
	m.patterns = append(m.patterns, pattern[T]{text: names.Fold(text), infix: infix, value: value})
}

// sort puts patterns in the order of their search: prefixes first, long before short, so that the most specific wins.
func (m *matcher[T]) sort() {
	slices.SortStableFunc(m.patterns, func(a, b pattern[T]) int {
		switch {
		case !a.infix && b.infix:
			return -1
		case a.infix && !b.infix:
			return 1
		case len(a.text) != len(b.text):
			return len(b.text) - len(a.text)
		}
		return strings.Compare(a.text, b.text)
	})
}

func (p *pattern[T]) matches(model string) bool {
	if !p.infix {
		rest, ok := strings.CutPrefix(model, p.text)
		return ok && isRelease(rest)
	}
	before, rest, ok := strings.Cut(model, p.text)
	return ok && isRelease(rest) && (before == "" || strings.ContainsRune("/.:@-_", rune(before[len(before)-1])))
}

// isRelease says whether rest, which follows a pattern, is nothing or names a release: dates, versions and words, each
// after a separator, as in "-2024-08-06", "@20240620", "-preview-05-20", "-v1:0", "-latest". A lone "-7" is none:
// claude-sonnet-4-7 would be another model than claude-sonnet-4.
func isRelease(rest string) bool {
	for rest != "" {
		separator := rest[0]
		if separator != '-' && separator != '@' && separator != ':' {
			return false
		}
		part := nextPart(rest[1:])
		rest = rest[1+len(part):]
		switch {
		case part == "latest", part == "preview", part == "exp", part == "beta":
		case separator == ':' && isDigits(part):
		case len(part) > 1 && part[0] == 'v' && isDigits(part[1:]):
		case isDigits(part) && (len(part) == 3 || len(part) == 6 || len(part) == 8):
		case isDigits(part) && len(part) == 4:
			rest = cutDay(cutDay(rest))
		case isDigits(part) && len(part) == 2 && len(rest) > 2 && rest[0] == '-' && isDigits(nextPart(rest[1:])):
			rest = cutDay(rest)
		default:
			return false
		}
	}
	return true
}

// nextPart is what comes before the next separator.
func nextPart(s string) string {
	if i := strings.IndexAny(s, "-@:"); i >= 0 {
		return s[:i]
	}
	return s
}

// cutDay cuts the next part of a date off: "-" and two digits.
func cutDay(rest string) string {
	if len(rest) >= 3 && rest[0] == '-' && len(nextPart(rest[1:])) == 2 && isDigits(rest[1:3]) {
		return rest[3:]
	}
	return rest
}

// baseOfFineTune cuts what the owner of a fine-tuned model chose out of its name: "ft:gpt-4o-2024-08-06:acme::abc" is
// priced as "ft:gpt-4o-2024-08-06", and Azure's "gpt-4o-mini-2024-07-18.ft-abc" as "gpt-4o-mini-2024-07-18.ft-".
func baseOfFineTune(model string) string {
	if rest, ok := strings.CutPrefix(model, "ft:"); ok {
		base, _, _ := strings.Cut(rest, ":")
		return model[:len("ft:")+len(base)]
	}
	if base, _, ok := strings.Cut(model, ".ft-"); ok {
		return model[:len(base)+len(".ft-")]
	}
	return model
}
