package audit_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// segmentedLog is a closed log with each batch in a segment of its own.
func segmentedLog(t testing.TB, receipts int) (cfg audit.Config, refs []audit.Ref) {
	t.Helper()
	cfg = testConfig(t, t.TempDir())
	cfg.SegmentBytes, cfg.Signer = 1, signer(t, testEd25519Key)
	log := open(t, cfg)
	for i := range receipts {
		refs = append(refs, appendAll(t, log, settlement(int64(i+1)))...)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg, refs
}

func archive(t testing.TB, dir, to string, keep int) []audit.Archived {
	t.Helper()
	moved, err := audit.Archive(t.Context(), dir, to, keep)
	if err != nil {
		t.Fatal(err)
	}
	return moved
}

func glob(t testing.TB, dir, pattern string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// TestArchivedLogVerifies: with the old segments, or by a checkpoint without.
func TestArchivedLogVerifies(t *testing.T) {
	cfg, _ := segmentedLog(t, 9) // segments 1 to 10: a start line and nine receipts
	to := filepath.Join(t.TempDir(), "old")
	now := checkpointOf(t, openTree(t, cfg.Dir))
	moved := archive(t, cfg.Dir, to, 5)
	if len(moved) != 4 || glob(t, to, "*.jsonl.gz") != 4 || glob(t, cfg.Dir, "*.jsonl") != 6 || glob(t, cfg.Dir, "*.hashes") != 9 {
		t.Errorf("moved %+v: want 4 of 10, and 6 left", moved)
	}
	for _, m := range moved {
		if m.Bytes < 100 || m.Packed < 100 {
			t.Errorf("%+v", m)
		}
	}
	mustBeSound(t, verifyPaths(t, []string{to, cfg.Dir}, now))
	mustBeSound(t, verifyPaths(t, []string{to, cfg.Dir}))

	report := verifyPaths(t, []string{cfg.Dir}, now)
	mustBeSound(t, report)
	if c := report.Chains[0]; c.Unseen != 8 || c.First != 9 || c.Root != now.Root {
		t.Errorf("%+v: want the first 8 lines not looked at", c)
	}
	if got := checkpointOf(t, openTree(t, cfg.Dir)); got != now {
		t.Errorf("the tree is %v, was %v", got, now)
	}
}

// TestArchivedLinesNeedACheckpoint: hash files alone prove nothing, and an
// old checkpoint only its own lines.
func TestArchivedLinesNeedACheckpoint(t *testing.T) {
	cfg, _ := segmentedLog(t, 3)
	early := checkpointOf(t, openTree(t, cfg.Dir))
	log := open(t, cfg)
	for i := range 6 {
		appendAll(t, log, settlement(int64(i+4)))
	}
	log.Close()
	archive(t, cfg.Dir, t.TempDir(), 4)
	for want, with := range map[string][]audit.Checkpoint{
		"lines 1 to 12 of the chain are not there":                          nil,
		fmt.Sprintf("lines %d to 12 of the chain are not there", early.N+1): {early},
	} {
		report := verifyPaths(t, []string{cfg.Dir}, with...)
		if kinds(report) != "missing" || !strings.HasPrefix(report.Findings[0].Reason, want) {
			t.Errorf("%v, want %q", report.Findings, want)
		}
	}
	early.Root[0] ^= 1
	if got := kinds(verifyPaths(t, []string{cfg.Dir}, early)); got != "altered missing" {
		t.Errorf("hashes of another history: %q, want altered and missing", got)
	}
}

func TestArchivedLogGoesOn(t *testing.T) {
	cfg, refs := segmentedLog(t, 7)
	old := checkpointOf(t, openTree(t, cfg.Dir))
	to := t.TempDir()
	archive(t, cfg.Dir, to, audit.MinKeep)
	if glob(t, cfg.Dir, "*.jsonl") != 4 {
		t.Error("want the open segment and three")
	}
	log := open(t, cfg)
	appendAll(t, log, settlement(8), settlement(9))
	log.Close()
	archive(t, cfg.Dir, to, audit.MinKeep)
	mustBeSound(t, verifyPaths(t, []string{to, cfg.Dir}, old))

	tree := openTree(t, cfg.Dir)
	if err := tree.Extends(old); err != nil {
		t.Error(err)
	}
	signed, err := tree.SignCheckpoint(cfg.Signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Prove(refs[0].N, signed); err == nil || !strings.Contains(err.Error(), "segment 2, which has line 3, was moved away") {
		t.Errorf("without the archive: %v", err)
	}
	p, err := tree.Prove(refs[0].N, signed, to)
	if err != nil {
		t.Fatal(err)
	}
	if r, _, err := p.Verify(testKeys(t)); err != nil || r.Ref() != refs[0] {
		t.Errorf("%+v: %v, want receipt %+v", r, err, refs[0])
	}
}

// TestArchiveInPlace compresses without moving, and moves later.
func TestArchiveInPlace(t *testing.T) {
	cfg, _ := segmentedLog(t, 7)
	if moved := archive(t, cfg.Dir, cfg.Dir, 4); len(moved) != 3 || glob(t, cfg.Dir, "*.jsonl.gz") != 3 {
		t.Errorf("%+v", moved)
	}
	if again := archive(t, cfg.Dir, cfg.Dir, 4); len(again) != 0 {
		t.Errorf("again: %+v", again)
	}
	mustBeSound(t, verifyPaths(t, []string{cfg.Dir}))
	removeHashFiles(t, cfg.Dir)
	to := t.TempDir()
	if moved := archive(t, cfg.Dir, to, 5); len(moved) != 2 || glob(t, to, "*.jsonl.gz") != 2 || glob(t, cfg.Dir, "*.jsonl.gz") != 1 {
		t.Errorf("%+v", moved)
	}
	mustBeSound(t, verifyPaths(t, []string{to, cfg.Dir}))
	if _, err := audit.Archive(t.Context(), cfg.Dir, to, audit.MinKeep-1); err == nil {
		t.Error("kept fewer than a log needs")
	}
}

// TestArchiveAfterACrash: what a first try left behind is used if it is whole.
func TestArchiveAfterACrash(t *testing.T) {
	cfg, _ := segmentedLog(t, 6)
	whole, to := copyDir(t, cfg.Dir), t.TempDir()
	archive(t, cfg.Dir, to, audit.MinKeep)
	writeFile(t, filepath.Join(to, "000009.jsonl.gz.new"), []byte("half"))
	if moved := archive(t, whole, to, audit.MinKeep); len(moved) != 3 {
		t.Errorf("%+v", moved)
	}
	mustBeSound(t, verifyPaths(t, []string{to, whole}))
}

// TestArchiveKeepsWhatItCannotCopy: a copy that does not hold the same lines
// is never taken for one.
func TestArchiveKeepsWhatItCannotCopy(t *testing.T) {
	other, _ := segmentedLog(t, 6)
	full := t.TempDir()
	archive(t, other.Dir, full, audit.MinKeep)
	for name, spoil := range map[string]func(t *testing.T, path string){
		"of another log": func(*testing.T, string) {},
		"cut":            func(t *testing.T, path string) { writeFile(t, path, readFile(t, path)[:40]) },
		"not gzip":       func(t *testing.T, path string) { writeFile(t, path, []byte("x")) },
		"a byte altered": func(t *testing.T, path string) {
			data := readFile(t, path)
			data[len(data)/2] ^= 1
			writeFile(t, path, data)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := segmentedLog(t, 6)
			to := copyDir(t, full)
			spoil(t, filepath.Join(to, "000001.jsonl.gz"))
			moved, err := audit.Archive(t.Context(), cfg.Dir, to, audit.MinKeep)
			if err == nil || len(moved) != 0 || glob(t, cfg.Dir, "*.jsonl") != 7 {
				t.Errorf("moved %+v: %v", moved, err)
			}
			mustBeSound(t, verifyPaths(t, []string{cfg.Dir}))
		})
	}
}

// TestArchiveOfAnAlteredSegment: it stays where verify finds it.
func TestArchiveOfAnAlteredSegment(t *testing.T) {
	cfg, _ := segmentedLog(t, 6)
	openTree(t, cfg.Dir)
	path, to := filepath.Join(cfg.Dir, "000002.jsonl"), t.TempDir()
	writeFile(t, path, []byte(strings.Replace(string(readFile(t, path)), "acme", "acne", 1)))
	moved, err := audit.Archive(t.Context(), cfg.Dir, to, audit.MinKeep)
	if !errors.Is(err, audit.ErrDamaged) || len(moved) != 1 || glob(t, to, "*") != 1 {
		t.Errorf("moved %+v: %v, want the first alone and ErrDamaged", moved, err)
	}
	if got := kinds(verifyPaths(t, []string{to, cfg.Dir})); got != "altered" {
		t.Errorf("verify found %q", got)
	}
}

// TestArchiveOfALiveLog: the writer notices nothing.
func TestArchiveOfALiveLog(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.SegmentBytes = 2 << 10
	log, to := open(t, cfg), t.TempDir()
	for i := range 200 {
		appendAll(t, log, settlement(int64(i+1)))
		if i%50 == 49 {
			archive(t, cfg.Dir, to, audit.MinKeep)
		}
	}
	now := log.Checkpoint()
	log.Close()
	report := verifyPaths(t, []string{to, cfg.Dir}, now)
	mustBeSound(t, report)
	if report.Chains[0].Sealed != 200 {
		t.Errorf("%d receipts, want 200", report.Chains[0].Sealed)
	}
	mustBeSound(t, verifyPaths(t, []string{cfg.Dir}, now))
}

func TestVerifyOfADamagedArchive(t *testing.T) {
	cfg, _ := segmentedLog(t, 5)
	archive(t, cfg.Dir, cfg.Dir, audit.MinKeep)
	path := filepath.Join(cfg.Dir, "000001.jsonl.gz")
	whole := readFile(t, path)
	for name, data := range map[string][]byte{"cut": whole[:len(whole)/2], "not gzip": []byte("x"), "empty": nil} {
		writeFile(t, path, data)
		sources, err := audit.Files(cfg.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := audit.Verify(t.Context(), sources, audit.VerifyOptions{Keys: testKeys(t)}); err == nil || !strings.Contains(err.Error(), "000001.jsonl.gz") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
