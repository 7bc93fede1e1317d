package names_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

func TestFold(t *testing.T) {
	for _, row := range []struct{ name, want string }{
		{"", ""},
		{"gpt-4o-mini", "gpt-4o-mini"},
		{"GPT-4o-Mini", "gpt-4o-mini"},
		{"max_to\u212aens", "max_tokens"},
		{"MAX_TOKEN\u017f", "max_tokens"},
		{"l\u0131mit l\u0130mit", "limit limit"},
		{"ÄÖ", "ÄÖ"},
		{"äö", "ÄÖ"},
		{"ΣΑΣ", "ΣΑΣ"},
		{"σας", "ΣΑΣ"},
		{"a\xffB\xfe", "a\xffb\xfe"},
		{"ａ", "Ａ"},
		{"K\x00", "k\x00"},
	} {
		if got := names.Fold(row.name); got != row.want {
			t.Errorf("Fold(%q) = %q, want %q", row.name, got, row.want)
		}
	}
}

// TestFoldIsEqualFold: whatever strings.EqualFold takes for one has one Fold, for
// every letter that there is.
func TestFoldIsEqualFold(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		want := names.Fold(string(r))
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			if got := names.Fold(string(other)); got != want {
				t.Fatalf("%U folds to %q and %U to %q", r, want, other, got)
			}
		}
		if again := names.Fold(want); again != want {
			t.Fatalf("%U folds to %q, and that to %q", r, want, again)
		}
		if !strings.EqualFold(string(r), want) && r != 'ı' && r != 'İ' {
			t.Fatalf("%U is not %q", r, want)
		}
	}
}

func TestMatch(t *testing.T) {
	cases := []struct {
		pattern, name string
		want          bool
	}{
		{"gpt-4o", "gpt-4o", true},
		{"gpt-4o", "gpt-4o-mini", false},
		{"gpt-4o*", "gpt-4o", true},
		{"gpt-*-mini", "gpt-4o-mini", true},
		{"gpt-*-mini", "gpt-4o", false},
		{"*", "", true},
		{"", "", true},
		{"", "a", false},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"**x", "xx", true},
		{"*/gpt", "openai/gpt", true},
		{"gpt-4*", "GPT-4o-mini", true},
		{"GPT-4*", "gpt-4o-mini", true},
		{"gpt-4*", "ＧPT-4o", false},
		{"*-audio*", "gpt-4o-audio-preview", true},
		{"*-audio", "gpt-4o-audio-preview", false},
		{"a*b*c", "aXbYbZc", true},
		{"a*b*c", "aXbYbZ", false},
		{"a**c", "ac", true},
		{"*aab", "aaab", true},
		{"*kimi*", "moonshot/\u212aimi-K2", true},
		{"*-\u212a2", "kimi-k2", true},
	}
	for _, c := range cases {
		if got := names.Match(c.pattern, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

// TestMatchInAnyCase: a pattern fits a name or not, however both are written.
func TestMatchInAnyCase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[a-ckK*-]{0,8}`).Draw(t, "pattern")
		name := rapid.StringMatching(`[a-ckK\x{212A}-]{0,12}`).Draw(t, "name")
		want := names.Match(names.Fold(pattern), names.Fold(name))
		for _, as := range []func(string) string{strings.ToUpper, strings.ToLower, func(s string) string { return s }} {
			if got := names.Match(as(pattern), as(name)); got != want {
				t.Fatalf("Match(%q, %q) = %v", as(pattern), as(name), got)
			}
		}
	})
}
