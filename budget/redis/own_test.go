package redis_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// TestOwnClock: what a replica takes for the time, in seconds after its start, while
// its wall clock is set.
func TestOwnClock(t *testing.T) {
	t.Parallel()
	type look struct{ elapsed, wall, want int64 }
	for _, row := range []struct {
		name  string
		looks []look
	}{
		{"time passes", []look{{0, 0, 0}, {10, 10, 10}, {4000, 4000, 4000}}},
		{"a small step is followed", []look{{0, 0, 0}, {10, 19, 19}, {20, 21, 21}}},
		{"small steps add up", []look{{0, 0, 0}, {10, 19, 19}, {20, 38, 38}, {30, 57, 57}}},
		{"a leap ahead that comes back", []look{{0, 0, 0}, {1, 3601, 1}, {11, 3611, 11}, {12, 12, 12}, {100, 100, 100}}},
		{"a leap back that comes back", []look{{0, 0, 0}, {1, -3599, 1}, {11, -3589, 11}, {12, 12, 12}}},
		{"a leap that stays", []look{{0, 0, 0}, {1, 3601, 1}, {60, 3660, 60}, {61, 3661, 3661}, {62, 3662, 3662}}},
		{"a second leap begins anew", []look{{0, 0, 0}, {1, 3601, 1}, {50, 7250, 50}, {61, 7261, 61}, {110, 7310, 7310}}},
		{"two leaps that each come back", []look{{0, 0, 0}, {1, 3601, 1}, {30, 30, 30}, {70, 3670, 70}, {71, 71, 71}}},
	} {
		start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		var now look
		clock := redis.OwnClock(func() (time.Time, time.Duration) {
			return start.Add(time.Duration(now.wall) * time.Second), time.Duration(now.elapsed) * time.Second
		})
		for _, now = range row.looks {
			if got := (clock() - start.UnixMilli()) / 1000; got != now.want {
				t.Errorf("%s: after %d s the wall clock shows %d and it is taken for %d, want %d", row.name, now.elapsed, now.wall, got, now.want)
			}
		}
	}
}

// TestClocksThatDisagree: nothing is granted and nothing expires while the ledger's
// clock and the caller's are too far apart, and everything else goes on.
func TestClocksThatDisagree(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, row := range []struct {
		name  string
		apart time.Duration // the caller's clock ahead of the server's
		agree bool
	}{
		{"a caller an hour ahead", time.Hour, false},
		{"a caller an hour behind", -time.Hour, false},
		{"a caller 70 s ahead", 70 * time.Second, false},
		{"a caller 70 s behind", -70 * time.Second, false},
		{"a caller 50 s ahead", 50 * time.Second, true},
		{"a caller 50 s behind", -50 * time.Second, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := open(t, server.URL())
			tenant := strings.ReplaceAll(row.name, " ", "-")
			provision(t, l, tenant)
			ref := func(lease string) budget.LeaseRef { return budget.LeaseRef{Tenant: tenant, Lease: lease} }
			for _, lease := range []string{"settled", "released", "renewed", "extended"} {
				mustReserve(t, l, reservation(tenant, lease, usd(10, 1000)))
			}
			due := reservation(tenant, "due", usd(10, 1000))
			due.TTL = time.Millisecond
			mustReserve(t, l, due)

			l.SetOwnClock(time.Now().Add(row.apart))
			_, reserved := l.Reserve(t.Context(), reservation(tenant, "new", usd(10, 1000)))
			_, extended := l.Extend(t.Context(), extension(ref("extended"), 20, usd(0, 1000)))
			for verb, err := range map[string]error{"reserve": reserved, "extend": extended, "ready": l.Ready(t.Context())} {
				if agree := err == nil; agree != row.agree || !agree && !isApart(err) {
					t.Errorf("%s: %v", verb, err)
				}
			}
			mustSettle(t, l, tenant, "settled", 4)
			_, released := l.Release(t.Context(), ref("released"))
			_, renewed := l.Renew(t.Context(), ref("renewed"), time.Minute)
			_, thrown := l.Throw(t.Context(), tenant, "key:a")
			_, lifted := l.Lift(t.Context(), tenant, "key:a", 0)
			_, swept := l.Sweep(t.Context(), tenant)
			if err := errors.Join(released, renewed, thrown, lifted, swept); err != nil {
				t.Fatal(err)
			}
			if !row.agree {
				wantBalance(t, l, tenant, 4, 30) // what is due is still held
			}
			l.SetOwnClock(time.Now())
			wantBalance(t, l, tenant, 4+10, 20+map[bool]int64{true: 20}[row.agree])
			mustReserve(t, l, reservation(tenant, "after", usd(10, 1000)))
		})
	}
}

func isApart(err error) bool {
	return errors.Is(err, budget.ErrClock) && errors.Is(err, budget.ErrUnreachable) && strings.Contains(err.Error(), "ahead of this replica's")
}

// TestServerThatLeaps: a tenant's time never comes to where a server's clock leapt
// alone, so it goes on at once when that is back. The server is an hour ahead of the
// caller's clock and the tenant's time here, and the caller's then moves.
func TestServerThatLeaps(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	truth := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	if err := l.SetClock(t.Context(), truth, "t"); err != nil {
		t.Fatal(err)
	}
	provision(t, l, "t")
	for i := range int64(5) {
		now := truth.Add(time.Duration(i) * 10 * time.Minute)
		l.SetOwnClock(now)
		if _, err := l.Reserve(t.Context(), reservation("t", "a", usd(1, 10))); !isApart(err) {
			t.Fatalf("granted by a clock that leapt: %v", err)
		}
		e, err := l.Release(t.Context(), budget.LeaseRef{Tenant: "t", Lease: "lease-" + string(rune('a'+i))})
		if err != nil {
			t.Fatal(err)
		}
		if e.At != now.UnixMilli() {
			t.Errorf("an event at %d, and the time is %d", e.At, now.UnixMilli())
		}
	}
}

// TestTenantInTheFuture: one whose newest event is from a leap that both clocks have
// made grants nothing until its time has come, and says so.
func TestTenantInTheFuture(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	provision(t, l, "t")
	mustReserve(t, l, reservation("t", "open", usd(10, 100)))
	if err := l.SetClock(t.Context(), time.Now().Add(time.Hour), "t"); err != nil {
		t.Fatal(err)
	}
	l.SetOwnClock(time.Now())
	_, err := l.Reserve(t.Context(), reservation("t", "new", usd(10, 100)))
	if !isApart(err) {
		t.Fatalf("error is %v, want that the clocks disagree", err)
	}
	mustSettle(t, l, "t", "open", 7)
	wantBalance(t, l, "t", 7, 0)
}
