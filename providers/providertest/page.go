package providertest

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// Page holds what a page has between two marks against what it should have. With the flag
// -update of the test's package it is written there.
func Page(t *testing.T, page, begin, end, want string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(text), begin)
	got, tail, closed := strings.Cut(rest, end)
	switch {
	case !found || !closed:
		t.Fatalf("%s has not the marks %q and %q", page, begin, end)
	case got == want:
	case flag.Lookup("update").Value.String() != "true":
		t.Fatalf("%s is not of today; run this test with -update", page)
	default:
		if err := os.WriteFile(page, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Explained are the names of one kind that a dialect reads, and how what each brings is
// bounded.
type Explained struct {
	Title string
	Known []string // in order
	How   map[string]string
}

// Explain is the page's table of each kind. A name that is not explained, or explained and
// not read, fails the test.
func Explain(t *testing.T, kinds []Explained) string {
	t.Helper()
	var b strings.Builder
	for _, kind := range kinds {
		if named := slices.Sorted(maps.Keys(kind.How)); !slices.Equal(named, kind.Known) {
			t.Errorf("%s: the page has %v, the dialect reads %v", kind.Title, named, kind.Known)
		}
		fmt.Fprintf(&b, "\n### %s\n\n| name | bounded by |\n|---|---|\n", kind.Title)
		alike := map[string][]string{}
		for _, name := range kind.Known {
			alike[kind.How[name]] = append(alike[kind.How[name]], "`"+name+"`")
		}
		for _, how := range slices.SortedFunc(maps.Keys(alike), func(x, y string) int { return strings.Compare(alike[x][0], alike[y][0]) }) {
			fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(alike[how], " "), how)
		}
	}
	return b.String()
}
