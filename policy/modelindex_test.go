package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestFirstMatchRules compares what is found by the index with what is found by
// trying every entry in order.
func TestFirstMatchRules(t *testing.T) {
	word := rapid.StringMatching(`[aAkK\x{212a}-]{1,3}`)
	pattern := rapid.OneOf(word, rapid.Custom(func(t *rapid.T) string {
		return word.Draw(t, "before") + "*" + rapid.SampledFrom([]string{"", "a", "K"}).Draw(t, "after")
	}))
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(pattern, 1, 8).Draw(t, "models")
		var entries strings.Builder
		for _, match := range list {
			fmt.Fprintf(&entries, "  - {match: %q, upstreams: [up]}\n", match)
		}
		p, err := policy.Parse("test", []byte("generation: 1\nupstreams: [{name: up, base_url: \"http://up/v1\", provider: openai, cap_field: max_tokens}]\nmodels:\n"+
			entries.String()+"tenants: [{name: t, keys: [{id: k, sha256: \""+strings.Repeat("a", 64)+"\"}]}]\n"))
		if err != nil {
			t.Skip("not a policy: ", err)
		}
		name := word.Draw(t, "name")
		want := ""
		for _, match := range list {
			if names.Match(match, name) {
				want = match
				break
			}
		}
		got := ""
		if m := p.ModelFor(name); m != nil {
			got = m.Match
		}
		if got != want {
			t.Fatalf("%q is of entry %q, want %q", name, got, want)
		}
	})
}
