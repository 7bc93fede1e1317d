package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// monthly is a budget of so many nano-USD.
func monthly(limit int64) string {
	return fmt.Sprintf(`budgets: [{name: daily, window: month, limit_usd: "%s"}]`, usd(limit))
}

// ample is more than any test spends, in nano-USD. With so much left, input is
// bounded by its bytes; exact holds need a limit within a thousand requests.
const ample = 1000_000_000_000

// billed is what the provider's books say that all calls cost, in nano-USD.
func (w *world) billed() int64 {
	w.t.Helper()
	price, err := pricing.Builtin().Lookup("openai", "gpt-4o-mini", time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	var sum int64
	for _, c := range w.sim.Calls() {
		cost, err := price.Cost(call.Usage{call.Input: c.Billed.Prompt, call.Output: c.Billed.Completion})
		if err != nil {
			w.t.Fatal(err)
		}
		sum += cost
	}
	return sum
}

// await waits until the provider's totals are as wanted.
func (w *world) await(condition func(simulator.Totals) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.sim.Await(ctx, condition); err != nil {
		w.t.Fatal(err)
	}
}

// open starts n streams and returns when the first byte of each has come.
func (w *world) open(r *replica, q request, n int) []*http.Response {
	w.t.Helper()
	client := newClient(w.t)
	streams := make([]*http.Response, n)
	for i := range streams {
		req, err := http.NewRequest(http.MethodPost, r.url+"/v1/chat/completions", strings.NewReader(q.json()))
		if err != nil {
			w.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.secret)
		resp, err := client.Do(req)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { resp.Body.Close() })
		if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil || resp.StatusCode != http.StatusOK {
			w.t.Fatalf("stream began with %d, %v", resp.StatusCode, err)
		}
		streams[i] = resp
	}
	return streams
}

// standing is a balance in the form that the operator sees.
func standing(spent, held int64) balance {
	return balance{Spent: policy.Decimal(spent), Held: policy.Decimal(held)}
}

// awaitStanding waits until the budget shows these amounts.
func awaitStanding(t *testing.T, r *replica, want balance) {
	t.Helper()
	eventually(t, restLimit, func() error {
		all, err := r.tryBalances()
		if err != nil {
			return err
		}
		if got := all["daily"]; got.Spent != want.Spent || got.Held != want.Held {
			return fmt.Errorf("spent %s, held %s; want spent %s, held %s", got.Spent, got.Held, want.Spent, want.Held)
		}
		return nil
	})
}

// checkStanding is awaitStanding without the wait.
func checkStanding(t *testing.T, r *replica, want balance) {
	t.Helper()
	if got := r.balances()["daily"]; got.Spent != want.Spent || got.Held != want.Held {
		t.Errorf("spent %s, held %s; want spent %s, held %s", got.Spent, got.Held, want.Spent, want.Held)
	}
}

// lasting answers streams that last as long as a test needs them, and others
// at once.
func lasting(r *simulator.Request) simulator.Answer {
	if r.Stream {
		return simulator.Answer{TokenDelay: time.Second}
	}
	return simulator.Answer{}
}

// TestKilledProxy kills a proxy with five streams in flight and starts it
// again. The holds count until they expire and are then charged, which is what
// the provider bills.
func TestKilledProxy(t *testing.T) {
	t.Parallel()
	q, stream := request{cap: outputCap}, request{cap: outputCap, stream: true}
	one, held := bound(t, q), bound(t, stream)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt, Script: lasting}, monthly(3*one+5*held+one/2))
	r := w.start("replica0")
	for range 3 {
		if resp := w.must(r, q); resp.status != 200 {
			t.Fatalf("got %d %s", resp.status, resp.body)
		}
	}
	w.open(r, stream, 5)
	checkStanding(t, r, standing(3*one, 5*held))
	r.kill()

	r = w.start("replica0")
	checkStanding(t, r, standing(3*one, 5*held))
	if err := wantStatus(w.must(r, q), 429); err != nil {
		t.Errorf("while the dead proxy's leases are open: %v", err)
	}
	r.kill() // leases that a dead proxy left survive a second one

	r = w.start("replica0")
	checkStanding(t, r, standing(3*one, 5*held))
	awaitStanding(t, r, standing(3*one+5*held, 0))
	w.await(simulator.Idle)
	if books := w.billed(); books != 3*one+5*held {
		t.Errorf("the provider billed %d, want %d", books, 3*one+5*held)
	}
	if err := wantStatus(w.must(r, q), 402); err != nil {
		t.Errorf("after the holds were charged: %v", err)
	}
	awaitEvents(t, []*replica{r}, "expire", 5)
	if code := r.stop(); code != 0 {
		t.Errorf("proxy ended with %d", code)
	}
	verifyAll(t, []*replica{r})
}

// wantStatus is an error unless a response has that status.
func wantStatus(r response, status int) error {
	if r.status != status {
		return fmt.Errorf("got %d %s, want %d", r.status, r.body, status)
	}
	return nil
}

// awaitEvents waits until the receipts tell of n ledger events of that name.
func awaitEvents(t *testing.T, replicas []*replica, name string, n int) {
	t.Helper()
	eventually(t, restLimit, func() error {
		found := 0
		for _, r := range replicas {
			for _, receipt := range r.receipts() {
				if e, ok := receipt.Body.(audit.Event); ok && e.Name == name {
					found++
				}
			}
		}
		if found != n {
			return fmt.Errorf("%d receipts of %q, want %d", found, name, n)
		}
		return nil
	})
}

// TestKilledReplica kills one of two replicas mid-stream. The other goes on,
// ends the dead one's leases and writes their receipts, so that nothing is
// missing from the receipts of both.
func TestKilledReplica(t *testing.T) {
	t.Parallel()
	q, stream := request{cap: outputCap}, request{cap: outputCap, stream: true}
	one, held := bound(t, q), bound(t, stream)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt, Script: lasting}, monthly(100*one))
	replicas := deployment{replicas: 2, redis: true}.up(t, w)
	w.open(replicas[0], stream, 5)
	replicas[0].kill()

	for range 3 {
		if err := wantStatus(w.must(replicas[1], q), 200); err != nil {
			t.Fatal(err)
		}
	}
	checkStanding(t, replicas[1], standing(3*one, 5*held))
	awaitStanding(t, replicas[1], standing(3*one+5*held, 0))
	awaitEvents(t, replicas[1:], "expire", 5)
	w.await(simulator.Idle)
	if books := w.billed(); books != 3*one+5*held {
		t.Errorf("the provider billed %d, want %d", books, 3*one+5*held)
	}
	replicas[1].stop()
	verifyAll(t, replicas)
	checkReported(t, replicas, policy.Decimal(3*one+5*held))
}

// checkGranted checks that the provider got no request without a receipt that
// allowed it.
func checkGranted(t testing.TB, w *world, replicas []*replica) {
	t.Helper()
	allowed := int64(0)
	for _, r := range replicas {
		for _, receipt := range r.receipts() {
			if d, ok := receipt.Body.(audit.Decision); ok && d.Verdict == audit.Allow {
				allowed++
			}
		}
	}
	if got := w.sim.Totals().Received; got > allowed {
		t.Errorf("the provider got %d requests, only %d were allowed", got, allowed)
	}
}

// awaitComplete waits until every event of the ledger has a receipt: one whose
// reply was lost is receipted by whoever finds it overdue.
func awaitComplete(t testing.TB, replicas []*replica) {
	t.Helper()
	var folders []string
	for _, r := range replicas {
		folders = append(folders, filepath.Join(r.data, "receipts"))
	}
	eventually(t, restLimit, func() error {
		sources, err := audit.Files(folders...)
		if err == nil {
			var rebuilt gate.Rebuilt
			rebuilt, err = gate.Rebuild(audit.Merge(sources...))
			err = errors.Join(err, rebuilt.Err())
		}
		return err
	})
}

// TestKilledRedis kills Redis under load, again and again. Meanwhile requests
// are refused; afterwards nothing is held and what is spent is what the
// provider billed.
func TestKilledRedis(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(t, simulator.Config{
		CountPrompt: exactPrompt,
		Script:      simulator.Always(simulator.Answer{Latency: 20 * time.Millisecond}),
	}, monthly(ample))
	server, replicas := w.onRedis(2)
	l := w.startLoad(replicas, seed, func(random *rand.Rand) request {
		return request{cap: outputCap, stream: random.IntN(2) == 0}
	})
	for range 3 {
		l.awaitServed(t, 100)
		server.Kill()
		l.awaitRefused(t, 50)
		for _, r := range replicas {
			awaitReadiness(t, r, 503)
		}
		server.Restart()
	}
	l.awaitServed(t, 100)
	for _, r := range replicas {
		awaitReadiness(t, r, 200)
	}
	l.stop()
	w.awaitSettled(replicas)
	t.Logf("%d served, %d refused", l.served.Load(), l.refused.Load())
	if got := w.sim.Totals().Received; got != l.served.Load() {
		t.Errorf("the provider got %d requests, clients were served %d", got, l.served.Load())
	}
	awaitComplete(t, replicas)
	for _, r := range replicas {
		r.stop()
	}
	checkGranted(t, w, replicas)
	verifyAll(t, replicas)
	rebuildAgrees(t, w, server, replicas, w.billed())
}

// onRedis starts replicas on a Redis server that the test can break.
func (w *world) onRedis(n int, options ...redistest.Option) (*redistest.Server, []*replica) {
	w.t.Helper()
	server := redistest.Start(w.t, options...)
	if out, err := aegis(w.t, "ledger", "provision", "--policy", w.policy, "--ledger", server.URL()); err != nil {
		w.t.Fatalf("provision: %v\n%s", err, out)
	}
	var list []*replica
	for i := range n {
		list = append(list, w.start(fmt.Sprintf("replica%d", i), "--ledger", server.URL()))
	}
	return server, list
}

// awaitSettled waits until nothing is held, no ending waits, and what is spent
// is what the provider billed.
func (w *world) awaitSettled(replicas []*replica) {
	w.t.Helper()
	w.await(simulator.Idle)
	eventually(w.t, restLimit, func() error {
		for _, r := range replicas {
			if n := r.outbox(); n > 0 {
				return fmt.Errorf("%d endings wait in the outbox of %s", n, filepath.Base(r.data))
			}
		}
		all, err := replicas[0].tryBalances()
		if err != nil {
			return err
		}
		if got, want := all["daily"], standing(w.billed(), 0); got.Spent != want.Spent || got.Held != want.Held {
			return fmt.Errorf("spent %s, held %s; the provider billed %s", got.Spent, got.Held, want.Spent)
		}
		return nil
	})
}

// outbox is how many endings the ledger has not acknowledged.
func (r *replica) outbox() int {
	names, _ := filepath.Glob(filepath.Join(r.data, "outbox", "*.json"))
	return len(names)
}

// TestEndingOutlivesRedisAndProxy loses Redis while a stream runs, and then
// the proxy too. The stream's cost reaches the ledger when both are back: it
// is charged what it cost, not its hold.
func TestEndingOutlivesRedisAndProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{
		CountPrompt: exactPrompt,
		Script:      simulator.Always(simulator.Answer{OutputTokens: 4, TokenDelay: 200 * time.Millisecond}),
	}, monthly(ample))
	server, replicas := w.onRedis(1)
	streams := w.open(replicas[0], request{cap: outputCap, stream: true}, 3)
	server.Kill()
	for _, s := range streams {
		if _, err := io.Copy(io.Discard, s.Body); err != nil {
			t.Errorf("a stream broke with the ledger: %v", err)
		}
	}
	eventually(t, restLimit, func() error {
		if n := replicas[0].outbox(); n != len(streams) {
			return fmt.Errorf("%d endings in the outbox, want %d", n, len(streams))
		}
		return nil
	})
	replicas[0].kill()
	server.Restart()
	replicas[0] = w.start("replica0", "--ledger", server.URL())
	w.awaitSettled(replicas)
	replicas[0].stop()
	verifyAll(t, replicas)
}

// TestRedisAbsent: a proxy whose ledger cannot be reached yet says so, is not
// ready and denies every request. When the ledger is there, it serves.
func TestRedisAbsent(t *testing.T) {
	w := newWorld(t, simulator.Config{}, monthly(ample))
	server := redistest.Start(t)
	provisioned(t, w, server)
	server.Kill()
	r := w.start("replica0", "--ledger", server.URL())
	if !r.logged("ledger cannot be reached") {
		t.Errorf("the log does not say that the ledger is absent:\n%s", r.log())
	}
	if status, _ := r.ready(); status != 503 {
		t.Errorf("ready without a ledger: %d", status)
	}
	if resp := w.must(r, request{}); resp.status != 503 || resp.code() != "ledger_unavailable" {
		t.Errorf("answered %d %s", resp.status, resp.body)
	}
	if calls := w.sim.Totals().Received; calls != 0 {
		t.Errorf("%d requests were waved through", calls)
	}
	server.Restart()
	eventually(t, startLimit, func() error {
		if resp := w.must(r, request{}); resp.status != 200 {
			return fmt.Errorf("answered %d %s", resp.status, resp.body)
		}
		return nil
	})
}

func provisioned(t *testing.T, w *world, server *redistest.Server) {
	t.Helper()
	if out, err := aegis(t, "ledger", "provision", "--policy", w.policy, "--ledger", server.URL()); err != nil {
		t.Fatalf("provision: %v\n%s", err, out)
	}
}

// frozenFor is longer than a lease lives without its holder.
const frozenFor = 35 * time.Second

// TestFrozenRedis stops Redis under load until every deadline has passed and
// every lease is overdue, then lets it go on. The limit holds, and the leases
// that expired are corrected to what their requests cost.
func TestFrozenRedis(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	q := request{cap: outputCap}
	limit := 400 * bound(t, q)
	w := newWorld(t, simulator.Config{
		CountPrompt: exactPrompt,
		Script:      simulator.Always(simulator.Answer{Latency: 100 * time.Millisecond, OutputTokens: 20}),
	}, monthly(limit))
	server, replicas := w.onRedis(2)
	l := w.startLoad(replicas, seed, func(*rand.Rand) request { return q })
	l.awaitServed(t, 50)
	server.Freeze()
	thaw := time.Now().Add(frozenFor)
	l.awaitRefused(t, 50)
	time.Sleep(time.Until(thaw))
	served := w.sim.Totals().Received
	server.Thaw()
	eventually(t, restLimit, func() error { return wantStatus(w.must(replicas[0], q), 402) })
	l.stop()
	w.awaitSettled(replicas)
	t.Logf("%d served, %d of them before the thaw, %d refused", l.served.Load(), served, l.refused.Load())
	if books := w.billed(); books > limit {
		t.Errorf("the provider billed %s of %s", usd(books), usd(limit))
	}
	awaitComplete(t, replicas)
	for _, r := range replicas {
		r.stop()
	}
	checkGranted(t, w, replicas)
	verifyAll(t, replicas)
	rebuildAgrees(t, w, server, replicas, w.billed())
}

// TestStopAfterFrozenRedis stops a proxy cleanly right after its Redis came back from
// being frozen past every deadline. Every event has its receipt then, also those of
// grants whose replies came too late.
func TestStopAfterFrozenRedis(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(t, simulator.Config{
		CountPrompt: exactPrompt,
		Script:      simulator.Always(simulator.Answer{Latency: 20 * time.Millisecond}),
	}, monthly(ample))
	server, replicas := w.onRedis(1)
	l := w.startLoad(replicas, seed, func(*rand.Rand) request { return request{cap: outputCap} })
	l.awaitServed(t, 100)
	server.Freeze()
	l.awaitRefused(t, 20)
	l.stop()
	server.Thaw()
	awaitReadiness(t, replicas[0], 200)
	if code := replicas[0].stop(); code != 0 {
		t.Errorf("proxy ended with %d", code)
	}
	mustBeComplete(t, replicas)
}
