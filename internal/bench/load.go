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

// workload is one kind of request.
type workload struct {
	name     string
	requests int // a round
	bodies   [][]byte
	stream   bool
}

func workloads() []workload {
	return []workload{
		{name: "chat, 1 KB", requests: 12_000, bodies: bodies(1<<10, false)},
		{name: "chat, 40 KB", requests: 6_000, bodies: bodies(40<<10, false)},
		{name: "stream, 50 chunks", requests: 1_500, bodies: bodies(1<<10, true), stream: true},
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

// load sends a workload's requests over that many connections and waits for all
// of them. The error says why none was answered.
func load(ctx context.Context, target, key string, w workload, connections int) (result, error) {
	rendered := render(target, key, w.bodies)
	var next atomic.Int64
	var wg sync.WaitGroup
	results := make([]result, connections)
	for i := range results {
		wg.Go(func() {
			c := client{target: target, stream: w.stream}
			defer c.close()
			for n := next.Add(1); n <= int64(w.requests) && ctx.Err() == nil; n = next.Add(1) {
				results[i].add(c.send(rendered[n%variants]))
			}
		})
	}
	wg.Wait()
	all := merge(results)
	if err := ctx.Err(); err != nil {
		return all, err
	}
	if len(all.timings) == 0 {
		return all, fmt.Errorf("all %d requests failed: %w", all.failed, all.example)
	}
	return all, nil
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
func render(host, key string, bodies [][]byte) [][]byte {
	rendered := make([][]byte, len(bodies))
	for i, body := range bodies {
		rendered[i] = fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", host, key, len(body), body)
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

// send makes one request; after a failure the next one dials anew.
func (c *client) send(request []byte) (timing, error) {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.target)
		if err != nil {
			return timing{}, err
		}
		c.conn, c.reader = conn, bufio.NewReaderSize(conn, 32<<10)
	}
	t, err := c.exchange(request)
	if err != nil {
		c.close()
	}
	return t, err
}

func (c *client) exchange(request []byte) (t timing, err error) {
	began := time.Now()
	if err := c.conn.SetDeadline(began.Add(requestTimeout)); err != nil {
		return t, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return t, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return t, err
	}
	t.first = time.Since(began)
	body, err := io.ReadAll(response.Body)
	t.whole = time.Since(began)
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
