package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// repetitions is how often the races for a budget are run. One takes about a
// second; go test -args -repetitions 20 runs what the README reports.
var repetitions = flag.Int("repetitions", 3, "how often to run each race for a budget")

const (
	clients    = 200
	fits       = 20 // requests that the budget holds
	outputCap  = 50 // tokens
	upstreamMS = 200
)

// deployment is a set of replicas that share one ledger.
type deployment struct {
	name     string
	replicas int
	redis    bool
}

var deployments = []deployment{
	{"embedded", 1, false},
	{"redis", 3, true},
}

// up starts a deployment on a fresh ledger.
func (d deployment) up(t *testing.T, w *world) []*replica {
	t.Helper()
	var args []string
	if d.redis {
		server := redistest.Start(t)
		args = []string{"--ledger", server.URL()}
		if out, err := aegis(t, "ledger", "provision", "--policy", w.policy, "--ledger", server.URL()); err != nil {
			t.Fatalf("provision: %v\n%s", err, out)
		}
	}
	var list []*replica
	for i := range d.replicas {
		list = append(list, w.start(fmt.Sprintf("replica%d", i), args...))
	}
	return list
}

// bound is the worst case of the request, in nano-USD.
func bound(t *testing.T, q request) int64 {
	t.Helper()
	price, err := pricing.Builtin().Lookup("openai", "gpt-4o-mini", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	prompt := exactPrompt(&simulator.Request{Body: []byte(q.json())})
	cost, err := price.Worst(pricing.Bound{Input: prompt, Output: q.cap, CacheWrite: true})
	if err != nil {
		t.Fatal(err)
	}
	return cost
}

func usd(nano int64) string { return fmt.Sprintf("%d.%09d", nano/1e9, nano%1e9) }

// TestHardStop races 200 clients for a budget that fits exactly 20 of their
// requests, each of which costs its bound. The provider's books must show
// exactly 20, and the ledger must show the limit spent and nothing held.
func TestHardStop(t *testing.T) {
	for _, d := range deployments {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/stream=%v", d.name, stream), func(t *testing.T) {
				for i := range *repetitions {
					seed := rand.Uint64()
					t.Logf("repetition %d, seed %d", i, seed)
					raceForBudget(t, d, stream, seed)
				}
			})
		}
	}
}

func raceForBudget(t *testing.T, d deployment, stream bool, seed uint64) {
	q := request{cap: outputCap, stream: stream}
	limit := fits * bound(t, q)
	w := newWorld(t, simulator.Config{
		CountPrompt: exactPrompt,
		Script:      simulator.Always(simulator.Answer{Latency: upstreamMS * time.Millisecond}),
	}, fmt.Sprintf(`budgets: [{name: daily, window: month, limit_usd: "%s"}]`, usd(limit)))
	replicas := d.up(t, w)

	served := w.volley(replicas, q, seed, func(r response) {
		switch {
		case r.status == 200 && r.err == nil:
		case r.status == 402 && r.code() == "insufficient_quota":
		case r.status == 429 && r.code() == "rate_limit_exceeded":
		default:
			t.Errorf("unexpected answer: %d %s %v", r.status, r.body, r.err)
		}
	})

	if calls := w.sim.Totals().Complete; calls != fits || served != fits {
		t.Errorf("provider answered %d, clients were served %d, want %d", calls, served, fits)
	}
	atRest(t, replicas[0], policy.USD(limit))
	for _, r := range replicas {
		if code := r.stop(); code != 0 {
			t.Errorf("replica ended with %d\n%s", code, r.log())
		}
	}
	verifyAll(t, replicas)
}

// volley sends one request from each of 200 clients at once, spread over the
// replicas at random, and returns how many were served.
func (w *world) volley(replicas []*replica, q request, seed uint64, check func(response)) int {
	random := rand.New(rand.NewPCG(seed, 0))
	client := newClient(w.t)
	var mu sync.Mutex
	var group sync.WaitGroup
	served := 0
	for range clients {
		r := replicas[random.IntN(len(replicas))]
		group.Go(func() {
			resp, err := w.send(context.Background(), client, r, q)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				w.t.Errorf("no answer: %v", err)
				return
			}
			check(resp)
			if resp.status == http.StatusOK {
				served++
			}
		})
	}
	group.Wait()
	return served
}

// atRest checks that nothing is held and that so much is spent.
func atRest(t *testing.T, r *replica, spent string) {
	t.Helper()
	b := r.balances()["daily"]
	if b.Held != "0.00 USD" || b.Spent != spent {
		t.Errorf("at rest: spent %s, held %s; want spent %s, held nothing", b.Spent, b.Held, spent)
	}
}

// verifyAll checks the receipts of all replicas together.
func verifyAll(t *testing.T, replicas []*replica) {
	t.Helper()
	for _, r := range replicas {
		if out, err := aegis(t, "verify", r.data); err != nil {
			t.Errorf("verify: %v\n%s", err, out)
		}
	}
}

// TestBudgetIsUsedUp is the same race where each request costs a tenth of its
// bound, with clients that obey Retry-After. Holds may not strand the budget:
// at least 95 % is spent before the first exhausted denial, and never more
// than all of it.
func TestBudgetIsUsedUp(t *testing.T) {
	for _, d := range deployments {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/stream=%v", d.name, stream), func(t *testing.T) {
				useUpBudget(t, d, stream)
			})
		}
	}
}

func useUpBudget(t *testing.T, d deployment, stream bool) {
	q := request{cap: 1000, stream: stream}
	one := bound(t, q)
	prompt := exactPrompt(&simulator.Request{Body: []byte(q.json())})
	limit := fits * one
	w := newWorld(t, simulator.Config{
		CountPrompt: func(*simulator.Request) int64 { return prompt },
		Script:      simulator.Always(simulator.Answer{Latency: 20 * time.Millisecond, OutputTokens: 100}),
	}, fmt.Sprintf(`budgets: [{name: daily, window: month, limit_usd: "%s"}]`, usd(limit)))
	replicas := d.up(t, w)

	price, _ := pricing.Builtin().Lookup("openai", "gpt-4o-mini", time.Now())
	each, err := price.Cost(pricing.Usage{Input: prompt, Output: 100})
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() { w.untilExhausted(ctx, client, replicas[i%len(replicas)], q) })
	}
	group.Wait()

	spent := w.sim.Totals().Complete * each
	if spent > limit || spent < limit*95/100 {
		t.Errorf("the provider's books say %s of %s was spent", usd(spent), usd(limit))
	}
	atRest(t, replicas[0], policy.USD(spent))
}

// untilExhausted sends a request again and again until the budget is
// exhausted, waiting as it is told to where it is held.
func (w *world) untilExhausted(ctx context.Context, client *http.Client, r *replica, q request) {
	for ctx.Err() == nil {
		resp, err := w.send(ctx, client, r, q)
		if err != nil {
			w.t.Errorf("no answer: %v", err)
			return
		}
		switch resp.status {
		case 200:
		case 402:
			return
		case 429:
			seconds, err := strconv.Atoi(resp.header.Get("Retry-After"))
			if err != nil || seconds < 1 || seconds > 60 {
				w.t.Errorf("Retry-After is %q", resp.header.Get("Retry-After"))
				return
			}
			time.Sleep(time.Duration(seconds) * time.Second)
		default:
			w.t.Errorf("unexpected answer: %d %s", resp.status, resp.body)
			return
		}
	}
}
