package redis_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// turns makes events, two each, that no other call makes.
func turns(t *testing.T, l *redis.Ledger, name string, n int) {
	t.Helper()
	for i := range n {
		lease := fmt.Sprint(name, "-", i)
		mustReserve(t, l, reservation("t", lease, usd(1, budget.NoLimit)))
		mustSettle(t, l, "t", lease, 1)
	}
}

// TestLossThatOthersPushedPast: a server forgets its last events, and a replica that
// has not seen them makes others of the same numbers. One that has seen them finds
// out, up to so many events later, and then nobody is served.
func TestLossThatOthersPushedPast(t *testing.T) {
	t.Parallel()
	const lost = 3 // turns, of two events
	for _, row := range []struct {
		name  string
		turns int // that the other one makes
		found bool
	}{
		{"not as far", lost - 1, true},
		{"just as far", lost, true},
		{"one event pair further", lost + 1, true},
		{"as far as can be told", lost + redis.Recent/2 - 1, true},
		{"further than can be told", lost + redis.Recent/2, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := redistest.Start(t)
			saw, other := open(t, server.URL()), open(t, server.URL())
			provision(t, saw, "t")
			turns(t, saw, "kept", 2)
			older := server.SaveData()
			turns(t, saw, "lost", lost)
			older()
			server.Restart()
			turns(t, other, "other", row.turns)

			_, err := saw.Balances(t.Context(), "t", nil)
			if !row.found {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantError(t, err, budget.ErrLost)
			_, err = other.Balances(t.Context(), "t", nil)
			wantError(t, err, budget.ErrLost)
		})
	}
}

// TestNoLossIsFoundWhereNoneIs: many replicas that call at random, some of them
// seldom, over restarts of the server and a restore.
func TestNoLossIsFoundWhereNoneIs(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	server := redistest.Start(t)
	var replicas []*redis.Ledger
	for range 4 {
		replicas = append(replicas, open(t, server.URL()))
	}
	provision(t, replicas[0], "t")
	for i := range 800 {
		l := replicas[min(random.IntN(1+random.IntN(40)), 3)]
		turns(t, l, fmt.Sprint(i), random.IntN(3))
		if _, err := l.Balances(t.Context(), "t", nil); err != nil {
			t.Fatal(err)
		}
		switch random.IntN(200) {
		case 0:
			server.Kill()
			server.Restart()
		case 1:
			fresh := open(t, server.URL())
			epoch, number := replicas[1].Seen("t")
			fresh.Remember("t", epoch, number)
			replicas[1] = fresh
		}
	}
	state := foldEvents(t, replicas[0], "t")
	for _, l := range replicas {
		if err := l.SetClock(t.Context(), replicas[0].Now(), "t"); err != nil {
			t.Fatal(err)
		}
	}
	if err := replicas[0].Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	for i, l := range replicas {
		turns(t, l, fmt.Sprint("restored-", i), 1)
	}
}

// TestRestoreEndsAnotherHistory: what a replica saw that a restore did not bring back
// is told from the events that take its place.
func TestRestoreEndsAnotherHistory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	saw, other := open(t, server.URL()), open(t, server.URL())
	provision(t, saw, "t")
	turns(t, saw, "kept", 2)
	state := foldEvents(t, saw, "t")
	older := server.SaveData()
	turns(t, saw, "lost", 2)
	older()
	server.Restart()
	other.ExpectClock(saw.Now())
	if err := other.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	turns(t, other, "other", 3)
	_, err := saw.Balances(t.Context(), "t", nil)
	wantError(t, err, budget.ErrLost)
}
