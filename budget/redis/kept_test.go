package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// unmissed are keys whose loss no verb need find out: digests tell a loss that others
// have, and leases that have ended answer repeats for a minute.
func unmissed(key string) bool {
	return strings.HasSuffix(key, ":digests") || strings.HasSuffix(key, ":lease:settled")
}

// TestKeyThatIsGone: of a tenant that has lost one key, as by a move of its slot that
// was forced, each verb is refused for lost state, and every one after it; or it is
// answered as if the key were there, and leaves the same balances.
func TestKeyThatIsGone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Setting("appendfsync", "everysec"))
	l := open(t, server.URL())
	later := time.Now().Add(30 * time.Second) // when the lease that is due is due
	mixedLater := func(tenant string) {
		mixed(t, l, tenant)
		if err := l.SetClock(t.Context(), later, tenant); err != nil {
			t.Fatal(err)
		}
	}
	found := make(map[string]bool) // key without its tenant
	for i, v := range verbs {
		if v.name == "restore" {
			continue // it is what helps
		}
		whole := fmt.Sprint("whole-", i)
		mixedLater(whole)
		keys, err := keysOf(t.Context(), l.Client(), whole)
		if err != nil {
			t.Fatal(err)
		}
		want := outcome(t, l, whole, v.run)
		for n, key := range keys {
			tenant := fmt.Sprintf("broken-%d-%d", i, n)
			mixedLater(tenant)
			broken := strings.Replace(key, whole, tenant, 1)
			if gone := l.Client().Del(t.Context(), broken).Val(); gone != 1 {
				t.Fatalf("there is no key %s", broken)
			}
			got := outcome(t, l, tenant, v.run)
			name := key[strings.Index(key, "}:")+2:]
			found[name] = found[name] || got != want
			if got != want && got != "lost" && !unmissed(key) {
				t.Errorf("%s without %s: %s\nwant lost, or %s", v.name, name, got, want)
			}
		}
	}
	for name, is := range found {
		if !is && !unmissed(":"+name) {
			t.Errorf("no verb misses %s", name)
		}
	}
}

// outcome is what a verb said, and what every counter shows after it; "lost" if either
// was refused for lost state.
func outcome(t *testing.T, l *redis.Ledger, tenant string, verb func(context.Context, *redis.Ledger, string) error) string {
	t.Helper()
	err := verb(t.Context(), l, tenant)
	b, then := l.Balances(t.Context(), tenant, mixedClaims(0))
	if errors.Is(err, budget.ErrLost) && !errors.Is(then, budget.ErrLost) {
		t.Errorf("%s was refused, and then it was not: %v", tenant, then)
	}
	if errors.Is(then, budget.ErrLost) {
		return "lost"
	}
	b.Epoch, b.At = "", 0
	for i := range b.Switches {
		b.Switches[i].At = 0
	}
	var denied *budget.Denied
	if errors.As(err, &denied) {
		return fmt.Sprintf("denied, then %+v", b)
	}
	for _, s := range []error{budget.ErrUnknownLease, budget.ErrEnded, budget.ErrExists} {
		if errors.Is(err, s) {
			return fmt.Sprintf("%v, then %+v", s, b)
		}
	}
	return fmt.Sprintf("%v, then %+v", err, b)
}

// TestCounterThatVanishes: what was spent is not spent again because a counter at rest
// is gone, whatever its window, and the tenant is refused to every replica until it is
// restored.
func TestCounterThatVanishes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for i, claim := range everyWindow(60) {
		t.Run(claim.Key, func(t *testing.T) {
			l, tenant := open(t, server.URL()), fmt.Sprint("t", i)
			claim.Limit = 100
			provision(t, l, tenant)
			mustReserve(t, l, reservation(tenant, "first", claim))
			mustSettle(t, l, tenant, "first", 60)
			state := foldEvents(t, l, tenant)
			keys, err := keysOf(t.Context(), l.Client(), tenant)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range slices.DeleteFunc(keys, func(key string) bool { return !strings.HasSuffix(key, ":"+claim.Key) }) {
				l.Client().Del(t.Context(), key)
			}
			again := reservation(tenant, "second", claim)
			_, err = l.Reserve(t.Context(), again)
			wantError(t, err, budget.ErrLost)
			_, err = open(t, server.URL()).Reserve(t.Context(), again)
			wantError(t, err, budget.ErrLost)

			l.ExpectClock(l.Now())
			if err := l.Restore(t.Context(), state); err != nil {
				t.Fatal(err)
			}
			var denied *budget.Denied
			if _, err = l.Reserve(t.Context(), again); !errors.As(err, &denied) {
				t.Errorf("restored: %v, want a denial", err)
			}
		})
	}
}

// TestTenantWithoutItsRecord: one of whose keys are there without its record is not
// provisioned anew by a replica that has not seen it.
func TestTenantWithoutItsRecord(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := open(t, server.URL())
	provision(t, l, "t")
	mustReserve(t, l, reservation("t", "a", usd(10, 100)))
	l.Client().Del(t.Context(), "aegis:{t}:tenant")
	wantError(t, open(t, server.URL()).Provision(t.Context(), "t"), budget.ErrLost)
}

// TestPromisesAreForgotten: what must exist no longer goes from the list of what must,
// and the list itself goes where nothing is left to promise.
func TestPromisesAreForgotten(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	provision(t, l, "t")
	run := func(n int) budget.Claim {
		return budget.Claim{Key: fmt.Sprint("run/", n), Amount: 1, Limit: 10, AtEnd: budget.Adjust,
			Window: budget.Window{Kind: budget.Idle, Length: time.Hour}}
	}
	for n := range 50 {
		id := fmt.Sprint("lease-", n)
		mustReserve(t, l, reservation("t", id, run(n)))
		mustSettle(t, l, "t", id, 1)
	}
	const kept = "aegis:{t}:kept"
	if n := l.Client().ZCard(t.Context(), kept).Val(); n != 50 {
		t.Errorf("%d keys must exist, want 50", n)
	}
	if ttl := l.Client().PTTL(t.Context(), kept).Val(); ttl <= time.Hour || ttl > 4*time.Hour {
		t.Errorf("the list lives %v", ttl)
	}
	if err := l.SetClock(t.Context(), l.Now().Add(3*time.Hour), "t"); err != nil {
		t.Fatal(err)
	}
	mustReserve(t, l, reservation("t", "late", run(99)))
	if n := l.Client().ZCard(t.Context(), kept).Val(); n != 1 {
		t.Errorf("%d keys must exist, want the newest alone", n)
	}
}

// TestMoveThatWasForced: a slot whose move is ended by hand before its last key leaves
// counters at the other node. What was spent there is not spent again.
func TestMoveThatWasForced(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 2, 0)
	l := hastyOn(t, c)
	for _, gone := range []string{"forever:usd/tenant", "kept", "open", "tenant"} {
		tenant := "t-" + strings.ReplaceAll(gone, "/", "-")
		provision(t, l, tenant)
		mustReserve(t, l, reservation(tenant, "first", usd(60, 100)))
		mustSettle(t, l, tenant, "first", 60)
		m := c.Move(t, "aegis:{"+tenant+"}:tenant")
		m.Take("aegis:{" + tenant + "}:" + gone)
		m.GiveUp()
		_, err := l.Reserve(t.Context(), reservation(tenant, "second", usd(60, 100)))
		if gone == "forever:usd/tenant" || gone == "tenant" {
			wantError(t, err, budget.ErrLost)
		} else if denied := new(budget.Denied); !errors.As(err, &denied) && !errors.Is(err, budget.ErrLost) {
			t.Errorf("without %s: %v, want a denial or lost state", gone, err)
		}
		_, err = l.Balances(t.Context(), tenant, []budget.Claim{{Key: "usd/new", Window: budget.Window{Kind: budget.Forever}}})
		wantError(t, err, budget.ErrLost)
	}
}
