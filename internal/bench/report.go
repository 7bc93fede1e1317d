package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// report prints one block per workload: the median of each figure over the
// rounds, ratios to plain, latencies added to direct.
func report(w io.Writer, loads []workload, running []*contestant) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, kind := range loads {
		fmt.Fprintf(table, "\n%s\tCPU/request\tto plain\tCPU/event\trequests/s\tfirst byte\tp50\tp99\tadded p50\tadded p99\tmemory\tRedis CPU\tfailed\t\n", kind.name)
		plain, direct := find(running, "plain"), find(running, "direct")
		for _, c := range running {
			row(table, c, kind.stream, c.median(kind.name), plain.median(kind.name), direct.median(kind.name))
		}
	}
	fmt.Fprintf(table, "\nat rest\tmemory\tready in\t\n")
	for _, c := range running {
		if c.proxy != nil {
			fmt.Fprintf(table, "%s\t%s\t%s\t\n", c.name, megabytes(c.rest), millis(c.proxy.ready))
		}
	}
	return table.Flush()
}

func row(w io.Writer, c *contestant, stream bool, r, plain, direct round) {
	cpu, event, ratio, redis, memory := "-", "-", "-", "-", "-"
	if c.proxy != nil {
		cpu, memory = micros(r.cpu), megabytes(r.memory)
		if stream {
			event = micros(r.cpu / streamEvents)
		}
		ratio = fmt.Sprintf("%.2f", float64(r.cpu)/float64(plain.cpu))
	}
	if c.redis != nil {
		redis = micros(r.redisCPU)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t\n", c.name, cpu, ratio, event, r.perSecond,
		millis(r.first), millis(r.p50), millis(r.p99), millis(r.p50-direct.p50), millis(r.p99-direct.p99), memory, redis, r.failed)
}

// find returns a contestant that never is skipped.
func find(running []*contestant, name string) *contestant {
	return running[slices.IndexFunc(running, func(c *contestant) bool { return c.name == name })]
}

// median takes every figure's own median; of failures, the sum.
func (c *contestant) median(workload string) round {
	rounds := c.rounds[workload]
	m := round{
		perSecond: median(rounds, func(r round) float64 { return r.perSecond }),
		first:     median(rounds, func(r round) time.Duration { return r.first }),
		p50:       median(rounds, func(r round) time.Duration { return r.p50 }),
		p99:       median(rounds, func(r round) time.Duration { return r.p99 }),
		cpu:       median(rounds, func(r round) time.Duration { return r.cpu }),
		redisCPU:  median(rounds, func(r round) time.Duration { return r.redisCPU }),
		memory:    median(rounds, func(r round) int64 { return r.memory }),
	}
	for _, r := range rounds {
		m.failed += r.failed
	}
	return m
}

func median[T cmp.Ordered](rounds []round, of func(round) T) T {
	all := make([]T, len(rounds))
	for i, r := range rounds {
		all[i] = of(r)
	}
	slices.Sort(all)
	return quantile(all, 50)
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f us", float64(d)/1e3) }

func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }
