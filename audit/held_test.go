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

// TestOpenHoldsTheLogAgainstItsCheckpoint: a log that does not extend what was
// signed in its directory is not gone on with, whatever heads.json says.
func TestOpenHoldsTheLogAgainstItsCheckpoint(t *testing.T) {
	ed := signer(t, testEd25519Key)
	rewritten := longChain(t, ed, 3).Add(expiry(4)).Seal(ed).Add(expiry(5)).Seal(ed).Add(expiry(6)).Seal(ed).Lines
	for _, row := range []struct {
		name  string
		lines []string
		cuts  []int
		heads bool // of those lines
		want  string
	}{
		{"shortened", longChain(t, ed, 3).Lines, nil, false, "the checkpoint has 12 lines, the log only 8"},
		{"shortened, with heads.json to match", longChain(t, ed, 3).Lines, nil, true, "the checkpoint has 12 lines, the log only 10"},
		{"shortened to a closed segment", longChain(t, ed, 3).Lines, []int{4}, false, "the checkpoint has 12 lines, the log only 8"},
		{"rewritten and longer", rewritten, nil, false, "lines 1 to 12 had the root"},
		{"rewritten and longer, with heads.json to match", rewritten, nil, true, "lines 1 to 12 had the root"},
		{"rewritten in a closed segment", rewritten, []int{12}, false, "lines 1 to 12 had the root"},
		{"another chain", audit.NewChain(2).Add(startLine(ed)).Seal(ed).Lines, nil, false, "the checkpoint is of chain"},
		{"another chain, with heads.json to match", audit.NewChain(2).Add(startLine(ed)).Seal(ed).Lines, nil, true, "the checkpoint is of chain"},
		{"all gone", nil, nil, false, "holds no receipts"},
	} {
		t.Run(row.name, func(t *testing.T) {
			signed := writeSegments(t, longChain(t, ed, 5).Lines)
			if _, err := openTree(t, signed).SignCheckpoint(ed); err != nil {
				t.Fatal(err)
			}
			cfg := testConfig(t, t.TempDir())
			cfg.Signer = ed
			if row.lines != nil {
				cfg.Dir = writeSegments(t, row.lines, row.cuts...)
			}
			if row.heads {
				open(t, cfg).Close()
			}
			writeFile(t, filepath.Join(cfg.Dir, "checkpoint"), readFile(t, signed, "checkpoint"))
			before := glob(t, cfg.Dir, "*.jsonl")
			_, err := audit.Open(cfg)
			if err == nil || !strings.Contains(err.Error(), row.want) || row.lines != nil && !errors.Is(err, audit.ErrForked) {
				t.Errorf("opened with %v, want ErrForked with %q", err, row.want)
			}
			if glob(t, cfg.Dir, "*.jsonl") != before {
				t.Error("a refused directory was written to")
			}
		})
	}
}

// TestOpenGoesOnFromItsCheckpoint: at the end, in the middle, archived, torn.
func TestOpenGoesOnFromItsCheckpoint(t *testing.T) {
	for _, row := range []struct {
		name  string
		later func(t *testing.T, cfg audit.Config)
	}{
		{"nothing happened", func(*testing.T, audit.Config) {}},
		{"more was written", func(t *testing.T, cfg audit.Config) {
			log := open(t, cfg)
			appendAll(t, log, settlement(10))
			log.Close()
		}},
		{"heads.json is gone", func(t *testing.T, cfg audit.Config) {
			if err := os.Remove(filepath.Join(cfg.Dir, "heads.json")); err != nil {
				t.Fatal(err)
			}
		}},
		{"old segments are archived", func(t *testing.T, cfg audit.Config) {
			archive(t, cfg.Dir, t.TempDir(), audit.MinKeep)
		}},
		{"hash files are gone", func(t *testing.T, cfg audit.Config) { removeHashFiles(t, cfg.Dir) }},
		{"hash files are damaged", func(t *testing.T, cfg audit.Config) {
			for n := range 9 {
				path := filepath.Join(cfg.Dir, fmt.Sprintf("%06d.hashes", n+1))
				whole := readFile(t, path)
				whole[len(whole)-40] ^= 1
				writeFile(t, path, whole)
			}
		}},
		{"the last line is torn", func(t *testing.T, cfg audit.Config) {
			path := filepath.Join(cfg.Dir, "000010.jsonl")
			writeFile(t, path, append(readFile(t, path), `{"body":`...))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, _ := segmentedLog(t, 9)
			if _, err := openTree(t, cfg.Dir).SignCheckpoint(cfg.Signer); err != nil {
				t.Fatal(err)
			}
			row.later(t, cfg)
			log := open(t, cfg)
			appendAll(t, log, settlement(11))
			log.Close()
		})
	}
}

// TestOpenHoldsTheLogAgainstHeads: a line rewritten before the place that heads.json
// names is found without a checkpoint, as each line after it has another hash.
func TestOpenHoldsTheLogAgainstHeads(t *testing.T) {
	ed := signer(t, testEd25519Key)
	cfg := testConfig(t, writeSegments(t, longChain(t, ed, 5).Lines))
	cfg.Signer = ed
	open(t, cfg).Close()
	path := filepath.Join(cfg.Dir, "000001.jsonl")
	size := len(readFile(t, path))
	forged := audit.NewChain(1).Add(startLine(ed)).Seal(ed)
	for i := range 6 {
		body := settlement(int64(i + 1))
		body.Charge--
		forged.Add(body).Seal(ed)
	}
	text := []byte(strings.Join(forged.Lines, "\n") + "\n")
	if len(text) < size {
		t.Fatal("the forged log is too short for this test")
	}
	writeFile(t, path, text)
	if _, err := audit.Open(cfg); !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), "heads.json says that another line") {
		t.Errorf("opened with %v, want ErrDamaged", err)
	}
}
