package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// tornLog is a log whose process died, and where its last batch begins.
func tornLog(t *testing.T) (cfg audit.Config, whole []byte, batch int) {
	cfg = testConfig(t, t.TempDir())
	log := open(t, cfg)
	appendAll(t, log, decision(1), settlement(2))
	batch = len(readFile(t, cfg.Dir, "000001.jsonl"))
	appendAll(t, log, audit.Event{Tenant: "acme", Epoch: "e1", Event: 3, Name: "policy"})
	cfg.Dir = copyDir(t, cfg.Dir)
	return cfg, readFile(t, cfg.Dir, "000001.jsonl"), batch
}

// TestCrashAtEveryByteOfABatch cuts the last batch at every byte: whatever a
// crash leaves of it, Open repairs and the log verifies.
func TestCrashAtEveryByteOfABatch(t *testing.T) {
	cfg, whole, batch := tornLog(t)
	const shares = 16 // side by side, since each waits for the disk
	for share := range shares {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			t.Parallel()
			for size := batch + share; size <= len(whole); size += shares {
				crashAt(t, cfg, whole, size)
			}
		})
	}
}

func crashAt(t *testing.T, cfg audit.Config, whole []byte, size int) {
	t.Helper()
	cfg.Dir = t.TempDir()
	path := filepath.Join(cfg.Dir, "000001.jsonl")
	writeFile(t, path, whole[:size])
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatalf("cut at byte %d: %v", size, err)
	}
	opened := log.Opened()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	mustBeSound(t, verifyPaths(t, []string{cfg.Dir}))
	lineEnd := bytes.LastIndexByte(whole[:size], '\n') + 1
	mustHaveKept(t, cfg.Dir, opened, whole[lineEnd:size])
	if !bytes.HasPrefix(readFile(t, path), whole[:lineEnd]) {
		t.Fatalf("cut at byte %d: whole lines are gone", size)
	}
}

func mustHaveKept(t *testing.T, dir string, opened audit.Opened, torn []byte) {
	t.Helper()
	if len(torn) == 0 {
		if opened.Reason != audit.ReasonOpened {
			t.Fatalf("nothing was torn, but opened says %+v", opened)
		}
		return
	}
	if opened.Reason != audit.ReasonRepaired || opened.CutBytes != int64(len(torn)) {
		t.Fatalf("%d bytes were torn, but opened says %+v", len(torn), opened)
	}
	if got := readFile(t, dir, opened.CutFile); !bytes.Equal(got, torn) {
		t.Fatalf("%s holds %q, want %q", opened.CutFile, got, torn)
	}
	want := fmt.Sprintf(`"cut_bytes":%d,"cut_file":%q`, len(torn), opened.CutFile)
	if !strings.Contains(string(readFile(t, dir, "000001.jsonl")), want) {
		t.Fatalf("no start line says %s", want)
	}
}

// TestCrashDuringRepair: a start that died between setting the torn tail
// aside and saying so is made good by the next.
func TestCrashDuringRepair(t *testing.T) {
	cfg, whole, _ := tornLog(t)
	path := filepath.Join(cfg.Dir, "000001.jsonl")
	lineEnd := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	torn := whole[lineEnd : lineEnd+20]
	next := countLines(whole[:lineEnd]) + 1
	side := filepath.Join(cfg.Dir, fmt.Sprintf("torn-%d.bin", next))
	for _, row := range []struct{ name, log, side string }{
		{"before the cut", string(whole[:lineEnd+20]), string(torn)},
		{"after the cut", string(whole[:lineEnd]), string(torn)},
	} {
		t.Run(row.name, func(t *testing.T) {
			writeFile(t, path, []byte(row.log))
			writeFile(t, side, []byte(row.side))
			log := open(t, cfg)
			log.Close()
			os.Remove(filepath.Join(cfg.Dir, "heads.json"))
			mustHaveKept(t, cfg.Dir, log.Opened(), torn)
			mustBeSound(t, verifyPaths(t, []string{cfg.Dir}))
		})
	}
}

func TestCrashRightAfterANewSegment(t *testing.T) {
	cfg, whole, _ := tornLog(t)
	writeFile(t, filepath.Join(cfg.Dir, "000002.jsonl"), nil)
	log := open(t, cfg)
	appendAll(t, log, decision(4))
	if got := readFile(t, cfg.Dir, "000001.jsonl"); !bytes.Equal(got, whole) {
		t.Error("the full segment was written to")
	}
	mustBeSound(t, verifyPaths(t, []string{cfg.Dir}))
}

func TestOpenRefusesDamage(t *testing.T) {
	cut := func(lines []string, i int) []string { return append(lines[:i:i], lines[i+1:]...) }
	for _, row := range []struct {
		name   string
		damage func(lines []string) []string
		line   int
		want   string
	}{
		{"altered line", func(l []string) []string {
			l[2] = strings.Replace(l[2], "acme", "acne", 1)
			return l
		}, 4, "prev is not the hash of the line before"},
		{"line gone", func(l []string) []string { return cut(l, 3) }, 4, "n is 5, want 4"},
		{"line of another chain", func(l []string) []string {
			l[4] = audit.NewChain(9).Add(audit.Start{Alg: audit.AlgHMAC, Reason: audit.ReasonCreated}).Lines[0]
			return l
		}, 5, "chain is"},
		{"garbage", func(l []string) []string {
			l[4] = "garbage"
			return l
		}, 5, "not JSON"},
		{"garbage for a last line", func(l []string) []string { return append(l, "\x00\x00\x00") }, 9, "not JSON"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, whole, _ := tornLog(t)
			lines := row.damage(strings.Split(strings.TrimSuffix(string(whole), "\n"), "\n"))
			path := filepath.Join(cfg.Dir, "000001.jsonl")
			writeFile(t, path, []byte(strings.Join(lines, "\n")+"\n"))
			_, err := audit.Open(cfg)
			want := fmt.Sprintf("%s:%d: ", path, row.line)
			if !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want ErrDamaged with %s...%s", err, want, row.want)
			}
		})
	}
}

func TestOpenRefusesLostFiles(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.SegmentBytes = 4 << 10
	log := open(t, cfg)
	for i := range int64(10) {
		appendAll(t, log, decision(i+1))
	}
	log.Close()
	segments, _ := filepath.Glob(filepath.Join(cfg.Dir, "*.jsonl"))
	last := segments[len(segments)-1]
	for _, row := range []struct {
		name   string
		damage func(path string)
		want   string
	}{
		{"last segment gone", func(p string) { os.Remove(p) }, "which is gone"},
		{"last segment shorter", func(p string) { os.Truncate(p, 10) }, "bytes of receipts are gone"},
		{"torn line in the middle", func(p string) {
			os.Remove(filepath.Join(filepath.Dir(p), "heads.json"))
			os.Truncate(filepath.Join(filepath.Dir(p), "000001.jsonl"), 5)
		}, "is torn, but"},
	} {
		t.Run(row.name, func(t *testing.T) {
			damaged := cfg
			damaged.Dir = copyDir(t, cfg.Dir)
			row.damage(filepath.Join(damaged.Dir, filepath.Base(last)))
			if _, err := audit.Open(damaged); !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want ErrDamaged: %s", err, row.want)
			}
		})
	}
}

// TestDamageIsNamedByTheFilesOwnLine: what follows heads.json's offset is
// counted from the file's beginning.
func TestDamageIsNamedByTheFilesOwnLine(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	log := open(t, cfg)
	appendAll(t, log, decision(1))
	log.Close()
	path := filepath.Join(cfg.Dir, "000001.jsonl")
	whole := readFile(t, path)
	writeFile(t, path, append(whole, "garbage\n"...))
	want := fmt.Sprintf("%s:%d: ", path, countLines(whole)+1)
	if _, err := audit.Open(cfg); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// BenchmarkOpenAfterCrash opens a log with a full segment and no heads.json.
func BenchmarkOpenAfterCrash(b *testing.B) {
	cfg := testConfig(b, b.TempDir())
	cfg.Sync = audit.SyncNever
	log := open(b, cfg)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 480 {
				appendAll(b, log, decision(1))
			}
		})
	}
	wg.Wait()
	log.Close()
	os.Remove(filepath.Join(cfg.Dir, "heads.json"))
	crashed := copyDir(b, cfg.Dir)
	info, err := os.Stat(filepath.Join(crashed, "000001.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	for b.Loop() {
		b.StopTimer()
		cfg.Dir = copyDir(b, crashed)
		b.StartTimer()
		log := open(b, cfg)
		b.StopTimer()
		log.Close()
		b.StartTimer()
	}
}
