package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// variants is how many different prompts a workload has.
	variants = 64

	// requestTimeout bounds one request, so that a hang shows as a failure.
	requestTimeout = 30 * time.Second
)

// workload is one kind of request, and how it comes: in a closed loop, where
// each connection sends its next request when it has read the answer, or at a
// rate, whatever the answers do.
type workload struct {
	name        string
	requests    int // a round
	api         *api
	bodies      [][]byte
	stream      bool
	connections int // of a closed loop; 0: as the command line says
	rate        int // requests a second; 0: a closed loop
	pauseMillis int // between two events of a stream
}

func workloads() []workload {
	small, streams := chat.bodies(1<<10, false), chat.bodies(1<<10, true)
	list := []workload{
		{name: "chat, 1 KB", requests: 12_000, bodies: small},
		{name: "chat, 40 KB", requests: 6_000, bodies: chat.bodies(40<<10, false)},
		{name: "stream, 50 chunks", requests: 1_500, bodies: streams, stream: true, pauseMillis: 1},
		{name: "stream of Messages", requests: 1_500, api: messages, bodies: messages.bodies(1<<10, true), stream: true, pauseMillis: 1},
		{name: "stream of Responses", requests: 1_500, api: responses, bodies: responses.bodies(1<<10, true), stream: true, pauseMillis: 1},
		{name: "chat, 1 connection", requests: 2_000, bodies: small, connections: 1},
		{name: "chat, 16 connections", requests: 8_000, bodies: small, connections: 16},
		{name: "chat, 200 a second", requests: 1_000, bodies: small, rate: 200},
		{name: "chat, 1000 a second", requests: 4_000, bodies: small, rate: 1_000},
		{name: "stream, 50 a second", requests: 200, bodies: streams, stream: true, rate: 50, pauseMillis: 5},
	}
	for i := range list {
		list[i].api = cmp.Or(list[i].api, chat)
	}
	return list
}

// short is the same with fewer requests, to warm up.
func (w workload) short() workload {
	w.requests = max(variants, w.requests/20)
	return w
}

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
			c := client{target: target, workload: &w}
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
			c := freeClient(free, target, &w)
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

func freeClient(free <-chan *client, target string, w *workload) *client {
	select {
	case c := <-free:
		return c
	default:
		return &client{target: target, workload: w}
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

// client is one connection. It reads no more of HTTP than it must, to leave
// the cores to those who are measured.
type client struct {
	target   string
	workload *workload
	conn     net.Conn
	reader   *bufio.Reader
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
	case c.workload.stream && !c.workload.api.whole(body):
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
