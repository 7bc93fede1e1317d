package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

func TestQuantile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for name, row := range map[string]struct {
		of      []int
		percent int
		want    int
	}{
		"median of one":             {[]int{7}, 50, 7},
		"median of three":           {[]int{1, 2, 9}, 50, 2},
		"median of four, the lower": {[]int{1, 2, 3, 4}, 50, 2},
		"p99 of a hundred":          {hundred, 99, 99},
		"p99 of ten is the largest": {hundred[:10], 99, 10},
	} {
		t.Run(name, func(t *testing.T) {
			if got := quantile(row.of, row.percent); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

func TestParseCPU(t *testing.T) {
	const stat = "4711 (a (bad) name) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15"
	if got, err := parseCPU(stat); err != nil || got != 3*time.Second {
		t.Errorf("got %v, %v, want 300 ticks of 10 ms", got, err)
	}
	if _, err := parseCPU("4711 (cut) S 1 2"); err == nil {
		t.Error("a line that is cut off was accepted")
	}
}

func TestBodies(t *testing.T) {
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			seen := map[string]bool{}
			for _, body := range w.bodies {
				seen[string(body)] = true
				if !json.Valid(body) {
					t.Fatalf("not JSON: %s", body)
				}
			}
			if len(seen) != variants {
				t.Errorf("%d different bodies, want %d", len(seen), variants)
			}
			if size, want := len(w.bodies[0]), 1<<10; w.name != "chat, 40 KB" && (size < want*9/10 || size > want*11/10) {
				t.Errorf("%d bytes, want about %d", size, want)
			}
		})
	}
}

func TestLoadCountsOnlyCompleteAnswers(t *testing.T) {
	for name, row := range map[string]struct {
		api    *api
		stream bool
		script func(*simulator.Request) simulator.Answer
		failed int
	}{
		"all well":               {chat, false, nil, 0},
		"streams":                {chat, true, nil, 0},
		"streams of Messages":    {messages, true, nil, 0},
		"streams of Responses":   {responses, true, nil, 0},
		"one 503":                {chat, false, simulator.InTurn(simulator.Fail(503), simulator.Answer{}), 1},
		"one broken connection":  {chat, false, simulator.InTurn(simulator.Answer{Fault: simulator.CloseMidJSON}, simulator.Answer{}), 1},
		"one stream without end": {chat, true, simulator.InTurn(simulator.Answer{NoDone: true}, simulator.Answer{}), 1},
	} {
		for loop, rate := range map[string]int{"in a closed loop": 0, "at a rate": 2_000} {
			t.Run(name+" "+loop, func(t *testing.T) {
				sim := simulator.New(simulator.Config{Script: row.script})
				server := httptest.NewServer(sim)
				defer server.Close()
				w := workload{requests: 40, stream: row.stream, api: row.api, bodies: row.api.bodies(1<<10, row.stream), rate: rate}
				got, err := load(t.Context(), server.Listener.Addr().String(), "sk-test", w, 4)
				if err != nil {
					t.Fatal(err)
				}
				if got.failed != row.failed || len(got.timings) != w.requests-row.failed {
					t.Errorf("%d failed (%v), %d timed", got.failed, got.example, len(got.timings))
				}
				for _, took := range got.timings {
					if took.first <= 0 || took.whole < took.first {
						t.Fatalf("a request took %v to its first byte and %v in all", took.first, took.whole)
					}
				}
				if arrived := sim.Totals().Received; arrived != int64(w.requests) {
					t.Errorf("%d requests arrived", arrived)
				}
				if key := sim.Calls()[0].Header; key.Get("Authorization") != "Bearer sk-test" && key.Get("X-Api-Key") != "sk-test" {
					t.Errorf("key %q", key)
				}
			})
		}
	}
}

func TestLoadFailsWhereNothingAnswers(t *testing.T) {
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(t.Context(), address, "", workload{requests: 3, api: chat, bodies: chat.bodies(1<<10, false)}, 1); err == nil {
		t.Error("a load without any answer succeeded")
	}
}

func TestProcessThatEndsEarlySaysWhy(t *testing.T) {
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, err = start(t.Context(), address, "sh", "-c", "echo no policy >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "no policy") {
		t.Errorf("error %v", err)
	}
}

func TestFiguresOfAProcess(t *testing.T) {
	self := &process{command: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}
	if _, err := self.cpu(); err != nil {
		t.Error(err)
	}
	if memory, err := self.resident(); err != nil || memory < 1<<20 {
		t.Errorf("%d bytes, %v", memory, err)
	}
}

func TestReport(t *testing.T) {
	rounds := func(cpu time.Duration) map[string][]round {
		all := map[string][]round{}
		for _, w := range workloads() {
			all[w.name] = []round{{cpu: cpu}, {cpu: 9 * cpu, failed: 2}, {cpu: cpu, failed: 1}}
		}
		return all
	}
	var out bytes.Buffer
	err := report(&out, workloads(), []*contestant{
		{name: "direct", rounds: rounds(0)},
		{name: "plain", proxy: &process{}, rounds: rounds(50 * time.Microsecond)},
		{name: "aegis redis", proxy: &process{}, redis: &process{}, rounds: rounds(75 * time.Microsecond)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		fields := strings.Fields(line)
		if len(fields) > 10 && fields[0] == "aegis" &&
			(fields[2] != "75.0" || fields[4] != "1.50" || fields[5] != "-" && fields[5] != "1.4" || fields[len(fields)-1] != "3") {
			t.Errorf("want the median, its ratio to plain, what an event took, and all failures: %s", line)
		}
	}
	if !strings.Contains(out.String(), "1.50") || !strings.Contains(out.String(), "1.4 us") {
		t.Errorf("no ratio, or no event, in\n%s", &out)
	}
}
