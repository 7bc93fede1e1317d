package e2e

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	crowdSize  = 40
	crowdCap   = 128_000 // tokens that each agent asks for
	crowdFloor = 4_096   // tokens, as init writes it
	crowdUse   = 30_000  // tokens that an answer has
	crowdLimit = 25_000_000_000
)

// crowdModels are those whose agents ask for so much, by the API's name.
var crowdModels = map[string]string{"chat": "gpt-5", "responses": "gpt-5-codex", "messages": "claude-opus-4-6", "gemini": "gemini-2.5-pro"}

// TestCrowdOfAgents: 40 agents that ask for 128,000 tokens share 25 USD, under what init
// writes. None is denied while the money that is left fits the floor, and none gets past it.
func TestCrowdOfAgents(t *testing.T) {
	for _, s := range spokens {
		for _, d := range deployments {
			t.Run(s.name+"/"+d.name, func(t *testing.T) { crowdOn(t, d, s) })
		}
	}
}

func crowdOn(t *testing.T, d deployment, s spoken) {
	t.Parallel()
	s.model, s.alias = crowdModels[s.name], ""
	q := s.request(crowdCap, false, nil)
	prompt := s.prompt(&simulator.Request{Body: []byte(q.json())})
	w := newSpokenWorld(t, simulator.Config{
		CountPrompt: func(*simulator.Request) int64 { return prompt },
		Script:      simulator.Always(simulator.Answer{Latency: 20 * time.Millisecond, OutputTokens: crowdUse}),
	}, fmt.Sprintf(`when_exhausted: clamp
min_output_tokens: %d
when_held: wait
wait_limit: 5m
budgets: [{name: shared, window: forever, limit_usd: "%s"}]`, crowdFloor, usd(crowdLimit)))
	replicas := d.up(t, w)
	crowd := &crowd{world: w, floor: s.cost(t, crowdFloor)}
	crowd.play(replicas, q)
	spent := money(t, replicas[0].balances()["shared"].Spent)
	if spent > crowdLimit || crowdLimit-spent >= crowd.floor {
		t.Errorf("%s of %s was spent, and the floor costs %s", usd(spent), usd(crowdLimit), usd(crowd.floor))
	}
	billed := w.sim.Totals()
	if want := s.cost(t, 0)*billed.Complete + (s.cost(t, crowdUse)-s.cost(t, 0))*billed.Billed.Completion/crowdUse; spent < want-billed.Complete || spent > want+billed.Complete {
		t.Errorf("%s was charged, and the provider's books say %s", usd(spent), usd(want))
	}
	if billed.Complete != crowd.served.Load() {
		t.Errorf("the provider's books have %d answers, the agents %d", billed.Complete, crowd.served.Load())
	}
	verifyAll(t, replicas)
}

// crowd are agents that go on until they are told that the budget is exhausted.
type crowd struct {
	*world
	floor  int64 // nano-USD
	served atomic.Int64
}

func (c *crowd) play(replicas []*replica, q request) {
	client := newClient(c.t)
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for i := range crowdSize {
		group.Go(func() {
			for {
				resp, err := c.send(ctx, client, replicas[i%len(replicas)], q)
				if err != nil || resp.status != 200 {
					c.mustBeSpent(resp, err)
					return
				}
				c.served.Add(1)
			}
		})
	}
	group.Wait()
}

var spentIn = regexp.MustCompile(`"spent":"([0-9.]+) USD"`)

// mustBeSpent checks a denial: what was spent leaves no room for the floor.
func (c *crowd) mustBeSpent(r response, err error) {
	found := spentIn.FindStringSubmatch(r.body)
	if err != nil || r.status != 402 || found == nil {
		c.t.Errorf("an agent was answered %d %s %v", r.status, r.body, err)
		return
	}
	if left := crowdLimit - money(c.t, found[1]); left >= c.floor {
		c.t.Errorf("an agent was denied with %s left: %s", usd(left), r.body)
	}
}

// money is an amount in nano-USD.
func money(t testing.TB, text string) int64 {
	t.Helper()
	nano, err := policy.ParseUSD(text)
	if err != nil {
		t.Error(err)
	}
	return nano
}
