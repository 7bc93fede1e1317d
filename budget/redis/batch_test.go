package redis_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// TestEachCallerGetsItsOwnReply: calls that travel together are not mixed up.
func TestEachCallerGetsItsOwnReply(t *testing.T) {
	const callers = 300
	l := open(t, redistest.Start(t).URL())
	provision(t, l, "t")
	var group sync.WaitGroup
	for i := range int64(callers) {
		group.Go(func() {
			lease := fmt.Sprint("lease-", i)
			if _, err := l.Reserve(t.Context(), reservation("t", lease, usd(callers, budget.NoLimit))); err != nil {
				t.Error(err)
				return
			}
			e, err := l.Settle(t.Context(), budget.LeaseRef{Tenant: "t", Lease: lease}, budget.Actual{Cost: i})
			if err != nil || e.Charge != i {
				t.Errorf("charge %d, %v; want %d", e.Charge, err, i)
			}
		})
	}
	group.Wait()
	wantBalance(t, l, "t", callers*(callers-1)/2, 0)
}

// TestCallThatWaitedTooLongIsNeverSent: behind others whose replies do not come,
// a call waits no longer than its context, and it is known not to have happened.
func TestCallThatWaitedTooLongIsNeverSent(t *testing.T) {
	slow := startLossy(t, redistest.Start(t).Addr())
	l := openWith(t, redis.Config{URL: patient(slow.url()), Timeout: time.Minute})
	provision(t, l, "t")
	mustReserve(t, l, reservation("t", "warm", usd(1, 100)))
	slow.hold()
	var ahead sync.WaitGroup
	for n := range int64(2) { // one for each sender
		ahead.Go(func() { l.Reserve(t.Context(), reservation("t", fmt.Sprint("ahead-", n), usd(1, 100))) })
		slow.mustHold(t, n+1)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := l.Reserve(short, reservation("t", "late", usd(1, 100)))
	if !errors.Is(err, budget.ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
	slow.release()
	ahead.Wait()
	_, err = l.Settle(t.Context(), budget.LeaseRef{Tenant: "t", Lease: "late"}, budget.Actual{Cost: 1})
	if !errors.Is(err, budget.ErrUnknownLease) {
		t.Errorf("the late one: %v, want ErrUnknownLease", err)
	}
}

// TestCloseAnswersThoseWhoWait: nobody waits for a ledger that is closed.
func TestCloseAnswersThoseWhoWait(t *testing.T) {
	slow := startLossy(t, redistest.Start(t).Addr())
	l := open(t, slow.url())
	provision(t, l, "t")
	slow.hold()
	defer slow.release()
	var waiting sync.WaitGroup
	for i := range 100 {
		waiting.Go(func() {
			if _, err := l.Reserve(t.Context(), reservation("t", fmt.Sprint(i), usd(1, 100))); !errors.Is(err, budget.ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
		})
	}
	slow.mustHold(t, 2)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	waiting.Wait()
}
