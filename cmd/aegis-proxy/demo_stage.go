package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

// upstreamKey is the simulated provider's only key, in the proxy's hands
// alone.
const upstreamKey = "sk-simulated-provider"

// demoPolicy has room for the data directory, the provider's URL and the
// tenants' key hashes. Budgets are forever, so that midnight changes nothing.
const demoPolicy = `generation: 1
upstreams:
  - name: simulated
    base_url: %[2]s/v1
    api_key_file: %[1]s/upstream-key
    provider: openai
    cap_field: max_completion_tokens
  - name: simulated-anthropic
    base_url: %[2]s/v1
    api_key_file: %[1]s/upstream-key
    key_header: x-api-key
    provider: anthropic
    dialects: [{name: anthropic}]
models:
  - {match: "claude-*", upstreams: [simulated-anthropic]}
  - {match: "*", upstreams: [simulated]}
tenants:
  - name: customer
    keys: [{id: customer-1, sha256: "%[3]s"}]
    when_held: wait
    wait_limit: 1m
    budgets: [{name: prepaid, window: forever, limit_usd: "0.50"}]
  - name: batch
    keys: [{id: batch-1, sha256: "%[4]s"}]
    budgets: [{name: job, window: forever, limit_usd: "0.40"}]
  - name: agent
    keys: [{id: agent-1, sha256: "%[5]s"}]
    models: {deny: ["claude-opus*"]}
    budgets:
      - {name: team, window: forever, limit_usd: "1"}
      - {name: run, scope: run, window: forever, limit_usd: "0.15"}
`

// stage is where the demo plays: provider, proxy and tenants.
type stage struct {
	dir      string
	sim      *simulator.Server
	upstream *house
	stack    *stack
	front    *house
	secrets  map[string]string // tenant -> key
	actors   []*actor
}

// openStage starts provider and proxy, and nothing that spends.
func openStage(ctx context.Context, dir string, length time.Duration) (s *stage, err error) {
	s = &stage{dir: dir, secrets: map[string]string{}, actors: newActors(length)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.sim = simulator.New(simulator.Config{Key: upstreamKey, Script: s.answer, CountPrompt: countPrompt})
	if s.upstream, err = openHouse(s.sim); err != nil {
		return s, err
	}
	config, err := s.write()
	if err != nil {
		return s, err
	}
	if s.stack, err = openStack(ctx, config); err != nil {
		return s, err
	}
	s.front, err = openHouse(s.stack.front())
	return s, err
}

// write makes what init makes for a real proxy.
func (s *stage) write() (stackConfig, error) {
	c := stackConfig{
		PolicyPath: filepath.Join(s.dir, "policy.yaml"),
		DataDir:    s.dir,
		Logger:     slog.New(slog.DiscardHandler),
	}
	values := []any{s.dir, s.upstream.url}
	for _, a := range s.actors {
		secret, hash := policy.NewSecret()
		s.secrets[a.tenant] = secret
		values = append(values, hex.EncodeToString(hash[:]))
	}
	return c, errors.Join(
		writeSigner(s.dir, audit.AlgEd25519),
		os.WriteFile(filepath.Join(s.dir, "upstream-key"), []byte(upstreamKey), 0o600),
		os.WriteFile(c.PolicyPath, fmt.Appendf(nil, demoPolicy, values...), 0o644),
	)
}

// close ends everything, the proxy before its provider. More closes do nothing.
func (s *stage) close() error {
	var errs []error
	if s.front != nil {
		errs = append(errs, s.front.close())
		s.front = nil
	}
	if s.stack != nil {
		errs = append(errs, s.stack.close())
		s.stack = nil
	}
	s.sim.Close()
	if s.upstream != nil {
		errs = append(errs, s.upstream.close())
		s.upstream = nil
	}
	return errors.Join(errs...)
}

// play has all actors spend at once until each is done, with a look at the
// budgets at every frame.
func (s *stage) play(ctx context.Context, screen *screen) error {
	var running sync.WaitGroup
	errs := make([]error, len(s.actors))
	for i, a := range s.actors {
		running.Go(func() { errs[i] = a.play(ctx, newClient(a.api, s.front.url, s.secrets[a.tenant])) })
	}
	over := make(chan struct{})
	go func() { running.Wait(); close(over) }()
	tick := time.NewTicker(screen.every)
	defer tick.Stop()
	for {
		standings, _, err := s.standings(ctx)
		if err == nil {
			screen.draw(standings)
		}
		select {
		case <-over:
			standings, _, err := s.standings(ctx)
			screen.last(standings)
			return errors.Join(append(errs, err)...)
		case <-tick.C:
		}
	}
}

// standing is one budget of the demo.
type standing struct {
	tenant, budget string
	run            string // of a budget of scope run
	spent, held    int64  // nano-USD
	limit          int64  // nano-USD
	stopped        bool   // a request was denied because it is exhausted
}

func (s standing) name() string {
	if s.run != "" {
		return "run " + s.run
	}
	return s.budget
}

// standings reads every budget, and how many leases are open.
func (s *stage) standings(ctx context.Context) (list []standing, open int64, err error) {
	for _, a := range s.actors {
		for _, run := range a.scopes() {
			more, leases, err := s.standingsOf(ctx, a, run)
			if err != nil {
				return nil, 0, err
			}
			list = append(list, more...)
			if run == "" {
				open += leases
			}
		}
	}
	return list, open, nil
}

// standingsOf reads a tenant's own budgets, or those of one of its runs.
func (s *stage) standingsOf(ctx context.Context, a *actor, run string) (list []standing, open int64, err error) {
	tenant := s.stack.currentPolicy().Tenant(a.tenant)
	counters := tenant.Standings(policy.Scope{Run: run}, s.stack.ledger.Now())
	balances, err := s.stack.ledger.Balances(ctx, a.tenant, policy.ClaimsOf(counters))
	if err != nil {
		return nil, 0, err
	}
	for i, counter := range counters {
		rule := counter.Budgets[0]
		if (run != "") != (len(rule.Scope) > 0) {
			continue
		}
		seen := balances.Observed[i]
		list = append(list, standing{
			tenant: a.tenant, budget: rule.Name, run: run,
			spent: seen.Spent, held: seen.Held, limit: rule.Limit, stopped: a.stoppedBy(run),
		})
	}
	return list, balances.Open, nil
}

// answer is the provider's script: each tenant has a model of its own.
func (s *stage) answer(r *simulator.Request) simulator.Answer {
	for _, a := range s.actors {
		if a.model == r.Model {
			return a.answer()
		}
	}
	return simulator.Fail(http.StatusNotFound)
}

// countPrompt bills the prompt's tokens as OpenAI's tokenizer counts them, and those of
// Anthropic's, which nobody outside knows, as a part of its bytes.
func countPrompt(r *simulator.Request) int64 {
	if r.Endpoint == simulator.Messages {
		return simulator.PromptQuarter(r)
	}
	request, err := openai.Parse(openai.ChatCompletions, r.Body)
	if err != nil {
		return 1
	}
	encoding, _ := tokenizer.ForModel(request.Model)
	var total int64
	for _, text := range request.Texts {
		n, err := encoding.Count(text)
		if err != nil {
			return 1
		}
		total += n
	}
	return total
}

// house is a server on a loopback port.
type house struct {
	url    string
	server *http.Server
}

func openHouse(h http.Handler) (*house, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	house := &house{url: "http://" + listener.Addr().String(), server: newServer(h, slog.New(slog.DiscardHandler))}
	go house.server.Serve(listener)
	return house, nil
}

func (h *house) close() error { return h.server.Close() }
