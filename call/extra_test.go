package call_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// TestPatternOfAName: what a denial says to write admits the extra, and an allowance can hold it.
func TestPatternOfAName(t *testing.T) {
	long := strings.Repeat("é", 100)
	for _, row := range []struct{ name, want string }{
		{"top_k", "top_k"},
		{"a b", "a b"},
		{"größe", "größe"},
		{"foo.*", "foo.*"},
		{"a*b", "a*"},
		{"*", ""},
		{"a\nb", "a*"},
		{"a\xff", "a*"},
		{"\x00", ""},
		{"", ""},
		{strings.Repeat("x", 160), strings.Repeat("x", 160)},
		{strings.Repeat("x", 161), strings.Repeat("x", 159) + "*"},
		{long, strings.Repeat("é", 79) + "*"},
	} {
		if got := (call.Extra{Name: row.name}).Pattern(); got != row.want {
			t.Errorf("%q: %q, want %q", row.name, got, row.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		e := call.Extra{Kind: call.ExtraTool, Name: rapid.OneOf(rapid.String(), rapid.StringN(100, 200, -1), rapid.StringMatching(`[a-z*\n]{1,170}`)).Draw(t, "name")}
		pattern, allow := e.Pattern(), &call.Allow{}
		if pattern == "" {
			return
		}
		if allow.Names[e.Kind] = []string{pattern}; !allow.Has(e.Kind, e.Name) || !call.IsPattern(pattern) {
			t.Errorf("%q: %q does not admit it, or no allowance holds it", e.Name, pattern)
		}
	})
}
