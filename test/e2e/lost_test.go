package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// rebuildArgs are the arguments that rebuild a shared ledger from the receipts
// of replicas.
func rebuildArgs(server *redistest.Server, replicas []*replica) []string {
	args := []string{"ledger", "rebuild", "--ledger", server.URL()}
	for _, r := range replicas {
		args = append(args, r.data)
	}
	return args
}

// rebuildAgrees rebuilds an empty Redis from the receipts of stopped replicas
// and checks that so much is spent and nothing held.
func rebuildAgrees(t *testing.T, w *world, server *redistest.Server, replicas []*replica, spent int64) {
	t.Helper()
	server.WipeData()
	server.Restart()
	if out, err := aegis(t, rebuildArgs(server, replicas)...); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, out)
	}
	r := w.start("replica0", "--ledger", server.URL())
	checkStanding(t, r, standing(spent, 0))
	if code := r.stop(); code != 0 {
		t.Errorf("proxy ended with %d", code)
	}
}

// TestLostRedis loses what Redis knew, all of it or the newest part. Every
// request is refused, loudly, until the balances are rebuilt from receipts.
func TestLostRedis(t *testing.T) {
	for _, row := range []struct {
		name string
		lose func(server *redistest.Server, older func())
	}{
		{"restarted empty", func(s *redistest.Server, _ func()) { s.WipeData() }},
		{"restarted from an older file", func(_ *redistest.Server, older func()) { older() }},
	} {
		t.Run(row.name, func(t *testing.T) { loseRedis(t, row.lose) })
	}
}

func loseRedis(t *testing.T, lose func(server *redistest.Server, older func())) {
	q := request{cap: outputCap}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	server, replicas := w.onRedis(2)
	w.serve(replicas, q)
	older := server.SaveData()
	w.serve(replicas, q)
	for _, r := range replicas {
		checkStanding(t, r, standing(4*one, 0)) // and each has seen the newest event
	}
	awaitEvents(t, replicas, "provision", 1)
	awaitEvents(t, replicas, "policy", 1)

	lose(server, older)
	server.Restart()
	w.refusedAsLost(replicas)
	for i, r := range replicas {
		r.stop()
		replicas[i] = w.start(filepath.Base(r.data), "--ledger", server.URL())
	}
	w.refusedAsLost(replicas) // a restart does not make them forget

	for _, r := range replicas {
		r.stop()
	}
	out, err := aegis(t, rebuildArgs(server, replicas[:1])...)
	if err == nil || !strings.Contains(out, "acme") || !strings.Contains(out, "every replica") {
		t.Errorf("rebuild without the receipts of a replica: %v\n%s", err, out)
	}
	if out, err := aegis(t, rebuildArgs(server, replicas)...); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, out)
	}
	for i, r := range replicas {
		replicas[i] = w.start(filepath.Base(r.data), "--ledger", server.URL())
		checkStanding(t, replicas[i], standing(4*one, 0))
	}
	w.serve(replicas, q)
	checkStanding(t, replicas[0], standing(6*one, 0))
	for _, r := range replicas {
		r.stop()
	}
	verifyAll(t, replicas)
}

// serve has each replica serve one request.
func (w *world) serve(replicas []*replica, q request) {
	w.t.Helper()
	for _, r := range replicas {
		if err := wantStatus(w.must(r, q), 200); err != nil {
			w.t.Fatal(err)
		}
	}
}

// refusedAsLost checks that each replica refuses, says so in its log, and
// sends nothing. The log may say of several errors alike only the first: its
// sweeps tell the loss then.
func (w *world) refusedAsLost(replicas []*replica) {
	w.t.Helper()
	before := w.sim.Totals().Received
	for _, r := range replicas {
		w.untilLost(r)
		eventually(w.t, restLimit, func() error {
			if !r.logged(`"level":"ERROR"`) || !r.logged("ledger lost state") {
				return fmt.Errorf("%s does not say that state is lost", filepath.Base(r.data))
			}
			return nil
		})
	}
	if got := w.sim.Totals().Received; got != before {
		w.t.Errorf("the provider got %d requests", got-before)
	}
}

// TestLostDirectory deletes the embedded ledger. The proxy does not start until
// it is rebuilt from receipts.
func TestLostDirectory(t *testing.T) {
	q := request{cap: outputCap}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
	r := w.start("replica0")
	for range 3 {
		w.serve([]*replica{r}, q)
	}
	r.stop()
	if err := os.RemoveAll(filepath.Join(r.data, "ledger")); err != nil {
		t.Fatal(err)
	}
	refused, err := w.tryStart("replica0")
	if err == nil || !refused.logged("ledger rebuild") {
		t.Fatalf("the proxy started without its ledger, or does not say what to do:\n%s", refused.log())
	}
	if out, err := aegis(t, "ledger", "rebuild", "--data", r.data); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, out)
	}
	r = w.start("replica0")
	checkStanding(t, r, standing(3*one, 0))
	w.serve([]*replica{r}, q)
	checkStanding(t, r, standing(4*one, 0))
	r.stop()
	verifyAll(t, []*replica{r})
}

// TestLostRedisWithOpenLeases loses Redis and a replica with streams in flight
// together. The rebuilt ledger holds what the dead replica held, until its
// leases expire and are charged.
func TestLostRedisWithOpenLeases(t *testing.T) {
	t.Parallel()
	q, stream := request{cap: outputCap}, request{cap: outputCap, stream: true}
	one, held := bound(t, q), bound(t, stream)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt, Script: lasting}, monthly(100*one))
	server, replicas := w.onRedis(2)
	w.serve(replicas, q)
	w.open(replicas[0], stream, 3)
	awaitComplete(t, replicas)
	replicas[0].kill()
	replicas[1].stop()

	server.WipeData()
	server.Restart()
	if out, err := aegis(t, rebuildArgs(server, replicas)...); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, out)
	}
	replicas[1] = w.start("replica1", "--ledger", server.URL())
	checkStanding(t, replicas[1], standing(2*one, 3*held))
	awaitStanding(t, replicas[1], standing(2*one+3*held, 0))
	awaitEvents(t, replicas[1:], "expire", 3)
	replicas[1].stop()
	verifyAll(t, replicas)
}

// TestProvisionHidesNoLoss provisions tenants again after Redis came back
// empty. To replicas that knew them the new ones are strangers, and requests
// are refused all the same. A rebuild does not overwrite them by itself.
func TestProvisionHidesNoLoss(t *testing.T) {
	q := request{cap: outputCap}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(100*one))
	server, replicas := w.onRedis(1)
	w.serve(replicas, q)
	awaitComplete(t, replicas)
	server.WipeData()
	server.Restart()
	if out, err := aegis(t, "ledger", "provision", "--policy", w.policy, "--ledger", server.URL()); err != nil {
		t.Fatalf("provision: %v\n%s", err, out)
	}
	w.refusedAsLost(replicas)
	replicas[0].stop()
	replicas[0] = w.start("replica0", "--ledger", server.URL())
	w.refusedAsLost(replicas)
	replicas[0].stop()
	out, err := aegis(t, rebuildArgs(server, replicas)...)
	if err == nil || !strings.Contains(out, "delete its keys") {
		t.Errorf("rebuild over a tenant provisioned anew: %v\n%s", err, out)
	}
	rebuildAgrees(t, w, server, replicas, one)
}

// TestLossIsKnownToAll brings Redis back with an older file and a replica that
// has never seen it newer. Once a replica that has comes across the loss, the
// other is refused too: it would grant what is spent already.
func TestLossIsKnownToAll(t *testing.T) {
	q := request{cap: outputCap}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(2*one))
	server, replicas := w.onRedis(1)
	older := server.SaveData()
	w.serve(replicas, q)
	w.serve(replicas, q)
	awaitComplete(t, replicas)
	older()
	server.Restart()
	w.refusedAsLost(replicas)
	replicas = append(replicas, w.start("replica1", replicas[0].ledgerArgs()...))
	w.refusedAsLost(replicas)
	for _, r := range replicas {
		r.stop()
	}
	if out, err := aegis(t, rebuildArgs(server, replicas)...); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, out)
	}
	r := w.start("replica1", replicas[0].ledgerArgs()...)
	if err := wantStatus(w.must(r, q), 402); err != nil {
		t.Error(err)
	}
	checkStanding(t, r, standing(2*one, 0))
}
