// Command bench measures what the proxy costs, beside a plain reverse proxy
// and no proxy at all, in one run.
//
//	go run ./internal/bench -aegis ./bin/aegis-proxy
//
// # Method
//
// The upstream is a process that serves recorded answers of the simulator. Each
// contestant is a process too, started once and warmed up. Rounds interleave
// (A B C D A B C D ...), so that whatever else the machine does falls on all of
// them; the table shows the median round, and the ratio to plain of medians.
//
// Most loads are closed loops, with 64, 16 or one connection: each sends its next
// request when it has read the whole answer. A busy proxy shares its writes and
// wake-ups among requests, a quiet one does not, so the others come at a rate,
// whatever the answers do: 200 and 1,000 requests a second, 50 streams a second
// whose events are 5 ms apart. On a small machine the load generator, the upstream and
// the contestant share the cores, so requests per second and latencies say as
// much about the sharing as about the proxy. The headline is therefore the CPU
// time, user and system, that the contestant's process spent per request: the
// difference of /proc/PID/stat before and after the round, whose grain of 10 ms
// is under 2 % of a round at the default number of requests. The CPU time of a
// ledger server that a contestant uses is shown apart.
//
// Prompts are drawn from prose with a fixed seed and differ from each other, so
// that remembering a prompt does not help. Events of a stream are 1 ms apart unless said otherwise, so
// that each is read, metered and flushed by itself, and there are as many in each API. A request that does not get
// a complete answer with status 200 is counted as failed and never as fast.
//
// With several binaries, as -aegis ./before -aegis ./after, each is a contestant, so that a change is
// measured in the same rounds as what was before it; -only takes a part of the loads.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// options are the command line.
type options struct {
	aegis       []string       // paths of binaries
	only        *regexp.Regexp // names of loads
	rounds      int
	connections int
	percent     int // of the usual number of requests
}

func main() {
	o := options{only: regexp.MustCompile("")}
	flag.Func("aegis", "`path` of an aegis-proxy binary, may be repeated; without it only the others run", func(path string) error {
		o.aegis = append(o.aegis, path)
		return nil
	})
	flag.Func("only", "run the loads whose names this `regexp` matches", func(text string) (err error) {
		o.only, err = regexp.Compile(text)
		return err
	})
	flag.IntVar(&o.rounds, "rounds", 5, "how often each contestant runs each workload")
	flag.IntVar(&o.connections, "connections", 64, "requests under way at once in the loads that do not say themselves")
	flag.IntVar(&o.percent, "percent", 100, "of the usual number of requests a round")
	flag.Parse()
	if o.rounds < 1 || o.connections < 1 || o.percent < 1 {
		log.Fatal("bench: -rounds, -connections and -percent must be at least 1")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Fatalf("bench: %v", err)
	}
}

// run builds and starts everybody, measures, and prints the table.
func run(ctx context.Context, o options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop() // ends the processes
	dir, err := os.MkdirTemp("", "aegis-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := build(ctx, dir); err != nil {
		return err
	}
	g := ground{dir: dir}
	upstream, err := g.startUpstream(ctx)
	if err != nil {
		return err
	}
	defer upstream.end()
	var running []*contestant
	for _, entry := range entries(o.aegis) {
		c, err := g.start(ctx, entry)
		if err != nil {
			return fmt.Errorf("%s: %w", entry.name, err)
		}
		defer c.end()
		running = append(running, c)
	}
	loads := slices.DeleteFunc(workloads(), func(w workload) bool { return !o.only.MatchString(w.name) })
	for _, w := range loads {
		w.requests = max(o.connections, w.requests*o.percent/100)
		if err := measure(ctx, o, w, running); err != nil {
			return err
		}
	}
	return report(os.Stdout, loads, running)
}

// build compiles the programs beside this one.
func build(ctx context.Context, dir string) error {
	for _, name := range []string{"plain", "upstream"} {
		command := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "bin", name),
			"github.com/aegis-proxy/aegis-proxy/internal/bench/"+name)
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// measure runs the rounds of one workload.
func measure(ctx context.Context, o options, w workload, running []*contestant) error {
	for _, c := range running {
		if _, err := load(ctx, c.target, c.key, w.short(), o.connections); err != nil {
			return fmt.Errorf("%s, %s, warming up: %w", c.name, w.name, err)
		}
	}
	for n := range o.rounds {
		for _, c := range running {
			began := time.Now()
			r, err := c.round(ctx, w, o.connections)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.name, w.name, err)
			}
			c.rounds[w.name] = append(c.rounds[w.name], r)
			fmt.Fprintf(os.Stderr, "%s, round %d of %d, %s: %.1f s\n", w.name, n+1, o.rounds, c.name, time.Since(began).Seconds())
		}
	}
	return nil
}
