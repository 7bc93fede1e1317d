package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// repetitions is how often each race for a budget is run; make race runs each 20 times.
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
	cost, err := price.Worst(0,
		call.Part{Fixed: prompt, Kinds: call.Of(call.Input, call.CachedInput, call.CacheWrite, call.CacheWrite1h)},
		call.Part{Fixed: q.cap, Kinds: call.Of(call.Output, call.Reasoning)})
	if err != nil {
		t.Fatal(err)
	}
	return cost
}

func usd(nano int64) string { return fmt.Sprintf("%d.%09d", nano/1e9, nano%1e9) }

// TestHardStop races 200 clients for a budget that fits exactly 20 of their
// requests, each of which costs its bound. The provider's books must show
// exactly 20, and the ledger must show the limit spent and nothing held. Each
// repetition is a run with a budget of its own.
func TestHardStop(t *testing.T) {
	everyRace(t, raceForBudgets)
}

// everyRace runs a race in each API, plain and streamed, on each ledger.
func everyRace(t *testing.T, race func(*testing.T, deployment, spoken, bool)) {
	for _, s := range spokens {
		for _, d := range deployments {
			for _, stream := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/stream=%v", s.name, d.name, stream), func(t *testing.T) { race(t, d, s, stream) })
			}
		}
	}
}

func raceForBudgets(t *testing.T, d deployment, s spoken, stream bool) {
	limit := fits * s.cost(t, outputCap)
	w := newSpokenWorld(t, simulator.Config{
		CountPrompt: s.prompt,
		Script:      simulator.Always(simulator.Answer{Latency: upstreamMS * time.Millisecond}),
	}, fmt.Sprintf(`budgets: [{name: run, scope: run, window: month, limit_usd: "%s"}]`, usd(limit)))
	replicas := d.up(t, w)
	for i := range *repetitions {
		seed := rand.Uint64()
		t.Logf("repetition %d, seed %d", i, seed)
		q := s.request(outputCap, stream, map[string]string{"X-Aegis-Run": fmt.Sprintf("repetition-%d", i)})
		before := w.sim.Totals().Complete
		served := w.volley(replicas, q, seed, orDenied(t))
		if calls := w.sim.Totals().Complete - before; calls != fits || served != fits {
			t.Errorf("provider answered %d, clients were served %d, want %d", calls, served, fits)
		}
		atRest(t, replicas[0], fmt.Sprintf("repetition-%d", i), policy.Decimal(limit))
	}
	for _, r := range replicas {
		if code := r.stop(); code != 0 {
			t.Errorf("replica ended with %d\n%s", code, r.log())
		}
	}
	verifyAll(t, replicas)
}

// orDenied accepts an answer, and the two denials of a budget that is taken.
func orDenied(t *testing.T) func(response) {
	return func(r response) {
		switch {
		case r.status == 200 && r.err == nil:
		case r.status == 402 && strings.Contains(r.body, "aegis: spend limit reached"):
		case r.status == 429 && strings.Contains(r.body, "aegis: spend limit held"):
		default:
			t.Errorf("unexpected answer: %d %s %v", r.status, r.body, r.err)
		}
	}
}

// volley sends one request from each of 200 clients at once, spread over the
// replicas at random, and returns how many were served.
func (w *world) volley(replicas []*replica, q request, seed uint64, check func(response)) int {
	random := rand.New(rand.NewPCG(seed, 0))
	client := newClient(w.t)
	defer client.CloseIdleConnections()
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

// atRest checks that nothing is held in a run's budget and that so much is
// spent.
func atRest(t *testing.T, r *replica, run, spent string) {
	t.Helper()
	_, body, err := r.ask("/admin/v1/budgets?tenant=acme&run=" + run)
	if err != nil {
		t.Fatal(err)
	}
	var view struct{ Budgets []balance }
	if err := json.Unmarshal([]byte(body), &view); err != nil || len(view.Budgets) != 1 {
		t.Fatalf("%v: %s", err, body)
	}
	if b := view.Budgets[0]; b.Held != "0.00" || b.Spent != spent {
		t.Errorf("at rest: spent %s, held %s; want spent %s, held nothing", b.Spent, b.Held, spent)
	}
}

// verifyAll checks the receipts of all replicas together.
func verifyAll(t testing.TB, replicas []*replica) {
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
	everyRace(t, useUpBudgets)
}

func useUpBudgets(t *testing.T, d deployment, s spoken, stream bool) {
	t.Parallel() // its clients sleep most of the time
	limit := fits * s.cost(t, 1000)
	prompt := s.billed(1000, stream)
	w := newSpokenWorld(t, simulator.Config{
		CountPrompt: func(*simulator.Request) int64 { return prompt },
		Script:      simulator.Always(simulator.Answer{Latency: 20 * time.Millisecond, OutputTokens: 100}),
	}, fmt.Sprintf(`budgets: [{name: run, scope: run, window: month, limit_usd: "%s"}]`, usd(limit)))
	replicas := d.up(t, w)
	each := s.cost(t, 100)
	var answers int64 // that clients of all repetitions have
	for first := 0; first < *repetitions; first += abreast {
		races := w.race(replicas, s, stream, first, min(first+abreast, *repetitions))
		for _, r := range races {
			answers += r.served.Load()
			spent := r.served.Load() * each
			if spent > limit || spent < limit*95/100 {
				t.Errorf("%s: %s of %s was spent", r.run, usd(spent), usd(limit))
			}
			atRest(t, replicas[0], r.run, policy.Decimal(spent))
		}
	}
	if billed := w.sim.Totals().Complete; billed != answers {
		t.Errorf("the provider's books have %d answers, the clients %d", billed, answers)
	}
}

// abreast is how many repetitions of this race run at once, each for a budget
// of its own: their clients wait whole seconds, as Retry-After tells them.
const abreast = 2

// race is one repetition.
type race struct {
	run    string
	served atomic.Int64
}

// race runs repetitions until each budget is used up.
func (w *world) race(replicas []*replica, s spoken, stream bool, from, to int) []*race {
	var races []*race
	var group sync.WaitGroup
	for i := from; i < to; i++ {
		r := &race{run: fmt.Sprintf("repetition-%d", i)}
		races = append(races, r)
		q := s.request(1000, stream, map[string]string{"X-Aegis-Run": r.run})
		group.Go(func() { w.allUntilExhausted(replicas, q, r) })
	}
	group.Wait()
	return races
}

// cost is what usage of gpt-4o-mini costs, in nano-USD.
func cost(t *testing.T, u call.Usage) int64 {
	t.Helper()
	price, err := pricing.Builtin().Lookup("openai", "gpt-4o-mini", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	nano, err := price.Cost(u)
	if err != nil {
		t.Fatal(err)
	}
	return nano
}

func (w *world) allUntilExhausted(replicas []*replica, q request, run *race) {
	client := newClient(w.t)
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() { w.untilExhausted(ctx, client, replicas[i%len(replicas)], q, run) })
	}
	group.Wait()
}

// untilExhausted sends a request again and again until the budget is
// exhausted, waiting as it is told to where it is held or nobody can say.
func (w *world) untilExhausted(ctx context.Context, client *http.Client, r *replica, q request, run *race) {
	for ctx.Err() == nil {
		resp, err := w.send(ctx, client, r, q)
		if err != nil {
			w.t.Errorf("no answer: %v", err)
			return
		}
		switch resp.status {
		case 200:
			run.served.Add(1)
		case 402:
			return
		case 429, 503: // held, or the machine is too busy to write a receipt in time
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
