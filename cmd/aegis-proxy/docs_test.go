package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// root is the project's.
const root = "../.."

// pages are the documents whose links and names must hold.
var pages = []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/transparency.md", "docs/actions.md", "docs/admin.md", "docs/agents.md", "docs/decision.md", "docs/routes.md",
	"docs/operating.md", "docs/denials.md", "docs/performance.md", "docs/ledger.md", "docs/configuration.md", "docs/clients.md", "docs/dialects.md"}

var (
	link = regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	name = regexp.MustCompile("`(?:\\w+\\.)*([A-Za-z]\\w*)`") // the last part of a dotted one
	word = regexp.MustCompile(`\w+`)

	heading     = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor = regexp.MustCompile(`[^\w\- ]`)
)

// notOurs are a file, and headers that the code leaves to net/http.
var notOurs = []string{"Dockerfile", "TE", "trailers", "Trailer", "Forwarded"}

func TestDocsLinkToWhatIsThere(t *testing.T) {
	for _, page := range pages {
		for _, match := range link.FindAllStringSubmatch(read(t, page), -1) {
			target, anchor := match[1], strings.TrimPrefix(match[2], "#")
			if strings.Contains(target, "://") {
				continue
			}
			to := page
			if target != "" {
				to = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, to)); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s links to %s, which is not there", page, target)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s links to %s, which has no heading for #%s", page, to, anchor)
			}
		}
	}
}

// anchors are the names by which the headings of a page are linked to.
func anchors(text string) (list []string) {
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		list = append(list, strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return list
}

// TestDocsNameWhatIsInTheCode takes every word in backquotes for a name of the
// code, or of something that the code reads or writes.
func TestDocsNameWhatIsInTheCode(t *testing.T) {
	known := source(t)
	for _, page := range pages {
		for _, match := range name.FindAllStringSubmatch(read(t, page), -1) {
			if !known[match[1]] && !slices.Contains(notOurs, match[1]) {
				t.Errorf("%s names %s, which is not in the code", page, match[0])
			}
		}
	}
}

// mostReadme is how many lines people read before they know what it is.
const mostReadme = 200

func TestReadmeIsShort(t *testing.T) {
	if lines := strings.Count(read(t, "README.md"), "\n"); lines > mostReadme {
		t.Errorf("README.md has %d lines, more than %d: what is not for everybody belongs into docs", lines, mostReadme)
	}
}

// TestDocsNameEveryFlagOfServe keeps the table of flags whole.
func TestDocsNameEveryFlagOfServe(t *testing.T) {
	page := read(t, "docs/operating.md")
	serve, _, err := newRoot().Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	serve.Flags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(page, "`--"+f.Name+"`") {
			t.Errorf("docs/operating.md does not say what --%s does", f.Name)
		}
	})
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// source is every word in the project's Go code, the policy example and the
// Makefile.
func source(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return skipHidden(entry)
		case !isSource(path):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, w := range word.FindAllString(string(text), -1) {
			known[w] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return known
}

func skipHidden(folder fs.DirEntry) error {
	if folder.Name() != ".." && strings.HasPrefix(folder.Name(), ".") {
		return fs.SkipDir
	}
	return nil
}

func isSource(path string) bool {
	switch filepath.Ext(path) {
	case ".go", ".yaml", ".yml":
		return true
	}
	return filepath.Base(path) == "Makefile"
}
