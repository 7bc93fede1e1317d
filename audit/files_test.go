package audit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// TestSegmentsOfOneChainComeInOrder: whatever order their directories are named in,
// and where an interrupted move left one in both.
func TestSegmentsOfOneChainComeInOrder(t *testing.T) {
	chain := longChain(t, signer(t, testEd25519Key), 12)
	for name, c := range map[string]struct {
		prepare func(log, archive string)
		want    string
	}{
		"as they are":       {func(string, string) {}, ""},
		"one in both":       {func(log, archive string) { copyFile(t, archive, log, "000002.jsonl") }, ""},
		"other lines twice": {func(log, archive string) { copyFile(t, log, archive, "000003.jsonl", "000002.jsonl") }, "duplicated"},
		"one in neither":    {func(_, archive string) { os.Remove(filepath.Join(archive, "000002.jsonl")) }, "missing"},
	} {
		log := writeSegments(t, chain.Lines, 8, 14, 18)
		archive := t.TempDir()
		for _, file := range []string{"000001.jsonl", "000002.jsonl"} {
			if err := os.Rename(filepath.Join(log, file), filepath.Join(archive, file)); err != nil {
				t.Fatal(err)
			}
		}
		c.prepare(log, archive)
		for _, paths := range [][]string{{log, archive}, {archive, log}, filesOf(t, log, archive)} {
			if got := kinds(verifyPaths(t, paths)); got != c.want && (c.want != "duplicated" || got == "") {
				t.Errorf("%s: %v: found %q, want %q", name, paths, got, c.want)
			}
		}
	}
}

func filesOf(t *testing.T, dirs ...string) (paths []string) {
	t.Helper()
	for _, dir := range dirs {
		found, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	return paths
}

// copyFile copies a file between directories, under another name if there is one.
func copyFile(t *testing.T, from, to, name string, as ...string) {
	t.Helper()
	writeFile(t, filepath.Join(to, append(as, name)[0]), readFile(t, from, name))
}

// TestVerifyRefusesLogsWithoutLines: a log begins with a line, so where there is
// none it was taken away. One file of a log may be empty.
func TestVerifyRefusesLogsWithoutLines(t *testing.T) {
	chain := longChain(t, signer(t, testEd25519Key), 3)
	empty := filepath.Join(t.TempDir(), "000001.jsonl")
	writeFile(t, empty, nil)
	whole := writeSegments(t, chain.Lines)
	writeFile(t, filepath.Join(whole, "000002.jsonl"), nil)
	for name, c := range map[string]struct {
		paths []string
		want  string
	}{
		"an empty file":           {[]string{empty}, "missing"},
		"its directory":           {[]string{filepath.Dir(empty)}, "missing"},
		"beside a whole log":      {[]string{whole, filepath.Dir(empty)}, "missing"},
		"a whole log, crashed":    {[]string{whole}, ""},
		"the empty file of a log": {[]string{filepath.Join(whole, "000002.jsonl")}, "missing"},
	} {
		report := verifyPaths(t, c.paths)
		if got := kinds(report); got != c.want || c.want != "" && !strings.Contains(fmt.Sprint(report.Findings), "no receipts are there") {
			t.Errorf("%s: found %v, want %q", name, report.Findings, c.want)
		}
	}
	report, err := audit.Verify(t.Context(), []audit.Source{audit.Stream("pipe", strings.NewReader(""))}, audit.VerifyOptions{})
	if err != nil || kinds(report) != "missing" {
		t.Errorf("an empty stream: %v %v", report.Findings, err)
	}
}

// TestCheckpointByAnAnnouncedKey: whoever trusts the old key trusts the one that
// the log goes over to, for this chain and no other.
func TestCheckpointByAnAnnouncedKey(t *testing.T) {
	old, next, stranger := signer(t, testEd25519Key), signer(t, otherEd25519Key), signer(t, testHMACKey)
	chain := audit.NewChain(1).Add(startLine(old)).Add(expiry(1)).Add(rotateTo(next)).Seal(old).Add(expiry(2)).Seal(next)
	foreign := audit.NewChain(2).Add(startLine(old)).Add(expiry(3)).Seal(old)
	for name, c := range map[string]struct {
		checkpoint audit.Checkpoint
		signer     audit.Signer
		lines      []string
		want       string
	}{
		"announced":           {chain.Checkpoint(), next, chain.Lines, ""},
		"given":               {chain.Checkpoint(), old, chain.Lines, ""},
		"not yet announced":   {chain.Checkpoint(), next, chain.Lines[:3], "truncated unsealed unproven"},
		"of another chain":    {foreign.Checkpoint(), next, foreign.Lines, "unproven"},
		"of another history":  {audit.Checkpoint{Chain: chain.Checkpoint().Chain, N: 6}, next, chain.Lines, "altered"},
		"of a chain not here": {foreign.Checkpoint(), next, chain.Lines, "truncated unproven"},
	} {
		note, err := c.checkpoint.Sign(c.signer)
		if err != nil {
			t.Fatal(err)
		}
		keys := audit.NewKeys(old.Key(), stranger.Key())
		list, unproven, err := audit.ParseCheckpointsToVerify(note, keys)
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v %v", name, list, err)
		}
		src := audit.Stream("log", strings.NewReader(strings.Join(c.lines, "\n")+"\n"))
		report, err := audit.Verify(t.Context(), []audit.Source{src}, audit.VerifyOptions{Keys: keys, Checkpoints: list, Unproven: unproven})
		found := kinds(report)
		if len(report.Unproven) > 0 {
			found = strings.TrimSpace(found + " unproven")
		}
		if err != nil || found != c.want || report.OK() != (c.want == "") {
			t.Errorf("%s: %v %v, want %q", name, report.Findings, err, c.want)
		}
	}
}
