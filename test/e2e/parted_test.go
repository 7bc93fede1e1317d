package e2e

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// TestPartedHistory: a master of a cluster dies before its replica has its last events,
// and others take their numbers before a proxy that has seen them calls. Then everybody
// is refused, until the tenant is restored from both histories by explicit order: all
// that was spent counts. A tenant that is served is not replaced.
func TestPartedHistory(t *testing.T) {
	q := request{cap: outputCap}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	cluster := redistest.StartCluster(t, 3, 1, redistest.Setting("cluster-node-timeout", "1000"))
	if out, err := aegis(t, "ledger", "provision", "--policy", w.policy, "--ledger", cluster.URL()); err != nil {
		t.Fatalf("provision: %v\n%s", err, out)
	}
	saw := w.start("replica0", "--ledger", cluster.URL())
	w.serve([]*replica{saw}, q)
	master, follower := ownerOf(t, cluster, "aegis:{acme}:tenant")
	follower.Freeze()
	master.Ask("CLIENT KILL TYPE replica")
	w.serve([]*replica{saw, saw}, q)
	awaitComplete(t, []*replica{saw})
	freeze(t, saw, syscall.SIGSTOP)
	master.Kill()
	follower.Thaw()
	follower.AwaitMaster()

	other := w.start("replica1", "--ledger", cluster.URL())
	w.serve([]*replica{other, other, other}, q)
	freeze(t, saw, syscall.SIGCONT)
	replicas := []*replica{saw, other}
	w.refusedAsLost(replicas)
	for _, r := range replicas {
		r.stop()
	}

	args := []string{"ledger", "rebuild", "--ledger", cluster.URL(), saw.data, other.data}
	out, err := aegis(t, args...)
	if err == nil || !strings.Contains(out, "parted") || !strings.Contains(out, "--replace-refused") {
		t.Fatalf("rebuild without an order: %v\n%s", err, out)
	}
	if out, err := aegis(t, append(args, "--replace-refused")...); err == nil || !strings.Contains(out, "--tenant") {
		t.Errorf("an order that names no tenant: %v\n%s", err, out)
	}
	args = append(args, "--tenant", "acme", "--replace-refused")
	if out, err := aegis(t, args...); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, out)
	}
	saw, other = w.start("replica0", "--ledger", cluster.URL()), w.start("replica1", "--ledger", cluster.URL())
	checkStanding(t, saw, standing(6*one, 0))
	w.serve([]*replica{saw, other}, q)
	checkStanding(t, other, standing(8*one, 0))
	saw.stop()
	healthy := []string{"ledger", "rebuild", "--ledger", cluster.URL(), saw.data, "--tenant", "acme", "--replace-refused"}
	if out, err := aegis(t, healthy...); err == nil {
		t.Errorf("a tenant that is served was replaced:\n%s", out)
	}
	checkStanding(t, other, standing(8*one, 0))
}

// untilLost asks a proxy until it has found the new master, and with it that state is
// lost. Until then it grants nothing.
func (w *world) untilLost(r *replica) {
	w.t.Helper()
	eventually(w.t, 10*time.Second, func() error {
		got := w.must(r, request{cap: outputCap})
		if got.status != 503 {
			w.t.Fatalf("got %d %s", got.status, got.body)
		}
		if !strings.Contains(got.body, "rebuild") {
			return errors.New(got.body)
		}
		return nil
	})
}

// ownerOf is the master that has a key, and its replica.
func ownerOf(t *testing.T, c *redistest.Cluster, key string) (master, follower *redistest.Server) {
	t.Helper()
	for i, m := range c.Masters {
		if m.Owns(key) {
			m.AwaitAcknowledged()
			return m, c.Replicas[i][0]
		}
	}
	t.Fatalf("no master has %s", key)
	return nil, nil
}

// freeze stops a proxy's process, or has it go on.
func freeze(t *testing.T, r *replica, signal syscall.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}
