package agents

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/clients.md from a run of the whole matrix")

const (
	page      = "../../docs/clients.md"
	pageBegin = "<!-- made by make agents -->\n"
	pageEnd   = "<!-- end -->"
)

// writePage writes what was measured into the page.
func writePage(t *testing.T, results []result) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, begun := strings.Cut(string(text), pageBegin)
	old, tail, ended := strings.Cut(rest, pageEnd)
	if !begun || !ended {
		t.Fatalf("%s has no place for the table", page)
	}
	if err := os.WriteFile(page, []byte(head+pageBegin+tables(t, results, old)+pageEnd+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// denials are the cases whose text a person reads; the others are served.
var denials = []string{"exhausted", "refused", "ledger-down", "killed", "killed-tool"}

// tables are the one of what was served and the one of what was denied. Where a part of the
// matrix was run alone, rows of what was not run stay as they were.
func tables(t *testing.T, results []result, old string) string {
	t.Helper()
	served := slices.DeleteFunc(slices.Clone(cases), func(name string) bool { return slices.Contains(denials, name) })
	var out strings.Builder
	fmt.Fprintf(&out, "\n### Served\n\nRequests, and seconds from the program's start to its end, on a machine of two cores.\n\n| client | version | %s |\n|---|---%s|\n", strings.Join(served, " | "), strings.Repeat("|---", len(served)))
	for _, c := range clients {
		row := fmt.Sprintf("| %s | %s |", c.Title, c.version(t))
		if kept := lineOf(old, row); kept != "" && !slices.ContainsFunc(results, func(r result) bool { return r.Client == c.Name && slices.Contains(served, r.Case) }) {
			out.WriteString(kept)
			continue
		}
		out.WriteString(row)
		for _, name := range served {
			fmt.Fprintf(&out, " %s |", resultOf(results, c, name).cell())
		}
		out.WriteString("\n")
	}
	out.WriteString("\n### Denied and stopped\n\n| client | case | requests | seconds | what a person reads |\n|---|---|---|---|---|\n")
	for _, c := range clients {
		for _, name := range denials {
			r := resultOf(results, c, name)
			if kept := lineOf(old, fmt.Sprintf("| %s | %s |", c.Title, name)); r.Client == "" && kept != "" {
				out.WriteString(kept)
				continue
			}
			if r.Client == "" {
				fmt.Fprintf(&out, "| %s | %s | – | – | has no such call |\n", c.Title, name)
				continue
			}
			fmt.Fprintf(&out, "| %s | %s | %d | %.0f | %s |\n", c.Title, name, r.asked(), r.Took.Seconds(), r.sentence())
		}
	}
	return out.String() + "\n"
}

// lineOf is the line of a text that begins so, "" for none.
func lineOf(text, beginning string) string {
	at := strings.Index(text, "\n"+beginning)
	if at < 0 {
		return ""
	}
	line, _, _ := strings.Cut(text[at+1:], "\n")
	return line + "\n"
}

func resultOf(results []result, c client, name string) result {
	at := slices.IndexFunc(results, func(r result) bool { return r.Client == c.Name && r.Case == name })
	if at < 0 {
		return result{}
	}
	return results[at]
}

// cell is a run that was to be served.
func (r result) cell() string {
	if r.Client == "" {
		return "–"
	}
	return fmt.Sprintf("%d, %.1f s", r.asked(), r.Took.Seconds())
}

// maxSentence bounds what is shown of an output, in bytes.
const maxSentence = 160

var (
	spaces = regexp.MustCompile(`\s+`)
	local  = regexp.MustCompile(`(http://)?127\.0\.0\.1:\d+\S*|/\S*/TestAgents\S*`)
)

// sentence is what a person reads: from the line that has our words on, else the last line.
func (r result) sentence() string {
	text := r.Output
	if at := strings.Index(text, "aegis:"); at >= 0 {
		text = text[strings.LastIndex(text[:at], "\n")+1:]
	} else {
		text = text[strings.LastIndex(text, "\n")+1:]
	}
	text = spaces.ReplaceAllString(local.ReplaceAllString(text, "…"), " ")
	text = strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(text)
	if len(text) > maxSentence {
		text = strings.ToValidUTF8(text[:maxSentence], "") + "…"
	}
	return text
}

// version is what the lock file pins.
func (c client) version(t *testing.T) string {
	t.Helper()
	var lock struct {
		Packages map[string]struct{ Version string }
	}
	text, err := os.ReadFile("node/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	if p := lock.Packages["node_modules/"+c.Package]; p.Version != "" && c.Set == "node" {
		return p.Version
	}
	file, pattern := "python/"+c.Set+".txt", `(?m)^`+regexp.QuoteMeta(c.Package)+`(?:\[.*\])?==(\S+)`
	if c.Set == "go" {
		file, pattern = "go/go.mod", regexp.QuoteMeta(c.Package)+` v(\S+)`
	}
	if text, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s does not pin %s", file, c.Package)
	}
	return string(found[1])
}

// TestPage: the page has a row for each client and case, of the versions that are pinned.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		if row := fmt.Sprintf("\n| %s | %s | ", c.Title, c.version(t)); !strings.Contains(string(text), row) {
			t.Errorf("%s has no row %q; run make agents", page, strings.TrimSpace(row))
		}
		for _, name := range denials {
			if row := fmt.Sprintf("\n| %s | %s | ", c.Title, name); !strings.Contains(string(text), row) {
				t.Errorf("%s has no row %q; run make agents", page, strings.TrimSpace(row))
			}
		}
	}
}
