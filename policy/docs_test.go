package policy_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestExampleIsValid(t *testing.T) {
	if _, err := policy.Load("../policy.example.yaml"); err != nil {
		t.Fatal(err)
	}
}

func TestExampleShowsEveryField(t *testing.T) {
	data, err := os.ReadFile("../policy.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Load(data, &doc); err != nil {
		t.Fatal(err)
	}
	shown := pathsOf(doc.Content[0], "")
	for _, field := range policy.Fields() {
		if isRepeated(field) {
			continue
		}
		if !slices.Contains(shown, field) {
			t.Errorf("policy.example.yaml does not show %s", field)
		}
	}
}

// isRepeated reports whether a field stands elsewhere too: those of a plan are those of
// a tenant, those of a service's or variant's price list are those of a price, and what a
// dialect allows are an upstream's.
func isRepeated(field string) bool {
	return strings.HasPrefix(field, "upstreams.dialects.allow.") || strings.HasPrefix(field, "plans.") || strings.HasPrefix(field, "models.price.services.") || strings.HasPrefix(field, "models.price.variants.")
}

func pathsOf(n *yaml.Node, path string) []string {
	var all []string
	switch n.Kind {
	case yaml.SequenceNode:
		for _, element := range n.Content {
			all = append(all, pathsOf(element, path)...)
		}
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			field := path + n.Content[i].Value
			all = append(all, field)
			all = append(all, pathsOf(n.Content[i+1], field+".")...)
		}
	}
	return all
}

// The configuration guide has a table for each mapping of the file, under a
// heading that names its path.
func TestGuideDescribesEveryField(t *testing.T) {
	data, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	section := ""
	for line := range strings.Lines(string(data)) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			section = headingPath(heading)
		}
		if row, ok := strings.CutPrefix(line, "| `"); ok {
			field, _, _ := strings.Cut(row, "`")
			described[section+field] = true
		}
	}
	known := policy.Fields()
	for u := range call.Units {
		known = append(known, "models.price."+u.String())
	}
	for _, field := range known {
		if !isRepeated(field) && !described[field] {
			t.Errorf("docs/configuration.md has no row for %s", field)
		}
	}
	for field := range described {
		if !slices.Contains(known, field) {
			t.Errorf("docs/configuration.md describes %s, which the policy does not have", field)
		}
	}
}

// headingPath returns the path in a heading's backquotes with a dot behind
// it, as in "tenants.budgets."; "" without.
func headingPath(heading string) string {
	_, rest, ok := strings.Cut(heading, "`")
	if !ok {
		return ""
	}
	path, _, _ := strings.Cut(rest, "`")
	return path + "."
}

func TestGuideNamesEveryCapability(t *testing.T) {
	data, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range call.Needs {
		if !strings.Contains(string(data), "`"+c+"`") {
			t.Errorf("docs/configuration.md does not name capability %s", c)
		}
	}
}

// The problems that the guide shows are those that a file like this gives.
func TestGuideShowsRealProblems(t *testing.T) {
	guide, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	broken, err := os.ReadFile("testdata/broken.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = policy.Parse("policy.yaml", broken)
	real := strings.Split(err.Error(), "\n")
	shown := 0
	for line := range strings.Lines(string(guide)) {
		if strings.HasPrefix(line, "policy.yaml:") {
			shown++
			if !slices.Contains(real, strings.TrimSpace(line)) {
				t.Errorf("no such problem: %s", line)
			}
		}
	}
	if shown == 0 {
		t.Error("the guide shows no problem")
	}
}
