package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
)

func TestAppendedReceiptsVerify(t *testing.T) {
	dir := t.TempDir()
	log := open(t, testConfig(t, dir))
	refs := appendAll(t, log, decision(1), settlement(2), expiry(3))
	if got := log.Opened(); got.Reason != audit.ReasonCreated || refs[0].ID != got.Chain+"-3" || refs[0].N != 3 {
		t.Errorf("opened %+v, first receipt %+v: want number 3, after the start line and its seal", got, refs[0])
	}
	report := verifyPaths(t, []string{dir}, log.Checkpoint())
	mustBeSound(t, report)
	if c := report.Chains[0]; c.Receipts != 3 || c.Sealed != 3 || c.Last != 8 || c.Checkpoint() != log.Checkpoint() {
		t.Errorf("chain %+v: want 3 receipts, all sealed, 8 lines", c)
	}
	if report.GapCount != 0 {
		t.Errorf("gaps %+v", report.Gaps)
	}
}

func TestManyWritersShareAChain(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(t, dir)
	cfg.SegmentBytes = 16 << 10
	log := open(t, cfg)
	const writers, each = 16, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := log.Append(t.Context(), decision(int64(w*each+i+1))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	report := verifyPaths(t, []string{dir}, log.Checkpoint())
	mustBeSound(t, report)
	if got := report.Chains[0].Sealed; got != writers*each || report.GapCount != 0 {
		t.Errorf("%d sealed receipts and %d gaps, want %d and none", got, report.GapCount, writers*each)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*.jsonl")); len(names) < 10 {
		t.Errorf("%d segments, want many", len(names))
	}
}

func TestReopenContinuesTheChain(t *testing.T) {
	for _, heads := range []string{"kept", "removed", "garbage"} {
		t.Run("heads.json "+heads, func(t *testing.T) {
			dir := t.TempDir()
			cfg := testConfig(t, dir)
			cfg.SegmentBytes = 4 << 10
			for i := range int64(5) {
				log := open(t, cfg)
				appendAll(t, log, decision(3*i+1), settlement(3*i+2), expiry(3*i+3))
				if err := log.Close(); err != nil {
					t.Fatal(err)
				}
				switch path := filepath.Join(dir, "heads.json"); heads {
				case "removed":
					os.Remove(path)
				case "garbage":
					writeFile(t, path, []byte(`{"v":1,"chain":"00"}`))
				}
			}
			log := open(t, cfg)
			if got := log.Heads()["acme"]; got != (audit.Head{Epoch: "e1", Event: 15}) {
				t.Errorf("head %+v, want event 15", got)
			}
			report := verifyPaths(t, []string{dir})
			mustBeSound(t, report)
			if c := report.Chains[0]; len(report.Chains) != 1 || c.Sealed != 15 {
				t.Errorf("chains %+v, want one with 15 sealed receipts", report.Chains)
			}
		})
	}
}

func TestOpenWithoutArchivedSegments(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(t, dir)
	cfg.SegmentBytes = 1
	log := open(t, cfg)
	appendAll(t, log, decision(1), settlement(2))
	log.Close()
	before := log.Checkpoint()
	os.Remove(filepath.Join(dir, "000001.jsonl"))

	log = open(t, cfg)
	appendAll(t, log, expiry(3))
	if got := log.Heads()["acme"].Event; got != 3 {
		t.Errorf("head %d, want 3", got)
	}
	mustBeSound(t, verifyPaths(t, []string{dir}, before))
	if got := kinds(verifyPaths(t, []string{dir})); got != "missing" {
		t.Errorf("without the checkpoint: %q, want missing", got)
	}
}

func kinds(r audit.Report) string {
	var list []string
	for _, f := range r.Findings {
		list = append(list, string(f.Kind))
	}
	return strings.Join(list, " ")
}

func TestHeads(t *testing.T) {
	log := open(t, testConfig(t, t.TempDir()))
	denied := audit.Decision{Verdict: audit.Deny, Epoch: "e2", Event: 9, Facts: call.Facts{Tenant: "beta"}}
	nobody := audit.Decision{Verdict: audit.Deny}
	appendAll(t, log, decision(5), expiry(3), denied, nobody)
	want := map[string]audit.Head{"acme": {Epoch: "e1", Event: 5}, "beta": {Epoch: "e2", Event: 9}}
	if got := log.Heads(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	other := decision(1)
	other.Epoch = "e3"
	appendAll(t, log, other)
	if got := log.Heads()["acme"]; got != (audit.Head{Epoch: "e3", Event: 1}) {
		t.Errorf("got %v: a new epoch counts from anew", got)
	}
}

func TestFind(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.SegmentBytes = 1 // a segment for every receipt: the first is out of reach
	log := open(t, cfg)
	refs := appendAll(t, log, decision(1), settlement(2), expiry(3), settlement(4), decision(5),
		audit.Decision{Verdict: audit.Deny, Epoch: "e1", Event: 6, Facts: call.Facts{Tenant: "acme"}})
	id := func(n int64) audit.EventID { return audit.EventID{Tenant: "acme", Epoch: "e1", Number: n} }
	got, err := log.Find(t.Context(), id(1), id(4), id(5), id(6), id(7))
	if err != nil {
		t.Fatal(err)
	}
	want := map[audit.EventID]audit.Ref{id(4): refs[3], id(5): refs[4]}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	open(t, cfg)
	if _, err := audit.Open(cfg); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestAppendAfterClose(t *testing.T) {
	log := open(t, testConfig(t, t.TempDir()))
	log.Close()
	if _, err := log.Append(t.Context(), decision(1)); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestBodyTooLong(t *testing.T) {
	log := open(t, testConfig(t, t.TempDir()))
	long := audit.Decision{Verdict: strings.Repeat("x", audit.MaxLineBytes)}
	if _, err := log.Append(t.Context(), long); !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

func TestKeyRotation(t *testing.T) {
	dir := t.TempDir()
	old, next := signer(t, testEd25519Key), signer(t, otherEd25519Key)
	cfg := testConfig(t, dir)
	cfg.Signer = old
	log := open(t, cfg)
	appendAll(t, log, decision(1))
	log.Close()

	cfg.Signer = next
	if _, err := audit.Open(cfg); err == nil || !strings.Contains(err.Error(), "retiring") {
		t.Fatalf("got %v, want a refusal that asks for the retiring key", err)
	}
	cfg.Retiring = signer(t, testHMACKey)
	if _, err := audit.Open(cfg); err == nil || !strings.Contains(err.Error(), "retiring key is") {
		t.Fatalf("got %v, want a refusal of the wrong retiring key", err)
	}
	cfg.Retiring = old
	log = open(t, cfg)
	if !log.Opened().Rotated {
		t.Error("the rotation is not reported")
	}
	appendAll(t, log, settlement(2))
	log.Close()
	cfg.Retiring = nil
	open(t, cfg)
	report := verifyPaths(t, []string{dir}) // its keys lack the new one
	mustBeSound(t, report)
	if got := report.Chains[0].Sealed; got != 2 {
		t.Errorf("%d sealed, want 2", got)
	}
}

// faultyFile fails writes after room bytes, or every sync.
type faultyFile struct {
	audit.File
	mu       sync.Mutex
	room     int
	syncErr  error
	writeErr error
	wrote    chan struct{} // if set, told of every write that succeeds
}

func (f *faultyFile) set(room int, writeErr, syncErr error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room, f.writeErr, f.syncErr = room, writeErr, syncErr
}

func (f *faultyFile) tell(wrote chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrote = wrote
}

func (f *faultyFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writeErr == nil || len(p) <= f.room {
		n, err := f.File.Write(p)
		if f.wrote != nil {
			f.wrote <- struct{}{}
		}
		return n, err
	}
	n, err := f.File.Write(p[:f.room])
	return n, errors.Join(f.writeErr, err)
}

func (f *faultyFile) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.syncErr, f.File.Sync())
}

func openFaulty(t *testing.T, dir string) (*audit.Log, *faultyFile) {
	faulty := &faultyFile{}
	cfg := testConfig(t, dir).WithFiles(func(f audit.File) audit.File {
		faulty.File = f
		return faulty
	})
	return open(t, cfg), faulty
}

func TestFullDiskRecoversWithoutRestart(t *testing.T) {
	dir := t.TempDir()
	log, disk := openFaulty(t, dir)
	appendAll(t, log, decision(1))
	whole := readFile(t, dir, "000001.jsonl")

	disk.set(100, syscall.ENOSPC, nil)
	ref, err := log.Append(t.Context(), settlement(2))
	if !errors.Is(err, audit.ErrUnavailable) || ref != (audit.Ref{}) {
		t.Fatalf("got %v, %v, want ErrUnavailable", ref, err)
	}
	if got := readFile(t, dir, "000001.jsonl"); string(got) != string(whole) {
		t.Errorf("the half-written batch was not cut back: %d bytes, want %d", len(got), len(whole))
	}
	disk.set(0, nil, nil)
	appendAll(t, log, settlement(2))
	if err := log.Ready(); err != nil {
		t.Errorf("not ready though there is room: %v", err)
	}
	report := verifyPaths(t, []string{dir}, log.Checkpoint())
	mustBeSound(t, report)
	if report.Chains[0].Sealed != 2 {
		t.Errorf("%d sealed, want 2", report.Chains[0].Sealed)
	}
}

func TestReadyRetriesAFullDisk(t *testing.T) {
	dir := t.TempDir()
	log, disk := openFaulty(t, dir)
	wrote := make(chan struct{}, 1)
	disk.set(0, syscall.ENOSPC, nil)
	if _, err := log.Append(t.Context(), decision(1)); !errors.Is(err, audit.ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
	disk.set(0, nil, nil)
	disk.tell(wrote)
	if err := log.Ready(); !errors.Is(err, audit.ErrUnavailable) {
		t.Fatalf("got %v, want the last batch's ErrUnavailable", err)
	}
	<-wrote // a seal, without any Append
	if err := log.Close(); err != nil {
		t.Errorf("not ready though there is room: %v", err)
	}
	mustBeSound(t, verifyPaths(t, []string{dir}))
}

func TestOtherFailuresBreakTheLog(t *testing.T) {
	for _, row := range []struct {
		name            string
		writeErr, syErr error
	}{
		{"write", syscall.EIO, nil},
		{"fsync", nil, syscall.EIO},
		{"fsync on a full disk", nil, syscall.ENOSPC},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			log, disk := openFaulty(t, dir)
			disk.set(100, row.writeErr, row.syErr)
			if _, err := log.Append(t.Context(), decision(1)); !errors.Is(err, audit.ErrBroken) {
				t.Fatalf("got %v, want ErrBroken", err)
			}
			disk.set(0, nil, nil)
			if _, err := log.Append(t.Context(), decision(1)); !errors.Is(err, audit.ErrBroken) {
				t.Errorf("got %v, want ErrBroken until a restart", err)
			}
			if err := log.Ready(); !errors.Is(err, audit.ErrBroken) {
				t.Errorf("ready says %v", err)
			}
			log.Close()
			appendAll(t, open(t, testConfig(t, dir)), settlement(2))
			mustBeSound(t, verifyPaths(t, []string{dir}))
		})
	}
}

// TestAppendObeysItsContext: on a disk that hangs, a caller whose context ends is told
// so; the one that writes as soon as the disk has answered. What they have left in the
// queue is written.
func TestAppendObeysItsContext(t *testing.T) {
	dir := t.TempDir()
	release, entered := make(chan struct{}), make(chan struct{}, 2)
	var stuck atomic.Bool
	cfg := testConfig(t, dir).WithFiles(func(f audit.File) audit.File {
		return hookFile{f, func() {
			if stuck.Load() {
				entered <- struct{}{}
				<-release
			}
		}}
	})
	log := open(t, cfg)
	stuck.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	writes, waits := make(chan error, 1), make(chan error, 1)
	appendTo := func(body audit.Body, told chan<- error) {
		_, err := log.Append(ctx, body)
		told <- err
	}
	go appendTo(decision(1), writes)
	<-entered
	go appendTo(settlement(2), waits)
	for log.Queued() == 0 {
		runtime.Gosched()
	}
	cancel()
	mustBeCanceled := func(err error) {
		t.Helper()
		if !errors.Is(err, audit.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want ErrUnavailable and the cause", err)
		}
	}
	mustBeCanceled(<-waits)
	close(release)
	mustBeCanceled(<-writes)
	<-entered // whoever writes what the second caller has left
	log.Close()
	report := verifyPaths(t, []string{dir})
	mustBeSound(t, report)
	if got := report.Chains[0].Sealed; got != 2 {
		t.Errorf("%d receipts were written, want those of both", got)
	}
}

// TestOneCallerWritesForAll: those who come while one writes share the next write.
func TestOneCallerWritesForAll(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 16)
	var counted atomic.Bool
	cfg := testConfig(t, t.TempDir()).WithFiles(func(f audit.File) audit.File {
		return hookFile{f, func() {
			if counted.Load() {
				entered <- struct{}{}
				<-release
			}
		}}
	})
	log := open(t, cfg)
	counted.Store(true)
	const callers = 8
	var all sync.WaitGroup
	for i := range int64(callers) {
		all.Go(func() {
			if _, err := log.Append(t.Context(), decision(i+1)); err != nil {
				t.Error(err)
			}
		})
		if i == 0 {
			<-entered
		}
	}
	for log.Queued() < callers-1 {
		runtime.Gosched()
	}
	close(release)
	all.Wait()
	if writes := 1 + len(entered); writes != 2 {
		t.Errorf("%d writes, want one for the first and one for the others", writes)
	}
}

// hookFile calls before ahead of every write.
type hookFile struct {
	audit.File
	before func()
}

func (f hookFile) Write(p []byte) (int, error) {
	f.before()
	return f.File.Write(p)
}

func BenchmarkAppend64(b *testing.B) {
	for _, row := range []struct {
		name string
		sync audit.SyncPolicy
		key  string
	}{
		{"fsync/ed25519", audit.SyncBatch, testEd25519Key},
		{"fsync/hmac", audit.SyncBatch, testHMACKey},
		{"nosync/ed25519", audit.SyncNever, testEd25519Key},
	} {
		b.Run(row.name, func(b *testing.B) {
			cfg := testConfig(b, b.TempDir())
			cfg.Sync, cfg.Signer = row.sync, signer(b, row.key)
			log := open(b, cfg)
			body := decision(1)
			b.SetParallelism(32) // times GOMAXPROCS
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := log.Append(context.Background(), body); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
			b.ReportMetric(float64(b.N)/float64(log.Checkpoint().N-int64(b.N)), "receipts/seal")
		})
	}
}

// TestBeforeComesFirst: what receipts speak of is durable before they are
// written, and where it cannot be, they are not.
func TestBeforeComesFirst(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	var fail error
	calls := 0
	log := open(t, cfg)
	log.Precede(func() error { calls++; return fail })
	if _, err := log.Append(t.Context(), settlement(1)); err != nil || calls == 0 {
		t.Fatalf("append: %v after %d calls", err, calls)
	}
	before := log.Checkpoint()
	fail = errors.New("ledger broken")
	if _, err := log.Append(t.Context(), settlement(2)); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("append: %v, want ErrUnavailable", err)
	}
	if log.Checkpoint() != before {
		t.Error("a receipt was written although what it speaks of was not durable")
	}
}
