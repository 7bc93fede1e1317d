package call_test

import (
	"slices"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// TestAddImplied: what follows from other facts is added once, in front.
func TestAddImplied(t *testing.T) {
	for _, row := range []struct {
		name  string
		facts call.Facts
		want  []string
	}{
		{"nothing but the operation", call.Facts{}, []string{"chat"}},
		{"an operation of its own", call.Facts{Endpoint: call.Embeddings}, []string{"embeddings"}},
		{"one of another API", call.Facts{Endpoint: "messages"}, []string{"chat"}},
		{"all that can follow", call.Facts{Stream: true, Tools: []string{""}, Choices: 2, Needs: []string{"images"}}, []string{"chat", "stream", "tools", "multiple_choices", "images"}},
		{"what was told already", call.Facts{Stream: true, Choices: 1, Needs: []string{"images", "stream"}}, []string{"chat", "images", "stream"}},
	} {
		given := slices.Clone(row.facts.Needs)
		f := row.facts
		if f.AddImplied(); !slices.Equal(f.Needs, row.want) || !slices.Equal(row.facts.Needs, given) {
			t.Errorf("%s: %v, want %v", row.name, f.Needs, row.want)
		}
	}
}
