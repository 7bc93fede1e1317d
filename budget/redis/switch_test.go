package redis_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// stoppable is a reservation that switches can stop.
func stoppable(lease string, switches ...string) budget.Reservation {
	r := reservation("t", lease, usd(1, 100))
	r.Switches = switches
	return r
}

// TestSwitchBindsOnEveryReplica: one that is thrown at a replica stops the next
// reserve at another, also after the server has started again.
func TestSwitchBindsOnEveryReplica(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	here, there := open(t, server.URL()), open(t, server.URL())
	provision(t, here, "t")
	mustReserve(t, there, stoppable("before", "tenant", "key:a"))
	thrown, err := here.Throw(t.Context(), "t", "key:a")
	if err != nil {
		t.Fatal(err)
	}
	wantKilled(t, there, stoppable("killed", "tenant", "key:a"), thrown)
	mustReserve(t, there, stoppable("other", "tenant", "key:b"))
	server.Restart()
	wantKilled(t, open(t, server.URL()), stoppable("killed", "tenant", "key:a"), thrown)

	if _, err := open(t, server.URL()).Lift(t.Context(), "t", "key:a", 0); err != nil {
		t.Fatal(err)
	}
	mustReserve(t, open(t, server.URL()), stoppable("after", "tenant", "key:a"))
}

func wantKilled(t *testing.T, l *redis.Ledger, r budget.Reservation, by budget.Switch) {
	t.Helper()
	_, err := l.Reserve(t.Context(), r)
	var killed *budget.Killed
	if !errors.As(err, &killed) || killed.Switch != by {
		t.Fatalf("error is %v, want one of switch %+v", err, by)
	}
}

// TestReserveLooksForThrownSwitchesOnly: where none is thrown a reserve costs no
// command more than one that names none.
func TestReserveLooksForThrownSwitchesOnly(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	provision(t, l, "t")
	mustReserve(t, l, stoppable("none", "tenant", "key:a"))
	if _, err := l.Throw(t.Context(), "t", "key:b"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Lift(t.Context(), "t", "key:b", 0); err != nil {
		t.Fatal(err)
	}
	looked := lookups(t, l)
	mustReserve(t, l, stoppable("lifted", "tenant", "key:a"))
	if again := lookups(t, l); again != looked {
		t.Errorf("a reserve looked for switches: %s, before %s", again, looked)
	}
	if _, err := l.Throw(t.Context(), "t", "key:b"); err != nil {
		t.Fatal(err)
	}
	looked = lookups(t, l)
	mustReserve(t, l, stoppable("thrown", "tenant", "key:a"))
	if again := lookups(t, l); again == looked {
		t.Error("a reserve looked for no switch although one is thrown")
	}
}

// lookups is what the server counts of the command that looks for a switch.
func lookups(t *testing.T, l *redis.Ledger) string {
	t.Helper()
	stats, err := l.Client().Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(stats, "\r\n") {
		if calls, found := strings.CutPrefix(line, "cmdstat_hget:"); found {
			count, _, _ := strings.Cut(calls, ",")
			return count
		}
	}
	return "none"
}

// TestLostForAll: a replica that has seen what holds for every tenant provisions
// none once that is gone.
func TestLostForAll(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := open(t, server.URL())
	provision(t, l, budget.EveryTenant, "t")
	if _, err := l.Throw(t.Context(), budget.EveryTenant, budget.GlobalSwitch); err != nil {
		t.Fatal(err)
	}
	server.WipeData()
	server.Restart()
	wantError(t, l.Provision(t.Context(), "another"), budget.ErrLost)
	provision(t, open(t, server.URL()), "another")
}
