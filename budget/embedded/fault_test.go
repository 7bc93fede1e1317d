package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
)

var errDisk = errors.New("disk gone")

// faulty is a file whose writes or syncs go wrong when told to, and which can
// hold a sync up.
type faulty struct {
	embedded.File
	*disk
}

func (f *faulty) Write(p []byte) (int, error) {
	if f.full.Load() {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, syscall.ENOSPC
	}
	if f.partialWrite.Load() {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, errDisk
	}
	return f.File.Write(p)
}

func (f *faulty) Sync() error {
	select {
	case f.syncing <- struct{}{}:
	default:
	}
	f.gate.Lock()
	defer f.gate.Unlock()
	if f.failSync.Load() {
		return errDisk
	}
	return f.File.Sync()
}

// disk is a directory's files with faults.
type disk struct {
	partialWrite, failSync, full atomic.Bool
	gate                         sync.Mutex    // held to hold a sync up
	syncing                      chan struct{} // told of a sync if somebody listens
}

func (d *disk) config(dir string) embedded.Config {
	return embedded.WithFiles(embedded.Config{Dir: dir, Log: quiet}, func(path string) (embedded.File, error) {
		f, err := embedded.OpenFile(path)
		return &faulty{f, d}, err
	})
}

// TestBrokenDisk grants nothing from memory only: after a write or sync that
// failed every verb is refused, and the directory opens with what was durable.
func TestBrokenDisk(t *testing.T) {
	for name, fault := range map[string]func(*disk) *atomic.Bool{
		"partial write": func(d *disk) *atomic.Bool { return &d.partialWrite },
		"failed sync":   func(d *disk) *atomic.Bool { return &d.failSync },
	} {
		t.Run(name, func(t *testing.T) {
			var d disk
			dir := t.TempDir()
			l := open(t, d.config(dir))
			must(t, l.Provision(t.Context(), "tenant", "other"))
			spend(t, l, "tenant", 0, 5)
			before := balances(t, l, "tenant")

			fault(&d).Store(true)
			_, err := l.Reserve(t.Context(), reservation("tenant", "lost", 7))
			unavailable(t, err)
			fault(&d).Store(false)
			refusesEverything(t, l)
			if err := l.Close(); !errors.Is(err, errDisk) {
				t.Errorf("close: %v", err)
			}

			l = open(t, embedded.Config{Dir: dir})
			after := balances(t, l, "tenant")
			if name == "partial write" && !reflect.DeepEqual(after, before) {
				t.Errorf("balances are %+v, want %+v", after, before)
			}
			if after.Observed[0].Spent != before.Observed[0].Spent {
				t.Errorf("spent is %d, want %d", after.Observed[0].Spent, before.Observed[0].Spent)
			}
		})
	}
}

// TestFullDisk refuses every verb while there is no room, says so, and goes on
// without a restart once there is some: with the grant that was being written,
// which a release takes back, and with what the directory then holds.
func TestFullDisk(t *testing.T) {
	var d disk
	dir := t.TempDir()
	l := open(t, d.config(dir))
	must(t, l.Provision(t.Context(), "tenant", "other"))
	spend(t, l, "tenant", 0, 5)
	before := balances(t, l, "tenant")

	d.full.Store(true)
	_, err := l.Reserve(t.Context(), reservation("tenant", "lost", 7))
	unavailable(t, err)
	if errors.Is(err, budget.ErrUnreachable) {
		t.Errorf("nobody knows that the grant was not written, yet it is %v", err)
	}
	for range 3 {
		_, err = l.Reserve(t.Context(), reservation("other", "next", 1))
		unavailable(t, err)
		unavailable(t, l.Ready(t.Context()))
		unavailable(t, l.Flush())
	}

	d.full.Store(false)
	must(t, l.Flush())
	must(t, l.Ready(t.Context()))
	_, err = l.Release(t.Context(), budget.LeaseRef{Tenant: "tenant", Lease: "lost"})
	must(t, err)
	spend(t, l, "other", 1, 1)
	after := balances(t, l, "tenant")
	if after.Observed[0] != before.Observed[0] || after.Number != before.Number+2 {
		t.Errorf("balances are %+v, want those of %+v two events later", after, before)
	}
	must(t, l.Close())
	if again := balances(t, open(t, embedded.Config{Dir: dir}), "tenant"); !reflect.DeepEqual(again, after) {
		t.Errorf("opened again, balances are %+v, want %+v", again, after)
	}
}

// TestClosedWhileFull says that what was not written is lost.
func TestClosedWhileFull(t *testing.T) {
	var d disk
	l := open(t, d.config(t.TempDir()))
	must(t, l.Provision(t.Context(), "tenant"))
	d.full.Store(true)
	_, err := l.Reserve(t.Context(), reservation("tenant", "lost", 7))
	unavailable(t, err)
	if err := l.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v", err)
	}
}

func unavailable(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, budget.ErrUnavailable) {
		t.Fatalf("error is %v, want %v", err, budget.ErrUnavailable)
	}
	if strings.Count(err.Error(), budget.ErrUnavailable.Error()) != 1 {
		t.Errorf("it says so twice: %v", err)
	}
}

func refusesEverything(t *testing.T, l *embedded.Ledger) {
	t.Helper()
	ref := budget.LeaseRef{Tenant: "tenant", Lease: "lease-1"}
	_, err := l.Reserve(t.Context(), reservation("other", "next", 1))
	unavailable(t, err)
	_, err = l.Extend(t.Context(), extension(ref, 1))
	unavailable(t, err)
	_, err = l.Renew(t.Context(), ref, time.Minute)
	unavailable(t, err)
	_, err = l.Settle(t.Context(), ref, budget.Actual{Cost: 1})
	unavailable(t, err)
	_, err = l.Release(t.Context(), ref)
	unavailable(t, err)
	_, err = l.Balances(t.Context(), "tenant", nil)
	unavailable(t, err)
	_, err = l.Sweep(t.Context(), "tenant")
	unavailable(t, err)
	unavailable(t, l.Provision(t.Context(), "new"))
	unavailable(t, l.Ready(t.Context()))
}

// TestNothingObservedBeforeItIsDurable holds a sync up: neither the grant nor
// a denial that rests on it may be answered until it is over.
func TestNothingObservedBeforeItIsDurable(t *testing.T) {
	d := disk{syncing: make(chan struct{})}
	l := open(t, d.config(t.TempDir()))
	must(t, l.Provision(t.Context(), "tenant"))
	spend(t, l, "tenant", 0, 1)
	one := reservation("tenant", "one", 5)
	one.Claims[0].Limit = 7
	two := one
	two.Lease = "two"

	d.gate.Lock()
	d.failSync.Store(true)
	granted := make(chan error)
	go func() {
		_, err := l.Reserve(context.Background(), one)
		granted <- err
	}()
	<-d.syncing
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := l.Reserve(ctx, two)
	unavailable(t, err)
	d.gate.Unlock()
	unavailable(t, <-granted)
}

// TestLock lets one ledger have a directory.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	first := open(t, embedded.Config{Dir: dir})
	if _, err := embedded.Open(embedded.Config{Dir: dir, Log: quiet}); !errors.Is(err, embedded.ErrLocked) {
		t.Fatalf("error is %v, want %v", err, embedded.ErrLocked)
	}
	must(t, first.Close())
	open(t, embedded.Config{Dir: dir})
}

// TestClosed refuses every verb of a closed ledger.
func TestClosed(t *testing.T) {
	l := open(t, embedded.Config{Dir: t.TempDir()})
	must(t, l.Provision(t.Context(), "tenant", "other"))
	must(t, l.Close())
	refusesEverything(t, l)
	must(t, l.Close())
}

// TestAcknowledgedStaysSo keeps acknowledgements and renewals over a reopening
// and a compaction.
func TestAcknowledgedStaysSo(t *testing.T) {
	for name, compactBytes := range map[string]int64{"journal": 0, "snapshot": 1} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			config := embedded.Config{Dir: t.TempDir(), Now: c.now, CompactBytes: compactBytes}
			l := open(t, config)
			must(t, l.Provision(t.Context(), "tenant"))
			_, err := l.Reserve(t.Context(), reservation("tenant", "renewed", 5))
			must(t, err)
			expires, err := l.Renew(t.Context(), budget.LeaseRef{Tenant: "tenant", Lease: "renewed"}, 3*time.Hour)
			must(t, err)
			l.Acknowledge("tenant", 2)
			spend(t, l, "tenant", 0, 3)
			must(t, l.Close())

			l = open(t, config)
			events, err := l.Unacknowledged("tenant")
			must(t, err)
			if len(events) != 8 || events[1].Number != 3 {
				t.Errorf("%d events, the second %+v", len(events), events[1])
			}
			c.advance(2 * time.Hour)
			if b := balances(t, l, "tenant"); b.Open != 1 {
				t.Errorf("%d open leases before %d", b.Open, expires)
			}
		})
	}
}

// TestCompaction leaves a directory whose size follows the state, not the
// history.
func TestCompaction(t *testing.T) {
	config := embedded.Config{Dir: t.TempDir(), CompactBytes: 10 << 10}
	l := open(t, config)
	must(t, l.Provision(t.Context(), "tenant"))
	for n := int64(1); n <= 40; n++ {
		spend(t, l, "tenant", 10*int(n), 10)
		for number := 20*n - 18; number <= 20*n+2; number++ {
			l.Acknowledge("tenant", number)
		}
	}
	before := balances(t, l, "tenant")
	must(t, l.Close())
	snapshots, err := filepath.Glob(filepath.Join(config.Dir, "snapshot-*"))
	must(t, err)
	journals, err := filepath.Glob(filepath.Join(config.Dir, "journal-*"))
	must(t, err)
	if len(snapshots) != 1 || len(journals) > 2 {
		t.Errorf("snapshots %v and journals %v", snapshots, journals)
	}
	l = open(t, config)
	if after := balances(t, l, "tenant"); !reflect.DeepEqual(after, before) {
		t.Errorf("balances are %+v, want %+v", after, before)
	}
}

// TestTenants names every tenant, in order, over a reopening.
func TestTenants(t *testing.T) {
	config := embedded.Config{Dir: t.TempDir()}
	l := open(t, config)
	must(t, l.Provision(t.Context(), "b", "a"))
	must(t, l.Close())
	if got := open(t, config).Tenants(); fmt.Sprint(got) != "[a b]" {
		t.Errorf("tenants are %v", got)
	}
}

// TestNoReceipts stops grants, but not settlements, when nobody writes
// receipts.
func TestNoReceipts(t *testing.T) {
	l := open(t, embedded.WithoutSync(embedded.Config{Dir: t.TempDir()}))
	must(t, l.Provision(t.Context(), "tenant"))
	ctx, ref := t.Context(), budget.LeaseRef{Tenant: "tenant", Lease: "first"}
	_, err := l.Reserve(ctx, reservation("tenant", ref.Lease, 1))
	must(t, err)
	embedded.FillPending(l, "tenant")
	_, err = l.Reserve(ctx, reservation("tenant", "second", 1))
	unavailable(t, err)
	_, err = l.Settle(ctx, ref, budget.Actual{Cost: 1})
	must(t, err)
}
