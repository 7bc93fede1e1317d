package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// evalCalls is how many scripts the server has run by hash.
func evalCalls(t testing.TB, l *redis.Ledger) int64 {
	t.Helper()
	stats, err := l.Client().InfoMap(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	var calls int64
	fmt.Sscanf(stats["Commandstats"]["cmdstat_evalsha"], "calls=%d", &calls)
	return calls
}

// TestLostReply loses the reply to each verb once: the client sends the verb
// again, the server runs it twice, and it counts once.
func TestLostReply(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	lossy := startLossy(t, server.Addr())
	through, direct := open(t, lossy.url()), open(t, server.URL())
	lease := budget.LeaseRef{Tenant: "t", Lease: "a"}
	reserve := func(id string) error {
		_, err := through.Reserve(t.Context(), reservation("t", id, usd(10, 100)))
		return err
	}
	verbs := []struct {
		name        string
		run         func() error
		spent, held int64
		numbers     int64
	}{
		{"reserve", func() error { return reserve("a") }, 0, 10, 1},
		{"extend", func() error { _, err := through.Extend(t.Context(), extension(lease, 15, usd(0, 100))); return err }, 0, 15, 1},
		{"renew", func() error { _, err := through.Renew(t.Context(), lease, time.Minute); return err }, 0, 15, 0},
		{"settle", func() error { _, err := through.Settle(t.Context(), lease, budget.Actual{Cost: 7}); return err }, 7, 0, 1},
		{"release", func() error {
			_, err := through.Release(t.Context(), budget.LeaseRef{Tenant: "t", Lease: "b"})
			return err
		}, 7, 0, 1},
	}
	provision(t, direct, "t")
	// The first of a policy takes a number, and each script travels once as text.
	mustReserve(t, through, reservation("t", "warm", usd(1, 100)))
	through.Extend(t.Context(), extension(budget.LeaseRef{Tenant: "t", Lease: "warm"}, 1))
	through.Renew(t.Context(), budget.LeaseRef{Tenant: "t", Lease: "warm"}, time.Minute)
	through.Settle(t.Context(), budget.LeaseRef{Tenant: "t", Lease: "none"}, budget.Actual{Cost: 0})
	through.Release(t.Context(), budget.LeaseRef{Tenant: "t", Lease: "warm"})
	number := lastNumber(t, direct)
	for _, v := range verbs {
		before := evalCalls(t, direct)
		lossy.lose(1)
		if err := v.run(); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if ran := evalCalls(t, direct) - before; ran != 2 {
			t.Errorf("%s ran %d times, want twice", v.name, ran)
		}
		wantBalance(t, direct, "t", v.spent, v.held)
		if got := lastNumber(t, direct); got != number+v.numbers {
			t.Errorf("%s took %d numbers, want %d", v.name, got-number, v.numbers)
		}
		number = lastNumber(t, direct)
	}
}

func lastNumber(t testing.TB, l *redis.Ledger) int64 {
	t.Helper()
	b, err := l.Balances(t.Context(), "t", nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.Number
}

// TestUnknownOutcome loses every reply to a reserve: the caller learns that it
// does not know, and releasing the id leaves nothing held.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	lossy := startLossy(t, server.Addr())
	through, direct := open(t, lossy.url()), open(t, server.URL())
	provision(t, direct, "t")
	mustReserve(t, through, reservation("t", "warm", usd(0, 100)))

	lossy.lose(1 << 30)
	_, err := through.Reserve(t.Context(), reservation("t", "a", usd(10, 100)))
	wantError(t, err, budget.ErrUnavailable)
	if errors.Is(err, budget.ErrUnreachable) {
		t.Errorf("it was sent, but the error says that it was not: %v", err)
	}
	wantBalance(t, direct, "t", 0, 10)

	lossy.lose(0)
	lease := budget.LeaseRef{Tenant: "t", Lease: "a"}
	if _, err := through.Release(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	wantBalance(t, direct, "t", 0, 0)
	_, err = through.Reserve(t.Context(), reservation("t", "a", usd(10, 100)))
	wantError(t, err, budget.ErrEnded)
}

// TestFrozenServer stops the server until the caller has given up. The reserve
// that waits in its socket is run when it goes on, and refused.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := open(t, server.URL())
	provision(t, l, "t")
	mustReserve(t, l, reservation("t", "warm", usd(0, 100)))
	before := evalCalls(t, l)

	server.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := l.Reserve(ctx, reservation("t", "late", usd(10, 100)))
	wantError(t, err, budget.ErrUnavailable)
	server.Thaw()

	for evalCalls(t, l) == before {
		if t.Context().Err() != nil {
			t.Fatal("the late reserve never ran")
		}
	}
	wantBalance(t, l, "t", 0, 0)
	mustReserve(t, l, reservation("t", "late", usd(10, 100)))
}

// TestKilledServer kills the server while callers reserve. Started again it
// holds exactly what it has granted, and releasing what nobody knows leaves
// only what the callers were told of.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	const callers, each = 8, 1000
	server := redistest.Start(t) // appendfsync always
	l := openWith(t, redis.Config{URL: server.URL(), Timeout: 500 * time.Millisecond})
	provision(t, l, "t")

	var granted atomic.Int64
	var mu sync.Mutex
	var unknown []string
	var running sync.WaitGroup
	enough := make(chan struct{})
	for caller := range callers {
		running.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", caller, i)
				_, err := l.Reserve(context.Background(), reservation("t", id, usd(10, budget.NoLimit)))
				if err != nil {
					mu.Lock()
					unknown = append(unknown, id)
					mu.Unlock()
					return
				}
				if granted.Add(1) == 100 {
					close(enough)
				}
			}
		})
	}
	<-enough
	server.Kill()
	running.Wait()
	if len(unknown) == 0 {
		t.Fatal("every caller was done before the server was killed")
	}

	server.Restart()
	for _, id := range unknown {
		if _, err := l.Release(t.Context(), budget.LeaseRef{Tenant: "t", Lease: id}); err != nil {
			t.Fatal(err)
		}
	}
	wantBalance(t, l, "t", 0, 10*granted.Load())
	again := mustReserve(t, l, reservation("t", "after", usd(10, budget.NoLimit)))
	if again.Observed[0].Held != 10*granted.Load() {
		t.Errorf("observed %+v after %d grants", again.Observed[0], granted.Load())
	}
}

// TestLostState restarts the server with less than a replica has seen.
func TestLostState(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		lose func(s *redistest.Server, older func())
	}{
		{"restarted empty", func(s *redistest.Server, _ func()) { s.WipeData() }},
		{"restarted from an older file", func(_ *redistest.Server, older func()) { older() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := redistest.Start(t)
			l := open(t, server.URL())
			provision(t, l, "t")
			mustReserve(t, l, reservation("t", "early", usd(10, 100)))
			older := server.SaveData()
			mustReserve(t, l, reservation("t", "a", usd(10, 100)))
			mustSettle(t, l, "t", "a", 10)
			row.lose(server, older)
			server.Restart()

			wantLost(t, l)
			// A replica that was started later knows it from its receipts.
			fresh := open(t, server.URL())
			epoch, number := l.Seen("t")
			fresh.Remember("t", epoch, number)
			wantLost(t, fresh)
			// Provisioning again does not hide the loss.
			_ = fresh.Provision(t.Context(), "t")
			wantLost(t, fresh)
		})
	}
}

func wantLost(t testing.TB, l *redis.Ledger) {
	t.Helper()
	lease := budget.LeaseRef{Tenant: "t", Lease: "early"}
	_, err := l.Reserve(t.Context(), reservation("t", "new", usd(1, 100)))
	wantError(t, err, budget.ErrLost)
	_, err = l.Settle(t.Context(), lease, budget.Actual{Cost: 1})
	wantError(t, err, budget.ErrLost)
	_, err = l.Release(t.Context(), lease)
	wantError(t, err, budget.ErrLost)
	_, err = l.Sweep(t.Context(), "t")
	wantError(t, err, budget.ErrLost)
	_, err = l.Balances(t.Context(), "t", nil)
	wantError(t, err, budget.ErrLost)
}

// TestFullMemory: nothing is granted, and what is open still ends, even if the
// server does not know the scripts yet.
func TestFullMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := open(t, server.URL())
	provision(t, l, "t")
	for _, id := range []string{"settled", "released", "open"} {
		mustReserve(t, l, reservation("t", id, usd(10, 100)))
	}
	server.SetConfig("maxmemory", "1")
	if err := l.Client().ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}

	_, err := l.Reserve(t.Context(), reservation("t", "new", usd(1, 100)))
	wantError(t, err, budget.ErrUnavailable)
	if !strings.Contains(err.Error(), "OOM") {
		t.Errorf("the error does not say that memory is full: %v", err)
	}
	_, err = l.Extend(t.Context(), extension(budget.LeaseRef{Tenant: "t", Lease: "open"}, 20))
	wantError(t, err, budget.ErrUnavailable)

	mustSettle(t, l, "t", "settled", 4)
	_, released := l.Release(t.Context(), budget.LeaseRef{Tenant: "t", Lease: "released"})
	_, renewed := l.Renew(t.Context(), budget.LeaseRef{Tenant: "t", Lease: "open"}, time.Minute)
	_, thrown := l.Throw(t.Context(), "t", "key:a")
	_, lifted := l.Lift(t.Context(), "t", "key:a", 0)
	_, swept := l.Sweep(t.Context(), "t")
	if err := errors.Join(released, renewed, thrown, lifted, swept); err != nil {
		t.Fatal(err)
	}
	wantBalance(t, l, "t", 4, 10)

	server.SetConfig("maxmemory", "0")
	mustReserve(t, l, reservation("t", "new", usd(1, 100)))
}

// TestUnreachable: a server that is not there is an error in bounded time.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := openWith(t, redis.Config{URL: server.URL(), Timeout: 300 * time.Millisecond})
	provision(t, l, "t")
	server.Kill()
	_, err := l.Reserve(context.Background(), reservation("t", "a", usd(1, 1)))
	if !errors.Is(err, budget.ErrUnreachable) {
		// A connection from before may have taken the first attempt.
		wantError(t, err, budget.ErrUnavailable)
		_, err = l.Reserve(context.Background(), reservation("t", "a", usd(1, 1)))
	}
	wantError(t, err, budget.ErrUnreachable)
	wantError(t, l.Ready(t.Context()), budget.ErrUnavailable)
	_, err = redis.Open(t.Context(), redis.Config{URL: server.URL(), Timeout: 300 * time.Millisecond})
	wantError(t, err, budget.ErrUnavailable)
}
