package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
)

const journal1 = "journal-0000000001"

// TestCutAnywhere opens a journal that breaks off at any byte: what was
// complete is there, the rest is cut off and reported.
func TestCutAnywhere(t *testing.T) {
	whole := writtenJournal(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		size := random.IntN(len(whole) + 1)
		l := open(t, embedded.Config{Dir: dirWith(t, whole[:size]), Now: newClock().now})
		complete := strings.Count(string(whole[:size]), "\n")
		torn := size - strings.LastIndex(string(whole[:size]), "\n") - 1
		if got := l.Recovery(); got.Records != int64(complete) || got.TornBytes != int64(torn) {
			t.Fatalf("cut at %d: %+v, want %d records and %d torn bytes", size, got, complete, torn)
		}
		if complete > 0 {
			agrees(t, l, int64(complete))
		}
		must(t, l.Close())
	}
}

// agrees fails the test unless the tenant has so many events and what they
// fold to.
func agrees(t *testing.T, l *embedded.Ledger, number int64) {
	t.Helper()
	got, want := balances(t, l, "tenant"), foldOf(t, l, "tenant")
	if !reflect.DeepEqual(got, want) || got.Number != number {
		t.Fatalf("the ledger has %+v, %d events give %+v", got, number, want)
	}
}

// TestCutAndGoOn writes on after a cut tail, and opens once more.
func TestCutAndGoOn(t *testing.T) {
	whole := writtenJournal(t)
	config := embedded.Config{Dir: dirWith(t, whole[:len(whole)-5]), Now: newClock().now}
	l := open(t, config)
	before := balances(t, l, "tenant").Number
	spend(t, l, "tenant", 1000, 3)
	must(t, l.Close())
	l = open(t, config)
	agrees(t, l, before+6)
	if l.Recovery().TornBytes != 0 {
		t.Error("the cut tail is still there")
	}
}

// TestDamage refuses a journal with any byte changed, and says where.
func TestDamage(t *testing.T) {
	whole := writtenJournal(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		spoiled := append([]byte(nil), whole...)
		at := random.IntN(len(spoiled))
		spoiled[at] ^= byte(1 + random.IntN(255))
		refused(t, dirWith(t, spoiled), at)
	}
	spoiled := append([]byte(nil), whole...)
	spoiled[len(spoiled)-1] = ' '
	refused(t, dirWith(t, spoiled), len(spoiled)-1)
}

func refused(t *testing.T, dir string, at int) {
	t.Helper()
	l, err := embedded.Open(embedded.Config{Dir: dir, Log: quiet})
	if err == nil {
		l.Close()
	}
	if !errors.Is(err, embedded.ErrDamaged) {
		t.Fatalf("byte %d changed: error is %v", at, err)
	}
	if !strings.Contains(err.Error(), journal1) || !strings.Contains(err.Error(), "offset") {
		t.Fatalf("error %q does not say where", err)
	}
}

// TestMissing refuses a directory with a file missing or broken off in the
// middle of its sequence.
func TestMissing(t *testing.T) {
	whole := writtenJournal(t)
	cut := strings.LastIndex(string(whole[:len(whole)/2]), "\n") + 1
	for name, files := range map[string]map[string]string{
		"first journal":         {"journal-0000000002": ""},
		"journal between":       {journal1: string(whole[:cut]), "journal-0000000003": string(whole[cut:])},
		"journal of a snapshot": {"snapshot-0000000002": line(`{"End":0}`)},
		"end of a snapshot":     {"snapshot-0000000002": string(whole[:cut]), "journal-0000000002": ""},
		"tail of an old journal": {
			journal1: string(whole[:cut-3]), "journal-0000000002": ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range files {
				must(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
			}
			if l, err := embedded.Open(embedded.Config{Dir: dir, Log: quiet}); !errors.Is(err, embedded.ErrDamaged) {
				if err == nil {
					l.Close()
				}
				t.Fatalf("error is %v", err)
			}
		})
	}
}

func line(payload string) string { return string(embedded.AppendLine(nil, []byte(payload))) }

// TestInterruptedCompaction opens what a crash at each step of a compaction
// leaves.
func TestInterruptedCompaction(t *testing.T) {
	whole := string(writtenJournal(t))
	cut := strings.LastIndex(whole[:len(whole)/2], "\n") + 1
	compacted, snapshot := compactedDir(t, whole[:cut]), "snapshot-0000000002"
	image, err := os.ReadFile(filepath.Join(compacted, snapshot))
	must(t, err)
	for name, files := range map[string]map[string]string{
		"before the next journal is used": {journal1: whole, "journal-0000000002": ""},
		"before the snapshot":             {journal1: whole[:cut], "journal-0000000002": whole[cut:]},
		"while it is written":             {journal1: whole[:cut], "journal-0000000002": whole[cut:], snapshot + ".tmp": string(image[:len(image)/2])},
		"before the old are removed":      {journal1: whole[:cut], "journal-0000000002": whole[cut:], snapshot: string(image)},
		"after":                           {"journal-0000000002": whole[cut:], snapshot: string(image)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range files {
				must(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
			}
			l := open(t, embedded.Config{Dir: dir, Now: newClock().now})
			agrees(t, l, int64(strings.Count(whole, "\n")))
		})
	}
}

// compactedDir compacts a journal.
func compactedDir(t *testing.T, journal string) string {
	t.Helper()
	dir := dirWith(t, []byte(journal))
	must(t, embedded.Compact(dir, 2))
	return dir
}

// writtenJournal is a journal with every kind of event of one tenant, one
// event a line.
func writtenJournal(t *testing.T) []byte {
	t.Helper()
	dir, c := t.TempDir(), newClock()
	l := open(t, embedded.Config{Dir: dir, Now: c.now})
	must(t, l.Provision(t.Context(), "tenant"))
	for i := range 10 {
		spend(t, l, "tenant", 10*i, 2)
		r := reservation("tenant", fmt.Sprintf("other-%d", i), 5)
		ref := budget.LeaseRef{Tenant: "tenant", Lease: r.Lease}
		_, err := l.Reserve(t.Context(), r)
		must(t, err)
		_, err = l.Extend(t.Context(), extension(ref, 9))
		must(t, err)
		c.advance(time.Hour)
		_, err = l.Release(t.Context(), ref)
		must(t, err)
	}
	_, err := l.Reserve(t.Context(), reservation("tenant", "open", 5))
	must(t, err)
	must(t, l.Close())
	content, err := os.ReadFile(filepath.Join(dir, journal1))
	must(t, err)
	return content
}

func dirWith(t *testing.T, journal []byte) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, journal1), journal, 0o600))
	return dir
}

// crashDir is where the process that will be killed keeps its ledger.
const crashDir = "EMBEDDED_TEST_CRASH_DIR"

// TestKill kills a process with kill -9 while it grants and compacts, several
// times over. Whatever it said was done is done.
func TestKill(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		grantUntilKilled(t, dir)
	}
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	spent := int64(0)
	for range 4 {
		said := killAfter(t, dir, 50+random.IntN(500))
		l := open(t, embedded.Config{Dir: dir})
		for _, lease := range said {
			_, err := l.Settle(t.Context(), budget.LeaseRef{Tenant: "tenant", Lease: lease}, budget.Actual{Cost: 99})
			must(t, err)
		}
		got, want := balances(t, l, "tenant"), foldOf(t, l, "tenant")
		spent += int64(2 * len(said))
		if !reflect.DeepEqual(got, want) || got.Observed[0].Spent < spent {
			t.Fatalf("the ledger has %+v, its events give %+v, and %d was settled", got, want, spent)
		}
		spent = got.Observed[0].Spent
		must(t, l.Close())
	}
}

// killAfter runs a process until it has said so many leases, and kills it. It
// returns all that it said.
func killAfter(t *testing.T, dir string, leases int) (said []string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKill$")
	child.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lease, ok := strings.CutPrefix(lines.Text(), "settled "); ok {
			said = append(said, lease)
		}
		if len(said) == leases {
			must(t, child.Process.Kill())
		}
	}
	_ = child.Wait() // it was killed
	if len(said) < leases {
		t.Fatalf("the process ended by itself after %d leases", len(said))
	}
	return said
}

// grantUntilKilled is the process to kill. It says what is settled.
func grantUntilKilled(t *testing.T, dir string) {
	l := open(t, embedded.Config{Dir: dir, CompactBytes: 20 << 10})
	must(t, l.Provision(t.Context(), "tenant"))
	run := time.Now().UnixNano()
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for n := 0; ; n++ {
				lease := fmt.Sprintf("lease-%d-%d-%d", run, i, n)
				if _, err := l.Reserve(context.Background(), reservation("tenant", lease, 3)); err != nil {
					panic(err)
				}
				if _, err := l.Settle(context.Background(), budget.LeaseRef{Tenant: "tenant", Lease: lease}, budget.Actual{Cost: 2}); err != nil {
					panic(err)
				}
				os.Stdout.WriteString("settled " + lease + "\n")
			}
		})
	}
	callers.Wait()
}
