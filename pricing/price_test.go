package pricing_test

import (
	"errors"
	"math"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aegis-proxy/aegis-proxy/pricing"
	"pgregory.net/rapid"
)

var summer2026 = time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC)

func lookup(t testing.TB, provider, model string, at time.Time) pricing.Price {
	t.Helper()
	p, err := pricing.Builtin().Lookup(provider, model, at)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// allPrices are the prices of everything in the table at an instant.
func allPrices(t testing.TB, at time.Time) []pricing.Price {
	t.Helper()
	var prices []pricing.Price
	table := pricing.Builtin()
	for _, provider := range table.Providers() {
		for _, model := range table.Models(provider) {
			prices = append(prices, lookup(t, provider, model, at))
		}
	}
	return prices
}

func TestCost(t *testing.T) {
	const million = 1_000_000
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name, provider, model string
		at                    time.Time
		usage                 pricing.Usage
		want                  int64 // nano-USD
	}{
		{"plain", "openai", "gpt-4o-mini", summer2026, pricing.Usage{Input: 1000, Output: 100}, 210_000},
		{"cached input is cheaper", "openai", "gpt-4o-mini", summer2026, pricing.Usage{Input: 1000, Cached: 1000}, 75_000},
		{"cached input without a price of its own costs as input", "openai", "o3-pro", summer2026, pricing.Usage{Input: 10, Cached: 10}, 200_000},
		{"nothing costs nothing", "openai", "gpt-4o", summer2026, pricing.Usage{}, 0},
		{"a fraction of a nano-USD is rounded up", "openai", "text-embedding-3-small", summer2026, pricing.Usage{Input: 1}, 20},
		{"the sum is rounded, not its parts", "openrouter", "openai/gpt-oss-20b", summer2026, pricing.Usage{Input: 1, Output: 1}, 169},
		{"reasoning costs as output", "openai", "o3", summer2026, pricing.Usage{Output: 100, Reasoning: 90}, 800_000},
		{"reasoning at its own price", "openrouter", "perplexity/sonar-deep-research", summer2026, pricing.Usage{Output: million, Reasoning: million / 2}, 5_500_000_000},
		{"audio in and out", "openai", "gpt-audio", summer2026, pricing.Usage{Input: 100, Audio: 60, Output: 50, AudioOutput: 30}, 4_140_000},
		{"cache write", "openai", "gpt-5.6-sol", summer2026, pricing.Usage{Input: 1000, CacheWrite: 1000}, 6_250_000},
		{"audio that must be cached in part", "openai", "gpt-4o-realtime-preview", summer2026, pricing.Usage{Input: 100, Cached: 60, Audio: 60}, 1_750_000},
		{"fee per request", "perplexity", "sonar", summer2026, pricing.Usage{Input: 1, Output: 1}, 12_002_000},
		{"below the context tier", "openai", "gpt-5.4", summer2026, pricing.Usage{Input: 272_000, Output: 1}, 680_015_000},
		{"above it the whole request is dearer", "openai", "gpt-5.4", summer2026, pricing.Usage{Input: 272_001, Output: 1}, 1_360_027_500},
		{"a day before the price starts", "openai", "o3", day(2025, 6, 9), pricing.Usage{Input: 1}, 10_000},
		{"its last second", "openai", "o3", day(2025, 6, 10).Add(-time.Second), pricing.Usage{Input: 1}, 10_000},
		{"its first second", "openai", "o3", day(2025, 6, 10), pricing.Usage{Input: 1}, 2_000},
		{"a price to come does not hold yet", "google", "gemini-3.6-flash", summer2026, pricing.Usage{Input: 1}, 750},
		{"and then holds", "google", "gemini-3.6-flash", day(2027, 1, 1), pricing.Usage{Input: 1}, 1_500},
		{"off-peak", "deepseek", "deepseek-chat", day(2025, 7, 1).Add(29 * time.Minute), pricing.Usage{Input: 1}, 135},
		{"peak begins", "deepseek", "deepseek-chat", day(2025, 7, 1).Add(30 * time.Minute), pricing.Usage{Input: 1}, 270},
		{"peak ends", "deepseek", "deepseek-chat", day(2025, 7, 1).Add(16*time.Hour + 30*time.Minute), pricing.Usage{Input: 1}, 135},
		{"time of day is UTC's", "deepseek", "deepseek-chat", time.Date(2025, 7, 1, 1, 0, 0, 0, time.FixedZone("CEST", 7200)), pricing.Usage{Input: 1}, 135},
		{"a first model that was never repriced", "openai", "gpt-4o-2024-05-13", summer2026, pricing.Usage{Input: 1, Output: 1}, 20_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := lookup(t, tt.provider, tt.model, tt.at).Cost(tt.usage)
			if err != nil || got != tt.want {
				t.Errorf("cost %d nano-USD (%v), want %d", got, err, tt.want)
			}
		})
	}
}

func TestCostOfLongCacheWrites(t *testing.T) {
	p := lookup(t, "anthropic", "claude-haiku-4-5-20251001", summer2026) // input 1 USD, writes 1.25 and 2 USD per million
	usage := pricing.Usage{Input: 1000, CacheWrite: 1000}
	short, _ := p.Cost(usage)
	long, _ := p.LongCacheWrites().Cost(usage)
	if short != 1_250_000 || long != 2_000_000 {
		t.Errorf("cache writes cost %d and %d nano-USD, want 1250000 and 2000000", short, long)
	}
}

func TestWorst(t *testing.T) {
	for _, tt := range []struct {
		name, provider, model string
		bound                 pricing.Bound
		want                  int64 // nano-USD
	}{
		{"plain", "openai", "gpt-4o-mini", pricing.Bound{Input: 1000, Output: 100}, 210_000},
		{"no audio, no audio rate", "openai", "gpt-audio", pricing.Bound{Input: 100, Output: 10}, 350_000},
		{"audio in and out", "openai", "gpt-audio", pricing.Bound{Input: 100, Output: 10, Audio: true}, 3_840_000},
		{"no cache writes, no write rate", "openai", "gpt-5.6-sol", pricing.Bound{Input: 1000}, 5_000_000},
		{"cache writes", "openai", "gpt-5.6-sol", pricing.Bound{Input: 1000, CacheWrite: true}, 6_250_000},
		{"cache writes that may live long", "anthropic", "claude-haiku-4-5", pricing.Bound{Input: 1000, CacheWrite: true}, 2_000_000},
		{"context tier out of reach", "openai", "gpt-5.4", pricing.Bound{Input: 272_000, Output: 1}, 680_015_000},
		{"context tier in reach", "openai", "gpt-5.4", pricing.Bound{Input: 272_001, Output: 1}, 1_360_027_500},
		{"cheaper reasoning does not lower it", "openrouter", "perplexity/sonar-deep-research", pricing.Bound{Output: 1000}, 8_000_000},
		{"fee per request", "perplexity", "sonar-pro", pricing.Bound{}, 14_000_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := lookup(t, tt.provider, tt.model, summer2026).Worst(tt.bound)
			if err != nil || got != tt.want {
				t.Errorf("worst case %d nano-USD (%v), want %d", got, err, tt.want)
			}
		})
	}
}

// TestWorstCoversEveryUsage: whatever a model's provider reports within the bound costs at most the bound's cost.
func TestWorstCoversEveryUsage(t *testing.T) {
	prices := append(allPrices(t, summer2026), allPrices(t, factsPricedAt)...)
	prices = append(prices, jaggedPrices(t)...)
	rapid.Check(t, func(t *rapid.T) {
		b := drawBound(t)
		u := drawUsage(t, b)
		for _, p := range prices {
			worst, err := p.Worst(b)
			if errors.Is(err, pricing.ErrNoPrice) && b.Output > 0 {
				continue // an embedding model
			}
			if err != nil {
				t.Fatalf("%s: Worst(%+v): %v", p.Entry(), b, err)
			}
			for _, p := range []pricing.Price{p, p.LongCacheWrites()} {
				if cost, err := p.Cost(u); err != nil || cost > worst {
					t.Fatalf("%s: Cost(%+v) = %d (%v), above Worst(%+v) = %d", p.Entry(), u, cost, err, b, worst)
				}
			}
		}
	})
}

// jaggedPrices are prices that no provider has, where parts are dearer than their wholes.
func jaggedPrices(t testing.TB) []pricing.Price {
	t.Helper()
	table, err := pricing.Builtin().With([]pricing.Override{
		{Model: "a", Input: "1", Cached: "3", CacheWrite: "0.5", Audio: "2", Output: "1", Reasoning: "9", AudioOutput: "4"},
		{Model: "b", Input: "0", CacheWrite: "7.000001", Audio: "0.000001", Output: "0", AudioOutput: "0.000001"},
		{Model: "c", Input: "5", Cached: "0", Audio: "1", Output: "5", Reasoning: "0", Request: "123.456789"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var prices []pricing.Price
	for _, model := range []string{"a", "b", "c"} {
		p, err := table.Lookup("any", model, summer2026)
		if err != nil {
			t.Fatal(err)
		}
		prices = append(prices, p)
	}
	p, err := fallingTiers(t).Lookup("p", "falling", summer2026)
	if err != nil {
		t.Fatal(err)
	}
	return append(prices, p)
}

// drawTokens draws counts that often lie at a context tier's threshold.
func drawTokens(t *rapid.T, name string, most int64) int64 {
	near := rapid.SampledFrom([]int64{0, 1, 100, 101, 128_000, 128_001, 200_000, 200_001, 272_000, 272_001, 512_000, 512_001, most})
	return min(most, rapid.OneOf(near, rapid.Int64Range(0, most)).Draw(t, name))
}

func drawBound(t *rapid.T) pricing.Bound {
	return pricing.Bound{
		Input:      drawTokens(t, "bound input", 2_000_000),
		Output:     drawTokens(t, "bound output", 400_000),
		CacheWrite: rapid.Bool().Draw(t, "bound cache write"),
		Audio:      rapid.Bool().Draw(t, "bound audio"),
	}
}

func drawUsage(t *rapid.T, b pricing.Bound) pricing.Usage {
	u := pricing.Usage{Input: drawTokens(t, "input", b.Input), Output: drawTokens(t, "output", b.Output)}
	u.Cached = drawTokens(t, "cached", u.Input)
	if b.CacheWrite {
		u.CacheWrite = drawTokens(t, "cache write", u.Input-u.Cached)
	}
	u.Reasoning = drawTokens(t, "reasoning", u.Output)
	if b.Audio {
		u.Audio = drawTokens(t, "audio", u.Input)
		u.AudioOutput = drawTokens(t, "audio output", u.Output-u.Reasoning)
	}
	return u
}

// TestOutputWithinIsTheLargest: it fits, and one token more does not.
func TestOutputWithinIsTheLargest(t *testing.T) {
	prices := append(allPrices(t, summer2026), jaggedPrices(t)...)
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom(prices).Draw(t, "price")
		b := drawBound(t)
		room := rapid.Int64Range(-1, 10_000_000_000).Draw(t, "room")
		n := p.OutputWithin(b, room)
		if n > 0 {
			b.Output = n
			if worst, err := p.Worst(b); err != nil || worst > room {
				t.Fatalf("%s: %d tokens cost %d (%v), above %d", p.Entry(), n, worst, err, room)
			}
		}
		if n == pricing.MaxTokens {
			return
		}
		b.Output = n + 1
		if worst, err := p.Worst(b); err == nil && worst <= room {
			t.Fatalf("%s: %d tokens cost only %d, within %d", p.Entry(), n+1, worst, room)
		}
	})
}

func TestErrors(t *testing.T) {
	sonnet := lookup(t, "anthropic", "claude-sonnet-4-5", summer2026)
	embedding := lookup(t, "openai", "text-embedding-3-small", summer2026)
	for _, tt := range []struct {
		name  string
		price pricing.Price
		usage pricing.Usage
		want  error
	}{
		{"the zero price", pricing.Price{}, pricing.Usage{Input: 1}, pricing.ErrNoPrice},
		{"output of an embedding model", embedding, pricing.Usage{Input: 1, Output: 1}, pricing.ErrNoPrice},
		{"negative input", sonnet, pricing.Usage{Input: -1}, pricing.ErrUsage},
		{"negative part", sonnet, pricing.Usage{Input: 1, Cached: -1}, pricing.ErrUsage},
		{"more cached than input", sonnet, pricing.Usage{Input: 10, Cached: 6, CacheWrite: 5}, pricing.ErrUsage},
		{"more audio than input", sonnet, pricing.Usage{Input: 10, Audio: 11}, pricing.ErrUsage},
		{"more reasoning than output", sonnet, pricing.Usage{Output: 10, Reasoning: 11}, pricing.ErrUsage},
		{"more than 2^53-1 nano-USD", sonnet, pricing.Usage{Output: 601_000_000_000}, pricing.ErrOverflow},
		{"more tokens than can be", sonnet, pricing.Usage{Input: math.MaxInt64}, pricing.ErrOverflow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.price.Cost(tt.usage); !errors.Is(err, tt.want) {
				t.Errorf("Cost: error %v, want %v", err, tt.want)
			}
		})
	}
}

// TestWorstOfFallingTiers: where long requests are cheaper, the bound covers the dear short one.
func TestWorstOfFallingTiers(t *testing.T) {
	p, err := fallingTiers(t).Lookup("p", "falling", summer2026)
	if err != nil {
		t.Fatal(err)
	}
	for input, want := range map[int64]int64{100: 1000, 101: 1000, 2000: 2000} {
		if got, err := p.Worst(pricing.Bound{Input: input}); err != nil || got != want {
			t.Errorf("worst case of %d tokens: %d nano-USD (%v), want %d", input, got, err, want)
		}
	}
}

func fallingTiers(t testing.TB) *pricing.Table {
	t.Helper()
	table, err := pricing.Load(fstest.MapFS{"table/p.json": {Data: []byte(`{"provider":"p","models":[
		{"id":"falling","names":["falling"],"prices":[{"tiers":[{"input":10000,"output":9},{"over":100,"input":1000,"output":10}]}]}]}`)}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLargestCost(t *testing.T) {
	const tokens = 20_394_401 // x 441,650,591 nano-USD a token = 2^53-1
	p, err := with(t, pricing.Override{Model: "m", Input: "441650.591"}).Lookup("mine", "m", summer2026)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Cost(pricing.Usage{Input: tokens}); err != nil || got != pricing.MaxCost {
		t.Errorf("cost %d (%v), want %d", got, err, int64(pricing.MaxCost))
	}
	if got, err := p.Cost(pricing.Usage{Input: tokens + 1}); !errors.Is(err, pricing.ErrOverflow) {
		t.Errorf("cost %d (%v), want ErrOverflow", got, err)
	}
}

func TestWorstOverflows(t *testing.T) {
	p := lookup(t, "openai", "o1-pro", summer2026) // output 600 USD per million, 600,000 nano-USD per token
	const fits = pricing.MaxCost / 600_000
	if worst, err := p.Worst(pricing.Bound{Output: fits}); err != nil || worst != fits*600_000 {
		t.Errorf("worst case %d (%v), want %d", worst, err, int64(fits*600_000))
	}
	if _, err := p.Worst(pricing.Bound{Output: fits + 1}); !errors.Is(err, pricing.ErrOverflow) {
		t.Errorf("error %v, want ErrOverflow", err)
	}
	if got := p.OutputWithin(pricing.Bound{}, math.MaxInt64); got != fits {
		t.Errorf("output within all the room there is: %d tokens, want %d", got, int64(fits))
	}
	if got := (pricing.Price{}).OutputWithin(pricing.Bound{}, 1); got != 0 {
		t.Errorf("output within the zero price: %d tokens, want 0", got)
	}
}

func BenchmarkPrice(b *testing.B) {
	for _, name := range []struct{ provider, model string }{
		{"openai", "gpt-4o-mini-2024-07-18"}, {"azure", "gpt-4o"}, {"anthropic", "claude-sonnet-4-5-20250929"}, {"openai", "no-such-model"},
	} {
		b.Run(name.provider+"/"+name.model, func(b *testing.B) {
			table := pricing.Builtin()
			bound := pricing.Bound{Input: 1200, Output: 500}
			usage := pricing.Usage{Input: 1100, Cached: 512, Output: 300, Reasoning: 100}
			b.ReportAllocs()
			for b.Loop() {
				p, err := table.Lookup(name.provider, name.model, summer2026)
				if err != nil {
					continue
				}
				p.Worst(bound)
				p.Cost(usage)
			}
		})
	}
}

func TestTellsAudioOutput(t *testing.T) {
	for model, want := range map[string]bool{"gpt-audio": true, "gpt-4o-audio-preview": false, "gpt-4o": false} {
		price, err := pricing.Builtin().Lookup("openai", model, time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		if got := price.TellsAudioOutput(); got != want {
			t.Errorf("%s: %v, want %v", model, got, want)
		}
	}
	if (pricing.Price{}).TellsAudioOutput() {
		t.Error("the zero price tells a price")
	}
}
