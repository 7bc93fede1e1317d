package redis_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// patience is how long a test waits for what must happen, far below the minute
// after which a cluster's client asks for the masters of itself.
const patience = 20 * time.Second

// failing is a cluster that replaces a dead master soon, and that serves the
// slots of the others until then.
func failing(t testing.TB, replicas int, options ...redistest.Option) *redistest.Cluster {
	t.Helper()
	return redistest.StartCluster(t, 3, replicas, append(options, redistest.Setting("cluster-node-timeout", "1000"),
		redistest.Setting("cluster-require-full-coverage", "no"))...)
}

// tenantOn is a tenant whose keys are on a master, as its server knows.
func tenantOn(t testing.TB, master *redistest.Server) string {
	t.Helper()
	for i := range 1000 {
		if name := fmt.Sprintf("tenant-%d", i); master.Owns("aegis:{" + name + "}:tenant") {
			return name
		}
	}
	t.Fatal("no tenant's keys are on this master")
	return ""
}

// eventually repeats a verb until it succeeds.
func eventually(t testing.TB, verb func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := verb()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still after %v: %v", patience, err)
		}
	}
}

// TestFailoverOfOneMaster kills a master. The tenants of the others go on all the
// while, and its own do as soon as its replica has taken over, though nobody asks
// whether the ledger is ready.
func TestFailoverOfOneMaster(t *testing.T) {
	t.Parallel()
	for name, options := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failOver(t, failing(t, 1, options...))
		})
	}
}

func failOver(t *testing.T, cluster *redistest.Cluster) {
	l := open(t, cluster.URL())
	hit, other := tenantOn(t, cluster.Masters[0]), tenantOn(t, cluster.Masters[1])
	provision(t, l, hit, other)
	mustReserve(t, l, reservation(hit, "before", usd(10, 100)))
	cluster.Masters[0].AwaitAcknowledged()

	cluster.Masters[0].Kill()
	_, err := l.Reserve(t.Context(), reservation(hit, "down", usd(10, 100)))
	if err != nil && !errors.Is(err, budget.ErrUnavailable) {
		t.Errorf("while its master is dead: %v", err)
	}
	mustReserve(t, l, reservation(other, "down", usd(10, 100)))

	cluster.Replicas[0][0].AwaitMaster()
	eventually(t, func() error {
		_, err := l.Reserve(t.Context(), reservation(hit, "after", usd(10, 100)))
		return err
	})
	eventually(t, func() error {
		_, err := l.Throw(t.Context(), hit, budget.GlobalSwitch)
		return err
	})
	mustReserve(t, l, reservation(other, "after", usd(10, 100)))
}

// TestDeadMasterIsUnreachable: what did not get as far as a connection was not
// sent, and its caller is told so.
func TestDeadMasterIsUnreachable(t *testing.T) {
	t.Parallel()
	cluster := failing(t, 0)
	l := openWith(t, redis.Config{URL: cluster.URL()})
	tenant := tenantOn(t, cluster.Masters[0])
	provision(t, l, tenant)
	cluster.Masters[0].Kill()
	eventually(t, func() error { // a connection from before may take the first
		_, err := l.Reserve(context.Background(), reservation(tenant, "a", usd(1, 1)))
		if errors.Is(err, budget.ErrUnreachable) {
			return nil
		}
		return fmt.Errorf("not unreachable: %w", err)
	})
}
