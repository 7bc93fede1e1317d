package pricing_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// fact is one line of testdata/usages.jsonl: a usage that a provider reported, and its exact cost.
type fact struct {
	Provider, Model string
	Input, Cached   int64
	CacheWrite      int64 `json:"cache_write"`
	Audio, Output   int64
	Reasoning       int64
	AudioOutput     int64 `json:"audio_output"`
	USD             string
}

func (f fact) usage() call.Usage {
	return call.Usage{
		call.Input: f.Input - f.Cached - f.CacheWrite - f.Audio, call.CachedInput: f.Cached, call.CacheWrite: f.CacheWrite, call.AudioInput: f.Audio,
		call.Output: f.Output - f.Reasoning - f.AudioOutput, call.Reasoning: f.Reasoning, call.AudioOutput: f.AudioOutput,
	}
}

// deniedOnPurpose are models of the test data that our table does not price, though its source does.
var deniedOnPurpose = map[string]string{
	"cerebras/qwen-3-coder-480b":         "the source has no prices for it, which it takes for free",
	"google/anthropic/claude-sonnet-4.5": "the source takes it for claude-sonnet-4, by prefix",
}

// TestUsagesCostExactly: real usages cost what the source of the table says, to the last digit.
func TestUsagesCostExactly(t *testing.T) {
	denied := map[string]bool{}
	for _, f := range readFacts(t) {
		name := f.Provider + "/" + f.Model
		p, err := pricing.Builtin().Lookup(f.Provider, f.Model, factsPricedAt)
		if why, ok := deniedOnPurpose[name]; ok {
			denied[name] = true
			if !errors.Is(err, pricing.ErrNoPrice) {
				t.Errorf("%s (%s): error %v, want ErrNoPrice", name, why, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := p.Cost(f.usage())
		if want := f.nanoUSD(t); err != nil || got != want {
			t.Errorf("%s %+v: cost %d nano-USD (%v), want %d (%s USD)", name, f.usage(), got, err, want, f.USD)
		}
	}
	if len(denied) != len(deniedOnPurpose) {
		t.Errorf("the test data has only %v of %v", denied, deniedOnPurpose)
	}
}

// factsPricedAt is the instant whose prices the test data has.
var factsPricedAt = time.Date(2025, 11, 6, 12, 0, 0, 0, time.UTC)

// nanoUSD is what the usage costs in nano-USD, rounded up by other means than the package's own. In one case our table is
// dearer on purpose: the source takes Sonnet 4.5 on Google for Sonnet 4, by prefix, and so forgets the long-context tier.
func (f fact) nanoUSD(t *testing.T) int64 {
	t.Helper()
	usd := f.USD
	if f.Provider == "google" && f.Model == "claude-sonnet-4-5-20250929" && f.Input > 200_000 {
		usd = "2.9953065" // 494,549 x 6 + 1,245 x 22.50 USD per million
	}
	exact, ok := new(big.Rat).SetString(usd)
	if !ok {
		t.Fatalf("%q is not an amount", usd)
	}
	exact.Mul(exact, big.NewRat(1_000_000_000, 1))
	up := new(big.Int).Add(exact.Num(), new(big.Int).Sub(exact.Denom(), big.NewInt(1)))
	return up.Div(up, exact.Denom()).Int64()
}

func readFacts(t testing.TB) []fact {
	t.Helper()
	f, err := os.Open("testdata/usages.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var facts []fact
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var one fact
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatalf("line %d: %v", len(facts)+1, err)
		}
		facts = append(facts, one)
	}
	if lines.Err() != nil || len(facts) == 0 {
		t.Fatalf("%d lines, %v", len(facts), lines.Err())
	}
	return facts
}
