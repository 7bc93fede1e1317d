package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// variants is how many different prompts a workload has.
	variants = 64

	// requestTimeout bounds one request, so that a hang shows as a failure.
	requestTimeout = 30 * time.Second

	// maxTokens is the output that is asked for: with its first and last
	// events a stream has 50 chunks.
	maxTokens = 48
)

// workload is one kind of request, and how it comes: in a closed loop, where
// each connection sends its next request when it has read the answer, or at a
// rate, whatever the answers do.
type workload struct {
	name        string
	requests    int // a round
	bodies      [][]byte
	stream      bool
	connections int // of a closed loop; 0: as the command line says
	rate        int // requests a second; 0: a closed loop
	pauseMillis int // between two events of a stream
}

func workloads() []workload {
	small, streams := bodies(1<<10, false), bodies(1<<10, true)
	return []workload{
		{name: "chat, 1 KB", requests: 12_000, bodies: small},
		{name: "chat, 40 KB", requests: 6_000, bodies: bodies(40<<10, false)},
		{name: "stream, 50 chunks", requests: 1_500, bodies: streams, stream: true, pauseMillis: 1},
		{name: "chat, 1 connection", requests: 2_000, bodies: small, connections: 1},
		{name: "chat, 16 connections", requests: 8_000, bodies: small, connections: 16},
		{name: "chat, 200 a second", requests: 1_000, bodies: small, rate: 200},
		{name: "chat, 1000 a second", requests: 4_000, bodies: small, rate: 1_000},
		{name: "stream, 50 a second", requests: 200, bodies: streams, stream: true, rate: 50, pauseMillis: 5},
	}
}

// short is the same with fewer requests, to warm up.
func (w workload) short() workload {
	w.requests = max(variants, w.requests/20)
	return w
}

// bodies are requests of about that size, each with another prompt.
func bodies(size int, stream bool) [][]byte {
	words := strings.Fields(prose)
	source := rand.New(rand.NewPCG(1, 2))
	all := make([][]byte, variants)
	for i := range all {
		var prompt strings.Builder
		for prompt.Len() < size-150 { // what surrounds the prompt
			prompt.WriteString(words[source.IntN(len(words))])
			prompt.WriteByte(' ')
		}
		request := map[string]any{
			"model":                 "gpt-4o-mini",
			"max_completion_tokens": maxTokens,
			"messages":              []map[string]string{{"role": "user", "content": prompt.String()}},
		}
		if stream {
			request["stream"] = true
		}
		all[i], _ = json.Marshal(request) // strings and numbers always encode
	}
	return all
}

// prose gives prompts the words and word lengths of ordinary English.
const prose = `A ledger of what was spent is of little use when it arrives after the money is gone. Whoever runs many
services against a model that charges by the token learns this early: a loop that nobody meant to write asks the same
question again, each answer makes the next prompt longer, and by the morning an account that was planned for a quarter is
empty. The remedy is old. Before anything leaves the house its price is bounded, the bound is set aside, and only what was
set aside may be used; when the answer returns, the difference goes back. Merchants held such books, with one column for
what was promised and another for what was paid, and they trusted no clerk who filled in the second without the first.`

// timing is what one request took.
type timing struct{ first, whole time.Duration }

// result is what a load measured, one timing for every complete answer.
type result struct {
	timings []timing
	failed  int
	example error // of those that failed
}

// load sends a workload's requests and waits for all of them, in a closed loop over
// that many connections unless the workload says otherwise. The error says why none
// was answered.
func load(ctx context.Context, target, key string, w workload, connections int) (result, error) {
	rendered := render(target, key, w)
	if w.connections > 0 {
		connections = w.connections
	}
	run := func() []result { return closedLoop(ctx, target, w, rendered, connections) }
	if w.rate > 0 {
		run = func() []result { return openLoop(ctx, target, w, rendered) }
	}
	all := merge(run())
	if err := ctx.Err(); err != nil {
		return all, err
	}
	if len(all.timings) == 0 {
		return all, fmt.Errorf("all %d requests failed: %w", all.failed, all.example)
	}
	return all, nil
}

func closedLoop(ctx context.Context, target string, w workload, rendered [][]byte, connections int) []result {
	var next atomic.Int64
	var wg sync.WaitGroup
	results := make([]result, connections)
	for i := range results {
		wg.Go(func() {
			c := client{target: target, stream: w.stream}
			defer c.close()
			for n := next.Add(1); n <= int64(w.requests) && ctx.Err() == nil; n = next.Add(1) {
				results[i].add(c.send(rendered[n%variants], time.Now()))
			}
		})
	}
	wg.Wait()
	return results
}

// openLoop sends each request when it is due, over a connection that is free or a
// new one. Arrivals are random with a fixed seed, as those of many clients that know
// nothing of each other. What a request takes counts from when it was due, so that
// one that had to wait shows it.
func openLoop(ctx context.Context, target string, w workload, rendered [][]byte) []result {
	source := rand.New(rand.NewPCG(3, 4))
	free := make(chan *client, w.requests)
	var wg sync.WaitGroup
	results := make([]result, w.requests)
	next := time.Now()
	for i := range results {
		next = next.Add(time.Duration(source.ExpFloat64() * float64(time.Second) / float64(w.rate)))
		due := next
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			c := freeClient(free, target, w.stream)
			results[i].add(c.send(rendered[i%variants], due))
			free <- c
		})
	}
	wg.Wait()
	close(free)
	for c := range free {
		c.close()
	}
	return results
}

func freeClient(free <-chan *client, target string, stream bool) *client {
	select {
	case c := <-free:
		return c
	default:
		return &client{target: target, stream: stream}
	}
}

func (r *result) add(t timing, err error) {
	if err != nil {
		r.failed++
		r.example = err
		return
	}
	r.timings = append(r.timings, t)
}

func merge(results []result) result {
	var all result
	for _, r := range results {
		all.timings = append(all.timings, r.timings...)
		all.failed += r.failed
		if r.example != nil {
			all.example = r.example
		}
	}
	return all
}

// render writes the requests as they go over the wire.
func render(host, key string, w workload) [][]byte {
	rendered := make([][]byte, len(w.bodies))
	for i, body := range w.bodies {
		rendered[i] = fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/json\r\nX-Bench-Pause: %d\r\nContent-Length: %d\r\n\r\n%s", host, key, w.pauseMillis, len(body), body)
	}
	return rendered
}

// client is one connection. It reads no more of HTTP than it must, to leave
// the cores to those who are measured.
type client struct {
	target string
	stream bool
	conn   net.Conn
	reader *bufio.Reader
}

// send makes one request, whose time counts from when it was due; after a failure the
// next one dials anew.
func (c *client) send(request []byte, due time.Time) (timing, error) {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.target)
		if err != nil {
			return timing{}, err
		}
		c.conn, c.reader = conn, bufio.NewReaderSize(conn, 32<<10)
	}
	t, err := c.exchange(request, due)
	if err != nil {
		c.close()
	}
	return t, err
}

func (c *client) exchange(request []byte, due time.Time) (t timing, err error) {
	if err := c.conn.SetDeadline(due.Add(requestTimeout)); err != nil {
		return t, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return t, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return t, err
	}
	t.first = time.Since(due)
	body, err := io.ReadAll(response.Body)
	t.whole = time.Since(due)
	switch {
	case err != nil:
		return t, err
	case response.StatusCode != http.StatusOK:
		return t, fmt.Errorf("status %d: %s", response.StatusCode, body)
	case c.stream && !bytes.HasSuffix(body, []byte("data: [DONE]\n\n")):
		return t, fmt.Errorf("stream of %d bytes has no end", len(body))
	}
	return t, nil
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// round are the figures of one load.
type round struct {
	perSecond  float64
	first, p50 time.Duration // medians, to the first byte and to the last
	p99        time.Duration
	failed     int
	cpu        time.Duration // of the proxy, per request
	redisCPU   time.Duration // per request
	memory     int64         // resident at the end, in bytes
}

func (r result) round(took time.Duration) round {
	firsts := sorted(r.timings, func(t timing) time.Duration { return t.first })
	wholes := sorted(r.timings, func(t timing) time.Duration { return t.whole })
	return round{
		perSecond: float64(len(r.timings)) / took.Seconds(),
		first:     quantile(firsts, 50),
		p50:       quantile(wholes, 50),
		p99:       quantile(wholes, 99),
		failed:    r.failed,
	}
}

func sorted(timings []timing, of func(timing) time.Duration) []time.Duration {
	all := make([]time.Duration, len(timings))
	for i, t := range timings {
		all[i] = of(t)
	}
	slices.Sort(all)
	return all
}

// quantile is the smallest of the ascending values that at least that percent
// of them do not exceed.
func quantile[T any](ascending []T, percent int) T {
	return ascending[max(0, (len(ascending)*percent+99)/100-1)]
}
