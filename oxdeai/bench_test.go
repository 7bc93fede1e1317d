package oxdeai

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// benchmarkEvaluate measures one allowed evaluation with both state hashes, on a state with this many agents.
func benchmarkEvaluate(b *testing.B, agents int) {
	e := exampleEngine(b)
	s := exampleState()
	for i := range agents - 1 {
		name := fmt.Sprintf("other-%d", i)
		s.Budget.Limit[name], s.Budget.Spent[name] = s.Budget.Limit["agent-1"], s.Budget.Spent["agent-1"]
		s.MaxAmountPerAction[name] = s.MaxAmountPerAction["agent-1"]
		s.Concurrency.MaxConcurrent[name], s.MaxDepth[name], s.ToolLimits.MaxCalls[name] = 2, 2, 10
	}
	in := exampleIntent()
	b.ReportAllocs()
	var times [1 << 12]time.Duration
	n := 0
	for ; b.Loop(); n++ {
		start := time.Now()
		if out := e.EvaluatePure(in, s, FailFast); out.Decision != Allow {
			b.Fatal(out.Reasons, out.Err)
		}
		times[n%len(times)] = time.Since(start)
		if n%1024 == 0 {
			e.Audit().Drain()
		}
	}
	last := times[:min(n, len(times))]
	slices.Sort(last)
	b.ReportMetric(float64(last[len(last)/2].Nanoseconds()), "p50-ns")
}

func BenchmarkEvaluateOneAgent(b *testing.B)      { benchmarkEvaluate(b, 1) }
func BenchmarkEvaluateHundredAgents(b *testing.B) { benchmarkEvaluate(b, 100) }

func BenchmarkStateHashOneAgent(b *testing.B) {
	e, s := exampleEngine(b), exampleState()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.StateHash(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIntentHash(b *testing.B) {
	in := exampleIntent()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.Hash(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonical(b *testing.B) {
	text := []byte(exampleStateJSON)
	v := mustParse(b, text)
	var buf []byte
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = AppendCanonical(buf[:0], v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	text := []byte(exampleStateJSON)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
