package call_test

import (
	"slices"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// TestWithdraw: tools that are taken out are offered no more, and without any left none
// are needed. What another attempt has stays.
func TestWithdraw(t *testing.T) {
	for _, row := range []struct {
		name         string
		out          []string
		tools, needs []string
	}{
		{"none", nil, []string{"a", "search", "search"}, []string{"chat", "tools"}},
		{"one that is there twice", []string{"search"}, []string{"a"}, []string{"chat", "tools"}},
		{"all", []string{"search", "a"}, []string{}, []string{"chat"}},
	} {
		given := call.Facts{Tools: []string{"a", "search", "search"}, Needs: []string{"chat", "tools"}}
		f := given
		f.Withdraw(row.out)
		if !slices.Equal(f.Tools, row.tools) || !slices.Equal(f.Needs, row.needs) || len(given.Needs) != 2 || given.Tools[1] != "search" {
			t.Errorf("%s: %v and %v, of %v", row.name, f.Tools, f.Needs, given)
		}
	}
}

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
