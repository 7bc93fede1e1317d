package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// actor is one tenant of the demo: what it asks for, and what its provider
// answers. It knows the proxy only as an application does.
type actor struct {
	tenant string
	api    *demoAPI
	model  string
	script func(context.Context, *actor, *client) error

	stream bool
	cap    int64            // output tokens asked for
	given  simulator.Answer // by its provider
	busy   int64            // every so many requests its provider says 429; 0: never
	runs   []string

	asked atomic.Int64 // requests sent to the proxy
	calls atomic.Int64 // requests that its provider received
	stops sync.Map     // run -> true, once denied as exhausted
}

// demoAPI is an API that tenants call.
type demoAPI struct {
	provider string // whose prices apply
	path     string
	header   map[string]string
	// put writes an output cap where this API reads it.
	put func(*question, int64)
}

var (
	chatAPI = &demoAPI{
		provider: "openai", path: "/v1/chat/completions",
		put: func(q *question, most int64) { q.Cap = most },
	}
	messagesAPI = &demoAPI{
		provider: "anthropic", path: "/v1/messages", header: map[string]string{"Anthropic-Version": "2023-06-01"},
		put: func(q *question, most int64) { q.Most = most },
	}
)

// shownTokens are streamed one by one; the others of an answer are reasoning.
const shownTokens = 24

// newActors are the tenants, paced so that all of them are stopped after
// about that time. The divisors are the requests that follow each other
// until a budget is spent.
func newActors(length time.Duration) []*actor {
	token := length / 8 / (shownTokens + 2)
	return []*actor{
		{
			tenant: "customer", api: chatAPI, model: "gpt-5", script: crowd(4), stream: true, cap: 2000,
			given: simulator.Answer{OutputTokens: 1500, Reasoning: 1500 - shownTokens, Latency: token, TokenDelay: token},
		},
		{
			tenant: "batch", api: chatAPI, model: "gpt-4.1", script: crowd(8), cap: 400, busy: 9,
			given: simulator.Answer{OutputTokens: 400, Latency: length / 8},
		},
		{
			tenant: "agent", api: messagesAPI, model: "claude-sonnet-4-5", script: wander, cap: 800, runs: []string{"refactor", "changelog"},
			given: simulator.Answer{OutputTokens: 800, Latency: length / 11},
		},
	}
}

func (a *actor) play(ctx context.Context, c *client) error {
	defer c.http.CloseIdleConnections()
	if err := a.script(ctx, a, c); err != nil {
		return fmt.Errorf("tenant %s: %w", a.tenant, err)
	}
	return nil
}

// scopes are the runs whose budgets are shown; "" stands for the tenant's own.
func (a *actor) scopes() []string { return append([]string{""}, a.runs...) }

func (a *actor) stoppedBy(run string) bool {
	_, stopped := a.stops.Load(run)
	return stopped
}

// answer is the provider's next answer to this tenant.
func (a *actor) answer() simulator.Answer {
	if n := a.calls.Add(1); a.busy > 0 && n%a.busy == 0 {
		return simulator.RateLimited(time.Second)
	}
	return a.given
}

// document is the text that tenants ask about, about 2,000 tokens.
var document = strings.Repeat("The ledger of a house is kept by hand, and every line in it must be true. ", 110)

// crowd has workers ask the same thing until the budget is spent.
func crowd(workers int) func(context.Context, *actor, *client) error {
	return func(ctx context.Context, a *actor, c *client) error {
		var running sync.WaitGroup
		errs := make(chan error, workers)
		for range workers {
			running.Go(func() { errs <- a.spend(ctx, c) })
		}
		running.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// spend asks until a budget says that it is exhausted.
func (a *actor) spend(ctx context.Context, c *client) error {
	for {
		stopped, err := a.ask(ctx, c, "", []message{{"user", "Summarise this page.\n" + document}})
		if err != nil || stopped {
			return err
		}
	}
}

// wander loops in its first run until it is stopped, then tries a model that it
// may not use, and does a small job in its second run.
func wander(ctx context.Context, a *actor, c *client) error {
	talk := []message{{"user", document}}
	if err := a.loop(ctx, c, a.runs[0], talk); err != nil {
		return err
	}
	if err := a.overreach(ctx, c); err != nil {
		return err
	}
	for range 3 {
		stopped, err := a.ask(ctx, c, a.runs[1], talk)
		if err != nil {
			return err
		}
		if stopped {
			return fmt.Errorf("run %s was denied although its budget has room", a.runs[1])
		}
	}
	return nil
}

// loop sends the whole talk again and again, longer each time.
func (a *actor) loop(ctx context.Context, c *client, run string, talk []message) error {
	for {
		talk = append(talk, message{"user", "Not quite. Try again."})
		stopped, err := a.ask(ctx, c, run, talk)
		if err != nil || stopped {
			return err
		}
		talk = append(talk, message{"assistant", document[:len(document)/2]})
	}
}

// overreach asks for a model that the policy denies.
func (a *actor) overreach(ctx context.Context, c *client) error {
	a.asked.Add(1)
	reply, err := c.send(ctx, "", a.question("claude-opus-4-6", []message{{"user", "Solve it."}}))
	if err != nil {
		return err
	}
	if reply.status != http.StatusForbidden {
		return fmt.Errorf("a model that the policy denies was answered with status %d", reply.status)
	}
	return nil
}

// ask sends one request until it is answered, or denied for good. It does what
// official SDKs do: it obeys Retry-After, and gives up on a 402.
func (a *actor) ask(ctx context.Context, c *client, run string, talk []message) (stopped bool, err error) {
	for {
		a.asked.Add(1)
		reply, err := c.send(ctx, run, a.question(a.model, talk))
		if err != nil {
			return false, err
		}
		switch {
		case reply.status == http.StatusOK:
			return false, nil
		case reply.status == http.StatusPaymentRequired:
			a.stops.Store(run, true)
			return true, nil
		case reply.retryAfter == 0:
			return false, fmt.Errorf("status %d: %s", reply.status, reply.body)
		}
		if err := sleep(ctx, reply.retryAfter); err != nil {
			return false, err
		}
	}
}

// question is what the tenant asks of a model.
func (a *actor) question(model string, talk []message) question {
	q := question{Model: model, Messages: talk, Stream: a.stream}
	a.api.put(&q, a.cap)
	return q
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// client is an application's side of an API.
type client struct {
	api      *demoAPI
	url, key string
	http     *http.Client
}

func newClient(api *demoAPI, url, key string) *client {
	return &client{api, url, key, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type question struct {
	Model    string    `json:"model"`
	Messages []message `json:"messages"`
	Cap      int64     `json:"max_completion_tokens,omitempty"`
	Most     int64     `json:"max_tokens,omitempty"`
	Stream   bool      `json:"stream,omitempty"`
}

type reply struct {
	status     int
	body       []byte
	retryAfter time.Duration
}

func (c *client) send(ctx context.Context, run string, q question) (reply, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return reply{}, err
	}
	base := c.url
	if run != "" {
		base += "/run/" + run
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+c.api.path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	for name, value := range c.api.header {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return reply{resp.StatusCode, text, time.Duration(seconds) * time.Second}, err
}
