package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Bounds of what a policy may say.
const (
	maxNameBytes    = 64
	maxPatternBytes = 96
	maxTokens       = 100_000_000
	maxNames        = 1_000_000            // live runs or end users of a tenant
	maxBudgets      = budget.MaxClaims - 1 // one is an action's own
	maxCount        = 1_000_000_000        // requests or slots of one limit

	minLength   = time.Minute // of a rolling window, and of a run's life
	maxLength   = 366 * 24 * time.Hour
	maxDrain    = time.Hour
	maxWait     = 10 * time.Minute
	maxConnect  = 5 * time.Minute
	maxResponse = budget.MaxLeaseLife
)

// require reports whether an entry was given, and asks for it if not.
func (r *reader) require(in *yaml.Node, e *entry, field, want string) bool {
	if e.given() {
		return true
	}
	r.reject(in, "%s is missing; %s", field, want)
	return false
}

// name returns the text of a scalar that names something.
func (r *reader) name(s *scalar) string {
	text, ok := r.text(s)
	if !ok {
		return ""
	}
	if !isName(text) {
		r.refuse(&s.entry, "%s is no name; use 1 to %d letters, digits, \".\", \"_\", \"-\" or \"@\"", quote(text), maxNameBytes)
		return ""
	}
	return text
}

// IsName reports whether a text is one that things have as their name: 1 to 64 letters,
// digits, ".", "_", "-" or "@".
func IsName(text string) bool { return isName(text) }

func isName(text string) bool {
	return text != "" && len(text) <= maxNameBytes && only(text, "._-@")
}

// only reports whether a text holds nothing but ASCII letters, digits and the
// marks given.
func only(text, marks string) bool {
	for i := range len(text) {
		c := text[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' {
			continue
		}
		if strings.IndexByte(marks, c) < 0 {
			return false
		}
	}
	return true
}

// label returns a name, or what stood before where none is given.
func (r *reader) label(s *scalar, before string) string {
	if !s.given() {
		return before
	}
	return r.name(s)
}

// patternMarks are what patterns hold beside letters and digits.
const patternMarks = "._:/@=*-"

// pattern returns the text of a scalar that Match can use as a pattern.
func (r *reader) pattern(s *scalar) (string, bool) {
	text, ok := r.text(s)
	if !ok {
		return "", false
	}
	if text == "" || len(text) > maxPatternBytes || !only(text, patternMarks) {
		r.refuse(&s.entry, "%s is no pattern; use 1 to %d letters, digits, \".\", \"_\", \":\", \"/\", \"@\", \"=\", \"-\", and \"*\" for any text",
			quote(text), maxPatternBytes)
		return "", false
	}
	return text, true
}

// patterns returns a list of patterns, or what stood before.
func (r *reader) patterns(w *words, before []string) []string {
	if !w.given() {
		return before
	}
	list := []string{}
	for _, s := range r.each(w) {
		if p, ok := r.pattern(&s); ok {
			list = append(list, p)
		}
	}
	return list
}

// flag returns true or false, or what stood before.
func (r *reader) flag(s *scalar, before bool) bool {
	text, ok := r.text(s)
	switch {
	case !ok:
		return before
	case text == "true":
		return true
	case text == "false":
		return false
	}
	r.refuse(&s.entry, "%s is neither true nor false; write one of them", quote(text))
	return before
}

// choice returns the one of the allowed words that is given, or what stood
// before.
func choice[T ~string](r *reader, s *scalar, before T, allowed ...T) T {
	text, ok := r.text(s)
	if !ok {
		return before
	}
	if !slices.Contains(allowed, T(text)) {
		r.refuse(&s.entry, "%s is not known; write %s", quote(text), oneOf(allowed))
		return before
	}
	return T(text)
}

func oneOf[T ~string](words []T) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	last := len(list) - 1
	if last < 1 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:last], ", ") + " or " + list[last]
}

// count returns a whole number within bounds, or what stood before.
func (r *reader) count(s *scalar, before, low, high int64) int64 {
	text, ok := r.text(s)
	if !ok {
		return before
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		r.refuse(&s.entry, "%s does not fit; write a whole number from %d to %d", quote(text), low, high)
		return before
	}
	return n
}

// duration returns a time span within bounds, or what stood before.
func (r *reader) duration(s *scalar, before, low, high time.Duration) time.Duration {
	text, ok := r.text(s)
	if !ok {
		return before
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < low || d > high || d%time.Millisecond != 0 {
		r.refuse(&s.entry, "%s does not fit; write whole milliseconds or more, from %s to %s, as in 500ms, 90s, 15m or 36h",
			quote(text), short(low), short(high))
		return before
	}
	return d
}

// short writes a duration without the units that are zero.
func short(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// usd returns an amount above zero in nano-USD, or what stood before.
func (r *reader) usd(s *scalar, before int64) int64 {
	text, ok := r.text(s)
	if !ok {
		return before
	}
	nano, err := ParseUSD(text)
	if err == nil && nano == 0 {
		err = fmt.Errorf("0 would deny everything; write at least 0.000000001, or remove the key to deny a caller")
	}
	if err != nil {
		r.refuse(&s.entry, "%v", err)
		return before
	}
	return nano
}

// zone returns a time zone, or what stood before.
func (r *reader) zone(s *scalar, before *time.Location) *time.Location {
	text, ok := r.text(s)
	if !ok {
		return before
	}
	loc, err := loadZone(text)
	if err != nil {
		r.refuse(&s.entry, "%s is no time zone; write a name of the IANA database, as in UTC or Europe/Berlin", quote(text))
		return before
	}
	return loc
}
