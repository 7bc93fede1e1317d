package openai_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
)

// listedDenials are the kinds of recorded requests that docs/lists.md says are denied.
func listedDenials(t *testing.T) []string {
	page, err := os.ReadFile("../../docs/lists.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Recorded requests that are denied")
	var kinds []string
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) == 4 && !strings.HasPrefix(cells[1], "-") && cells[1] != " what " {
			kinds = append(kinds, strings.TrimSpace(strings.ReplaceAll(cells[1], "`", "")))
		}
	}
	if len(kinds) == 0 {
		t.Fatal("docs/lists.md lists none")
	}
	return kinds
}

// TestRecordedRequestsPass: what clients were recorded to send passes the lists of the
// provider that they sent it to, or is of a kind that docs/lists.md has.
func TestRecordedRequestsPass(t *testing.T) {
	kinds := listedDenials(t)
	for _, r := range providertest.Recordings(t, "testdata/recordings") {
		why := judged(r)
		if !slices.ContainsFunc(kinds, func(kind string) bool { return why == "" || strings.HasPrefix(why, kind) }) {
			t.Errorf("%s: %s", r.ID, why)
		}
	}
}

// judged says why a recorded request is refused or denied by its own provider's lists.
func judged(r *providertest.Recording) string {
	head, terms, ok := place(r)
	if !ok || len(r.Request.Bytes()) == 0 {
		return ""
	}
	op, _ := openai.Dialect{}.Match(head)
	request, err := openai.Dialect{}.Parse(op, head, r.Request.Bytes())
	if err != nil {
		return err.Error()
	}
	return noBound(request.(*openai.Request), providers.Terms{Provider: terms.Provider})
}
