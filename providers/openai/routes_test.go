package openai

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// operations are those of OpenAI's own description, and those that it does not have, as
// method and path. Those that differ in their query alone are one.
func operations(t *testing.T) (list []string) {
	t.Helper()
	list = operationsIn(t, "testdata/operations.txt")
	if len(list) != 288 {
		t.Fatalf("%d operations, the document has 288", len(list))
	}
	list = append(list, operationsIn(t, "testdata/newer.txt")...)
	slices.Sort(list)
	return slices.Compact(list)
}

func operationsIn(t *testing.T, file string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); words[0] != "#" {
			path, _, _ := strings.Cut(words[1], "?")
			list = append(list, words[0]+" "+path)
		}
	}
	return list
}

// TestRoutesAreTheAPIs: each operation of the API is in one list, and none in two, and
// no list has what the API has not.
func TestRoutesAreTheAPIs(t *testing.T) {
	var listed []string
	for _, r := range routes {
		listed = append(listed, r.Method+" "+strings.Replace(r.Path, "...}", "}", 1))
		if (r.Kind == providers.Denied) != (r.Why != "") {
			t.Errorf("%s %s: of the kind %d, and the reason is %q", r.Method, r.Path, r.Kind, r.Why)
		}
	}
	slices.Sort(listed)
	known := operations(t)
	for _, op := range known {
		if !slices.Contains(listed, op) {
			t.Errorf("%s is in no list", op)
		}
	}
	for i, op := range listed {
		if i > 0 && listed[i-1] == op {
			t.Errorf("%s is in two lists", op)
		}
		if !slices.Contains(known, op) {
			t.Errorf("%s is listed, and the API does not have it", op)
		}
	}
}

// TestRoutesFindTheirOwn: a request for an operation finds that one, with and without a
// version, whatever its ids are, also where one is the name of something else.
func TestRoutesFindTheirOwn(t *testing.T) {
	name := regexp.MustCompile(`\{[^}]*\}`)
	for _, r := range routes {
		for _, id := range []string{"x1", "a%2Fb"} {
			for _, version := range []string{"", "/v1", "/v1beta/openai"} {
				path := version + name.ReplaceAllString(r.Path, id)
				op, ok := Dialect{}.Match(providers.Head{Method: r.Method, Path: path})
				if !ok || op.Route != r {
					t.Errorf("%s %s finds %s %s", r.Method, path, op.Method, op.Path)
				}
			}
		}
	}
}
