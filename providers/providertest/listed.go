package providertest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Listed holds findings against the section of a page that has a dialect's name as its
// heading. In it each verdict is a heading, with its reasons, and a list of recordings:
//
//	### unbounded
//	- `id`: why
//
// A recording of the page that was found otherwise, and a verdict that the page does not
// explain, fail the test. Findings of recordings that the page does not know are told:
// there are others than those that it was made from.
func Listed(t *testing.T, page, dialect string, recordings []*Recording, findings []Finding) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	verdicts, listed := section(string(text), dialect)
	for _, r := range recordings {
		if _, ok := listed[r.ID]; ok && !slices.ContainsFunc(findings, func(f Finding) bool { return f.ID == r.ID }) {
			t.Errorf("%s is read exactly, and %s lists it", r.ID, page)
		}
	}
	var unlisted []string
	for _, f := range findings {
		verdict, ok := listed[f.ID]
		switch {
		case ok && verdict != f.Verdict:
			t.Errorf("%s is %s, and %s lists it as %s: %s", f.ID, f.Verdict, page, verdict, f.Why)
		case !slices.Contains(verdicts, f.Verdict):
			t.Errorf("%s is %s, which %s does not explain: %s", f.ID, f.Verdict, page, f.Why)
		case !ok:
			unlisted = append(unlisted, fmt.Sprintf("%s\n- `%s`: %s", f.Verdict, f.ID, f.Why))
		}
	}
	slices.Sort(unlisted)
	if len(unlisted) > 0 {
		t.Logf("not listed:\n%s", strings.Join(unlisted, "\n"))
	}
}

// section reads the verdicts of a dialect's section, and the recordings under each.
func section(text, dialect string) (verdicts []Verdict, listed map[string]Verdict) {
	listed = map[string]Verdict{}
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			inside = strings.Contains(heading, "`"+dialect+"`")
		}
		if !inside {
			continue
		}
		if heading, ok := strings.CutPrefix(line, "### "); ok {
			verdicts = append(verdicts, Verdict(heading))
		}
		if entry, ok := strings.CutPrefix(line, "- `"); ok && len(verdicts) > 0 {
			id, _, _ := strings.Cut(entry, "`")
			listed[id] = verdicts[len(verdicts)-1]
		}
	}
	return verdicts, listed
}
