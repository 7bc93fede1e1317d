package audit_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// post has receipts written and returns a channel that gets an error, or nil,
// for each.
func post(log *audit.Log, bodies ...audit.Body) <-chan error {
	told := make(chan error, len(bodies))
	for _, body := range bodies {
		log.Post(body, func(_ audit.Ref, err error) { told <- err })
	}
	return told
}

// TestPostedReceiptsRide: they are durable when the next receipt is that
// somebody waits for, under the same seal.
func TestPostedReceiptsRide(t *testing.T) {
	dir := t.TempDir()
	log := open(t, testConfig(t, dir))
	told := post(log, settlement(1), settlement(2), settlement(3))
	appendAll(t, log, decision(4))
	for range 3 {
		select {
		case err := <-told:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Fatal("a receipt came after one that was queued behind it")
		}
	}
	report := verifyPaths(t, []string{dir}, log.Checkpoint())
	mustBeSound(t, report)
	if report.Chains[0].Sealed != 4 {
		t.Errorf("%d sealed, want 4", report.Chains[0].Sealed)
	}
}

func TestPostedReceiptNeedsNoCompany(t *testing.T) {
	dir := t.TempDir()
	log := open(t, testConfig(t, dir))
	if err := <-post(log, settlement(1)); err != nil {
		t.Fatal(err)
	}
	mustBeSound(t, verifyPaths(t, []string{dir}, log.Checkpoint()))
}

func TestPostSaysWhyNot(t *testing.T) {
	log, disk := openFaulty(t, t.TempDir())
	long := audit.Settlement{Tenant: strings.Repeat("x", audit.MaxLineBytes)}
	if err := <-post(log, long); !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("too long: %v, want ErrInvalid", err)
	}
	disk.set(0, syscall.ENOSPC, nil)
	if err := <-post(log, settlement(1)); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("full disk: %v, want ErrUnavailable", err)
	}
	disk.set(0, nil, nil)
	log.Close()
	if err := <-post(log, settlement(1)); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("closed: %v, want ErrClosed", err)
	}
}

// TestCloseAnswersEveryPost: of all that are posted while the log closes, each
// is told once, and what is told to be written is.
func TestCloseAnswersEveryPost(t *testing.T) {
	dir := t.TempDir()
	log := open(t, testConfig(t, dir))
	const writers, each = 8, 200
	var told, written atomic.Int64
	var wg sync.WaitGroup
	for w := range int64(writers) {
		wg.Go(func() {
			for i := range int64(each) {
				log.Post(settlement(w*each+i+1), func(_ audit.Ref, err error) {
					told.Add(1)
					if err == nil {
						written.Add(1)
					}
				})
			}
		})
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if told.Load() != writers*each {
		t.Errorf("%d of %d were told", told.Load(), writers*each)
	}
	report := verifyPaths(t, []string{dir})
	mustBeSound(t, report)
	if report.Chains[0].Sealed != written.Load() {
		t.Errorf("%d sealed, %d told to be written", report.Chains[0].Sealed, written.Load())
	}
}
