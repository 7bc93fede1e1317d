package audit_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// naiveRoot is the definition of RFC 6962, section 2.1, word for word.
func naiveRoot(lines []string) tlog.Hash {
	if len(lines) == 1 {
		return tlog.RecordHash([]byte(lines[0]))
	}
	k := 1
	for 2*k < len(lines) {
		k *= 2
	}
	return tlog.NodeHash(naiveRoot(lines[:k]), naiveRoot(lines[k:]))
}

// longChain has the given number of batches of one receipt and a seal, after
// a start line and its seal: a seal at every even number.
func longChain(t testing.TB, key audit.Signer, batches int) *audit.Chain {
	c := audit.NewChain(1).Add(startLine(key)).Seal(key)
	for i := range batches {
		c.Add(settlement(int64(i + 1))).Seal(key)
	}
	return c
}

// writeSegments writes lines as a log's directory, cut before the given lines.
func writeSegments(t testing.TB, lines []string, cuts ...int) string {
	t.Helper()
	dir, start := t.TempDir(), 0
	for i, end := range append(cuts, len(lines)) {
		text := strings.Join(append(lines[start:end:end], ""), "\n")
		writeFile(t, filepath.Join(dir, fmt.Sprintf("%06d.jsonl", i+1)), []byte(text))
		start = end
	}
	return dir
}

func openTree(t testing.TB, dir string) *audit.Tree {
	t.Helper()
	tree, err := audit.OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func checkpointOf(t testing.TB, tree *audit.Tree) audit.Checkpoint {
	t.Helper()
	c, err := tree.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTreeIsThatOfRFC6962(t *testing.T) {
	key := signer(t, testEd25519Key)
	for batches := range 35 {
		chain := longChain(t, key, batches)
		want := audit.Checkpoint{Chain: chain.Checkpoint().Chain, N: int64(len(chain.Lines)), Root: naiveRoot(chain.Lines)}
		if got := checkpointOf(t, openTree(t, writeSegments(t, chain.Lines))); got != want {
			t.Errorf("%d lines: %v, want %v", len(chain.Lines), got, want)
		}
		report := verifyLines(t, chain.Lines, want)
		mustBeSound(t, report)
		if got := report.Chains[0].Checkpoint(); got != want {
			t.Errorf("%d lines: verify has %v, want %v", len(chain.Lines), got, want)
		}
	}
}

// TestTreeDoesNotDependOnSegments: where files begin, and whether their hash
// files are there already, changes nothing.
func TestTreeDoesNotDependOnSegments(t *testing.T) {
	chain := longChain(t, signer(t, testEd25519Key), 30)
	want := chain.Checkpoint()
	rapid.Check(t, func(rt *rapid.T) {
		var cuts []int
		for at := 0; ; {
			at += 2 * rapid.IntRange(1, 12).Draw(rt, "batches")
			if at > len(chain.Lines) {
				break
			}
			cuts = append(cuts, at)
		}
		dir := writeSegments(t, chain.Lines, cuts...)
		for range 2 {
			if got := checkpointOf(t, openTree(t, dir)); got != want {
				rt.Fatalf("cut at %v: %v, want %v", cuts, got, want)
			}
			for i := range cuts {
				if rapid.Bool().Draw(rt, "remove") {
					os.Remove(filepath.Join(dir, fmt.Sprintf("%06d.hashes", i+1)))
				}
			}
		}
		if p := audit.OpenPrefix(dir); p.N() > int64(len(chain.Lines)) {
			rt.Fatalf("prefix of %d lines", p.N())
		}
	})
}

// TestTreeLeavesOutWhatIsNotSealed: a batch that is being written is not part
// of the log yet.
func TestTreeLeavesOutWhatIsNotSealed(t *testing.T) {
	key := signer(t, testEd25519Key)
	sealed := longChain(t, key, 3)
	want := sealed.Checkpoint()
	dir := writeSegments(t, sealed.Add(settlement(9)).Lines)
	path := filepath.Join(dir, "000001.jsonl")
	writeFile(t, path, append(readFile(t, path), `{"body":{"al`...))
	if got := checkpointOf(t, openTree(t, dir)); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	writeFile(t, filepath.Join(dir, "000001.jsonl"), []byte(sealed.Lines[0]+"\n"))
	if _, err := openTree(t, dir).Checkpoint(); err == nil || !strings.Contains(err.Error(), "no sealed line yet") {
		t.Errorf("without a seal: %v", err)
	}
}

func TestTreeOfAnEmptyLastSegment(t *testing.T) {
	key := signer(t, testEd25519Key)
	chain := longChain(t, key, 3)
	dir := writeSegments(t, chain.Lines, len(chain.Lines))
	tree := openTree(t, dir)
	if got := checkpointOf(t, tree); got != chain.Checkpoint() {
		t.Errorf("%v, want %v", got, chain.Checkpoint())
	}
	if _, err := tree.SignCheckpoint(key); err != nil {
		t.Error(err)
	}
}

func TestTreeRefusesWhatIsNoChain(t *testing.T) {
	chain := longChain(t, signer(t, testEd25519Key), 6)
	lines := func(edit func([]string) []string) []string { return edit(append([]string(nil), chain.Lines...)) }
	for name, row := range map[string]struct {
		lines []string
		want  string
	}{
		"line altered": {lines(edit(3, "acme", "acne")), "line 4: does not follow line 3"},
		"line gone":    {lines(func(l []string) []string { return append(l[:2:2], l[3:]...) }), "line 3: does not follow line 2"},
		"garbage":      {lines(func(l []string) []string { return append([]string{"x"}, l...) }), "line 1: not a receipt"},
		"first gone":   {chain.Lines[2:], "line 1: does not follow line 0"},
		"no seal at the end of a closed one": {
			append(chain.Lines[:3:3], audit.NewChain(1).Add(startLine(signer(t, testEd25519Key))).Lines...), "",
		},
	} {
		cuts := []int{}
		if row.want == "" {
			cuts, row.want = []int{3}, "does not end with a seal"
		}
		_, err := audit.OpenTree(writeSegments(t, row.lines, cuts...))
		if !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want ErrDamaged with %q", name, err, row.want)
		}
	}
}

// TestDamagedHashFile: any changed byte of a hash file is found, and the file
// is made anew where its segment is there.
func TestDamagedHashFile(t *testing.T) {
	chain := longChain(t, signer(t, testEd25519Key), 4)
	dir := writeSegments(t, chain.Lines, 4)
	openTree(t, dir)
	path, segment := filepath.Join(dir, "000001.hashes"), filepath.Join(dir, "000001.jsonl")
	whole, text := readFile(t, path), readFile(t, segment)
	for i := range whole {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 1
		writeFile(t, path, bad)
		if n := audit.OpenPrefix(dir).N(); n != 0 {
			t.Fatalf("byte %d changed: prefix of %d lines", i, n)
		}
		if got := checkpointOf(t, openTree(t, dir)); got != chain.Checkpoint() {
			t.Fatalf("byte %d changed: %v", i, got)
		}
		if got := readFile(t, path); string(got) != string(whole) {
			t.Fatalf("byte %d changed: not made anew", i)
		}
	}
	writeFile(t, path, whole[:len(whole)-1])
	os.Remove(segment)
	if _, err := audit.OpenTree(dir); err == nil || !strings.Contains(err.Error(), "no hash file that stands for it") {
		t.Errorf("neither segment nor hashes: %v", err)
	}
	writeFile(t, path, whole)
	for name, bad := range map[string][]byte{"lost a byte": text[:len(text)-1], "gained a byte": append(text, 'x')} {
		writeFile(t, segment, bad)
		if _, err := audit.OpenTree(dir); !errors.Is(err, audit.ErrDamaged) {
			t.Errorf("a closed segment that %s: %v", name, err)
		}
	}
}

// TestVerifyHoldsHashFilesAgainstLines: hash files of another history, however
// well made, are found where the lines are there.
func TestVerifyHoldsHashFilesAgainstLines(t *testing.T) {
	key := signer(t, testEd25519Key)
	ours, other := longChain(t, key, 6), audit.NewChain(1).Add(startLine(key)).Seal(key)
	for range 6 {
		other.Add(expiry(1)).Seal(key)
	}
	foreign := writeSegments(t, other.Lines, 6)
	openTree(t, foreign)
	dir := writeSegments(t, ours.Lines, 6)
	writeFile(t, filepath.Join(dir, "000001.hashes"), readFile(t, foreign, "000001.hashes"))
	report := verifyPaths(t, []string{dir})
	if kinds(report) != "altered" || !strings.Contains(report.Findings[0].Reason, "the hashes of line 3 are others") {
		t.Errorf("%v", report.Findings)
	}
}

// rehash changes one stored hash of a hash file and puts the sum right.
func rehash(whole []byte, i int) []byte {
	bad := slices.Clone(whole)
	start := bytes.IndexByte(bad, '\n') + 1
	start += bytes.IndexByte(bad[start:], '\n') + 1
	bad[start+i*sha256.Size] ^= 1
	sum := sha256.Sum256(bad[:len(bad)-sha256.Size])
	return append(bad[:len(bad)-sha256.Size], sum[:]...)
}

// TestVerifyFindsAnyChangedHash: each stored hash is that of lines which are there,
// or follows from others and a checkpoint where they are gone.
func TestVerifyFindsAnyChangedHash(t *testing.T) {
	key := signer(t, testEd25519Key)
	chain := longChain(t, key, 12)
	dir := writeSegments(t, chain.Lines, 8, 14)
	checkpoint := checkpointOf(t, openTree(t, dir))
	for _, gone := range []bool{false, true} {
		if gone {
			os.Remove(filepath.Join(dir, "000001.jsonl"))
			os.Remove(filepath.Join(dir, "000002.jsonl"))
		}
		if report := verifyPaths(t, []string{dir}, checkpoint); !report.OK() {
			t.Fatalf("gone %v: %v", gone, report.Findings)
		}
		for _, name := range []string{"000001.hashes", "000002.hashes"} {
			path := filepath.Join(dir, name)
			whole := readFile(t, path)
			start := bytes.IndexByte(whole, '\n') + 1
			start += bytes.IndexByte(whole[start:], '\n') + 1
			for i := range (len(whole) - start - sha256.Size) / sha256.Size {
				writeFile(t, path, rehash(whole, i))
				if report := verifyPaths(t, []string{dir}, checkpoint); report.OK() {
					t.Errorf("gone %v: hash %d of %s may be changed", gone, i, name)
				}
			}
			writeFile(t, path, whole)
		}
	}
}

// TestVerifyRefusesHashFilesOfOtherLines: a hash file is of the segment that it is
// named for, whole, and named where it is not.
func TestVerifyRefusesHashFilesOfOtherLines(t *testing.T) {
	key := signer(t, testEd25519Key)
	chain := longChain(t, key, 12)
	dir := writeSegments(t, chain.Lines, 8, 14)
	openTree(t, dir)
	first, second := readFile(t, dir, "000001.hashes"), readFile(t, dir, "000002.hashes")
	for name, row := range map[string]struct {
		file string
		text []byte
	}{
		"the first's in place of the second's": {"000002.hashes", first},
		"the second's in place of the first's": {"000001.hashes", second},
		"the second's beside the third":        {"000003.hashes", second},
		"one with a broken sum":                {"000002.hashes", append(slices.Clone(second[:len(second)-1]), second[len(second)-1]^1)},
		"one that is cut":                      {"000001.hashes", first[:len(first)-5]},
		"one of nothing":                       {"000001.hashes", nil},
	} {
		path := filepath.Join(dir, row.file)
		before, err := os.ReadFile(path)
		writeFile(t, path, row.text)
		report := verifyPaths(t, []string{dir})
		if report.OK() || !strings.Contains(fmt.Sprint(report.Findings), row.file) {
			t.Errorf("%s: %v", name, report.Findings)
		}
		os.Remove(path)
		if err == nil {
			writeFile(t, path, before)
		}
	}
	if report := verifyPaths(t, []string{dir}); !report.OK() {
		t.Errorf("put right: %v", report.Findings)
	}
}

// TestHashFilesOutliveATail: one that was cut off is found without any
// checkpoint if its hash files were forgotten.
func TestHashFilesOutliveATail(t *testing.T) {
	chain := longChain(t, signer(t, testEd25519Key), 6)
	dir := writeSegments(t, chain.Lines, 4, 8)
	openTree(t, dir)
	for _, name := range []string{"000002.jsonl", "000003.jsonl"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := kinds(verifyPaths(t, []string{dir})); got != "truncated" {
		t.Errorf("found %q, want truncated", got)
	}
}

// TestTreeOfALiveLog: what is read while a log is being written is always an
// earlier state of what it becomes.
func TestTreeOfALiveLog(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.SegmentBytes = 8 << 10
	log := open(t, cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			appendAll(t, log, settlement(int64(i+1)))
		}
	}()
	var seen []audit.Checkpoint
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		seen = append(seen, checkpointOf(t, openTree(t, cfg.Dir)))
	}
	tree := openTree(t, cfg.Dir)
	for _, c := range seen {
		if err := tree.Extends(c); err != nil {
			t.Error(err)
		}
	}
	mustBeSound(t, verifyPaths(t, []string{cfg.Dir}, seen...))
	if last := seen[len(seen)-1]; last.N < 600 {
		t.Errorf("the last of %d checkpoints has %d lines", len(seen), last.N)
	}
}

func BenchmarkOpenTree(b *testing.B) {
	cfg := testConfig(b, b.TempDir())
	cfg.SegmentBytes, cfg.Sync = 4<<20, audit.SyncNever
	log := open(b, cfg)
	const receipts = 20_000
	told := make(chan error, receipts)
	for i := range receipts {
		log.Post(settlement(int64(i+1)), func(_ audit.Ref, err error) { told <- err })
	}
	for range receipts {
		if err := <-told; err != nil {
			b.Fatal(err)
		}
	}
	log.Close()
	lines := float64(log.Checkpoint().N)
	for name, cold := range map[string]bool{"lines": true, "hash files": false} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if cold {
					removeHashFiles(b, cfg.Dir)
				}
				openTree(b, cfg.Dir)
			}
			b.ReportMetric(lines*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

func removeHashFiles(t testing.TB, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.hashes"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d hash files: %v", len(names), err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}
