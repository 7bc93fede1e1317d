package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestLoweredLimitReachesOneReplicaFirst lowers a limit in the policy of one
// replica. Once that one was asked, the other may not grant by the old limit:
// it is refused until it has the new policy too.
func TestLoweredLimitReachesOneReplicaFirst(t *testing.T) {
	q := request{cap: outputCap}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(100*one))
	_, replicas := w.onRedis(1)
	ahead, first := replicas[0], w.policy
	w.policy = filepath.Join(w.dir, "second.yaml")
	w.writePolicy(1, monthly(100*one))
	behind := w.start("replica1", ahead.ledgerArgs()...)
	replicas = append(replicas, behind)
	w.serve(replicas, q)

	lowered := w.policyText(2, monthly(3*one))
	w.writeFile(first, lowered)
	awaitGeneration(t, ahead, 2)
	w.serve(replicas[:1], q)
	wantStale(t, w, behind)

	w.writePolicy(2, monthly(200*one)) // the same generation, another limit
	awaitGeneration(t, behind, 2)
	wantStale(t, w, behind)

	w.writeFile(first, w.policyText(3, monthly(3*one)))
	w.writeFile(w.policy, w.policyText(3, monthly(3*one)))
	for _, r := range replicas {
		awaitGeneration(t, r, 3)
		if err := wantStatus(w.must(r, q), 402); err != nil {
			t.Error(err)
		}
	}
	checkStanding(t, behind, standing(3*one, 0))
	for _, r := range replicas {
		r.stop()
	}
	verifyAll(t, replicas)
}

// ledgerArgs are the arguments by which a replica was told of its ledger.
func (r *replica) ledgerArgs() []string {
	for i, arg := range r.cmd.Args {
		if arg == "--ledger" {
			return r.cmd.Args[i : i+2]
		}
	}
	return nil
}

// wantStale checks that a replica is refused for its policy and sends nothing.
func wantStale(t *testing.T, w *world, r *replica) {
	t.Helper()
	before := w.sim.Totals().Received
	resp := w.must(r, request{cap: outputCap})
	if resp.status != 503 || !strings.Contains(resp.body, "policy") {
		t.Errorf("got %d %s", resp.status, resp.body)
	}
	if got := w.sim.Totals().Received; got != before {
		t.Error("the provider got the request")
	}
}

// awaitGeneration waits until a replica says that it has loaded a policy.
func awaitGeneration(t *testing.T, r *replica, generation int) {
	t.Helper()
	awaitLog(t, r, fmt.Sprintf(`"msg":"policy loaded","generation":%d`, generation))
}

// awaitLog waits until a replica has said that.
func awaitLog(t *testing.T, r *replica, text string) {
	t.Helper()
	eventually(t, startLimit, func() error {
		if !r.logged(text) {
			return fmt.Errorf("%s does not say %q", filepath.Base(r.data), text)
		}
		return nil
	})
}

// TestReload changes the limit of a running proxy in every way that a file can
// change, and then in ways that it must refuse.
func TestReload(t *testing.T) {
	w := newWorld(t, simulator.Config{}, monthly(1e9))
	folder := filepath.Join(w.dir, "mounted")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	w.policy = filepath.Join(folder, "policy.yaml")
	w.writePolicy(1, monthly(1e9))
	r := w.start("replica0")

	for i, way := range []struct {
		name  string
		write func(text string)
	}{
		{"written in place", func(text string) { w.writeFile(w.policy, text) }},
		{"replaced", func(text string) { w.replace(text) }},
		{"replaced by a symlink", func(text string) { w.pointTo("a", text) }},
		{"symlink swapped", func(text string) { w.pointTo("b", text) }},
		{"on SIGHUP", func(text string) { w.writeUnseen(r, text) }},
	} {
		generation := i + 2
		way.write(w.policyText(generation, monthly(int64(generation)*1e9)))
		awaitGeneration(t, r, generation)
		if got, want := r.balances()["daily"].Limit, policy.Decimal(int64(generation)*1e9); got != want {
			t.Errorf("%s: the limit is %s, want %s", way.name, got, want)
		}
	}

	limit := r.balances()["daily"].Limit
	for _, bad := range []struct{ name, text, says string }{
		{"not a policy", "tenants: [", "policy not loaded, the old one stays in force"},
		{"an unknown field", w.policyText(7, "budgit: []"), "budgit"},
		{"the same generation", w.policyText(6, monthly(9e9)), "has changed but not its generation"},
		{"an older generation", w.policyText(1, monthly(9e9)), "its generation 1 is older"},
	} {
		w.replace(bad.text)
		awaitLog(t, r, bad.says)
		if got := r.balances()["daily"].Limit; got != limit {
			t.Errorf("%s: the limit is %s, want %s", bad.name, got, limit)
		}
	}
	if !r.logged(`"level":"ERROR","msg":"policy not loaded`) {
		t.Error("a refused policy is no error in the log")
	}
	w.serve([]*replica{r}, request{cap: outputCap})
}

// replace puts a new file in the policy's place.
func (w *world) replace(text string) {
	w.t.Helper()
	temp := w.policy + ".new"
	w.writeFile(temp, text)
	if err := os.Rename(temp, w.policy); err != nil {
		w.t.Fatal(err)
	}
}

// pointTo makes the policy a symlink to a file of that name, in one step.
func (w *world) pointTo(name, text string) {
	w.t.Helper()
	target, link := filepath.Join(w.dir, name), w.policy+".link"
	w.writeFile(target, text)
	if err := os.Symlink(target, link); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(link, w.policy); err != nil {
		w.t.Fatal(err)
	}
}

// writeUnseen writes the policy so that the file does not seem changed, and
// tells the proxy.
func (w *world) writeUnseen(r *replica, text string) {
	w.t.Helper()
	before, err := os.Stat(w.policy)
	if err != nil {
		w.t.Fatal(err)
	}
	w.writeFile(w.policy, text)
	if err := os.Chtimes(w.policy, before.ModTime(), before.ModTime()); err != nil {
		w.t.Fatal(err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		w.t.Fatal(err)
	}
}
