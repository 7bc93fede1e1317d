package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// TestGoneReceipts: once the file that is written to is not the one that its path
// names, or not all of it, nothing more is receipted, and an idle log says so.
func TestGoneReceipts(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(dir string) error
	}{
		{"the directory is removed", os.RemoveAll},
		{"the directory is moved", func(dir string) error { return os.Rename(dir, dir+".away") }},
		{"the directory is replaced by an empty one", func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".away"), os.Mkdir(dir, 0o700))
		}},
		{"the directory is replaced by a copy", func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".away"), os.CopyFS(dir, os.DirFS(dir+".away")))
		}},
		{"the file is removed", func(dir string) error { return os.Remove(filepath.Join(dir, "000001.jsonl")) }},
		{"the file is renamed", func(dir string) error {
			return os.Rename(filepath.Join(dir, "000001.jsonl"), filepath.Join(dir, "000001.jsonl.1"))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "receipts")
			log := open(t, testConfig(t, dir))
			appendAll(t, log, decision(1))
			if err := row.do(dir); err != nil {
				t.Fatal(err)
			}
			if err := log.Ready(); !errors.Is(err, audit.ErrGone) || !errors.Is(err, audit.ErrBroken) {
				t.Errorf("idle, it says %v, want ErrGone", err)
			}
			mustBeGone(t, log)
			if err := log.Close(); !errors.Is(err, audit.ErrGone) {
				t.Errorf("closed: %v, want ErrGone", err)
			}
		})
	}
}

// TestReceiptsWrittenByOthers: what cuts or writes the file beside the log, as a
// rotation of log files that copies and truncates does, is noticed by the next
// receipt.
func TestReceiptsWrittenByOthers(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(path string) error
	}{
		{"it is emptied", func(path string) error { return os.Truncate(path, 0) }},
		{"a byte is added", func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("x")
			return errors.Join(err, f.Close())
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			log := open(t, testConfig(t, dir))
			appendAll(t, log, decision(1))
			if err := row.do(filepath.Join(dir, "000001.jsonl")); err != nil {
				t.Fatal(err)
			}
			mustBeGone(t, log)
		})
	}
}

// mustBeGone tries twice to receipt something.
func mustBeGone(t *testing.T, log *audit.Log) {
	t.Helper()
	for range 2 {
		if ref, err := log.Append(t.Context(), settlement(2)); !errors.Is(err, audit.ErrGone) || ref != (audit.Ref{}) {
			t.Errorf("got receipt %v and %v, want ErrGone", ref, err)
		}
	}
	if err := log.Ready(); !errors.Is(err, audit.ErrGone) {
		t.Errorf("ready says %v, want ErrGone", err)
	}
}

// TestPutBackInTime: a directory that was away while nothing was written is as good
// as before.
func TestPutBackInTime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "receipts")
	log := open(t, testConfig(t, dir))
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := log.Ready(); !errors.Is(err, audit.ErrGone) {
		t.Errorf("ready says %v, want ErrGone", err)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := log.Ready(); err != nil {
		t.Errorf("ready says %v", err)
	}
	appendAll(t, log, decision(1))
	log.Close()
	mustBeSound(t, verifyPaths(t, []string{dir}))
}

// TestEmptiedAndWrittenOn: where the file was emptied under a log, the batch at hand is
// behind nothing. It does not pass for a log whose first files were moved away, since those
// had lower numbers.
func TestEmptiedAndWrittenOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "receipts")
	log := open(t, testConfig(t, dir))
	appendAll(t, log, decision(1), settlement(2))
	path := filepath.Join(dir, "000001.jsonl")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	mustBeGone(t, log)
	_ = log.Close()
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Fatalf("nothing was written behind it: %v %v", info, err)
	}
	if again, err := audit.Open(testConfig(t, dir)); !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), "what was before it is gone") {
		t.Errorf("opened %v with %v, want ErrDamaged", again, err)
	}
}
